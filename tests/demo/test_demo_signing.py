"""What the demo's signer makes is what a registry takes and a verifier finds."""

import pytest

from proxy.demo.signing import SigningKey, bundle_signature, classic_signature
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_MANIFEST, Descriptor, Manifest

BODY = b"the manifest of an image"
IMAGE = Descriptor(OCI_MANIFEST, Digest.of(BODY), len(BODY))
KEY = SigningKey.generate()


@pytest.mark.parametrize(
    ("made", "tag"),
    [
        (classic_signature(KEY, IMAGE, {"env": "demo"}), f"sha256-{IMAGE.digest.hex}.sig"),
        (classic_signature(KEY, IMAGE, referrer=True), None),
        (bundle_signature(KEY, IMAGE), None),
    ],
    ids=["tag", "referrer", "bundle"],
)
def test_artifacts_are_whole(made, tag):
    manifest = Manifest.parse(made.digest, made.media_type, made.manifest_body)
    assert (made.tag, made.subject) == (tag, IMAGE.digest)
    assert (manifest.subject is None) == (tag is not None)
    assert {one.digest for one in manifest.blobs} == set(made.blobs)
    for one in manifest.blobs:
        assert one.check(made.blobs[one.digest])


@pytest.mark.parametrize(
    ("kind", "description"),
    [("P-256", "ECDSA P-256"), ("P-384", "ECDSA P-384"), ("RSA-2048", "RSA 2048"), ("Ed25519", "Ed25519")],
)
def test_keys(kind, description):
    key = SigningKey.generate(kind)
    assert key.public.describe() == description
    assert key.public.verify(key.sign(b"x"), b"x")
    assert b"BEGIN PUBLIC KEY" in key.public_pem
    assert "private" not in repr(key.public).lower()
