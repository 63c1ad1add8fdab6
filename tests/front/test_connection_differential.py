"""Whatever comes, and in whatever segments: who knows requests again answers byte for byte like who reads them all."""

import asyncio
import random
import re
from datetime import timedelta

import pytest
from aiohttp import web
from support.fakes import Clock

from proxy.front.listener import Listener
from proxy.front.warm import Warm

LAST = b"Host: x\r\nUser-Agent: docker\r\n"


def ask(path, more=b"", method=b"GET"):
    return method + b" " + path + b" HTTP/1.1\r\n" + LAST + more + b"\r\n"


KNOWN = [
    ask(b"/warm/a"),
    ask(b"/warm/b"),
    ask(b"/warm/a", method=b"HEAD"),
    ask(b"/warm/a", b"Content-Length: 0\r\n"),
    ask(b"/warm/a", b"Content-Length: 4\r\n") + b"\r\n\r\n",
    ask(b"/warm/a", b"Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n",
    ask(b"/warm/b") + b"\r\n\r\n",
    ask(b"/warm/big"),
]
MORE = [
    b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Expect: 100-continue\r\nContent-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    b"Content-Encoding: gzip\r\nContent-Length: 4\r\n",
    b"Authorization: Basic eDp5\r\n",
    b"Host: y\r\n",
    b" folded\r\n",
]


def _unlike(rng, known):
    """Return what is no known request, but has one in it, or is almost one."""
    size = len(known)
    return rng.choice(
        [
            ask(b"/held", b"Content-Length: %d\r\n" % size, b"POST") + known,
            ask(b"/held", b"Content-Length: %d\r\n" % (2 * size), b"POST") + known + known,
            ask(b"/other", b"Content-Length: %d\r\n" % (size - 1), b"POST") + known,
            ask(b"/other", b"Transfer-Encoding: chunked\r\n") + b"%x\r\n%b\r\n0\r\n\r\n" % (size, known),
            ask(b"/other", b"Transfer-Encoding: chunked\r\n") + b"%x\r\n%b\r\n0\r\nX: %b" % (size, known, known),
            ask(b"/warm/a", rng.choice(MORE)),
            ask(b"/warm/a", rng.choice(MORE)) + known,
            known.replace(b"HTTP/1.1", b"HTTP/1.0"),
            known.replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\nConnection: keep-alive\r\n"),
            known.replace(b"\r\n", b"\n"),
            known.replace(b"Host: x\r\n", b""),
            b"\r\n" + known,
            b"GET /other HTTP/1.1\r\nX: " + known,
            b"GET http://x/warm/a HTTP/1.1\r\nHost: x\r\n\r\n",
            b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            known[: rng.randrange(size)],
            rng.randbytes(8) + b"\r\n\r\n",
            b"\r\n\r\n",
        ]
    )


def _pool(rng):
    """Return a few pieces that are sent over and over, so that what is learned of them wrongly shows."""
    known, other = rng.sample(KNOWN, 2)
    odd = _unlike(rng, known)
    at = rng.randrange(1, len(odd))
    return [known, known, other, odd, known + odd, known + odd[:at], odd[at:], known + other, ask(b"/held"), other * 40]


def _segments(rng, pool):
    """Return what comes on one connection: each with whether the server gets time, and the client reads, after it."""
    return [(rng.choice(pool), rng.random() < 0.6, rng.random() < 0.6) for _ in range(rng.randint(3, 9))]


class Transport(asyncio.Transport):
    """Takes what is written, and holds back until it is told that the client reads."""

    def __init__(self):
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.protocol, self.written = None, bytearray()
        self.waiting = 0
        self.closed = self.full = self.pauses = False

    def write(self, data):
        if not self.closed:
            self.written += data
            self.waiting += len(data)
        if self.waiting > 2**16 and not self.full:
            self.full = True
            self.protocol.pause_writing()

    def writelines(self, several):
        self.write(b"".join(several))

    def get_write_buffer_size(self):
        return self.waiting

    def read(self):
        self.waiting = 0
        if self.full:
            self.full = False
            self.protocol.resume_writing()

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed

    def pause_reading(self):
        self.pauses = True

    def resume_reading(self):
        self.pauses = False


class Served:
    """Keeps warm what is asked for below /warm; /held is not answered before `free` is set."""

    def __init__(self, *, knows):
        self.warm = Warm(Clock())
        self.known = 0
        self.free = asyncio.Event()
        self.listener = Listener(self.handle, 10, self.again if knows else None)

    async def handle(self, request):
        ready = self.warm.get(request)
        if ready is not None:
            return ready
        path = request.raw_path
        if path == "/held":
            await self.free.wait()
        body = path.encode("utf-8", "surrogateescape") * (4000 if path == "/warm/big" else 1)
        response = web.Response(body=body, headers={"Content-Length": str(len(body))})
        if path.startswith("/warm") and request.method in {"GET", "HEAD"}:
            self.warm.put(request, response, Clock().now + timedelta(seconds=60))
        return response

    def again(self, content):
        found = self.warm.again(content)
        self.known += found is not None
        return found[1] if found else None

    async def answers(self, segments):
        """Return all that is answered to these, and whether the connection was closed."""
        transport, protocol = Transport(), self.listener()
        transport.protocol = protocol
        protocol.connection_made(transport)
        await _turns()
        for some, settles, reads in segments:
            while transport.pauses and not transport.closed:
                await self._rest(transport)
            if transport.closed:
                break
            protocol.data_received(some)
            if settles:
                await _turns()
            if reads:
                transport.read()
        for _ in range(10):
            await self._rest(transport)
        protocol.connection_lost(None)
        await _turns()
        return re.sub(rb"Date: [^\r]+", b"Date", transport.written), transport.closed

    async def _rest(self, transport):
        self.free.set()
        transport.read()
        await _turns()
        self.free.clear()


async def _turns():
    for _ in range(60):
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(24))
async def test_who_knows_requests_again_answers_like_who_reads_them_all(seed, caplog):
    caplog.set_level("CRITICAL")
    rng = random.Random(seed)  # noqa: S311 (no secret)
    first = [(one, True, True) for one in KNOWN for _ in range(2)]
    knows, reads = Served(knows=True), Served(knows=False)
    pool = _pool(rng)
    for segments in (first, *(_segments(rng, pool) for _ in range(8))):
        assert await knows.answers(segments) == await reads.answers(segments), segments
    assert knows.known
    assert not reads.known
