"""Content by digest on disk, verified when it came, shared by all processes of one machine (docs/decisions/0006).

It knows no network and no policy: who may have what is decided before anybody asks here. A disk that fails costs its
callers nothing but the store: what cannot be found is not there, what cannot be kept is not kept, and the observer is
told. The limit counts what is kept; what is being received comes on top of it.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from errno import EBUSY, ENOSPC
from functools import partial
from io import FileIO
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, ParamSpec, TypeVar

from proxy.oci.digest import Digest
from proxy.stores import sweep as sweeping
from proxy.stores.content_account import Account, ContentObserver, Stats
from proxy.stores.content_folder import ContentFolder, Entry, lock_shared
from proxy.stores.database import StoreError
from proxy.stores.following import Following, Left
from proxy.stores.growing import Growing
from proxy.stores.incoming import Incoming, IncomingFile
from proxy.stores.ownership import User, is_private
from proxy.stores.sweep import Swept

__all__ = [
    "CONTENT",
    "ContentObserver",
    "ContentStore",
    "Entry",
    "Following",
    "Growing",
    "Incoming",
    "Left",
    "Stats",
    "StoreError",
    "StoredBlob",
    "Swept",
]

P = ParamSpec("P")
T = TypeVar("T")

# The folder in the state directory.
CONTENT = "content"
# How true the time of last use is: a file's time is written at most so often.
TOUCHED_SECONDS = 3600.0
# Two cores hash 2 GB/s; the others wait for a disk that writes slowly, or go through the folder.
_THREADS = 6
_READ_BYTES = 1024 * 1024
# How often another may begin and give up what is to begin, just then.
_TRIES = 5


@dataclass(slots=True)
class StoredBlob:
    """Content that is there, open for reading from its start; while it is open it is not evicted. `size` in bytes."""

    digest: Digest
    size: int
    file: BinaryIO

    def close(self) -> None:
        """Close the file; again does nothing."""
        self.file.close()


class ContentStore:
    """The content in a folder. Opening it removes what a killed process left.

    `bytes_max` may be exceeded until the next `sweep`. Raises StoreError where the folder cannot be used.
    """

    def __init__(
        self, folder: Path, bytes_max: int, *, clock: Callable[[], datetime], observer: ContentObserver
    ) -> None:
        self._folder = ContentFolder(folder)
        self._bytes_max = bytes_max
        self._clock = clock
        self._account = Account(observer)
        self._user = User.current()
        try:
            self._folder.prepare()
            self._folder.remove_orphans()
            self._account.counted(*sweeping.count(self._folder))
        except OSError as err:
            raise StoreError(
                f"cannot use the content folder {folder}: {err}: give one that this user may write"
            ) from err
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="content")

    def close(self) -> None:
        """Wait for what is being written; asking afterwards is a bug (RuntimeError)."""
        self._threads.shutdown()

    def find(self, digest: Digest, size: int | None = None) -> StoredBlob | None:
        """Open the content if it is there and has this size; for the event loop: it opens one file and reads nothing.

        A wrong size is the file's fault or that of who states it: nothing is removed for it; `verify_again` tells.
        """
        try:
            descriptor = self._folder.open(digest)
        except FileNotFoundError:
            return None
        except OSError as err:
            self._account.fault(err)
            return None
        try:
            status = os.fstat(descriptor)
            fits = self._is_ours(status) and size in {None, status.st_size}
            if fits and lock_shared(descriptor):
                self._touch(descriptor, status.st_mtime)
                return StoredBlob(digest, status.st_size, FileIO(descriptor))
        except OSError as err:
            self._account.fault(err)
        os.close(descriptor)
        return None

    def has(self, digest: Digest, size: int) -> bool:
        """Say whether the content is there and has this size, which is no use of it."""
        try:
            status = Path(self._folder.path(digest)).lstat()
        except FileNotFoundError:
            return False
        except OSError as err:
            self._account.fault(err)
            return False
        return self._is_ours(status) and status.st_size == size

    def _is_ours(self, status: os.stat_result) -> bool:
        """Return whether it is a file that only we may write, as content is not hashed again when it is read."""
        return S_ISREG(status.st_mode) and is_private(status, self._user)

    def _touch(self, descriptor: int, used: float) -> None:
        now = self._clock().timestamp()
        # A time in the future is as wrong as an old one, and would keep the file for ever.
        if abs(now - used) > TOUCHED_SECONDS:
            with suppress(OSError):  # on a disk that cannot be written nothing is evicted either
                os.utime(descriptor, (now, now))

    async def begin(self, digest: Digest, size: int, scope: str = "") -> Incoming | Following:
        """Begin to receive content of so many bytes, or to follow another process that does so in the same scope.

        What a process that is gone had received of it is taken over. A scope is whose word is taken for what the bytes
        are: one that lies must not do so in the name of another. Raises StoreError where nothing can be written or
        there is no room for it.
        """
        if size > self._bytes_max:
            raise StoreError(f"{size} bytes are more than the content store may hold ({self._bytes_max})")
        creating = self._threads.submit(self._create, digest, size, scope)
        try:
            file = await asyncio.wrap_future(creating)
        except OSError as err:
            self._account.fault(err)
            raise StoreError(str(err)) from err
        except asyncio.CancelledError:
            creating.add_done_callback(_discard)
            raise
        if isinstance(file, FileIO):
            return Following(self._folder, digest, size, file)
        return Incoming(file, size, self._threads, self._account)

    def _create(self, digest: Digest, size: int, scope: str) -> IncomingFile | FileIO:
        # What cannot be kept to its end is not begun: it would take the room that others on this disk need.
        if self._folder.room() < size:
            self._account.wanted = max(self._account.wanted, size)
            raise OSError(ENOSPC, os.strerror(ENOSPC), str(self._folder.root))
        name = hashlib.sha256(f"{scope}\n{digest}\n{size}".encode()).hexdigest()
        for _ in range(_TRIES):
            with suppress(BlockingIOError):
                return IncomingFile(self._folder, digest, name, size)
            with suppress(FileNotFoundError):  # it has its name by now, or was given up
                return self._folder.claimed(name)
        raise OSError(EBUSY, "others begin and give up all the time", str(self._folder.root))

    async def verify_again(self, digest: Digest) -> bool:
        """Read the content and say whether it is right; remove it where it is not, or cannot be read."""
        return await self._run(self._verify, digest)

    def _verify(self, digest: Digest) -> bool:
        try:
            descriptor = self._folder.open(digest)
        except FileNotFoundError:
            return False
        except OSError as err:
            self._account.fault(err)
            return False
        try:
            if _is_right(descriptor, digest):
                return True
            if self._folder.remove(digest):
                self._account.corrupt(digest, os.fstat(descriptor).st_size)
        except OSError as err:
            self._account.fault(err)
        finally:
            os.close(descriptor)
        return False

    async def sweep(self, evicted_one: Callable[[int], None] = sweeping.tell_nobody) -> Swept:
        """Count again, evict down to nine tenths of the limit where it is exceeded, and remove what is left over.

        On a disk that had no room for what was to begin, there is room afterwards. What somebody reads stays.
        `evicted_one` is told the bytes of each file that is evicted, on a thread. Raises StoreError where the folder
        cannot be read; what was evicted by then is.
        """
        wanted, self._account.wanted = self._account.wanted, 0
        try:
            swept = await self._run(sweeping.sweep, self._folder, self._bytes_max, wanted, evicted_one)
        except OSError as err:
            self._account.fault(err)
            raise StoreError(str(err)) from err
        self._account.counted(swept.files, swept.bytes)
        if swept.evicted:
            self._account.observer.content_evicted(swept.evicted)
        return swept

    def stats(self) -> Stats:
        """Say how much there is, by the last count and what this process did since."""
        return self._account.stats(self._bytes_max)

    def entries(self) -> Iterator[Entry]:
        """List what is there, in no order, by a walk through the folder. Raises OSError."""
        return self._folder.entries()

    def remove(self, digest: Digest) -> bool:
        """Remove the content; say whether it was there. Who reads it reads on. Raises OSError; `sweep` counts again."""
        return self._folder.remove(digest)

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args, **kwargs))


def _discard(created: Future[IncomingFile | FileIO]) -> None:
    if not created.cancelled() and created.exception() is None:
        file = created.result()
        file.close() if isinstance(file, FileIO) else file.discard()


def _is_right(descriptor: int, digest: Digest) -> bool:
    hasher = digest.hasher()
    try:
        while piece := os.read(descriptor, _READ_BYTES):
            hasher.update(piece)
    except OSError:  # the disk cannot read it (EIO), or it is no file
        return False
    return hasher.hexdigest() == digest.hex
