"""SBOMs are large: what is fetched of them and read, and what is not."""

import pytest
from support.cosign import IMAGE, KEY, judge, source_of
from support.sigstore.draft import Shape, attestation_of

from proxy.formats.cosign.cel import CelCondition
from proxy.formats.cosign.conditions import WantedPredicate
from proxy.formats.cosign.discover import CosignDiscovery
from proxy.formats.cosign.fetch import ATTESTATION_BYTES_MAX
from proxy.formats.cosign.proof import NO_DEMANDS
from proxy.formats.cosign.signer import CosignSigner
from proxy.formats.cosign.trust_root import NO_TRUST_ROOT
from proxy.formats.cosign.verify import Wanted, WantedKey
from proxy.verdict import Reason

CYCLONEDX = "https://cyclonedx.org/bom"
PRESENT, IN_CEL = WantedPredicate(CYCLONEDX), WantedPredicate(CYCLONEDX, (CelCondition("true"),))


def sbom(packages):
    package = {"type": "library", "name": "p", "version": "1.0", "hashes": [{"alg": "SHA-256", "content": "ab" * 32}]}
    return {"bomFormat": "CycloneDX", "components": [package] * packages}


@pytest.mark.parametrize(
    ("packages", "wanted", "reason"),
    [
        (10, PRESENT, None),
        (10, IN_CEL, None),
        (15_000, PRESENT, None),
        (15_000, IN_CEL, Reason.OVER_LIMIT),
        (ATTESTATION_BYTES_MAX // 100, PRESENT, Reason.OVER_LIMIT),
    ],
)
@pytest.mark.parametrize("shape", [Shape.ATT, Shape.BUNDLE])
async def test_what_is_read(shape, packages, wanted, reason):
    made = attestation_of(IMAGE, CYCLONEDX, sbom(packages), shape).signed_by(KEY).artifact()
    signer = CosignSigner(
        "sbom",
        Wanted(WantedKey(KEY.public), NO_TRUST_ROOT, NO_DEMANDS, attestation=wanted),
        CosignDiscovery(attestations=True),
    )
    evidence, rejections, _ = await judge(source_of(made), signer)
    assert [one.reason for one in rejections] == ([reason] if reason else [])
    assert bool(evidence) is (reason is None)
