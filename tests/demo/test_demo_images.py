"""The demo's images are real ones: what their descriptors say is so."""

import gzip
import io
import json
import tarfile

import aiohttp
import pytest

from proxy.demo.images import image, index
from proxy.demo.registry import Registry, serve
from proxy.oci.digest import Digest
from proxy.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Manifest


@pytest.mark.parametrize(("docker", "kind"), [(False, OCI_MANIFEST), (True, DOCKER_MANIFEST)])
def test_image_is_whole(docker, kind):
    made = image("web", docker=docker, layers=3, layer_bytes=100)
    manifest = Manifest.parse(made.digest, made.media_type, made.body)
    assert manifest.media_type == kind
    assert [entry.check(blob) for entry, blob in zip(manifest.blobs, made.blobs, strict=True)] == list(made.blobs)
    archives = [gzip.decompress(blob) for blob in made.blobs[1:]]
    assert json.loads(made.blobs[0])["rootfs"]["diff_ids"] == [str(Digest.of(archive)) for archive in archives]
    for archive in archives:
        with tarfile.open(fileobj=io.BytesIO(archive)) as layer:
            assert [member.size for member in layer] == [100]


@pytest.mark.parametrize(("docker", "kind"), [(False, OCI_INDEX), (True, DOCKER_LIST)])
def test_index_lists_its_images(docker, kind):
    images = [image("web", docker=docker, architecture=name) for name in ("amd64", "arm64")]
    made = index(images, docker=docker)
    manifest = Manifest.parse(made.digest, made.media_type, made.body)
    assert manifest.media_type == kind
    assert [child.digest for child in manifest.children] == [child.digest for child in images]


async def test_adding_an_index_adds_all_below_it():
    made = index([image("web", architecture=name) for name in ("amd64", "arm64")])
    registry = Registry()
    assert made.add_to(registry, "app", "v1") == made.digest
    paths = [f"manifests/{reference}" for reference in ("v1", made.digest, *(child.digest for child in made.children))]
    paths += [f"blobs/{Digest.of(blob)}" for child in made.children for blob in child.blobs]
    async with serve(registry) as url, aiohttp.ClientSession(url) as session:
        for path in paths:
            async with session.get(f"/v2/app/{path}") as response:
                assert response.status == 200


def test_the_seed_decides():
    assert image("a") == image("a")
    assert image("a").digest != image("b").digest
