"""What is served without a verdict of its own, and what only looks like it: each attack beside its honest twin."""

import base64
import json
from typing import Any

import pytest
from support.artifacts import CONFIG_TYPE, PAYLOAD, PAYLOAD_TYPE, config, of, signature
from support.stack import running
from support.tar_text import as_json, blank

from proxy.demo.images import image
from proxy.demo.registry import Registry, serve

NAME = "library/app"
EVIL = image("evil")
RUNS = config(PAYLOAD, config={"Cmd": ["/attack"]})


def registry_with(document: dict[str, Any], *blobs: bytes) -> Registry:
    """A registry that has this manifest and these blobs beside an unsigned image."""
    made = Registry()
    EVIL.add_to(made, NAME)
    for blob in (b"{}", PAYLOAD, *blobs):
        made.add_blob(NAME, blob)
    made.add_manifest(NAME, document["mediaType"], json.dumps(document).encode(), "it")
    return made


async def status_of(document: dict[str, Any], *blobs: bytes) -> int:
    """Push the manifest with these blobs, and ask for it by tag."""
    async with serve(registry_with(document, *blobs)) as url, running(url) as stack:
        status, _, _ = await stack.get(f"/v2/{NAME}/manifests/it")
        return status


# Members that Go reads as others


@pytest.mark.parametrize("name", ["Layers", "LAYERS", "layer\u017f", None])
async def test_layers_by_another_spelling(name):
    others = {name: json.loads(EVIL.body)["layers"]} if name else {}
    assert await status_of(signature() | others) == (307 if name else 200)


# The closed shape


@pytest.mark.parametrize(
    ("members", "blobs", "status"),
    [
        ({"config": of(CONFIG_TYPE, config(PAYLOAD))}, [config(PAYLOAD)], 200),
        ({"config": of(CONFIG_TYPE, EVIL.blobs[0])}, [], 307),
        ({"config": of(CONFIG_TYPE, RUNS)}, [RUNS], 307),
        ({"layers": [of(PAYLOAD_TYPE, PAYLOAD, urls=["https://attack.example/layer"])]}, [], 307),
        ({"layers": [of(PAYLOAD_TYPE, PAYLOAD, data=base64.b64encode(PAYLOAD).decode())]}, [], 307),
        ({"layers": [of(PAYLOAD_TYPE, PAYLOAD, platform={"os": "linux", "architecture": "amd64"})]}, [], 307),
        ({"layers": [of(PAYLOAD_TYPE, PAYLOAD, annotations={"Layers": "x"})]}, [], 200),
        ({"layers": [of(PAYLOAD_TYPE, PAYLOAD), of(PAYLOAD_TYPE, as_json(b"etc/x"))]}, [as_json(b"etc/x")], 307),
        ({"layers": [of(PAYLOAD_TYPE, PAYLOAD), of(PAYLOAD_TYPE, blank())]}, [blank()], 307),
        ({"x-sealgate": True}, [], 307),
    ],
)
async def test_only_the_closed_shape_is_served(members, blobs, status):
    assert await status_of(signature(**members), *blobs) == status


async def test_each_artifact_that_is_served_is_told_of():
    async with serve(registry_with(signature())) as url, running(url) as stack:
        for method in ("GET", "HEAD", "GET"):
            assert (await stack.get(f"/v2/{NAME}/manifests/it", method))[0] == 200
        assert stack.watch.artifacts == [(f"docker.io/{NAME}:it", "signature")] * 2
        assert ("warm", "GET", 200) not in stack.watch.answers
