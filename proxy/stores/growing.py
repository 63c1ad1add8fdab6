"""A file that grows, for the event loop: how far it may be read, whether its end is proven, and who waits for that."""

import asyncio
from typing import BinaryIO, Protocol

from proxy.oci.errors import CorruptError
from proxy.stores.database import StoreError


class Growing(Protocol):
    """Content on its way into the store, written by this process (`Incoming`) or by another (`Following`)."""

    @property
    def received(self) -> int:
        """Bytes from the start that can be read from `reader()` by now."""
        ...

    @property
    def verified(self) -> bool:
        """All has come and has the digest: what was held back may be given out."""
        ...

    @property
    def identity(self) -> tuple[int, int]:
        """Which file it is: two of the same identity, both open, are one, and what was read of it stays true."""
        ...

    async def wait_for(self, more_than: int) -> None:
        """Wait until more than so many bytes can be read, or all are there and right.

        Raises StoreError or CorruptError where they will not come.
        """
        ...

    async def wait_verified(self) -> None:
        """Wait until all is there and has the digest; it need not be on the disk yet. Raises as `wait_for`."""
        ...

    def recent(self, at: int) -> memoryview | None:
        """Return the bytes from `at` on as far as they lie together in memory, None where they have to be read."""
        ...

    def reader(self) -> BinaryIO:
        """Open the file for `pread`; `received` says how far it may be read. The caller closes it.

        Raises StoreError where it cannot be opened. Who has it open reads on, whatever becomes of the file's name.
        """
        ...


class Progress:
    """What `Growing` says of waiting: any number wait, one task tells."""

    def __init__(self, received: int = 0) -> None:
        self.received = received
        self.verified = False
        self._failure: StoreError | CorruptError | None = None
        self._changed = asyncio.Event()

    async def wait_for(self, more_than: int) -> None:
        """See `Growing`."""
        while self.received <= more_than and not self.verified:
            await self._next()

    async def wait_verified(self) -> None:
        """See `Growing`."""
        while not self.verified:
            await self._next()

    def _grown(self, received: int) -> None:
        self.received = received
        self._wake()

    def _proven(self) -> None:
        self.verified = True
        self._wake()

    def _failed(self, failure: StoreError | CorruptError) -> None:
        self._failure = failure
        self._wake()

    async def _next(self) -> None:
        self._check()
        await self._changed.wait()
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
