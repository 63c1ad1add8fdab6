"""A forward proxy on loopback: tunnels (CONNECT) and requests in absolute form; it remembers what it was asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ssl import SSLContext
from urllib.parse import urlsplit


@dataclass
class Forward:
    """`status` is the answer to CONNECT; all that is asked for is at 127.0.0.1, at the port that is named."""

    status: int = 200
    asked: list[str] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            self.asked.append(first)
            self.authorizations.append(headers.get("proxy-authorization"))
            method, target, _ = first.split(" ")
            if method == "CONNECT" and self.status != 200:
                writer.write(f"HTTP/1.1 {self.status} Said\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
                return
            port = int(target.rpartition(":")[2]) if method == "CONNECT" else urlsplit(target).port
            there = await asyncio.open_connection("127.0.0.1", port)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Established\r\n\r\n")
            else:
                kept = [line for line in lines if not line.lower().startswith("proxy-")]
                path = target[target.index("/", 8) :]
                there[1].write("\r\n".join([f"{method} {path} HTTP/1.1", *kept]).encode() + b"\r\n\r\n")
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, there[1]))
                group.create_task(_copy(there[0], writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client left; that is its right
        finally:
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def forward(status: int = 200, tls: SSLContext | None = None) -> AsyncIterator[tuple[Forward, str]]:
    """Serve on loopback; yields the proxy and its URL."""
    server = Forward(status)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server, f"{'https' if tls else 'http'}://127.0.0.1:{port}"
