"""What is served without a verdict of its own, and what only looks like it: each attack beside its honest twin."""

import base64
import json
from typing import Any

import pytest
from support.artifacts import CONFIG_TYPE, PAYLOAD, PAYLOAD_TYPE, SPDX, SPDX_TYPE, config, document, of, signature
from support.stack import running, sign
from support.tar_text import as_json, blank

from proxy.demo.images import OCI_LAYER, Image, image
from proxy.demo.registry import Registry, serve
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_INDEX, OCI_MANIFEST

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


# Documents about images


GOOD = image("good")
FALLBACK = f"sha256-{GOOD.digest.hex}"


def about(one: Image, media_type: str, content: bytes) -> bytes:
    return json.dumps(document(of(one.media_type, one.body), media_type, content)).encode()


def registry_of_documents(*documents: tuple[bytes, bytes], referrers_api: bool = True) -> Registry:
    """A signed and an unsigned image, with documents and the list of them under the fallback tag of the signed one."""
    made = Registry(referrers_api=referrers_api)
    GOOD.add_to(made, NAME, "good")
    EVIL.add_to(made, NAME, "evil")
    sign(made, NAME, GOOD.media_type, GOOD.body, kind="classic")
    made.add_blob(NAME, b"{}")
    for body, blob in documents:
        made.add_blob(NAME, blob)
        made.add_manifest(NAME, OCI_MANIFEST, body)
    entries = [of(OCI_MANIFEST, body, artifactType="a/b") for body, _ in documents]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    made.add_manifest(NAME, OCI_INDEX, json.dumps(index).encode(), FALLBACK)
    return made


@pytest.mark.parametrize("referrers_api", [True, False])
async def test_an_sbom_of_an_accepted_image_is_read_as_clients_do(referrers_api):
    sbom = about(GOOD, SPDX_TYPE, SPDX)
    registry = registry_of_documents((sbom, SPDX), referrers_api=referrers_api)
    async with serve(registry) as url, running(url) as stack:
        listed = json.loads((await stack.get(f"/v2/{NAME}/referrers/{GOOD.digest}"))[2])["manifests"]
        assert str(Digest.of(sbom)) in [one["digest"] for one in listed]
        for method in ("HEAD", "GET"):
            status, response, body = await stack.get(f"/v2/{NAME}/manifests/{FALLBACK}", method)
            assert status == 200
        index = response.headers["Docker-Content-Digest"]
        assert (await stack.get(f"/v2/{NAME}/manifests/{index}"))[::2] == (200, body)
        assert (await stack.get(f"/v2/{NAME}/manifests/{Digest.of(sbom)}"))[::2] == (200, sbom)
        for blob in (SPDX, b"{}"):
            assert (await stack.get(f"/v2/{NAME}/blobs/{Digest.of(blob)}"))[::2] == (200, blob)
        repository = f"docker.io/{NAME}"
        assert stack.watch.artifacts == [
            (f"{repository}:{FALLBACK}", "referrers_tag"),
            (f"{repository}@{index}", "referrers_tag"),
            (f"{repository}@{Digest.of(sbom)}", "referrer"),
        ]


@pytest.mark.parametrize(
    ("body", "blob"),
    [
        (about(EVIL, SPDX_TYPE, SPDX), SPDX),
        (about(GOOD, SPDX_TYPE, as_json(b"etc/x")), as_json(b"etc/x")),
        (about(GOOD, "text/plain", EVIL.blobs[1]), EVIL.blobs[1]),
        (about(GOOD, OCI_LAYER, EVIL.blobs[1]), EVIL.blobs[1]),
        (about(GOOD, "application/octet-stream", SPDX), SPDX),
        (
            EVIL.body.replace(
                b'{"config"', b'{"subject":' + json.dumps(of(OCI_MANIFEST, GOOD.body)).encode() + b',"config"'
            ),
            SPDX,
        ),
    ],
    ids=["of a refused image", "an archive", "a layer as text", "a layer", "anything", "an image with a subject"],
)
async def test_anything_else_that_refers_to_an_image_is_refused(body, blob):
    async with serve(registry_of_documents((body, blob))) as url, running(url) as stack:
        assert (await stack.get(f"/v2/{NAME}/manifests/{FALLBACK}"))[0] == 200
        assert (await stack.get(f"/v2/{NAME}/manifests/{Digest.of(body)}"))[0] == 307
        assert (await stack.get(f"/v2/{NAME}/blobs/{Digest.of(blob)}"))[0] == 307
