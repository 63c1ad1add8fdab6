"""One transfer into the store: fetched from the upstream and resumed there, or followed where another fetches it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Protocol

from proxy.gate.arriving import Transfer
from proxy.gate.streams import part_from
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError, RegistryError, UnavailableError
from proxy.oci.reference import Repository
from proxy.stores.content import ContentStore, Following, Incoming, Left
from proxy.stores.database import StoreError
from proxy.upstream.blobs import BlobStream

# A transfer that was cut goes on where it was, so many times.
RESUMES_MAX = 3
# After so many seconds, twice as many the next time.
RESUME_SECONDS = 0.5
# One process after another may receive a blob and be gone.
WRITERS_MAX = 5


class Source(Protocol):
    """Where blobs come from: `Upstreams`."""

    def open_blob(
        self, repository: Repository, digest: Digest, *, range_header: str | None = None
    ) -> AbstractAsyncContextManager[BlobStream]:
        """Open a blob, or the part of it that a Range header asks for."""
        ...


class Observer(Protocol):
    """Who is told how blobs come in."""

    def looked_up(self, cache: str, *, hit: bool) -> None:
        """Take note that something remembered was there, or not."""
        ...

    def transfer(self, outcome: str) -> None:
        """Take note of what became of one: kept, failed, not_kept; and of joined, resumed and prefetched."""
        ...


class Fetcher:
    """Brings blobs into the store; `on_cut` hears what ends one before its readers do."""

    def __init__(
        self,
        source: Source,
        observer: Observer,
        on_cut: Callable[[Repository, Digest, RegistryError], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._observer = observer
        self._on_cut = on_cut
        self._sleep = sleep

    def fail(self, transfer: Transfer, error: RegistryError) -> None:
        """Tell of the upstream's error before the readers hear of it, for they ask again at once."""
        if transfer.fail(error):
            for repository in transfer.readers_of:
                self._on_cut(repository, transfer.digest, error)

    async def keep(self, transfer: Transfer, store: ContentStore) -> str:
        """Get the blob into the store, or see another process do so; say what became of it.

        Raises oci.errors where it could not be had.
        """
        followed: Following | None = None
        try:
            for _ in range(WRITERS_MAX):
                transfer.incoming = incoming = await store.begin(
                    transfer.digest, transfer.size, transfer.repository.registry
                )
                if followed is not None:
                    followed.give_up(Left.GONE)
                if isinstance(incoming, Incoming):
                    return await self._fetch(transfer, store, incoming)
                followed = incoming
                left = await followed.follow(partial(transfer.answer, begins=True))
                if left is None:
                    return "joined"
                if left is Left.SILENT:
                    break
        except StoreError:
            pass
        finally:
            if followed is not None:
                followed.give_up(Left.GONE)
        return "not_kept"

    async def _fetch(self, transfer: Transfer, store: ContentStore, incoming: Incoming) -> str:
        """Fetch the blob, or what of it a process that is gone had not."""
        try:
            if not incoming.received and store.has(transfer.digest, transfer.size):
                transfer.stored = True
                return "joined"
            transfer.taken = incoming.received
            await self._receive(transfer, incoming)
            await incoming.finish()
        except StoreError:
            return "not_kept"
        except RegistryError as err:
            if incoming.taken_over and isinstance(err, CorruptError):
                err = UnavailableError("what another process had received of the blob was not right")
            self.fail(transfer, err)
            raise err from None
        finally:
            await incoming.abort()
        return "kept"

    async def _receive(self, transfer: Transfer, incoming: Incoming) -> None:
        """Take the blob from the upstream; goes on where it was after a cut."""
        for resumed in range(RESUMES_MAX + 1):
            try:
                await self._take(transfer, incoming)
            except UnavailableError:
                if not transfer.begun.done() or resumed == RESUMES_MAX:
                    raise
                await self._sleep(RESUME_SECONDS * 2**resumed)
                self._observer.transfer("resumed")
            else:
                return

    async def _take(self, transfer: Transfer, incoming: Incoming) -> None:
        wanted = range(transfer.taken, transfer.size)
        if transfer.taken and not wanted:  # it broke off, or its process did, after the last byte
            transfer.answer(begins=True)
            return
        header = f"bytes={wanted.start}-" if wanted.start else None
        async with self._source.open_blob(transfer.repository, transfer.digest, range_header=header) as stream:
            chunks = part_from(stream, wanted, transfer.size)
            transfer.answer(begins=True)
            async for chunk in chunks:
                await incoming.write(chunk)
                transfer.taken += len(chunk)
