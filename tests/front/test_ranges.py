"""Parts of blobs: cut from verified content, or not complete, whatever the upstream sends and wherever it is kept."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError, ClientSession, web
from support.content import opened
from support.stack import listening, running, sign

from proxy.demo.images import image
from proxy.demo.registry import Registry, serve
from proxy.oci.digest import Digest

LARGE = image("ranges", layer_bytes=300_000, layers=1)
CONFIG, LAYER = LARGE.blobs[:2]
SIZE = len(LAYER)
# A content store with room, one that is too small for the layer, none.
STORES = {"kept": 100_000_000, "no room": 1000, "no store": None}
PARTS = {
    "the first byte": "bytes=0-0",
    "a start": "bytes=0-4999",
    "a middle": "bytes=100-5099",
    "all but the end": f"bytes=0-{SIZE - 2}",
    "all but the start": "bytes=1-",
    "the end": "bytes=200000-",
    "the last byte": f"bytes={SIZE - 1}-",
    "all": "bytes=0-",
}


def path(blob: bytes) -> str:
    return f"/v2/library/app/blobs/{Digest.of(blob)}"


def changed(at: int) -> bytes:
    wrong = bytearray(LAYER)
    wrong[at] ^= 1
    return bytes(wrong)


class Sends:
    """A registry whose layer is `content`: all of it, or the part that is asked for, once `go` is set."""

    def __init__(self, content: bytes, true: str) -> None:
        self.content, self.true = content, true
        self.asked: list[str | None] = []
        self.go = asyncio.Event()
        self.go.set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET" and request.path == path(LAYER):
            return await self._layer(request)
        async with ClientSession() as session, session.request(request.method, self.true + request.raw_path) as answer:
            headers = {name: answer.headers[name] for name in ("Docker-Content-Digest",) if name in answer.headers}
            body = await answer.read()
            return web.Response(status=answer.status, body=body, content_type=answer.content_type, headers=headers)

    async def _layer(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = request.headers.get("Range")
        self.asked.append(asked)
        start, last = 0, len(self.content) - 1
        response = web.StreamResponse()
        if asked is not None:
            first, _, end = asked.removeprefix("bytes=").partition("-")
            start, last = int(first), int(end or last)
            response.set_status(206)
            response.headers["Content-Range"] = f"bytes {start}-{last}/{len(self.content)}"
        response.headers["Content-Length"] = str(last + 1 - start)
        await response.prepare(request)
        await response.write(self.content[start : last + 1][:100_000])
        await self.go.wait()
        await response.write(self.content[start : last + 1][100_000:])
        return response


@asynccontextmanager
async def proxied(folder, content, room):
    made = Registry()
    LARGE.add_to(made, "library/app", "1")
    sign(made, "library/app", LARGE.media_type, LARGE.body)
    async with serve(made) as true:
        sends = Sends(content, true)
        async with listening(sends.handle) as url:
            with opened(folder, room or 1) as store:
                async with running(url, content=store if room is not None else None) as stack:
                    await stack.get("/v2/library/app/manifests/1", "HEAD")
                    stack.sends = sends
                    yield stack
                    sends.go.set()


async def complete(stack, **headers: str) -> tuple[int, bytes] | None:
    """Return status and body of an answer with content that ended as complete."""
    try:
        status, _, body = await stack.get(path(LAYER), **headers)
    except (ClientPayloadError, ClientConnectionError):
        return None
    return (status, body) if status in {200, 206} and body else None


@pytest.mark.parametrize("room", STORES.values(), ids=STORES)
@pytest.mark.parametrize("wanted", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("content", [changed(0), changed(-1), LAYER[:-1], LAYER + b"x"], ids=list("abcd"))
async def test_no_part_of_a_wrong_blob_is_complete(tmp_path, content, wanted, room):
    async with proxied(tmp_path, content, room) as stack:
        for _ in range(3):
            assert await complete(stack, Range=wanted) is None
            assert await complete(stack, Range=wanted, If_Range=f'"{Digest.of(LAYER)}"') is None
        assert await complete(stack) is None


@pytest.mark.parametrize("room", STORES.values(), ids=STORES)
@pytest.mark.parametrize("wanted", PARTS.values(), ids=PARTS)
async def test_its_twin_is(tmp_path, wanted, room):
    start, _, last = wanted.removeprefix("bytes=").partition("-")
    part = LAYER[int(start) : int(last or SIZE - 1) + 1]
    async with proxied(tmp_path, LAYER, room) as stack:
        # What no store can keep is verified by none before its end: a part within it is the whole blob then.
        verified = room == STORES["kept"] or not last
        assert await complete(stack, Range=wanted) == ((206, part) if verified else (200, LAYER))
        assert await complete(stack, Range=wanted, If_Range='"other"') == (200, LAYER)
        assert stack.sends.asked[0] is None  # from the first byte on


@pytest.mark.parametrize("room", STORES.values(), ids=STORES)
async def test_a_slow_blob_is_sent_from_where_a_client_resumes(tmp_path, monkeypatch, room):
    """Docker's classic store resumes so, waits for ever, and begins again from zero where it gets a 200."""
    monkeypatch.setattr("proxy.front.blobs.HEADER_SECONDS", 0.2)
    async with proxied(tmp_path, LAYER, room) as stack:
        stack.sends.go.clear()
        async with stack.ask(path(LAYER), Range="bytes=70000-") as response:
            assert response.status == 206
            stack.sends.go.set()
            assert await response.read() == LAYER[70_000:]


async def test_a_slow_blob_is_sent_whole_where_a_part_within_it_is_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr("proxy.front.blobs.HEADER_SECONDS", 0.2)
    async with proxied(tmp_path, LAYER, STORES["kept"]) as stack:
        stack.sends.go.clear()
        async with stack.ask(path(LAYER), Range="bytes=100-5099") as response:
            assert (response.status, response.headers.get("Content-Range")) == (200, None)
            stack.sends.go.set()
            assert await response.read() == LAYER
        assert await complete(stack, Range="bytes=100-5099") == (206, LAYER[100:5100])


@pytest.mark.parametrize("room", STORES.values(), ids=STORES)
async def test_a_blob_that_is_said_to_have_no_bytes_is_no_empty_one(tmp_path, room):
    """Of an empty body the head alone is complete."""
    made = Registry()
    body = LARGE.body.replace(f'"size":{SIZE}'.encode(), b'"size":0')
    assert body != LARGE.body
    LARGE.add_to(made, "library/app", "1")
    made.add_manifest("library/app", LARGE.media_type, body, "empty")
    sign(made, "library/app", LARGE.media_type, body)
    with opened(tmp_path, room or 1) as store:
        async with serve(made) as url, running(url, content=store if room is not None else None) as stack:
            await stack.get("/v2/library/app/manifests/empty", "HEAD")
            assert (await stack.get("/v2/docker.io" + path(LAYER)[3:]))[0] == 403
