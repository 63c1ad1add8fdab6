"""A file over TLS: what is sent is what is asked for, and a client that leaves ends it without a word in the log."""

import asyncio
import os
import ssl
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from support.tls import make_tls
from test_accepting import ASK, serving

from proxy.front import sending
from proxy.front.sending import READ_BYTES, Sending

CONTENT = os.urandom(4096) * (3 * READ_BYTES // 4096) + b"end"


class Seen:
    def __init__(self):
        self.bytes, self.cuts, self.done = 0, [], asyncio.Event()

    def sent(self, kind, size):
        assert kind == "blobs"
        self.bytes += size

    def cut(self, image, error):
        self.cuts.append(str(error))


@asynccontextmanager
async def sending_file(folder, part, size):
    """Serve this part of a file of so many bytes; yields a connection and what is seen."""
    tls, seen = make_tls(folder), Seen()
    path = folder / "blob"
    path.write_bytes(CONTENT[:size])

    async def handle(request):
        response = web.StreamResponse(headers={"Content-Length": str(len(part))})
        with path.open("rb") as file:
            await Sending(request, "image", seen).file(response, file, part)
        seen.done.set()
        return response

    async with serving(4, tls=tls.context, handle=handle) as served:
        client = await served.connect(tls=ssl.create_default_context(cafile=tls.certificate))
        client.writer.write(ASK)
        yield client, seen


async def read_exactly(client, size):
    async with asyncio.timeout(20):
        await client.reader.readuntil(b"\r\n\r\n")
        return await client.reader.readexactly(size)


@pytest.mark.parametrize("how", ["from memory", "from disk", "without the system's help"])
@pytest.mark.parametrize(
    "part",
    [
        range(len(CONTENT)),
        range(1),
        range(7, READ_BYTES + 7),
        range(READ_BYTES, 2 * READ_BYTES),
        range(len(CONTENT) - 2, len(CONTENT)),
    ],
    ids=str,
)
async def test_the_part_that_is_asked_for_is_sent(tmp_path, monkeypatch, part, how):
    if how == "from disk":
        monkeypatch.setattr(sending.os, "preadv", lambda *_: (_ for _ in ()).throw(BlockingIOError))
    if how == "without the system's help":
        monkeypatch.setattr(sending, "_NO_WAIT", None)
    async with sending_file(tmp_path, part, len(CONTENT)) as (client, seen):
        assert await read_exactly(client, len(part)) == CONTENT[part.start : part.stop]
        await seen.done.wait()
        assert (seen.bytes, seen.cuts) == (len(part), [])


@pytest.mark.parametrize("size", [0, READ_BYTES, READ_BYTES + 1])
async def test_a_file_that_is_shorter_than_it_was_never_ends_as_complete(tmp_path, size):
    async with sending_file(tmp_path, range(len(CONTENT)), size) as (client, seen):
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ssl.SSLError)):
            await read_exactly(client, len(CONTENT))
        assert seen.cuts == ["a file of the content store is shorter than it was"]


async def test_a_client_that_leaves_ends_it_and_fills_no_log(tmp_path, caplog, monkeypatch):
    """asyncio warns of every write after the end, and sees the end only where others have their turn."""
    monkeypatch.setattr(sending, "READ_BYTES", 4096)
    async with sending_file(tmp_path, range(len(CONTENT)), len(CONTENT)) as (client, seen):
        await client.reader.readuntil(b"\r\n\r\n")
        client.close()
        async with asyncio.timeout(20):
            await seen.done.wait()
        assert seen.cuts == []
    assert len(caplog.records) <= 1
