"""Signature artefacts: by the types of all layers, and by what the layers are."""

import io
import json
import tarfile

import pytest
from support.tar_text import as_json, blank

from proxy.oci.artifacts import (
    ARTIFACT_BLOB_BYTES_MAX,
    ARTIFACT_BYTES_MAX,
    ARTIFACT_LAYERS_MAX,
    is_signature_content,
    looks_like_signature_artifact,
)
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_INDEX, OCI_MANIFEST, Manifest

DSSE = "application/vnd.dsse.envelope.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def manifest(*types: str, size: int = 2) -> Manifest:
    entry = {"digest": str(Digest.of(b"{}")), "size": size}
    layers = [entry | {"mediaType": one} for one in types]
    config = entry | {"mediaType": "application/vnd.oci.empty.v1+json"}
    body = json.dumps({"schemaVersion": 2, "config": config, "layers": layers}).encode()
    return Manifest.parse(Digest.of(body), OCI_MANIFEST, body)


def index() -> Manifest:
    body = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    return Manifest.parse(Digest.of(body), OCI_INDEX, body)


@pytest.mark.parametrize(
    ("one", "looks"),
    [
        (manifest(DSSE), True),
        (manifest(DSSE, DSSE), True),
        (manifest(), False),
        (manifest(LAYER), False),
        (manifest(DSSE, LAYER), False),
        (manifest(*[DSSE] * (ARTIFACT_LAYERS_MAX + 1)), False),
        (manifest(DSSE, size=ARTIFACT_BLOB_BYTES_MAX), True),
        (manifest(DSSE, size=ARTIFACT_BLOB_BYTES_MAX + 1), False),
        (manifest(*[DSSE] * 4, size=ARTIFACT_BYTES_MAX // 4), True),
        (manifest(*[DSSE] * 5, size=ARTIFACT_BYTES_MAX // 4), False),
        (index(), False),
    ],
    ids=[
        "one",
        "two",
        "none",
        "layer",
        "both",
        "many",
        "large",
        "too large",
        "large together",
        "too large together",
        "index",
    ],
)
def test_types(one, looks):
    assert looks_like_signature_artifact(one) is looks


def header(name: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo(name))
    return made.getvalue()[:512]


@pytest.mark.parametrize(
    ("content", "is_signature"),
    [
        (b'{"critical":{}}', True),
        (b'{"pad":"' + b"x" * 1000 + b'"}', True),
        (b'{"pad":"' + b"7" * 1000 + b'"}', True),
        (b"", False),
        (b"[]", False),
        (header("etc/passwd"), False),
        (as_json(b"plain"), False),
        (as_json("ä".encode(), signed=True), False),
        (blank(), False),
    ],
    ids=["small", "large", "digits", "empty", "list", "tar", "both", "both signed", "both blank"],
)
def test_content(content, is_signature):
    assert is_signature_content(content) is is_signature
