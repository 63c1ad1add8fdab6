"""Opening the store's file: made where there is none, and set aside where it is damaged, by one process for all.

Theory of operation. A file is never repaired: all that lies in it can be found out again. The process that finds damage
renames it, with its `-wal` and `-shm`, and the next question makes a new one; the others see at their next question
that the name leads to another file (`identity`) and open that. Opening holds the lock file shared; renaming holds it
exclusively and checks that the name still leads to what was damaged. So a damaged file is set aside once, and no new
file begins beside an old log of writes. SQLite does not touch the log of a file that was moved while it was open:
closing it neither checkpoints nor unlinks by name (sqlite.org/c3ref/c_fcntl_begin_atomic_write.html, HAS_MOVED).
"""

import errno
import fcntl
import os
import re
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from proxy.stores.ownership import User, is_private
from proxy.stores.schema import APPLICATION_ID, SCHEMA_VERSION, create, is_whole

T = TypeVar("T")

# How long another process (a backup) may hold the file, and how long one may take to open it (2 s for 500 MB).
BUSY_MILLISECONDS = 2000
LOCK_SECONDS_MAX = 10.0
_LOOK_SECONDS = 0.02
# Damaged files that are kept for analysis; each may have some hundred megabytes.
SET_ASIDE_MAX = 2
# Attempts to open the file, where each new one is damaged again.
_TRIES = 3
SUFFIXES = ("", "-wal", "-shm")
# Errors that are not about the file's content: no space, no file descriptors, a lock.
_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
_UNREADABLE = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS})
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class StoreError(Exception):
    """The store's file cannot be used; the text names it and says what to do."""


class UnavailableStoreError(StoreError):
    """The file cannot be used now, for a reason that may pass: a full disk, a lock, too many open files."""


class _DamagedError(Exception):
    """The file is damaged; the text says how."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A connection, and which file it leads to."""

    connection: sqlite3.Connection
    identity: tuple[int, int] | None

    def is_at(self, path: Path) -> bool:
        """Return whether the path still names this file."""
        return self.identity == identity_of(path)


SetAside = Callable[[str, str], None]


def open_file(path: Path, set_aside: SetAside) -> OpenFile:
    """Open the store's file, or make it, for its owner only; a damaged one is renamed and a new one begins.

    `set_aside` is called with the new name and the cause. Raises UnavailableStoreError where that fails now, StoreError
    for another program's file, a newer Sealgate's, one that others may write, and a file system without WAL.
    """
    for _ in range(_TRIES):
        with _locked(path, fcntl.LOCK_SH):
            try:
                connection = _connect(path)
            except _DamagedError as err:
                damaged, why = identity_of(path), str(err)
            else:
                return OpenFile(connection, identity_of(path))
        move_aside(path, damaged, why, set_aside)
    raise UnavailableStoreError(f"the store {path} is damaged as soon as it is made: see to its disk")


def move_aside(path: Path, damaged: tuple[int, int] | None, why: str, set_aside: SetAside) -> None:
    """Rename a damaged file together with its log, unless another process has done so. Raises UnavailableStoreError."""
    with _locked(path, fcntl.LOCK_EX):
        if identity_of(path) != damaged:
            return
        try:
            kept = sorted(_set_aside(path))
            target = path.with_name(f"{path.name}.damaged-{(kept[-1][0] if kept else 0) + 1}")
            for suffix in reversed(SUFFIXES):  # the log first: a new file would take it for its own
                with suppress(FileNotFoundError):
                    path.with_name(path.name + suffix).rename(target.with_name(target.name + suffix))
        except OSError as err:
            raise UnavailableStoreError(
                f"the store {path} is damaged ({why}) and cannot be renamed: {err.strerror}: move it away"
            ) from err
        for _, old in kept[: len(kept) + 1 - SET_ASIDE_MAX]:
            for suffix in SUFFIXES:
                with suppress(OSError):  # a folder that somebody put there stays
                    old.with_name(old.name + suffix).unlink()
    set_aside(target.name, why)


def is_damage(err: sqlite3.Error) -> bool:
    """Return whether this error means that the file is damaged."""
    code = getattr(err, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF in _DAMAGE or code in _UNREADABLE)


def identity_of(path: Path) -> tuple[int, int] | None:
    """Return what tells the file at this path from all others, None where there is none."""
    try:
        status = path.stat()
    except OSError:
        with suppress(OSError):  # a dangling symbolic link
            status = path.lstat()
            return status.st_dev, status.st_ino
        return None
    return status.st_dev, status.st_ino


def _set_aside(path: Path) -> Iterator[tuple[int, Path]]:
    pattern = re.compile(re.escape(path.name) + r"\.damaged-([0-9]{1,9})", re.ASCII)
    for one in path.parent.iterdir():
        found = pattern.fullmatch(one.name)
        if found:
            yield int(found[1]), one


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    try:
        lock = os.open(
            path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    except OSError as err:
        raise UnavailableStoreError(f"cannot open the store {path}: {err.strerror}: see to its folder") from err
    try:
        _wait_for(lock, how, path)
        yield
    finally:
        os.close(lock)


def _wait_for(lock: int, how: int, path: Path) -> None:
    until = time.monotonic() + LOCK_SECONDS_MAX
    while True:
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise UnavailableStoreError(
                    f"cannot open the store {path}: another process holds {path}.lock"
                ) from None
            time.sleep(_LOOK_SECONDS)
        else:
            return


def _connect(path: Path) -> sqlite3.Connection:
    try:
        _make_file(path)
    except OSError as err:
        raise UnavailableStoreError(f"cannot open the store {path}: {err.strerror}: see to its folder") from err
    _check_files(path)
    try:
        return _connected(path)
    except sqlite3.Error as err:
        code = getattr(err, "sqlite_errorcode", 0)
        if code & 0xFF in _PASSING and code not in _UNREADABLE:
            hint = "see that no other program holds it and that the disk has room"
            raise UnavailableStoreError(f"cannot open the store {path}: {err}: {hint}") from err
        raise _DamagedError(str(err)) from err


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MILLISECONDS / 1000)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_file(path: Path) -> None:
    """Make the file if there is none. One that is there is not opened: closing it would release SQLite's locks on it.

    sqlite.org/howtocorrupt.html, 2.2.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))


def _check_files(path: Path) -> None:
    """Check that each is a file, ours alone, and that we may use it."""
    user = User.current()
    for suffix in SUFFIXES:
        one = path.with_name(path.name + suffix)
        try:
            status = one.stat()
        except FileNotFoundError:
            if suffix and not one.is_symlink():
                continue
            raise _DamagedError(f"{one.name} is a dangling symbolic link") from None
        except OSError as err:
            raise _DamagedError(f"{one.name}: {err.strerror}") from err
        if not stat.S_ISREG(status.st_mode):
            raise _DamagedError(f"{one.name} is no file")
        if not is_private(status, user):
            raise StoreError(f"the store {one} may be written by others: see who owns it, and its mode")
        if not os.access(one, os.R_OK | os.W_OK):
            raise _DamagedError(f"{one.name}: {os.strerror(errno.EACCES)}")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    in_transaction(connection, lambda it: _create_or_check(it, path))
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise StoreError(f"the store {path} cannot be used in WAL mode: put it on a local disk")
    connection.execute("PRAGMA synchronous = NORMAL")
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _DamagedError(" ".join(found.split()))
    if not is_whole(connection):
        raise _DamagedError("its tables are not those that were made")


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
            log = structlog.get_logger("proxy.stores")
            log.warning("store emptied: another version wrote it", path=str(path), schema=version, reads=SCHEMA_VERSION)


def in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Do all of the work or nothing of it."""
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
