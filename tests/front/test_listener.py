"""How many connections a listener bears, and for how long."""

import asyncio
import socket
import sys
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
async def listening(connections_max: int, server: Listener | None = None) -> AsyncIterator[int]:
    runner = web.ServerRunner(server or Listener(hello, connections_max), shutdown_timeout=0.1)
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


@pytest.mark.parametrize("turns", range(6))
async def test_who_has_just_connected_is_answered_by_a_listener_that_drains(turns):
    """Whatever the server has got to of the connection when it begins."""
    server = Listener(hello, 2)
    async with listening(2, server) as port, asyncio.TaskGroup() as tasks:
        client = await connect(port)
        for _ in range(turns):
            await asyncio.sleep(0)
        draining = tasks.create_task(server.drain(20, begin=0.5))
        await asyncio.sleep(0.05)
        assert await client.is_answered()
        await draining
        await client.close()


@pytest.mark.parametrize("requests", [0, 1])
@pytest.mark.parametrize("turns", range(6))
async def test_an_idle_connection_is_closed_by_a_listener_that_drains(turns, requests):
    server = Listener(hello, 2)
    async with listening(2, server) as port, asyncio.timeout(20):
        client = await connect(port)
        for _ in range(requests):
            assert await client.is_answered()
        while not server.connections:  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.drain(20, begin=0)
        assert await client.reader.read() == b""
        await client.close()


async def test_what_has_begun_is_sent_to_its_end_by_a_listener_that_drains():
    """To a client who reads slowly: more than the buffers between them."""
    asked, body = asyncio.Event(), b"x" * 8_000_000

    async def answer(_: web.BaseRequest) -> web.Response:
        asked.set()
        await asyncio.sleep(0.05)
        return web.Response(body=body)

    server = Listener(answer, 2)
    async with listening(2, server) as port, asyncio.TaskGroup() as tasks:
        client = await connect(port)
        client.writer.write(ASK)
        await asked.wait()
        draining = tasks.create_task(server.drain(20, begin=0))
        await asyncio.sleep(0.3)
        assert not draining.done()
        assert (await client.reader.read()).endswith(body)
        await draining
        await client.close()


async def test_a_listener_drains_so_long_at_most():
    asked = asyncio.Event()

    async def never(_: web.BaseRequest) -> web.Response:
        asked.set()
        return await asyncio.get_running_loop().create_future()

    server = Listener(never, 2)
    async with listening(2, server) as port, asyncio.timeout(20):
        client = await connect(port)
        client.writer.write(ASK)
        await asked.wait()
        await server.drain(0.1, begin=0)
        assert server.connections
    assert await client.reader.read() == b""
    await client.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a connection for this")
async def test_a_client_that_takes_nothing_is_not_waited_for_for_ever(monkeypatch):
    """It goes on to acknowledge that it is there, so that nothing but a limit ends the connection."""
    monkeypatch.setattr(listener, "CLIENT_STALL_SECONDS", 0.5)

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(body=b"x" * 8_000_000)

    server = Listener(answer, 2)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(0)
        async with listening(2, server) as port, asyncio.timeout(20):
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
            while not server.connections:  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(0)
            client.send(ASK)
            while server.connections:  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(0.05)
