"""Every shared snapshot, through discovery and verification: one good candidate is enough."""

from datetime import UTC, datetime

import pytest
from support.snapshot import all_cases
from support.vectors import needed, or_skipped

from proxy.oci.errors import CorruptError
from proxy.oci.reference import Reference
from proxy.verdict import Evidence, Subject

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CASES = all_cases()


async def findings(case, source):
    try:
        await source.manifest(Reference(case.repository, digest=case.digest))
    except CorruptError:
        return [], ()
    signer, subject = case.signer(), Subject(case.repository, case.digest)
    found = await signer.discovery(subject, source)
    assert found.unreached == ()
    return [signer.verify(subject, one, NOW) for one in found.signatures], found.rejections


@pytest.mark.parametrize("referrers_api", [True, False], ids=["api", "tag"])
@pytest.mark.parametrize("case", or_skipped(CASES), ids=lambda case: case.name)
async def test_case(case, referrers_api):
    found, rejections = await findings(case, case.source(referrers_api=referrers_api))
    evidence = [one for one in found if isinstance(one, Evidence)]
    assert bool(evidence) == case.accept or case.tolerated
    for one in (*found, *rejections):
        assert isinstance(one, Evidence) or (one.detail.isascii() and "\n" not in one.detail and len(one.detail) < 200)
    for one in evidence:
        policy = case.policy
        assert (one.subject is not None, one.issuer) == (policy["type"] == "keyless", policy.get("issuer"))
        assert one.log_index is not None or policy["tlog"] == "optional"
        assert (one.signed_at is None) == (one.time_source is None)
        assert one.signed_at is not None or (policy["type"] == "key" and policy["tsa"] == "optional")


def test_the_vectors_are_there():
    needed()
    assert len(CASES) > 170
