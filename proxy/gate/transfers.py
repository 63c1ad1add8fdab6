"""One download a blob: who asks for one that is on its way gets its bytes as they arrive, and the next from the store.

The transfer runs by itself and writes into the content store; each reader reads the file behind it, at its own pace. A
reader that leaves ends nothing, a slow one holds nobody up. Whether a reader may have the blob is decided before, for
its own repository; bytes that have the digest are the same whoever fetched them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import BinaryIO

from proxy.gate.arriving import Arriving, Transfer
from proxy.gate.fetching import Fetcher, Observer, Source
from proxy.gate.streams import hash_of, part_from, verified
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError, RegistryError, UnavailableError
from proxy.oci.reference import Repository
from proxy.stores.content import ContentStore, Following, Left, StoredBlob
from proxy.stores.database import StoreError

# Each has a connection to an upstream, a file and a megabyte on its way; what is more goes straight through.
TRANSFERS_MAX = 64
# What comes in before anybody asks must not be noticed: two at a time, and of an index of images not all.
PREFETCHES_AT_ONCE = 2
PREFETCHES_WAITING_MAX = 1000

_Key = tuple[str, Digest, int]


class Transfers:
    """All transfers that are under way, and the store that they fill; without a store there are none."""

    def __init__(  # noqa: PLR0913 (one composition root calls this, with names)
        self,
        *,
        source: Source,
        store: ContentStore | None,
        tasks: asyncio.TaskGroup,
        observer: Observer,
        on_cut: Callable[[Repository, Digest, RegistryError], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._store = store
        self._tasks = tasks
        self._observer = observer
        self._on_cut = on_cut
        self._fetcher = Fetcher(source, observer, on_cut, sleep)
        self._running: dict[_Key, Transfer] = {}
        self._waiting: deque[tuple[Repository, Digest, int]] = deque()
        self._prefetching = 0

    async def open(self, repository: Repository, digest: Digest, size: int) -> StoredBlob | Arriving | None:
        """Return the blob as it lies in the store, or as it arrives; None for one that is to be had straight only.

        The caller has seen that this repository's clients may have it, and closes what is returned. A transfer begins
        at the first byte, whichever part is wanted: no other can be verified. Raises oci.errors as the upstream's
        answer is.
        """
        while self._store is not None:
            stored = self._store.find(digest, size)
            if stored is not None:
                return stored
            transfer = self._joined(repository, digest, size)
            if transfer is None:
                return None
            try:
                begins = await asyncio.shield(transfer.begun)
            except RegistryError:
                if transfer.repository == repository:
                    raise
                continue  # what another repository is told is no answer to this one
            if begins:
                return self._arriving(transfer, repository)
            return self._store.find(digest, size) if transfer.stored else None
        return None

    async def keep(self, repository: Repository, digest: Digest, size: int, arrived: Callable[[int], None]) -> bool:
        """Let a blob come into the store that nobody reads, to its end; say whether it lies there then.

        `arrived` is called with the number of its bytes received so far. The caller has checked that this repository's
        clients may have it. Raises oci.errors as the upstream's answer is.
        """
        while self._store is not None:
            stored = self._store.find(digest, size)
            if stored is not None:
                stored.close()
                return True
            transfer = self._joined(repository, digest, size)
            if transfer is None:
                return False
            await self._follow(transfer, arrived)
            if transfer.failure is None:
                return self._store.has(digest, size)
            if transfer.repository == repository:
                raise transfer.failure
        return False

    async def _follow(self, transfer: Transfer, arrived: Callable[[int], None]) -> None:
        with suppress(RegistryError, StoreError):  # the transfer has it as its failure, or keeps nothing
            await asyncio.shield(transfer.begun)
            while transfer.incoming is not None and transfer.incoming.received < transfer.size:
                await transfer.incoming.wait_for(transfer.incoming.received)
                arrived(transfer.incoming.received)
        await transfer.ended.wait()

    def stored(self, digest: Digest, size: int) -> StoredBlob | None:
        """Return the blob if it lies in the store; the caller closes it."""
        if self._store is None:
            return None
        stored = self._store.find(digest, size)
        self._observer.looked_up("content", hit=stored is not None)
        return stored

    def has(self, digest: Digest, size: int) -> bool:
        """Return whether the blob is in the store; does not count as a use of it."""
        return self._store is not None and self._store.has(digest, size)

    def put(self, repository: Repository, digest: Digest, content: bytes) -> None:
        """Keep a blob in the store that this repository has sent, in the background, and where that can be done."""
        if self._store is not None:
            self._tasks.create_task(self._put(self._store, repository.registry, digest, content))

    async def _put(self, store: ContentStore, registry: str, digest: Digest, content: bytes) -> None:
        with suppress(StoreError, CorruptError):  # corrupt: what a process that is gone had of it
            incoming = await store.begin(digest, len(content), registry)
            if isinstance(incoming, Following):
                incoming.give_up(Left.GONE)
                return
            try:
                await incoming.write(content[incoming.received :])
                await incoming.finish()
            finally:
                await incoming.abort()

    def doubt(self, digest: Digest) -> None:
        """Have a blob in the store looked at again that could not be read; where it is wrong it is removed."""
        if self._store is not None:
            self._tasks.create_task(self._store.verify_again(digest))

    async def verify(self, digest: Digest) -> None:
        """Look at a blob again now, if it is in the store; where it is wrong it is removed."""
        if self._store is not None:
            await self._store.verify_again(digest)

    def prefetch(self, repository: Repository, blobs: Iterable[tuple[Digest, int]]) -> None:
        """Let blobs come in that nobody has asked for yet, in the background; what is too many is left out."""
        for digest, size in blobs if self._store is not None else ():
            if len(self._waiting) < PREFETCHES_WAITING_MAX:
                self._waiting.append((repository, digest, size))
        while self._waiting and self._prefetching < PREFETCHES_AT_ONCE:
            self._prefetching += 1
            self._tasks.create_task(self._prefetch_all())

    async def _prefetch_all(self) -> None:
        try:
            while self._waiting:
                await self._prefetch(*self._waiting.popleft())
        finally:
            self._prefetching -= 1

    async def _prefetch(self, repository: Repository, digest: Digest, size: int) -> None:
        if (repository.registry, digest, size) in self._running or self._store is None:
            return
        stored = self._store.find(digest, size)
        if stored is not None:
            stored.close()
            return
        transfer = self._joined(repository, digest, size)
        if transfer is not None:
            self._observer.transfer("prefetched")
            await transfer.ended.wait()

    def _joined(self, repository: Repository, digest: Digest, size: int) -> Transfer | None:
        # By registry too: one that lies or lags must not do so in another's name. And by size: of manifests that name
        # different ones, one lies.
        key = (repository.registry, digest, size)
        transfer = self._running.get(key)
        if transfer is not None and transfer.failure is None:
            self._observer.transfer("joined")
            transfer.readers_of.add(repository)
        elif self._store is not None and len(self._running) < TRANSFERS_MAX:
            transfer = self._running[key] = Transfer(repository, digest, size)
            self._tasks.create_task(self._run(key, transfer, self._store))
        else:
            return None
        return transfer

    def _arriving(self, transfer: Transfer, repository: Repository) -> Arriving | None:
        if transfer.incoming is None:
            return None
        rest = partial(self._rest, repository, transfer.digest, transfer.size)
        try:
            return Arriving(transfer, transfer.incoming, rest)
        except StoreError:
            if transfer.failure is not None:  # it has begun and ended since
                raise transfer.failure from None
            return None

    async def _run(self, key: _Key, transfer: Transfer, store: ContentStore) -> None:
        try:
            outcome = await self._fetcher.keep(transfer, store)
        except RegistryError:
            outcome = "failed"
        except Exception as err:  # noqa: BLE001 (a mistake of ours in one transfer must not end them all)
            outcome = "failed"
            self._fetcher.fail(transfer, UnavailableError(f"the transfer failed: {type(err).__name__}"))
        finally:
            if self._running.get(key) is transfer:
                del self._running[key]
            transfer.answer(begins=False)
            transfer.ended.set()
        self._observer.transfer(outcome)

    async def _rest(
        self, repository: Repository, digest: Digest, size: int, file: BinaryIO, wanted: range
    ) -> AsyncGenerator[bytes, None]:
        """Return the end of a blob straight from the upstream, where `file` has what comes before it."""
        header = f"bytes={wanted.start}-{wanted.stop - 1}" if wanted.start else None
        try:
            hasher = await asyncio.to_thread(hash_of, file, digest, wanted.start)
            async with self._source.open_blob(repository, digest, range_header=header) as stream:
                async for chunk in verified(part_from(stream, wanted, size), digest, hasher):
                    yield chunk
        except RegistryError as err:
            self._on_cut(repository, digest, err)
            raise
