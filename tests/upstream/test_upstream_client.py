"""What the client makes of good registries: every operation against the embedded one."""

import json

import pytest
from support.upstreams import REPOSITORY, upstream_at

from proxy.demo.images import descriptor, image, index
from proxy.demo.registry import Registry, serve
from proxy.formats.api import Referrers
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError, NotFoundError
from proxy.oci.manifest import OCI_MANIFEST, Descriptor
from proxy.oci.reference import Reference

IMAGE = image("web")
DOCKER = image("web", docker=True)
INDEX = index([image("web", architecture=name) for name in ("amd64", "arm64")])
BLOB = IMAGE.blobs[1]
MISSING = Digest.of(b"missing")
NAME = REPOSITORY.path


def registry_with(made=IMAGE, **options):
    registry = Registry(**options)
    made.add_to(registry, NAME, "v1")
    return registry


def by_tag(tag="v1"):
    return Reference(REPOSITORY, tag=tag)


def by_digest(digest):
    return Reference(REPOSITORY, digest=digest)


def described(content, size=None):
    return Descriptor("application/octet-stream", Digest.of(content), len(content) if size is None else size)


@pytest.mark.parametrize("made", [IMAGE, DOCKER, INDEX], ids=["oci", "docker", "index"])
@pytest.mark.parametrize("reference", ["tag", "digest", "both"])
async def test_manifest(made, reference):
    wanted = {
        "tag": by_tag(),
        "digest": by_digest(made.digest),
        "both": Reference(REPOSITORY, "other", made.digest),
    }[reference]
    async with serve(registry_with(made)) as url, upstream_at(url) as upstream:
        manifest = await upstream.manifest(wanted)
    assert (manifest.digest, manifest.media_type, manifest.body) == (made.digest, made.media_type, made.body)


@pytest.mark.parametrize("made", [IMAGE, DOCKER, INDEX], ids=["oci", "docker", "index"])
async def test_resolve_asks_with_head(made):
    registry = registry_with(made)
    async with serve(registry) as url, upstream_at(url) as upstream:
        assert await upstream.resolve(by_tag()) == made.digest
    assert registry.requests == [("HEAD", f"/v2/{NAME}/manifests/v1")]


async def test_what_is_not_there_is_not_found():
    async with serve(registry_with()) as url, upstream_at(url) as upstream:
        with pytest.raises(NotFoundError, match=r"registry\.test has no manifest team/app:v2"):
            await upstream.manifest(by_tag("v2"))
        with pytest.raises(NotFoundError):
            await upstream.resolve(by_tag("v2"))
        with pytest.raises(NotFoundError, match=f"no blob team/app@{MISSING}"):
            await upstream.head_blob(REPOSITORY, MISSING)
        with pytest.raises(NotFoundError):
            await upstream.blob(REPOSITORY, described(b"missing"), 100)


@pytest.mark.parametrize(
    ("named", "limit", "good"),
    [
        (described(BLOB), len(BLOB), True),
        (described(BLOB), len(BLOB) - 1, False),
        (described(BLOB, len(BLOB) + 1), 10_000, False),
        (described(BLOB, len(BLOB) - 1), 10_000, False),
    ],
    ids=["whole", "over the limit", "shorter than said", "longer than said"],
)
async def test_whole_blob(named, limit, good):
    async with serve(registry_with()) as url, upstream_at(url) as upstream:
        if good:
            assert await upstream.blob(REPOSITORY, named, limit) == BLOB
        else:
            with pytest.raises(CorruptError):
                await upstream.blob(REPOSITORY, named, limit)


@pytest.mark.parametrize(
    ("range_header", "status", "part", "content_range"),
    [
        (None, 200, slice(None), None),
        ("bytes=5-", 206, slice(5, None), f"bytes 5-{len(BLOB) - 1}/{len(BLOB)}"),
        ("bytes=0-9", 206, slice(0, 10), f"bytes 0-9/{len(BLOB)}"),
        (f"bytes={len(BLOB)}-", 416, slice(0, 0), f"bytes */{len(BLOB)}"),
    ],
)
async def test_open_blob(range_header, status, part, content_range):
    async with (
        serve(registry_with()) as url,
        upstream_at(url) as upstream,
        upstream.open_blob(REPOSITORY, Digest.of(BLOB), range_header=range_header) as stream,
    ):
        body = b"".join([chunk async for chunk in stream.chunks])
    assert body == BLOB[part]
    assert (stream.status, stream.size, stream.content_range) == (status, len(body), content_range)


async def test_large_blob_comes_in_chunks_and_may_be_left():
    blob = bytes(8 * 1024 * 1024)
    registry = Registry()
    digest = registry.add_blob(NAME, blob)
    async with serve(registry) as url, upstream_at(url) as upstream:
        async with upstream.open_blob(REPOSITORY, digest) as stream:
            assert len(await anext(stream.chunks)) < len(blob)
        async with upstream.open_blob(REPOSITORY, digest) as stream:
            assert sum([len(chunk) async for chunk in stream.chunks]) == len(blob)


async def test_head_blob():
    async with serve(registry_with()) as url, upstream_at(url) as upstream:
        assert await upstream.head_blob(REPOSITORY, Digest.of(BLOB)) == len(BLOB)


@pytest.mark.parametrize("page_size", [None, 1, 2])
async def test_referrers_of_all_pages(page_size):
    registry = registry_with(page_size=page_size)
    subject = descriptor(IMAGE.media_type, IMAGE.body)
    added = [
        registry.add_manifest(
            NAME,
            OCI_MANIFEST,
            json.dumps(
                {"artifactType": "application/vnd.example", "subject": subject, "annotations": {"n": n}}
            ).encode(),
        )
        for n in "abc"
    ]
    async with serve(registry) as url, upstream_at(url) as upstream:
        found = await upstream.referrers(REPOSITORY, IMAGE.digest)
        assert await upstream.referrers(REPOSITORY, MISSING) == Referrers()
    assert [entry.digest for entry in found.descriptors] == added
    assert found.descriptors[0].artifact_type == "application/vnd.example"


async def test_no_referrers_api():
    async with serve(registry_with(referrers_api=False)) as url, upstream_at(url) as upstream:
        with pytest.raises(NotFoundError, match="has no referrers API"):
            await upstream.referrers(REPOSITORY, IMAGE.digest)


async def test_tags_page_by_page():
    registry = registry_with()
    for tag in ("v2", "v3"):
        IMAGE.add_to(registry, NAME, tag)
    async with serve(registry) as url, upstream_at(url) as upstream:
        assert await upstream.tags(REPOSITORY) == (["v1", "v2", "v3"], None)
        assert await upstream.tags(REPOSITORY, 2) == (["v1", "v2"], "v2")
        assert await upstream.tags(REPOSITORY, 2, "v2") == (["v3"], None)


async def test_large_content_is_read_beside_the_event_loop(monkeypatch):
    monkeypatch.setattr("proxy.upstream.answers.INLINE_BYTES_MAX", 0)
    async with serve(registry_with()) as url, upstream_at(url) as upstream:
        assert (await upstream.manifest(by_tag())).digest == IMAGE.digest
        assert await upstream.blob(REPOSITORY, described(BLOB), len(BLOB)) == BLOB
        assert await upstream.tags(REPOSITORY) == (["v1"], None)
        assert await upstream.referrers(REPOSITORY, IMAGE.digest) == Referrers()
        with pytest.raises(CorruptError):
            await upstream.blob(REPOSITORY, described(BLOB, len(BLOB) + 1), 10_000)
