"""Every shared snapshot whose policy is a key, through discovery and verification: one good candidate is enough."""

from datetime import UTC, datetime

import pytest
from support.snapshot import all_cases

from proxy.crypto.keys import PublicKey
from proxy.formats.cosign.signer import CosignKeySigner
from proxy.oci.errors import CorruptError
from proxy.oci.reference import Reference
from proxy.verdict import Evidence, Subject

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CASES = [case for case in all_cases() if case.asks_for_a_key_only]


async def findings(case, source):
    signer = CosignKeySigner(
        "release",
        PublicKey.parse(case.key_pem()),
        case.policy.get("annotations", {}),
        case.signature_repository,
    )
    try:
        await source.manifest(Reference(case.repository, digest=case.digest))
    except CorruptError:
        return [], ()
    subject = Subject(case.repository, case.digest)
    found = await signer.discovery(subject, source)
    assert found.unreached == ()
    return [signer.verify(subject, one, NOW) for one in found.signatures], found.rejections


@pytest.mark.parametrize("referrers_api", [True, False], ids=["api", "tag"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_case(case, referrers_api):
    found, rejections = await findings(case, case.source(referrers_api=referrers_api))
    accepted = any(isinstance(one, Evidence) for one in found)
    assert accepted == case.accept or case.tolerated
    for one in (*found, *rejections):
        assert isinstance(one, Evidence) or (one.detail.isascii() and "\n" not in one.detail and len(one.detail) < 160)


def test_the_vectors_are_there():
    if not CASES:
        pytest.skip("../shared/vectors/cosign is not there")
    assert len(CASES) > 80
