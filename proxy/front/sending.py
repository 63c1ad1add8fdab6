"""How the body of a blob goes out: piece by piece or from a file, and cut where it would be wrong."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from aiohttp import web

from proxy.oci.errors import RegistryError, UnavailableError
from proxy.upstream.patience import Patience

# A client that takes nothing for so long is gone, and holds a connection to the upstream that others need.
CLIENT_STALL_SECONDS = 300.0
# What the kernel sends at once. A client has CLIENT_STALL_SECONDS to take it: 14 KB/s are enough.
SENDFILE_BYTES = 4 * 1024 * 1024
# Read and encrypted at once over TLS, where the kernel cannot send a file by itself. asyncio's own fallback reads
# 16 KiB at a time, each in a thread: an eighth of this throughput (measured).
READ_BYTES = 256 * 1024
# Linux: read from the page cache only, and fail where the content is not there (preadv2(2)).
_NO_WAIT = getattr(os, "RWF_NOWAIT", None)


class Observer(Protocol):
    """Receiver of events about bodies that are sent."""

    def sent(self, kind: str, size: int) -> None:
        """Count bytes of a body that were sent."""
        ...

    def cut(self, image: str, error: RegistryError) -> None:
        """Record a transfer that was broken off: the upstream's bytes were wrong or ended early."""
        ...


@dataclass(frozen=True, slots=True)
class Sending:
    """One response on its way: what happens after its head is nobody's to answer any more."""

    request: web.BaseRequest
    image: str
    observer: Observer

    async def chunks(
        self, response: web.StreamResponse, chunks: AsyncIterator[bytes | memoryview]
    ) -> RegistryError | None:
        """Send the chunks; return what cut them short, if anything did but the client."""
        try:
            await response.prepare(self.request)
            async with Patience(CLIENT_STALL_SECONDS) as limited:
                async for chunk in chunks:
                    with limited:
                        await response.write(chunk)
                    self.observer.sent("blobs", len(chunk))
        except TimeoutError:
            self._abort()
        except ConnectionError:
            pass  # the client has left, which is its right
        except Exception as err:  # noqa: BLE001 (no second answer may follow in the middle of a body)
            return self._cut(err)
        return None

    async def file(self, response: web.StreamResponse, file: BinaryIO, part: range) -> bool:
        """Send this part of a file, the kernel by itself where there is no TLS; say whether the file had it."""
        try:
            await response.prepare(self.request)
            for at in range(part.start, part.stop, SENDFILE_BYTES):
                await self._send_piece(response, file, at, min(SENDFILE_BYTES, part.stop - at))
            await response.write_eof()
        except TimeoutError:
            self._abort()
        except ConnectionError:
            pass
        except Exception as err:  # noqa: BLE001 (as above)
            self._cut(err)
            return False
        return True

    async def _send_piece(self, response: web.StreamResponse, file: BinaryIO, at: int, count: int) -> None:
        transport = self._open_transport()
        async with asyncio.timeout(CLIENT_STALL_SECONDS):
            if transport.get_extra_info("sslcontext") is None:
                sent = await asyncio.get_running_loop().sendfile(transport, file, at, count)
            else:
                sent = await self._encrypt(response, file, at, count)
        self.observer.sent("blobs", sent)
        if sent != count:
            raise UnavailableError("a file of the content store is shorter than it was")

    async def _encrypt(self, response: web.StreamResponse, file: BinaryIO, at: int, count: int) -> int:
        """Send this part of a file over TLS; return how much of it there was."""
        for begin in range(at, at + count, READ_BYTES):
            wanted = min(READ_BYTES, at + count - begin)
            some = _read_now(file.fileno(), begin, wanted)
            if len(some) < wanted:
                some = await asyncio.to_thread(os.pread, file.fileno(), wanted, begin)
            # write() waits for the client only above the buffer's limit: let other tasks run, and notice a closed one.
            await asyncio.sleep(0)
            self._open_transport()
            await response.write(some)
            if len(some) < wanted:
                return begin - at + len(some)
        return count

    def _open_transport(self) -> asyncio.Transport:
        transport = self.request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        return transport

    def _cut(self, error: Exception) -> RegistryError:
        unnamed = UnavailableError(f"the transfer failed: {type(error).__name__}")
        cause = error if isinstance(error, RegistryError) else unnamed
        self.observer.cut(self.image, cause)
        self._abort()
        return cause

    def _abort(self) -> None:
        if self.request.transport is not None:
            self.request.transport.abort()


def _read_now(descriptor: int, at: int, count: int) -> bytes | bytearray:
    """Return this part if it is in the page cache; nothing where reading it would wait for the disk."""
    if _NO_WAIT is None:
        return b""
    content = bytearray(count)
    try:
        return content if os.preadv(descriptor, [content], at, _NO_WAIT) == count else b""
    except OSError:  # not in memory, or a file system that cannot tell
        return b""
