"""A request that is known by its bytes is answered at once, and nothing else is."""

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from types import SimpleNamespace

import pytest
from aiohttp import HttpVersion11, web
from aiohttp.web_protocol import RequestHandler
from support.fakes import Clock

from proxy.front import connection, listener, warm
from proxy.front.connection import Connection, can_know_again
from proxy.front.listener import Listener
from proxy.front.warm import Warm

HEAD = b"Host: x\r\nUser-Agent: docker\r\n"


def ask(path, more=b"", method="GET"):
    return f"{method} {path} HTTP/1.1\r\n".encode() + HEAD + more + b"\r\n"


class Served:
    """A front that answers every path with itself, and keeps warm what is asked for below /warm."""

    def __init__(self):
        self.clock = Clock()
        self.warm = Warm(self.clock)
        self.read, self.known = [], []
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle(self, request):
        self.read.append(request.raw_path)
        ready = self.warm.get(request)
        if ready is not None:
            return ready
        await self.gate.wait()
        body = request.raw_path.encode() * (50_000 if "large" in request.raw_path else 1)
        response = web.Response(body=body, headers={"Content-Length": str(len(body))})
        if request.raw_path.startswith("/warm"):
            self.warm.put(request, response, self.clock.now + timedelta(seconds=60))
        return response

    def again(self, content):
        found = self.warm.again(content)
        if found is not None:
            self.known.append(found[0])
        return found[1] if found else None


class Client:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def send(self, *pieces):
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.01)  # so that each piece comes by itself

    async def answer(self, *, body=True):
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        return head.split()[1], await self.reader.readexactly(length) if body else b""

    async def get(self, content):
        await self.send(content)
        return await self.answer()


@pytest.fixture
async def served():
    return Served()


@asynccontextmanager
async def connected(served):
    served.listener = Listener(served.handle, 10, served.again)
    runner = web.ServerRunner(served.listener, shutdown_timeout=0.1)
    await runner.setup()
    writers = []

    async def connect():
        reader, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
        writers.append(writer)
        return Client(reader, writer)

    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield connect
    finally:
        for writer in writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        await runner.cleanup()


async def make_known(client, content=None):
    """The first is judged, the second is warm and becomes known."""
    content = content or ask("/warm/a")
    for _ in range(2):
        assert (await client.get(content))[0] == b"200"
    return content


async def test_the_same_bytes_are_read_once_more_and_then_known_on_every_connection(served):
    async with connected(served) as connect:
        client = await connect()
        known = await make_known(client)
        assert (served.read, served.known) == (["/warm/a"] * 2, [])
        other = await connect()
        assert {await client.get(known), await client.get(known), await other.get(known)} == {(b"200", b"/warm/a")}
        assert (len(served.read), served.known) == (2, ["GET"] * 3)


async def test_the_answer_is_the_one_that_is_given_when_it_is_read(served):
    async with connected(served) as connect:
        client = await connect()
        known = await make_known(client)
        await client.send(known)
        again = await client.reader.readuntil(b"/warm/a")
        await client.send(ask("/warm/a", b"Another: header\r\n"))
        assert await client.reader.readuntil(b"/warm/a") == again
        assert len(served.read) == 3


async def test_a_head_has_no_body_when_it_is_known(served):
    async with connected(served) as connect:
        client = await connect()
        for _ in range(3):
            await client.send(ask("/warm/a", method="HEAD"))
            assert await client.answer(body=False) == (b"200", b"")
        assert served.known == ["HEAD"]
        assert await client.get(ask("/other")) == (b"200", b"/other")


@pytest.mark.parametrize(
    "more",
    [
        b"Authorization: Bearer x\r\n",
        b"aUTHORIZATION: Bearer x\r\n",
        b"Proxy-Authorization: Basic eDp5\r\n",
        b"Cookie: session=x\r\n",
        b"Padding: " + b"x" * 3000 + b"\r\n",
    ],
    ids=["credentials", "in another case", "for a proxy", "a session", "a long head"],
)
async def test_what_is_not_kept_is_read_each_time(served, more):
    async with connected(served) as connect:
        client = await connect()
        for _ in range(4):
            assert (await client.get(ask("/warm/a", more)))[0] == b"200"
        assert (len(served.read), served.known) == (4, [])


@pytest.mark.parametrize("seconds", [61, -1, -1_000_000])
async def test_what_expires_or_is_forgotten_is_read_again(served, seconds):
    async with connected(served) as connect:
        client = await connect()
        known = await make_known(client)
        served.warm.clear()
        assert await client.get(known) == (b"200", b"/warm/a")
        served.clock.advance(seconds)
        assert await client.get(known) == (b"200", b"/warm/a")
        assert (len(served.read), served.known) == (4, [])


async def test_the_date_moves_on(served):
    async with connected(served) as connect:
        client = await connect()
        known = await make_known(client)
        served.clock.advance(5)
        await client.send(known)
        assert b"Date: Thu, 01 Jan 2026 00:00:05 GMT" in await client.reader.readuntil(b"/warm/a")
        assert served.known == ["GET"]


async def test_bytes_that_belong_to_an_unfinished_request_are_no_request(served):
    async with connected(served) as connect:
        client = await connect()
        known = await make_known(client)
        # The body of this one is, byte for byte, the request that is known.
        post = ask("/other", f"Content-Length: {len(known)}\r\n".encode(), "POST")
        await client.send(post, known)
        assert await client.answer() == (b"200", b"/other")
        assert served.known == []
        # A head that breaks off, and goes on in what looks like a request: an error, and never an answer to the latter.
        other = await connect()
        await other.send(b"GET /other HTTP/1.1\r\nX: ", known)
        assert b"/warm/a" not in await other.reader.read(10_000)
        assert served.known == []


async def test_a_request_in_pieces_is_read_and_so_are_those_after_it(served):
    async with connected(served) as connect:
        known = await make_known(await connect())
        client = await connect()
        await client.send(known[:20], known[20:])
        assert await client.answer() == (b"200", b"/warm/a")
        assert await client.get(known) == (b"200", b"/warm/a")
        assert served.known == []


async def test_requests_in_one_piece_are_answered_in_their_order(served):
    async with connected(served) as connect:
        client = await connect()
        known = await make_known(client)
        await client.send(ask("/other") + known)
        assert [await client.answer(), await client.answer()] == [(b"200", b"/other"), (b"200", b"/warm/a")]
        assert served.known == []


async def test_a_known_request_waits_for_the_one_before_it(served):
    async with connected(served) as connect:
        client = await connect()
        known = await make_known(client)
        served.gate.clear()
        await client.send(ask("/other"), known)
        served.gate.set()
        assert [await client.answer(), await client.answer()] == [(b"200", b"/other"), (b"200", b"/warm/a")]
        assert served.known == []
        assert await client.get(known) == (b"200", b"/warm/a")
        assert served.known == ["GET"]


async def test_bytes_that_come_while_another_is_answered_stand_for_neither(served):
    async with connected(served) as connect:
        client = await connect()
        first, second = ask("/warm/a"), ask("/warm/b")
        await client.get(first)
        await client.get(second)
        client.writer.write(first)
        client.writer.write(second)
        assert [await client.answer(), await client.answer()] == [(b"200", b"/warm/a"), (b"200", b"/warm/b")]
        for content, body in ((first, b"/warm/a"), (second, b"/warm/b"), (first, b"/warm/a"), (second, b"/warm/b")):
            assert await client.get(content) == (b"200", body)


async def test_a_client_that_does_not_read_is_waited_for(served, monkeypatch):
    monkeypatch.setattr(warm, "_BODY_BYTES_MAX", 2**20)
    async with connected(served) as connect:
        known = await make_known(await connect(), ask("/warm/large"))
        slow = await connect()
        for _ in range(60):
            await slow.send(known)
        before = len(served.known)
        assert 0 < before < 60
        assert [await slow.answer() for _ in range(60)] == [(b"200", b"/warm/large" * 50_000)] * 60


async def test_a_connection_that_only_repeats_stays_open_and_a_silent_one_does_not(served, monkeypatch):
    monkeypatch.setattr(listener, "IDLE_SECONDS", 1.0)
    async with connected(served) as connect:
        client = await connect()
        known = await make_known(client)
        for _ in range(10):
            assert (await client.get(known))[0] == b"200"
            await asyncio.sleep(0.15)
        assert len(served.known) == 10
        assert await client.reader.read(1) == b""


async def test_without_what_it_needs_of_aiohttp_everything_is_read(served, monkeypatch):
    assert connection.CAN_KNOW_AGAIN
    monkeypatch.setattr(listener, "CAN_KNOW_AGAIN", False)
    async with connected(served) as connect:
        client = await connect()
        known = await make_known(client)
        assert await client.get(known) == (b"200", b"/warm/a")
        assert served.known == []


@pytest.mark.parametrize("slots", [(), ("_waiter", "_messages"), None])
async def test_another_aiohttp_may_lack_what_is_needed(slots):
    class Another:
        pass

    if slots is not None:
        Another.__slots__ = slots
    assert not can_know_again(Another)
    assert can_know_again(RequestHandler)


async def test_a_connection_keeps_no_more_of_a_request_than_can_be_known(served):
    async with connected(served) as connect:
        client = await connect()
        for more, is_kept in ((b"", True), (b"Padding: " + b"x" * 3000 + b"\r\n", False)):
            assert (await client.get(ask("/other", more)))[0] == b"200"
            (kept,) = served.listener.connections
            assert (kept.whole is not None) is is_kept


async def test_a_path_that_is_no_ascii_is_read_each_time(served):
    """What aiohttp's parser in C does not let through, but the one in Python does."""
    made = Connection(web.Server(served.handle), served.again, loop=asyncio.get_running_loop())
    made.whole = ask("/warm/\xe9").decode().encode("latin-1")
    request = SimpleNamespace(
        method="GET", raw_path="/warm/\xe9", version=HttpVersion11, keep_alive=True, protocol=made
    )
    served.warm.put(request, web.Response(body=b"{}"), served.clock.now + timedelta(seconds=60))
    assert served.warm.get(request) is None


async def test_a_client_that_only_repeats_does_not_hold_up_a_listener_that_drains(served):
    async with connected(served) as connect, asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        client = await connect()
        known = await make_known(client)
        tasks.create_task(served.listener.drain(20, begin=0.1))
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                assert (await client.get(known))[0] == b"200"
    assert served.known


async def test_a_connection_that_is_to_be_closed_answers_nothing_more():
    asked = []
    made = Connection(web.Server(Served().handle), asked.append, loop=asyncio.get_running_loop())
    made.close()
    made.data_received(ask("/warm/a"))
    assert asked == []
