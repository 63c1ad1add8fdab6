"""Content by digest on disk, verified when it came, shared by all processes of one machine (docs/decisions/0006).

It knows no network and no policy: who may have what is decided before anybody asks here. A disk that fails costs its
callers nothing but the store: what cannot be found is not there, what cannot be kept is not kept, and the observer is
told. The limit counts what is kept; what is being received comes on top of it.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from errno import ENOSPC
from functools import partial
from io import FileIO
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, ParamSpec, Protocol, TypeVar

from proxy.oci.digest import Digest
from proxy.stores import sweep as sweeping
from proxy.stores.content_folder import ContentFolder, Entry, lock_shared
from proxy.stores.database import StoreError
from proxy.stores.incoming import Incoming, IncomingFile
from proxy.stores.sweep import Swept

__all__ = [
    "CONTENT",
    "ContentObserver",
    "ContentStore",
    "Entry",
    "Incoming",
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


class ContentObserver(Protocol):
    """Who is told what becomes of the content. Called from any thread; no method may raise or wait."""

    def content_held(self, files: int, size: int) -> None:
        """Take note of how much there is, in files and bytes, by the last count and what came and went since."""
        ...

    def content_stored(self, size: int) -> None:
        """Take note of a file that was kept."""
        ...

    def content_evicted(self, files: int) -> None:
        """Take note of files removed because the limit was exceeded."""
        ...

    def content_corrupt(self, digest: Digest) -> None:
        """Take note of a file whose bytes had changed, and that was removed."""
        ...

    def content_fault(self, fault: str) -> None:
        """Take note that the disk failed, in one line."""
        ...


@dataclass(slots=True)
class StoredBlob:
    """Content that is there, open for reading from its start; while it is open it is not evicted. `size` in bytes."""

    digest: Digest
    size: int
    file: BinaryIO

    def close(self) -> None:
        """Close the file; again does nothing."""
        self.file.close()


@dataclass(frozen=True, slots=True)
class Stats:
    """How much there is, and what failed last (None: the last write succeeded)."""

    files: int
    bytes: int
    bytes_max: int
    fault: str | None


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
        self._account = _Account(observer)
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
            fits = S_ISREG(status.st_mode) and size in {None, status.st_size}
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
        return S_ISREG(status.st_mode) and status.st_size == size

    def _touch(self, descriptor: int, used: float) -> None:
        now = self._clock().timestamp()
        # A time in the future is as wrong as an old one, and would keep the file for ever.
        if abs(now - used) > TOUCHED_SECONDS:
            with suppress(OSError):  # on a disk that cannot be written nothing is evicted either
                os.utime(descriptor, (now, now))

    async def begin(self, digest: Digest, size: int) -> Incoming:
        """Begin to receive content of so many bytes.

        Raises StoreError where nothing can be written or there is no room for it. Several may receive the same digest.
        """
        if size > self._bytes_max:
            raise StoreError(f"{size} bytes are more than the content store may hold ({self._bytes_max})")
        try:
            file = await self._run(self._create, digest, size)
        except OSError as err:
            self._account.fault(err)
            raise StoreError(str(err)) from err
        return Incoming(file, size, self._threads, self._account)

    def _create(self, digest: Digest, size: int) -> IncomingFile:
        # What cannot be kept to its end is not begun: it would take the room that others on this disk need.
        room = os.statvfs(self._folder.root)
        if room.f_blocks and room.f_bavail * room.f_frsize < size:  # no blocks: a file system without a limit
            raise OSError(ENOSPC, os.strerror(ENOSPC), str(self._folder.root))
        return IncomingFile(self._folder, digest)

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
            lock_shared(descriptor)
            if _is_right(descriptor, digest):
                return True
            if self._folder.remove(digest):
                self._account.corrupt(digest, os.fstat(descriptor).st_size)
        except OSError as err:
            self._account.fault(err)
        finally:
            os.close(descriptor)
        return False

    async def sweep(self) -> Swept:
        """Count again, evict down to nine tenths of the limit where it is exceeded, and remove what is left over.

        What somebody reads stays. Raises StoreError where the folder cannot be read; what was evicted by then is.
        """
        try:
            swept = await self._run(sweeping.sweep, self._folder, self._bytes_max)
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


class _Account:
    """What there is by the last count, what came and went since, and what failed; from any thread."""

    def __init__(self, observer: ContentObserver) -> None:
        self.observer = observer
        self._lock = threading.Lock()
        self._files = self._bytes = 0
        self._fault: str | None = None

    def stats(self, bytes_max: int) -> Stats:
        with self._lock:
            return Stats(self._files, self._bytes, bytes_max, self._fault)

    def counted(self, files: int, size: int) -> None:
        with self._lock:
            self._files, self._bytes = files, size
        self.observer.content_held(files, size)

    def kept(self, size: int, *, new: bool) -> None:
        self._fault = None
        if new:
            self._changed(1, size)
        self.observer.content_stored(size)

    def corrupt(self, digest: Digest, size: int) -> None:
        self._changed(-1, -size)
        self.observer.content_corrupt(digest)

    def fault(self, error: OSError) -> None:
        self._fault = str(error)
        self.observer.content_fault(f"{type(error).__name__}: {error}")

    def _changed(self, files: int, size: int) -> None:
        with self._lock:
            self._files += files
            self._bytes += size
            held = self._files, self._bytes
        self.observer.content_held(*held)


def _is_right(descriptor: int, digest: Digest) -> bool:
    hasher = digest.hasher()
    try:
        while piece := os.read(descriptor, _READ_BYTES):
            hasher.update(piece)
    except OSError:  # the disk cannot read it (EIO), or it is no file
        return False
    return hasher.hexdigest() == digest.hex
