"""The pulls that the demonstration makes itself: each style stops where its client stops, and says what it shows."""

import json
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from proxy.demo.clients import Style, pull
from proxy.demo.images import image, index
from proxy.demo.registry import Registry, serve
from proxy.oci.manifest import DOCKER_LIST

ONE = image("one")
MANY = index([image("many", architecture="arm64"), image("many", architecture="amd64")])
# The explicit name has the registry in its path, which an upstream itself has not.
UPSTREAM_STYLES = [Style.DOCKER, Style.CONTAINERD, Style.PODMAN]


@asynccontextmanager
async def answering(handler):
    async def handle(request):
        return handler(request)

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("style", UPSTREAM_STYLES)
@pytest.mark.parametrize(("content", "blobs"), [(ONE, 3), (MANY, 3)])
async def test_a_pull_ends_with_the_tags_digest_and_every_blob(style, content, blobs):
    registry = Registry()
    content.add_to(registry, "demo/app", "1")
    async with serve(registry) as url, aiohttp.ClientSession(auto_decompress=False) as session:
        got = await pull(session, url, style, "demo/app", "1")
    assert (got.digest, got.message, got.blobs) == (str(content.digest), "", blobs)
    assert (registry.requests[0][0] == "HEAD") is (style is not Style.PODMAN)


async def test_the_explicit_name_has_the_registry_in_its_path():
    paths = []

    def handler(request):
        paths.append(request.path)
        return web.json_response({"errors": [{"code": "DENIED", "message": "no"}]}, status=403)

    async with answering(handler) as url, aiohttp.ClientSession() as session:
        got = await pull(session, url, Style.EXPLICIT, "demo/app", "1")
    assert (got.digest, got.message) == (None, "no")
    assert paths == ["/v2/docker.io/demo/app/manifests/1"] * 2


@pytest.mark.parametrize(
    ("style", "answer", "message"),
    [
        (Style.DOCKER, {"status": 307, "headers": {"Location": "refused: no"}}, "refused: no"),
        (Style.CONTAINERD, {"status": 300, "reason": "by rule"}, "unexpected status from HEAD request: 300 by rule"),
        (Style.PODMAN, {"headers": {"Content-Type": DOCKER_LIST}, "body": b"refused by rule"}, "refused by rule"),
        (Style.PODMAN, {"body": b'{"schemaVersion":1}'}, '{"schemaVersion":1}'),
        (Style.PODMAN, {"body": b"[]"}, "[]"),
    ],
)
async def test_each_style_shows_what_its_client_shows(style, answer, message):
    async with answering(lambda _: web.Response(**answer)) as url, aiohttp.ClientSession() as session:
        got = await pull(session, url, style, "demo/app", "1")
    assert (got.digest, got.message) == (None, message)


@pytest.mark.parametrize("style", UPSTREAM_STYLES)
async def test_other_bytes_than_the_digests_are_not_taken(style):
    other = json.dumps({"schemaVersion": 2, "note": "other"}).encode()

    def handler(request):
        digest = {"Docker-Content-Digest": str(ONE.digest)}
        by_digest = "sha256:" in request.path
        body = other if by_digest else ONE.body
        return web.Response(body=body, headers=digest if request.method == "HEAD" else {})

    async with answering(handler) as url, aiohttp.ClientSession() as session:
        got = await pull(session, url, style, "demo/app", "1")
    assert got.digest is None
    assert "unexpected digest" in got.message


async def test_a_refused_blob_ends_the_pull():
    def handler(request):
        if "/blobs/" in request.path:
            return web.Response(status=307, headers={"Location": "refused: the blob"})
        return web.Response(body=ONE.body, headers={"Docker-Content-Digest": str(ONE.digest)})

    async with answering(handler) as url, aiohttp.ClientSession() as session:
        got = await pull(session, url, Style.DOCKER, "demo/app", "1")
    assert got.digest is None
    assert got.message.endswith("refused: the blob")
