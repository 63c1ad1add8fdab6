"""The one SQLite file that all Sealgate processes of a machine share, and the one thread of each that touches it.

What lies in it can be found out again from the registries, so a fault in it (disk full, a damaged page, a lock that is
not released) never reaches a client: the asker is told that nothing is remembered, which makes nothing laxer, and the
fault is reported. A damaged file is set aside and a new one begins; one that cannot be opened is tried again. Only a
file that is not ours to use fails loudly, at the start, for then somebody is there to read it.

The file is in WAL mode with synchronous NORMAL: a killed process loses nothing that was answered, a power cut at most
the last entries, and neither damages it (sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous).
"""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import structlog

from proxy.oci.digest import Digest
from proxy.oci.reference import Repository
from proxy.stores.opening import (
    BUSY_MILLISECONDS,
    OpenFile,
    SetAside,
    StoreError,
    UnavailableStoreError,
    in_transaction,
    is_damage,
    move_aside,
    open_file,
)

__all__ = ["BUSY_MILLISECONDS", "DATABASE", "Database", "StoreError", "open_database"]

T = TypeVar("T")

# The file in the state directory.
DATABASE = "sealgate.sqlite3"

# How long a request waits for any answer: together with BUSY_MILLISECONDS well within the 20 s of a manifest request.
ANSWER_SECONDS_MAX = 5.0
# The pause before a file that could not be opened is tried again, by the next request.
OPEN_SECONDS = 5.0
# Each is a request that waits; at 100 us a job this is 0.1 s of work. More means that the disk stands still.
PENDING_MAX = 1000

# SQLite starts the write-ahead log anew when no reader needs it, which of many busy processes may be never (measured:
# 60 MB in 8 s of four that do nothing else). Beyond this the next that writes waits for the readers.
WAL_BYTES_MAX = 16 * 1024 * 1024


class _NotNowError(Exception):
    """The file could not be opened just now, which was reported; it is not tried again yet."""


class Database:
    """The store. Its methods are for the event loop; the work runs on the store's own thread, in order.

    `on_fault` is called with a line for each fault, `on_set_aside` with the new name of a damaged file and the cause.
    What another process puts in the place of a damaged file is opened at the next question (`opening`).
    """

    def __init__(
        self, path: Path, thread: ThreadPoolExecutor, on_fault: Callable[[str], None], on_set_aside: SetAside
    ) -> None:
        self._path = path
        self._log = path.with_name(f"{path.name}-wal")
        self._log_limit = WAL_BYTES_MAX
        self._thread = thread
        self._file: OpenFile | None = None
        self._open_at = 0.0
        self._aside: deque[tuple[str, str]] = deque()
        self._pending = 0
        # Done when the thread has caught up, after it had not answered in time.
        self._stall: Future[None] | None = None
        self.on_fault = on_fault
        self.on_set_aside = on_set_aside

    def open(self) -> None:
        """Open the file for the first time; one that cannot be opened now is tried again. Raises StoreError."""
        try:
            self._thread.submit(self._opened).result()
        except UnavailableStoreError as err:
            self.on_fault(str(err))
        self._tell()

    async def read(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Run the work on the store's thread; where that fails, report the fault and return `otherwise`."""
        return await self._run(work, otherwise)

    async def write(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Do the same as `read`, all of the work or nothing of it."""
        return await self._run(lambda connection: self._write(connection, work), otherwise)

    def _write(self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
        answer = in_transaction(connection, work)
        if self._log_size() > self._log_limit:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            # So that a long reader (a backup) is not waited for by each write.
            self._log_limit = max(WAL_BYTES_MAX, 2 * self._log_size())
        return answer

    def _log_size(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    async def _run(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        if self._stall is not None and not self._stall.done():
            return otherwise  # one request asks several times, and waits in vain but once
        if self._pending >= PENDING_MAX:
            self.on_fault(f"{PENDING_MAX} requests wait for the store already")
            return otherwise
        self._pending += 1
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)
        except TimeoutError:
            self._stall = self._thread.submit(lambda: None)
            self.on_fault(f"no answer from the store within {ANSWER_SECONDS_MAX:g} s")
        except sqlite3.Error as err:
            self.on_fault(f"{type(err).__name__}: {err}")
        except StoreError as err:
            self.on_fault(str(err))
        except _NotNowError:
            pass
        finally:
            self._pending -= 1
            self._tell()
        return otherwise

    # On the store's thread

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._opened().connection

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        try:
            return work(connection)
        except sqlite3.Error as err:
            if is_damage(err) and self._file is not None:
                move_aside(self._path, self._file.identity, str(err), self._moved)
            raise

    def _opened(self) -> OpenFile:
        """Return the file that the name leads to now."""
        if self._file is not None:
            if self._file.is_at(self._path):
                return self._file
            # After another has its name, so that SQLite leaves the log of that one alone.
            self._close()
        now = time.monotonic()
        if now < self._open_at:
            raise _NotNowError
        self._open_at = now + OPEN_SECONDS
        self._file = open_file(self._path, self._moved)
        self._open_at = 0.0
        return self._file

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(sqlite3.Error):
                file.connection.close()

    def _moved(self, name: str, why: str) -> None:
        self._aside.append((name, why))

    # On the event loop

    def _tell(self) -> None:
        while self._aside:
            self.on_set_aside(*self._aside.popleft())

    def close(self) -> None:
        """Finish the work that waits and close the file; asking afterwards is a bug (RuntimeError)."""
        self._thread.submit(self._close).result()
        self._thread.shutdown()


def open_database(
    path: Path, on_fault: Callable[[str], None] | None = None, on_set_aside: SetAside | None = None
) -> Database:
    """Open the store, or make it, readable by its owner only; also while other processes do the same.

    What an older Sealgate left is emptied, and what is damaged is set aside: all of it can be found out again. A file
    that cannot be opened now (full disk, lock) is a fault like one that happens later, and is tried again.
    `on_fault` and `on_set_aside` are called on the event loop and in this function; without them events are logged.
    Raises StoreError where the file is another program's, a newer Sealgate's, or may be written by others.
    """
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
    database = Database(path, thread, on_fault or _log_fault, on_set_aside or _log_set_aside)
    try:
        database.open()
    except BaseException:
        thread.shutdown()
        raise
    return database


def repository_id(connection: sqlite3.Connection, repository: Repository) -> int:
    """Return the number under which the repository stands in the file, a new one if need be."""
    name = str(repository)
    connection.execute("INSERT OR IGNORE INTO repository (name) VALUES (?)", (name,))
    row: tuple[int] = connection.execute("SELECT id FROM repository WHERE name = ?", (name,)).fetchone()
    return row[0]


def drop_unused_repository(connection: sqlite3.Connection, number: int) -> None:
    """Forget a repository's name when nothing more is remembered of it."""
    connection.execute(
        """DELETE FROM repository WHERE id = :id AND NOT EXISTS (SELECT 1 FROM manifest WHERE repository = :id)
           AND NOT EXISTS (SELECT 1 FROM verdict WHERE repository = :id)
           AND NOT EXISTS (SELECT 1 FROM body WHERE repository = :id)
           AND NOT EXISTS (SELECT 1 FROM tag WHERE repository = :id)""",
        {"id": number},
    )


def digest_bytes(digest: Digest) -> bytes:
    """Write a digest as its bytes; the length says which algorithm it is."""
    return bytes.fromhex(digest.hex)


def digest_of_bytes(content: bytes) -> Digest:
    """Read what `digest_bytes` wrote; raises MalformedError for any other length."""
    return Digest.parse(f"{'sha512' if len(content) == 64 else 'sha256'}:{content.hex()}")  # noqa: PLR2004 (its bytes)


def _log_fault(fault: str) -> None:
    structlog.get_logger("proxy.stores").error("store fault", fault=fault)


def _log_set_aside(name: str, why: str) -> None:
    structlog.get_logger("proxy.stores").error("store set aside", file=name, cause=why)
