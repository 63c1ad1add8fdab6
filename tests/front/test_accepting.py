"""Connections are counted from accept, newcomers displace who asks nothing, and no flood fills the log."""

import asyncio
import errno
import socket
import ssl
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web
from support.tls import make_tls

from proxy.front import accepting
from proxy.front.accepting import Acceptor
from proxy.front.listener import Listener

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Seen:
    """An observer that counts."""

    def __init__(self):
        self.why, self.failures = [], []

    def dropped(self, why):
        self.why.append(why)

    def failed(self, path, error):
        self.failures.append(error)


class Served:
    """A listener that holds every request for /held until `free` is set."""

    def __init__(self, connections_max, port, handle=None):
        self.port, self.seen = port, Seen()
        self.listener = Listener(handle or self.handle, connections_max, observer=self.seen)
        self.free = asyncio.Event()
        self.clients = []

    async def handle(self, request):
        if request.raw_path == "/held":
            await self.free.wait()
        return web.Response(body=b"hello")

    async def connect(self, *, tls=None):
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, ssl=tls))
        self.clients.append(client)
        return client

    def silent(self):
        """Connect and say nothing."""
        client = socket.create_connection(("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def until(self, condition):
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(0.01)


class Client:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def ask(self, content=ASK):
        with suppress(ConnectionError):
            self.writer.write(content)
            return b"hello" in await self.reader.read(1000)
        return False

    def close(self):
        self.writer.transport.abort()


@asynccontextmanager
async def serving(connections_max, *, tls=None, wrap=lambda one: one, handle=None):
    listening = socket.create_server(("127.0.0.1", 0))
    served = Served(connections_max, listening.getsockname()[1], handle)
    async with asyncio.TaskGroup() as tasks:
        acceptor = Acceptor(served.listener, [wrap(listening)], tasks, tls=tls, observer=served.seen)
        served.acceptor = acceptor
        acceptor.start(1024)
        try:
            yield served
        finally:
            served.free.set()
            for client in served.clients:
                client.close()
            acceptor.stop()
            await served.listener.shutdown(0.1)


async def test_a_newcomer_takes_the_place_of_who_never_asked():
    async with serving(3) as served:
        asked = await served.connect()
        assert await asked.ask()
        silent = [await served.connect() for _ in range(2)]
        await served.until(lambda: len(served.listener.connections) == 3)
        newcomers = [await served.connect() for _ in range(2)]
        assert [await one.ask() for one in newcomers] == [True, True]
        assert [await one.reader.read() for one in silent] == [b"", b""]
        assert await asked.ask()
        assert served.seen.why == ["limit", "limit"]


async def test_who_waits_for_an_answer_keeps_its_place_and_newcomers_wait():
    """In the kernel's queue, for a client that is sent away asks another registry."""
    async with serving(2) as served, asyncio.TaskGroup() as tasks:
        busy = [await served.connect() for _ in range(2)]
        asking = [tasks.create_task(one.ask(ASK.replace(b"/ ", b"/held "))) for one in busy]
        await served.until(lambda: [one.pending for one in served.listener.connections] == [1, 1])
        newcomer = await served.connect()
        answer = tasks.create_task(newcomer.ask())
        await served.until(lambda: "full" in served.seen.why)
        assert not answer.done()
        served.free.set()
        assert await asyncio.gather(*asking) == [True, True]
        assert await answer


async def test_half_a_head_holds_no_place():
    async with serving(2) as served:
        halves = [await served.connect() for _ in range(2)]
        for one in halves:
            one.writer.write(ASK[:-2])
        await served.until(lambda: len(served.listener.connections) == 2)
        assert await (await served.connect()).ask()


@pytest.fixture
def tls(tmp_path):
    return make_tls(tmp_path)


def trusting(tls):
    return ssl.create_default_context(cafile=tls.certificate)


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01\x02\x00\x01\x00", b"\x16\x03"], ids=["nothing", "hello", "half"])
async def test_a_handshake_that_does_not_go_on_is_counted_and_ends(monkeypatch, tls, first):
    monkeypatch.setattr(accepting, "HANDSHAKE_SECONDS", 0.3)
    async with serving(3, tls=tls.context) as served:
        halves = [served.silent() for _ in range(3)]
        for one in halves:
            one.sendall(first)
        await served.until(lambda: len(served.acceptor.opening) == 3)
        assert not served.listener.connections
        await served.until(lambda: not served.acceptor.opening)
        assert served.seen.why == ["handshake"] * 3
        assert await (await served.connect(tls=trusting(tls))).ask()


async def test_half_handshakes_are_no_more_than_the_limit_and_keep_nobody_out(tls):
    async with serving(4, tls=tls.context) as served:
        client = await served.connect(tls=trusting(tls))
        assert await client.ask()
        for _ in range(20):
            served.silent()
        await served.until(lambda: served.seen.why.count("limit") >= 17)
        assert len(served.acceptor.opening) + len(served.listener.connections) <= 4
        assert await (await served.connect(tls=trusting(tls))).ask()


async def test_a_flood_of_handshakes_displaces_itself(tls, monkeypatch):
    """Not who has asked, and nobody has to wait; what it leaves is collected before the memory is full."""
    collections = []
    monkeypatch.setattr(accepting, "COLLECTED_AFTER", 10)
    monkeypatch.setattr(accepting.gc, "collect", lambda: collections.append(1))
    async with serving(4, tls=tls.context) as served:
        client = await served.connect(tls=trusting(tls))
        assert await client.ask()
        for _ in range(40):
            served.silent()
            await asyncio.sleep(0)
        await served.until(lambda: served.seen.why.count("limit") >= 37)
        assert "full" not in served.seen.why
        assert await client.ask()
        await served.until(lambda: len(collections) >= 3)


async def test_of_those_that_have_asked_the_one_whose_request_is_longest_ago_goes(tls):
    async with serving(3, tls=tls.context) as served:
        clients = [await served.connect(tls=trusting(tls)) for _ in range(3)]
        for one in (2, 0, 1, 0):
            assert await clients[one].ask()
        assert await (await served.connect(tls=trusting(tls))).ask()
        with suppress(ssl.SSLError, ConnectionError):
            assert await clients[2].reader.read() == b""
        assert [await clients[one].ask() for one in (0, 1)] == [True, True]


async def test_bytes_that_are_no_tls_end_a_handshake(tls):
    async with serving(2, tls=tls.context) as served:
        client = served.silent()
        client.sendall(ASK)
        await served.until(lambda: served.seen.why == ["handshake"])
        assert not served.acceptor.opening


class Exhausted:
    """A listening socket of a process that may open no more files, for some time."""

    def __init__(self, listening, failures):
        self._listening, self.failures = listening, failures

    def __getattr__(self, name):
        return getattr(self._listening, name)

    def accept(self):
        if self.failures:
            raise self.failures.pop()
        return self._listening.accept()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM])
async def test_without_files_newcomers_wait_and_nothing_is_logged_for_each(monkeypatch, caplog, code):
    monkeypatch.setattr(accepting, "PAUSE_SECONDS", 0.02)
    failures = [OSError(code, "none left") for _ in range(3)]
    async with serving(10, wrap=lambda one: Exhausted(one, failures)) as served:
        assert await (await served.connect()).ask()
        assert served.seen.why == ["files"] * 3
    assert not caplog.records


async def test_a_mistake_of_ours_in_one_connection_ends_no_other(monkeypatch):
    async with serving(4) as served:
        client = await served.connect()
        assert await client.ask()

        async def failing(*_, **__):
            raise ZeroDivisionError

        monkeypatch.setattr(asyncio.get_running_loop(), "connect_accepted_socket", failing)
        other = served.silent()
        await served.until(lambda: served.seen.failures)
        assert other.recv(1) == b""
        assert await client.ask()


async def test_a_flood_is_accepted_in_turns():
    """Requests under way have theirs between two of them, and so have other listeners."""
    async with serving(1000) as served:
        for _ in range(accepting.ACCEPTED_A_TURN + 20):
            served.silent()
        sizes = []
        while len(served.listener.connections) < accepting.ACCEPTED_A_TURN + 20:
            await asyncio.sleep(0)
            sizes.append(len(served.acceptor.opening))
        assert max(sizes) <= 2 * accepting.ACCEPTED_A_TURN
        assert await (await served.connect()).ask()


async def test_what_was_accepted_is_answered_after_the_end():
    async with serving(2) as served:
        client = await served.connect()
        await served.until(lambda: served.listener.connections or served.acceptor.opening)
        served.acceptor.stop()
        served.acceptor.stop()
        assert await client.ask()
        with pytest.raises(ConnectionRefusedError):
            await served.connect()


async def test_a_paused_acceptor_ends(monkeypatch):
    monkeypatch.setattr(accepting, "PAUSE_SECONDS", 0.01)
    async with serving(2, wrap=lambda one: Exhausted(one, [OSError(errno.EMFILE, "none left")] * 10_000)) as served:
        served.silent()
        await served.until(lambda: "files" in served.seen.why)
        served.acceptor.stop()
        await asyncio.sleep(0.05)
        assert not served.seen.failures
