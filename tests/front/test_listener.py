"""How many connections a listener bears, and for how long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from proxy.front import listener
from proxy.front.listener import Listener

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def hello(_: web.BaseRequest) -> web.Response:
    return web.Response(body=b"hello")


@asynccontextmanager
async def listening(connections_max: int) -> AsyncIterator[int]:
    runner = web.ServerRunner(Listener(hello, connections_max), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def is_answered(self) -> bool:
        with suppress(ConnectionError):
            self.writer.write(ASK)
            return b"hello" in await self.reader.read(1000)
        return False

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


async def connect(port: int) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", port))


async def test_a_connection_too_many_is_closed_and_the_others_stay():
    async with listening(2) as port:
        first, second = await connect(port), await connect(port)
        assert await first.is_answered()
        assert await second.is_answered()
        third = await connect(port)
        assert not await third.is_answered()
        assert await first.is_answered()
        await first.close()
        again = await connect(port)
        while not await again.is_answered():  # until the first has been counted out
            await again.close()
            again = await connect(port)
        for one in (second, third, again):
            await one.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", ASK[:-2], ASK, ASK + b"GET /"], ids=len)
async def test_a_connection_without_a_whole_request_is_closed(monkeypatch, sent):
    """A head that never ends, or none at all, holds no connection for ever."""
    monkeypatch.setattr(listener, "IDLE_SECONDS", 0.05)
    async with listening(2) as port:
        client = await connect(port)
        client.writer.write(sent)
        answer = await client.reader.read()  # until it is closed
        assert (b"hello" in answer) is sent.startswith(ASK)
        await client.close()
