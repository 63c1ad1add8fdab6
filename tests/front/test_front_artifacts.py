"""What is served without a verdict of its own, and what only looks like it: each attack beside its honest twin."""

import json
from typing import Any

import pytest
from support.stack import running

from proxy.demo.images import descriptor, image
from proxy.demo.registry import Registry, serve
from proxy.oci.manifest import OCI_MANIFEST

NAME = "library/app"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
PAYLOAD = b'{"critical":{"type":"cosign container image signature"}}'
EVIL = image("evil")


def manifest(**members: Any) -> dict[str, Any]:
    """A signature artifact; `members` come after its own, as in a document that is extended."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(EMPTY_TYPE, b"{}"),
        "layers": [descriptor(PAYLOAD_TYPE, PAYLOAD)],
    } | members


async def status_of(document: dict[str, Any], *blobs: bytes) -> int:
    """Push the manifest with these blobs beside an unsigned image, and ask for it by tag."""
    registry = Registry()
    EVIL.add_to(registry, NAME)
    for blob in (b"{}", PAYLOAD, *blobs):
        registry.add_blob(NAME, blob)
    registry.add_manifest(NAME, OCI_MANIFEST, json.dumps(document).encode(), "it")
    async with serve(registry) as url, running(url) as stack:
        status, _, _ = await stack.get(f"/v2/{NAME}/manifests/it")
        return status


# Members that Go reads as others


@pytest.mark.parametrize("name", ["Layers", "LAYERS", "layer\u017f", "x-layers", "org.example.layers"])
async def test_layers_by_another_spelling(name):
    document = manifest(**{name: json.loads(EVIL.body)["layers"]})
    assert await status_of(document) == (307 if name.casefold() == "layers" else 200)
