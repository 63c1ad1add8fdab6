"""How the body of a blob goes out: piece by piece or from a file, and cut where it would be wrong."""

import asyncio
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


class Observer(Protocol):
    """Who is told what went out, and what did not."""

    def sent(self, kind: str, size: int) -> None:
        """Take note that bytes of a body went out."""
        ...

    def cut(self, image: str, error: RegistryError) -> None:
        """Take note of a transfer that was broken off: the upstream's bytes were wrong or ended early."""
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
                await self._send_piece(file, at, min(SENDFILE_BYTES, part.stop - at))
            await response.write_eof()
        except TimeoutError:
            self._abort()
        except ConnectionError:
            pass
        except Exception as err:  # noqa: BLE001 (as above)
            self._cut(err)
            return False
        return True

    async def _send_piece(self, file: BinaryIO, at: int, count: int) -> None:
        transport = self.request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        async with asyncio.timeout(CLIENT_STALL_SECONDS):
            sent = await asyncio.get_running_loop().sendfile(transport, file, at, count)
        self.observer.sent("blobs", sent)
        if sent != count:
            raise UnavailableError("a file of the content store is shorter than it was")

    def _cut(self, error: Exception) -> RegistryError:
        unnamed = UnavailableError(f"the transfer failed: {type(error).__name__}")
        cause = error if isinstance(error, RegistryError) else unnamed
        self.observer.cut(self.image, cause)
        self._abort()
        return cause

    def _abort(self) -> None:
        if self.request.transport is not None:
            self.request.transport.abort()
