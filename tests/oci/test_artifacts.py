"""Signature artefacts are told by what they carry."""

import json

import pytest

from proxy.oci.artifacts import is_signature_artifact
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_INDEX, OCI_MANIFEST, Manifest

SIGNATURE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
TAR = "application/vnd.oci.image.layer.v1.tar+gzip"


def descriptor(media_type):
    return {"mediaType": media_type, "digest": str(Digest.of(b"")), "size": 0}


@pytest.mark.parametrize(
    ("layers", "is_artifact"),
    [
        ([SIGNATURE], True),
        ([BUNDLE, SIGNATURE], True),
        ([SIGNATURE, TAR], False),
        ([TAR], False),
        ([BUNDLE + "-evil"], False),
        ([], False),
    ],
)
def test_manifests(layers, is_artifact):
    document = {
        "schemaVersion": 2,
        "artifactType": BUNDLE,
        "config": descriptor("application/vnd.oci.empty.v1+json"),
        "layers": [descriptor(media_type) for media_type in layers],
    }
    body = json.dumps(document).encode()
    assert is_signature_artifact(Manifest.parse(Digest.of(body), OCI_MANIFEST, body)) is is_artifact


def test_an_index_never_is():
    body = json.dumps({"schemaVersion": 2, "manifests": [descriptor(OCI_MANIFEST)]}).encode()
    assert not is_signature_artifact(Manifest.parse(Digest.of(body), OCI_INDEX, body))
