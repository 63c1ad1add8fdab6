"""Request heads are bounded in size and time, and what aiohttp cannot read is answered by us."""

import asyncio
import re

import pytest
from aiohttp import web
from test_accepting import ASK, Client, Seen

from proxy.front import bounded
from proxy.front.listener import HEADER_BYTES_MAX, HEADERS_MAX, Listener

SMALL = b"X: " + b"x" * 4000 + b"\r\n"
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


class Unsendable(web.Response):
    """An answer that cannot be sent."""

    async def prepare(self, request):
        raise ZeroDivisionError("secret")


@pytest.fixture
async def served():
    """A listener with a handler that fails for /fail and holds /held."""
    seen, free = Seen(), asyncio.Event()

    async def handle(request):
        seen.asked.append((request.method, request.raw_path))
        if request.raw_path == "/held":
            await free.wait()
        if request.raw_path == "/fail":
            raise ZeroDivisionError("secret")
        if request.raw_path == "/unsendable":
            return Unsendable()
        if request.raw_path == "/half":
            response = web.StreamResponse(headers={"Content-Length": "10"})
            await response.prepare(request)
            await response.write(b"12345")
            raise ZeroDivisionError("secret")
        return web.Response(body=b"hello")

    seen.asked, seen.free = [], free
    listener = Listener(handle, 10, observer=seen)
    runner = web.ServerRunner(listener, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    seen.listener, seen.port, clients = listener, runner.addresses[0][1], []

    async def connect():
        clients.append(Client(*await asyncio.open_connection("127.0.0.1", seen.port)))
        return clients[-1]

    seen.connect = connect
    yield seen
    for client in clients:
        client.close()
    await runner.cleanup()


async def answered(client, *pieces):
    """Return all that the server sends until it closes."""
    for one in pieces:
        client.writer.write(one)
        await asyncio.sleep(0.01)
    async with asyncio.timeout(20):
        return await client.reader.read()


UNREADABLE = {
    "too many bytes": (HEAD + SMALL * 20, b"431 ", "larger than 65536 bytes"),
    "too many lines": (HEAD + b"A: b\r\n" * (HEADERS_MAX + 10) + b"\r\n", b"400 ", "cannot be read"),
    "a long line": (HEAD + b"X: " + b"x" * (HEADER_BYTES_MAX + 10) + b"\r\n\r\n", b"400 ", "too long"),
    "a long target": (b"GET /" + b"x" * (HEADER_BYTES_MAX + 10) + b" HTTP/1.1\r\n\r\n", b"400 ", "too long"),
    "a bad line": (HEAD + b"secret\x01header: secret\r\n\r\n", b"400 ", "cannot be read"),
    "a bad version": (b"GET /secret HTTP/9.9\r\n\r\n", b"400 ", "cannot be read"),
    "http 2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400 ", "cannot be read"),
    "tls": (b"\x16\x03\x01\x02\x00secret", b"400 ", "no HTTP request"),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nsecret", b"400 ", "cannot be read"),
}


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        ((HEAD + b"\r\n") * 2 + HEAD + b"bad\0: x\r\n\r\n" + HEAD + b"\r\n", [b"200", b"200", b"400"]),
        (HEAD + b"Connection: close\r\n\r\n" + HEAD + b"\r\n", [b"200"]),
        ((HEAD + b"\r\n") * 2 + HEAD + b"Connection: close\r\n\r\n", [b"200"] * 3),
        (b"GET / HTTP/1.0\r\n\r\n" + HEAD + b"\r\n", [b"200"]),
    ],
)
async def test_requests_in_one_piece_are_answered_up_to_the_last_that_counts(served, sent, statuses):
    answer = await answered(await served.connect(), sent)
    assert re.findall(rb"HTTP/1[.][01] ([0-9]{3}) ", answer) == statuses


@pytest.mark.parametrize("case", UNREADABLE)
async def test_what_cannot_be_read_is_answered_without_a_word_of_it(served, caplog, case):
    sent, status, reason = UNREADABLE[case]
    client = await served.connect()
    answer = await answered(client, sent)
    assert re.match(rb"HTTP/1[.][01] " + status, answer)
    assert b"Docker-Distribution-Api-Version: registry/2.0\r\n" in answer
    assert b"Server: sealgate\r\n" in answer
    assert reason.encode() in answer
    assert b"secret" not in answer
    assert (served.asked, served.why, served.failures) == ([], ["head"], [])
    assert not caplog.records


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + SMALL * 15 + b"\r\n",
        HEAD + b"X: " + b"x" * (HEADER_BYTES_MAX - 100) + b"\r\n\r\n",
        HEAD + b"A: b\r\n" * (HEADERS_MAX - 10) + b"\r\n",
        b"\r\n\r\n" + ASK,
    ],
    ids=["large", "a long line", "many lines", "empty lines first"],
)
async def test_large_heads_below_the_limits_are_read(served, sent):
    client = await served.connect()
    assert await client.ask(sent)
    assert await client.ask()
    assert served.why == []


async def test_a_head_that_does_not_end_has_a_deadline_from_its_first_byte(served, monkeypatch):
    monkeypatch.setattr(bounded, "HEAD_SECONDS", 0.3)
    client = await served.connect()
    assert await client.ask()
    client.writer.write(b"G")
    for _ in range(100):
        client.writer.write(b"ET / HTTP/1.1\r\n")
        await asyncio.sleep(0.05)
        if served.why:
            break
    assert b"HTTP/1.1 408 " in await client.reader.read()
    assert served.asked == [("GET", "/")]


async def test_a_head_in_pieces_is_read_within_its_time_and_the_next_has_its_own(served, monkeypatch):
    monkeypatch.setattr(bounded, "HEAD_SECONDS", 0.5)
    client = await served.connect()
    for _ in range(4):
        for piece in (ASK[:1], ASK[1:20]):
            client.writer.write(piece)
            await asyncio.sleep(0.1)
        assert await client.ask(ASK[20:])
    assert len(served.asked) == 4


async def test_answers_before_it_come_first(served):
    client = await served.connect()
    client.writer.write(ASK.replace(b"/ ", b"/held ") + HEAD + SMALL * 20)
    await asyncio.sleep(0.05)
    served.free.set()
    answer = await answered(client)
    assert [it[:3] for it in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"431"]


@pytest.mark.parametrize("size", [5, 100_000, 3_000_000])
@pytest.mark.parametrize("more", [b"Content-Length: %d\r\n", b"Transfer-Encoding: chunked\r\nX: %d\r\n"])
async def test_a_request_with_a_body_is_answered_and_is_the_last(served, size, more):
    client = await served.connect()
    head = b"POST /v2/ HTTP/1.1\r\nHost: x\r\n" + more % size + b"\r\n"
    client.writer.write(ASK + head)
    client.writer.write((b"%x\r\n" % size if b"chunked" in more else b"") + ASK * (size // len(ASK)))
    answer = await answered(client)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert served.asked == [("GET", "/"), ("POST", "/v2/")]


async def test_who_closes_in_the_middle_of_a_head_leaves_nothing(served, monkeypatch):
    monkeypatch.setattr(bounded, "HEAD_SECONDS", 0.1)
    client = await served.connect()
    client.writer.write(ASK[:-2])
    await asyncio.sleep(0.05)
    client.close()
    await asyncio.sleep(0.2)
    assert (served.listener.connections, served.why, served.asked) == ([], [], [])


@pytest.mark.parametrize(("path", "status"), [(b"/fail", b"500 "), (b"/half", b"200 ")])
async def test_a_handler_that_fails_is_told_to_the_observer_and_not_to_the_client(served, caplog, path, status):
    client = await served.connect()
    answer = await answered(client, ASK.replace(b"/ ", path + b" "))
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"secret" not in answer
    assert answer.count(b"HTTP/1.1") == 1
    assert [type(it) for it in served.failures] == [ZeroDivisionError]
    assert not caplog.records


async def test_an_answer_that_cannot_be_sent_is_told_to_the_observer_and_not_logged(served, caplog):
    client = await served.connect()
    assert await answered(client, ASK.replace(b"/ ", b"/unsendable ")) == b""
    assert [type(it) for it in served.failures] == [ZeroDivisionError]
    assert not caplog.records
