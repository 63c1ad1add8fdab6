"""A blob on its way into the content store, and its readers.

A reader gets nothing that could be taken for complete before the whole blob has its digest: neither the end of the blob
nor a part that ends within it.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import BinaryIO, Protocol

from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError, RegistryError, UnavailableError
from proxy.oci.reference import Repository
from proxy.stores.content import Growing
from proxy.stores.database import StoreError

# The end of a blob that nobody gets before the digest of the whole is proven.
HELD_BYTES = 64 * 1024
# What a reader takes at once: behind others it is copied twice on its way from the page cache to the socket.
READ_BYTES = 256 * 1024
# What was received so lately is read in memory; what is further back may have to come from the disk, by a thread.
CACHED_BYTES = 8 * 1024 * 1024


class Rest(Protocol):
    """Fetches the end of a blob straight from the upstream; `file` has what comes before it."""

    def __call__(self, file: BinaryIO, wanted: range, /) -> AsyncGenerator[bytes, None]:
        """Return the bytes, the last of them only where they and those before them have the digest."""
        ...


class Transfer:
    """A blob that is being fetched into the store."""

    def __init__(self, repository: Repository, digest: Digest, size: int) -> None:
        self.repository = repository
        self.digest = digest
        self.size = size
        #: Another one, should another process have to go on with it.
        self.incoming: Growing | None = None
        #: It lies in the store: some other process or transfer was faster.
        self.stored = False
        #: The upstream's error that ended it, for its readers too.
        self.failure: RegistryError | None = None
        #: Whether bytes come: False where the store cannot take them. Raises what the upstream answers instead.
        self.begun: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        #: Bytes that came from the upstream, and what was taken over.
        self.taken = 0
        #: Whose readers are to hear no more of it for a while, should it fail.
        self.readers_of = {repository}

    @property
    def arrived(self) -> int:
        """Bytes that came, whoever fetched them."""
        return max(self.taken, self.incoming.received if self.incoming is not None else 0)

    def answer(self, *, begins: bool) -> None:
        """Tell who waits whether there will be bytes."""
        if not self.begun.done():
            self.begun.set_result(begins)

    def fail(self, error: RegistryError) -> bool:
        """Tell everybody the upstream's error; say whether some have been promised the bytes already."""
        self.failure = error
        if self.begun.done():
            return True
        self.begun.set_exception(error)
        self.begun.exception()  # asked for: nobody may be waiting, which is no mistake
        return False


class Arriving:
    """A blob on its way, for one reader. Close it, for it holds a file."""

    def __init__(self, transfer: Transfer, incoming: Growing, rest: Rest) -> None:
        self._transfer = transfer
        self._incoming = incoming
        self._rest = rest
        self._file: BinaryIO = incoming.reader()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    async def confirm(self) -> bool:
        """Wait until the whole blob is here and has its digest; False where the store cannot take it to its end.

        Raises oci.errors where it will not come.
        """
        while not self._incoming.verified:
            try:
                await self._incoming.wait_verified()
            except CorruptError:
                await self._transfer.ended.wait()
                raise
            except StoreError:
                if not self._goes_on():
                    return False
        return True

    async def chunks(self, part: range) -> AsyncGenerator[bytes | memoryview, None]:
        """Return this part of the blob: one that ends with the blob as it arrives, but for its end; others later.

        What is left out at first comes when the digest is confirmed. Raises oci.errors where it will not come. Where
        the disk fails, the rest comes straight from the upstream, if it is the rest of the blob.
        """
        at = part.start
        while at < part.stop:
            try:
                chunk = await self._read(at, min(part.stop, at + READ_BYTES), part.stop)
            except CorruptError:
                # The client asks for the rest at once, and must not get it: first everybody is told.
                await self._transfer.ended.wait()
                raise
            except (StoreError, OSError):
                if self._goes_on():
                    continue
                if part.stop < self._transfer.size:
                    raise UnavailableError("the content store failed, without which no part can be verified") from None
                async with aclosing(self._rest(self._file, range(at, part.stop))) as rest:
                    async for piece in rest:
                        yield piece
                return
            yield chunk
            at += len(chunk)

    def _goes_on(self) -> bool:
        """Return whether the same file is written by another process now, or by this one.

        Raises the upstream's error, where that has ended it.
        """
        if self._transfer.failure is not None:
            raise self._transfer.failure from None
        before, self._incoming = self._incoming, self._transfer.incoming or self._incoming
        return self._incoming is not before and self._incoming.identity == before.identity

    async def _read(self, at: int, stop: int, end: int) -> bytes | memoryview:
        stop = min(stop, await self._readable(at, end))
        recent = self._incoming.recent(at)
        if recent is not None:
            return recent[: stop - at]
        behind = self._incoming.received - at
        if behind <= CACHED_BYTES:
            chunk = os.pread(self._file.fileno(), stop - at, at)
        else:
            chunk = await asyncio.to_thread(os.pread, self._file.fileno(), stop - at, at)
        if not chunk:
            raise StoreError("the file that was received is shorter than it was")
        return chunk

    async def _readable(self, at: int, end: int) -> int:
        """Wait for more than `at` bytes; return how many may be given out to a reader of those up to `end`."""
        incoming = self._incoming
        free = max(0, end - HELD_BYTES) if end == self._transfer.size else 0
        if at < free:
            await incoming.wait_for(at)
        else:
            await incoming.wait_verified()
        return self._transfer.size if incoming.verified else min(incoming.received, free)
