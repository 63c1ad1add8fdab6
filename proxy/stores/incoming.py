"""One file that is being received: written and hashed in one go, readable behind the writer, named only when right.

What comes is collected while a thread writes what came before, so that the network does not wait for the disk until
PENDING_MAX bytes lie between them. Both hashing and writing let other threads run.
"""

import asyncio
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress
from errno import EBADF
from functools import partial
from io import FileIO
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO

from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError
from proxy.stores.content_account import Account
from proxy.stores.content_folder import ContentFolder, identity_of, is_at
from proxy.stores.database import StoreError
from proxy.stores.growing import Progress

if TYPE_CHECKING:
    from hashlib import _Hash

# So many bytes go to a thread at once: each way there and back costs some 150 us. Cold and stored, pieces of 64 KiB
# came to half the rate, and 1 MiB to no more.
PIECE_BYTES = 512 * 1024
# Bytes that wait for the thread while it has as many, and as many that it had last stay for who reads right behind:
# 1.5 MiB a transfer, and a chunk.
PENDING_MAX = PIECE_BYTES
# What is less waits so long for more: a slow upstream must not hold up its readers.
FLUSH_SECONDS = 0.005
# What one writev(2) takes (limits.h; Linux).
_IOV_MAX = 1024


class IncomingFile:
    """The file, for threads: each method holds the file alone. Raises OSError."""

    def __init__(self, folder: ContentFolder, digest: Digest, name: str, size: int) -> None:
        self._folder = folder
        self._digest = digest
        self._lock = threading.Lock()
        self._file, self.path = folder.claim(name)
        self.identity = identity_of(self._file.fileno())
        try:
            self._hasher, self.received = self._taken_over(size)
        except BaseException:
            self.discard()
            raise

    def _taken_over(self, size: int) -> "tuple[_Hash, int]":
        """Hash what a process that is gone has left, which is all that is believed of it; too much is nothing."""
        descriptor, hasher, received = self._file.fileno(), self._digest.hasher(), 0
        if os.fstat(descriptor).st_size > size:
            os.ftruncate(descriptor, 0)
        while piece := os.read(descriptor, PIECE_BYTES):
            hasher.update(piece)
            received += len(piece)
        return hasher, received

    def write(self, chunks: Sequence[bytes]) -> None:
        """Append to the file, and to its hash."""
        with self._lock:
            if self._file.closed:
                raise OSError(EBADF, "the transfer was given up", str(self.path))
            for chunk in chunks:
                self._hasher.update(chunk)
            for start in range(0, len(chunks), _IOV_MAX):
                self._append(chunks[start : start + _IOV_MAX])

    def _append(self, chunks: Sequence[bytes]) -> None:
        written = os.writev(self._file.fileno(), chunks)
        for chunk in chunks:
            rest = memoryview(chunk)[written:]
            written = max(0, written - len(chunk))
            while rest:
                rest = rest[os.write(self._file.fileno(), rest) :]

    def is_right(self) -> bool:
        """Say whether what was written has the digest."""
        return self._hasher.hexdigest() == self._digest.hex

    def keep(self) -> bool:
        """Flush the file and give it its name; say whether there was none of this name. Closes it, whatever happens."""
        with self._lock, self._file:
            try:
                os.fsync(self._file.fileno())
                return self._folder.admit(self._file.fileno(), self.path, self._digest)
            except BaseException:
                self._unlink()
                raise

    def discard(self) -> None:
        """Remove the file and close it; nothing, where it is closed already."""
        with self._lock:
            if not self._file.closed:
                with self._file:
                    self._unlink()

    def _unlink(self) -> None:
        with suppress(OSError):  # it is not locked any more once it is closed, and will be cleaned away
            if is_at(self._file.fileno(), self.path):
                self.path.unlink()

    def open(self) -> BinaryIO:
        """Open the file for reading, or what it has become."""
        with suppress(FileNotFoundError):
            file = FileIO(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
            if identity_of(file.fileno()) == self.identity:
                return file
            file.close()  # the next one's, under the same name
        return FileIO(self._folder.open(self._digest))


class Incoming(Progress):
    """A file that is being received, for the event loop. `ContentStore.begin` makes it; end it by `finish` or `abort`.

    One task writes, from `received` on; any number wait and read (`Growing`).
    """

    def __init__(self, file: IncomingFile, size: int, executor: Executor, account: Account) -> None:
        super().__init__(file.received)
        self.size = size
        self.identity = file.identity
        #: Bytes that a process which is gone had received, and that nobody has proven.
        self.taken_over = file.received
        self._file = file
        self._executor = executor
        self._account = account
        self._accepted = file.received
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._recent: list[tuple[int, bytes]] = []
        self._writing = self._ending = False
        self._timer: asyncio.TimerHandle | None = None

    async def write(self, chunk: bytes) -> None:
        """Take bytes to be written, and wait while more than PENDING_MAX of them wait for the disk.

        Raises StoreError where the disk did not take these or earlier ones, CorruptError for more bytes than the size.
        """
        self._check()
        if self._accepted + len(chunk) > self.size:
            raise await self._fail(CorruptError(f"more bytes came than the {self.size} that there should be"))
        self._accepted += len(chunk)
        self._pending.append(chunk)
        self._pending_bytes += len(chunk)
        self._write_soon()
        while self._pending_bytes > PENDING_MAX:
            await self._next()

    def recent(self, at: int) -> memoryview | None:
        """See `Growing`: what the disk took last."""
        for start, chunk in self._recent:
            if start <= at < start + len(chunk):
                return memoryview(chunk)[at - start :]
        return None

    def reader(self) -> BinaryIO:
        """See `Growing`."""
        try:
            return self._file.open()
        except OSError as err:
            raise StoreError(f"cannot read what is being received: {err}") from err

    async def finish(self) -> None:
        """See that all came and is right, flush it and give it its name.

        Sets `verified` before it flushes. Raises CorruptError for the wrong size or hash, and then nothing is kept, and
        StoreError where the disk fails. If the caller is cancelled, the flushing goes on; before that, `abort` it.
        """
        self._ending = True
        self._write_soon()
        while self.received < self._accepted:
            await self._next()
        self._check()
        if self.received != self.size:
            raise await self._fail(CorruptError(f"{self.received} bytes came of {self.size}"))
        if not self._file.is_right():
            raise await self._fail(CorruptError("the bytes that came do not have the digest"))
        self._proven()
        # The error is a value here: where nobody waits any more, nobody would take an exception.
        error = await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._executor, self._keep))
        if error is not None:
            raise StoreError(str(error)) from error

    async def abort(self) -> None:
        """Give up what is not verified; nothing is kept of it. May be called at any time, and again."""
        if not self.verified and self._failure is None:
            await self._fail(StoreError("the transfer was given up"))

    async def _fail(self, failure: StoreError | CorruptError) -> StoreError | CorruptError:
        self._end(failure)
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._executor, self._file.discard))
        return failure

    def _end(self, failure: StoreError | CorruptError) -> None:
        self._pending.clear()
        self._recent.clear()
        self._pending_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
        self._failed(failure)

    def _write_soon(self) -> None:
        if self._writing or not self._pending:
            return
        if self._ending or self._pending_bytes >= PIECE_BYTES:
            self._write_on()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._write_on)

    def _write_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._pending:
            return
        chunks, self._pending, self._pending_bytes = self._pending, [], 0
        self._writing = True
        writing = asyncio.get_running_loop().run_in_executor(self._executor, self._write, chunks)
        writing.add_done_callback(partial(self._written, chunks))

    def _written(self, chunks: list[bytes], writing: "asyncio.Future[OSError | None]") -> None:
        self._writing = False
        match writing.result():
            case None:
                starts = accumulate(map(len, chunks), initial=self.received)
                self._recent = list(zip(starts, chunks, strict=False))
                self._write_soon()
                self._grown(self.received + sum(map(len, chunks)))
            case OSError() as err if self._failure is None:
                self._account.fault(err)
                self._end(StoreError(str(err)))

    # On a thread

    def _write(self, chunks: list[bytes]) -> OSError | None:
        try:
            self._file.write(chunks)
        except OSError as err:
            self._file.discard()  # its room may be what others lack
            return err
        return None

    def _keep(self) -> OSError | None:
        try:
            new = self._file.keep()
        except OSError as err:
            self._account.fault(err)
            return err
        self._account.kept(self.size, new=new)
        return None
