"""Manifests of signatures as signing tools write them, to be changed member by member."""

import json
from typing import Any

from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_MANIFEST, Manifest

EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
PAYLOAD = b'{"critical":{"type":"cosign container image signature"}}'
SPDX_TYPE = "application/spdx+json"
SPDX = b'{"spdxVersion":"SPDX-2.3","packages":[]}'
NEVER = "0001-01-01T00:00:00Z"


def of(media_type: str, content: bytes, **members: Any) -> dict[str, Any]:
    """The descriptor of a content."""
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)} | members


def signature(**members: Any) -> dict[str, Any]:
    """A signature's manifest, with other members, or more; one that is None is left out."""
    made = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": of(EMPTY_TYPE, b"{}"),
        "layers": [of(PAYLOAD_TYPE, PAYLOAD, annotations={"dev.cosignproject.cosign/signature": "MEUC"})],
    } | members
    return {name: value for name, value in made.items() if value is not None}


def document(image: dict[str, Any], media_type: str, content: bytes, **members: Any) -> dict[str, Any]:
    """The manifest of a document about an image, as `oras attach` writes it."""
    made = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": media_type,
        "config": of(EMPTY_TYPE, b"{}", data="e30="),
        "layers": [of(media_type, content, annotations={"org.opencontainers.image.title": "sbom"})],
        "subject": image,
        "annotations": {"org.opencontainers.image.created": NEVER},
    } | members
    return {name: value for name, value in made.items() if value is not None}


def config(*layers: bytes, **members: Any) -> bytes:
    """The config that cosign writes beside these layers, with other members, or more."""
    made = {
        "architecture": "",
        "created": NEVER,
        "history": [{"created": NEVER} for _ in layers],
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(layer)) for layer in layers]},
        "config": {},
    } | members
    return json.dumps(made).encode()


def artifact_body(*payloads: bytes, **members: Any) -> bytes:
    """A signature's manifest with these payloads."""
    return json.dumps(signature(layers=[of(PAYLOAD_TYPE, one) for one in payloads], **members)).encode()


def parsed(document: dict[str, Any]) -> Manifest:
    """Read it as if an upstream had served it."""
    body = json.dumps(document).encode()
    return Manifest.parse(Digest.of(body), document["mediaType"], body)
