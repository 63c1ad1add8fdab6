"""Two searches of one subject become one finding."""

import pytest

from proxy.formats.api import Discovered, UntrustedSignature
from proxy.gate.merge import merged
from proxy.verdict import Reason, Rejection


def signature(payload=b"payload", location="tag", annotations=()):
    return UntrustedSignature("kind", location, payload, dict(annotations))


def rejection(location="tag", detail="detail"):
    return Rejection(Reason.CORRUPT, detail, signature=location)


NOTHING = Discovered()
ONE = Discovered((signature(),), (rejection(),), ("referrers: down",))
THERE = Discovered(
    (signature(location="tag at the canonical registry"),),
    (rejection("tag at the canonical registry"),),
    ("the canonical registry: referrers: down",),
)
NOWHERE = Discovered(rejections=(rejection(None),))


@pytest.mark.parametrize(
    ("mirror", "canonical", "both"),
    [
        (NOTHING, NOTHING, NOTHING),
        (ONE, NOTHING, ONE),
        (NOTHING, ONE, THERE),
        (ONE, ONE, Discovered(ONE.signatures, ONE.rejections, (*ONE.unreached, *THERE.unreached))),
        (NOWHERE, NOTHING, NOWHERE),
        (NOTHING, NOWHERE, NOWHERE),
    ],
)
def test_merged(mirror, canonical, both):
    assert merged(mirror, canonical) == both


@pytest.mark.parametrize(
    "other",
    [signature(b"another"), signature(location="other"), signature(annotations={"a": "b"}.items())],
    ids=["payload", "location", "annotations"],
)
def test_what_differs_in_anything_is_another(other):
    found = merged(Discovered((signature(),)), Discovered((other,))).signatures
    assert [one.payload for one in found] == [b"payload", other.payload]
