"""The one SQLite file that all Sealgate processes of a machine share, and the one thread of each that touches it.

What lies in it can be found out again from the registries, so a fault in it (disk full, a damaged page, a lock that is
not released) never reaches a client: the asker is told that nothing is remembered, which makes nothing laxer, and the
fault is reported. Only opening fails loudly, for then somebody is there to read it.

The file is in WAL mode with synchronous NORMAL: a killed process loses nothing that was answered, a power cut at most
the last entries, and neither damages it (sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous).
"""

import asyncio
import errno
import os
import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog

from proxy.oci.digest import Digest
from proxy.oci.reference import Repository
from proxy.stores.schema import APPLICATION_ID, SCHEMA_VERSION, create

T = TypeVar("T")

# The file in the state directory.
DATABASE = "sealgate.sqlite3"

# How long another process (a backup) may hold the file, and how long an asker waits for any answer: together well
# within the 20 s that a manifest request has.
BUSY_MILLISECONDS = 2000
ANSWER_SECONDS_MAX = 5.0
# Each is a request that waits; at 100 us a job this is 0.1 s of work. More means that the disk stands still.
PENDING_MAX = 1000

# SQLite starts the write-ahead log anew when no reader needs it, which of many busy processes may be never (measured:
# 60 MB in 8 s of four that do nothing else). Beyond this the next that writes waits for the readers.
WAL_BYTES_MAX = 16 * 1024 * 1024


class StoreError(Exception):
    """The store's file cannot be used; the text names it and says what to do."""


class Database:
    """An open store. Its methods are for the event loop; the work runs on the store's own thread, in order."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, thread: ThreadPoolExecutor, on_fault: Callable[[str], None]
    ) -> None:
        self._connection = connection
        self._log = path.with_name(f"{path.name}-wal")
        self._log_limit = WAL_BYTES_MAX
        self._thread = thread
        self._pending = 0
        # Done when the thread has caught up, after it had not answered in time.
        self._stall: Future[None] | None = None
        self.on_fault = on_fault

    async def read(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Run the work on the store's thread; where that fails, report the fault and return `otherwise`."""
        return await self._run(work, otherwise)

    async def write(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Do the same as `read`, all of the work or nothing of it."""
        return await self._run(lambda connection: self._write(connection, work), otherwise)

    def _write(self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
        answer = _in_transaction(connection, work)
        if self._log_size() > self._log_limit:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            # Whoever reads for long (a backup) is waited for seldom.
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
                return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._connection)
        except TimeoutError:
            self._stall = self._thread.submit(lambda: None)
            self.on_fault(f"no answer from the store within {ANSWER_SECONDS_MAX:g} s")
        except sqlite3.Error as err:
            self.on_fault(f"{type(err).__name__}: {err}")
        finally:
            self._pending -= 1
        return otherwise

    def close(self) -> None:
        """Finish the work that waits and close the file; asking afterwards is a bug (RuntimeError)."""
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()


def open_database(path: Path, on_fault: Callable[[str], None] | None = None) -> Database:
    """Open the store, or make it, readable by its owner only; also while other processes do the same.

    What an older Sealgate left is emptied: all of it can be found out again.
    `on_fault` is told in one line of each fault that happens later; without it they are logged. It is called on the
    event loop. Raises StoreError where the file is damaged, another program's or a newer Sealgate's.
    """
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
    try:
        connection = thread.submit(_connect, path).result()
    except BaseException:
        thread.shutdown()
        raise
    return Database(connection, path, thread, on_fault or _log_fault)


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


def _connect(path: Path) -> sqlite3.Connection:
    try:
        _make_file(path)
    except OSError as err:
        raise StoreError(f"cannot open the store {path}: {err.strerror}: give a file that this user may write") from err
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MILLISECONDS / 1000)
    try:
        _prepare(connection, path)
    except sqlite3.DatabaseError as err:
        connection.close()
        raise StoreError(_unusable(path, err)) from err
    except BaseException:
        connection.close()
        raise
    return connection


def _make_file(path: Path) -> None:
    """Make the file if there is none. One that is there is not opened: closing it would release SQLite's locks on it.

    sqlite.org/howtocorrupt.html, 2.2.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if stat.S_ISDIR(path.stat().st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)) from None
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None


def _unusable(path: Path, err: sqlite3.DatabaseError) -> str:
    if isinstance(err, sqlite3.OperationalError):
        return f"cannot open the store {path}: {err}: see that no other program holds it and that the disk has room"
    return _damaged(path, str(err))


def _damaged(path: Path, what: str) -> str:
    return (
        f"the store {path} is damaged ({what}): move it away together with {path.name}-wal and {path.name}-shm and"
        " start again; nothing is lost but remembered verdicts, which are found out anew"
    )


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    _in_transaction(connection, lambda it: _create_or_check(it, path))
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise StoreError(f"the store {path} cannot be used in WAL mode: put it on a local disk")
    connection.execute("PRAGMA synchronous = NORMAL")
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreError(_damaged(path, " ".join(found.split())))


def _create_or_check(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION_ID and not (application == version == 0 and empty):
        raise StoreError(f"{path} is another program's SQLite file: give the store a path of its own")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"the store {path} has schema version {version}, this Sealgate reads {SCHEMA_VERSION}: start the version"
            " that wrote it, or move the file away; nothing is lost but remembered verdicts"
        )
    if version < SCHEMA_VERSION:
        create(connection)
        if not empty:
            _log().warning(
                "store emptied: another version wrote it", path=str(path), schema=version, reads=SCHEMA_VERSION
            )


def _in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    # IMMEDIATE: the lock is waited for at the start, where busy_timeout holds, and not found missing half-way.
    connection.execute("BEGIN IMMEDIATE")
    try:
        answer = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        # Some errors (disk full) have rolled back already; then this does nothing.
        connection.rollback()
        raise
    return answer


def _log_fault(fault: str) -> None:
    _log().error("store fault", fault=fault)


def _log() -> structlog.stdlib.BoundLogger:
    log: structlog.stdlib.BoundLogger = structlog.get_logger("proxy.stores")
    return log
