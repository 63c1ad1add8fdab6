"""Servers that lie, cut, stall and redirect, byte by byte as they are told; they remember what they were asked."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Reply:
    """One answer, true where nothing else is said: `length` is the Content-Length to claim, `hang` never ends it.

    `later` is sent when the server is told to `go_on`.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None
    hang: bool = False
    raw: bytes | None = None
    later: bytes = b""

    def head(self) -> bytes:
        fields = {"Content-Length": str(len(self.body) if self.length is None else self.length), **self.headers}
        lines = [f"HTTP/1.1 {self.status} Said", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in fields.items() if value]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


@dataclass(frozen=True)
class Seen:
    """One request as it came; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")


Answers = Mapping[str, Reply | Sequence[Reply]]


class Faulty:
    """Answers by path, or by path and Authorization (`"/v2/ Basic xyz"`); of several replies the last one repeats."""

    def __init__(self, answers: Answers) -> None:
        self.answers = {key: [value] if isinstance(value, Reply) else list(value) for key, value in answers.items()}
        self.seen: list[Seen] = []
        self.go_on = asyncio.Event()
        self._ended = asyncio.Event()

    def end(self) -> None:
        self.go_on.set()
        self._ended.set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seen = await _read(reader)
            self.seen.append(seen)
            reply = self._reply(seen)
            writer.write(reply.raw if reply.raw is not None else reply.head())
            if seen.method != "HEAD":
                writer.write(reply.body)
            await writer.drain()
            if reply.later:
                await self.go_on.wait()
                writer.write(reply.later)
                await writer.drain()
            if reply.hang:
                await self._ended.wait()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left; that is its right
        finally:
            writer.close()

    def _reply(self, seen: Seen) -> Reply:
        for key in (f"{seen.path} {seen.authorization}", seen.path):
            if key in self.answers:
                replies = self.answers[key]
                return replies.pop(0) if len(replies) > 1 else replies[0]
        return Reply(404)


async def _read(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Seen(method, target, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


@asynccontextmanager
async def faulty(answers: Answers, tls: SSLContext | None = None) -> AsyncIterator[tuple[Faulty, str]]:
    """Serve on loopback; yields the server and its URL. Answers may be added while it runs."""
    server = Faulty(answers)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    try:
        yield server, f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        server.end()
        listener.close()
        await listener.wait_closed()
