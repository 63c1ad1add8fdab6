"""A damaged file is set aside and a new one begins, at the start and in between, whoever has it open."""

import asyncio
import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager

import pytest
from structlog.testing import capture_logs
from support.stores import APP, NOW, digest, key, remembered

from proxy.stores import database as module
from proxy.stores import opening
from proxy.stores.database import StoreError, open_database
from proxy.stores.grants import Member, SqliteMemberships
from proxy.stores.opening import UnavailableStoreError, identity_of, is_damage, move_aside
from proxy.stores.verdicts import SqliteVerdicts

IS_ROOT = os.geteuid() == 0


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder / "store"


@contextmanager
def database(path):
    """Open a store; what it tells is collected."""
    faults, aside = [], []
    opened = open_database(path, faults.append, lambda name, why: aside.append((name, why)))
    opened.faults, opened.aside = faults, aside
    try:
        yield opened
    finally:
        opened.close()


async def fill(opened, number=100):
    store = SqliteMemberships(opened)
    for one in range(number):
        await store.add(APP, digest(one), None, [Member(digest(f"b{one}"), 1, "a/b")])


async def works(opened, number=1):
    """Whether what is put in comes out."""
    verdicts = SqliteVerdicts(opened)
    await verdicts.put(key(number), remembered(key(number)))
    return await verdicts.get(key(number), NOW) == remembered(key(number))


def made(path):
    async def make():
        with database(path) as opened:
            await fill(opened)

    asyncio.run(make())


def overwrite(path, start, end=None):
    with path.open("r+b") as file:
        file.seek(start)
        file.write(os.urandom((end or path.stat().st_size) - start))


def rot(path):
    """Overwrite every page but the first two."""
    content = bytearray(path.read_bytes())
    for start in range(4096 * 2, len(content), 4096):
        content[start : start + 2000] = os.urandom(2000)
    path.write_bytes(content)


def without_a_table(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE verdict")


def with_a_trigger(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TRIGGER theirs AFTER DELETE ON verdict BEGIN DELETE FROM tag; END")


def beside(path, suffix):
    return path.with_name(path.name + suffix)


def replaced_by(make):
    def spoil(path):
        path.unlink()
        make(path)

    return spoil


DAMAGE = {
    "no database": lambda path: path.write_bytes(b"hello" * 1000),
    "all of it": lambda path: overwrite(path, 0),
    "the header": lambda path: overwrite(path, 0, 100),
    "the first page": lambda path: overwrite(path, 100, 4096),
    "all but the header": lambda path: overwrite(path, 4096),
    "pages": rot,
    "cut off": lambda path: os.truncate(path, 3 * 4096 + 100),
    "a table is missing": without_a_table,
    "a trigger more": with_a_trigger,
    "a folder": replaced_by(lambda path: path.mkdir()),
    "a full folder": replaced_by(lambda path: (path.mkdir(), (path / "file").touch())),
    "a pipe": replaced_by(os.mkfifo),
    "a dangling symbolic link": replaced_by(lambda path: path.symlink_to("/nowhere/store")),
    "a link to itself": replaced_by(lambda path: path.symlink_to(path.name)),
    "a log that is a folder": lambda path: beside(path, "-wal").mkdir(),
    "an index that is a folder": lambda path: beside(path, "-shm").mkdir(),
}
if not IS_ROOT:  # who may read and write everything
    DAMAGE["no right to read it"] = lambda path: path.chmod(0)
    DAMAGE["no right to write it"] = lambda path: path.chmod(0o400)


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
async def test_what_is_damaged_is_set_aside_at_the_start(path, damage):
    await asyncio.to_thread(made, path)
    damage(path)
    inode = path.lstat().st_ino
    with database(path) as opened:
        ((name, why),) = opened.aside
        assert (name, bool(why), opened.faults) == ("store.damaged-1", True, [])
        assert (path.parent / name).lstat().st_ino == inode
        assert await works(opened)
    assert path.stat().st_mode & 0o777 == 0o600
    with database(path) as again:
        assert again.aside == []
        assert await works(again)


WELL = {
    "as it was": lambda path: None,
    "empty": lambda path: os.truncate(path, 0),
    "gone": lambda path: path.unlink(),
    "a log of rubbish": lambda path: beside(path, "-wal").write_bytes(os.urandom(10_000)),
    "an index of rubbish": lambda path: beside(path, "-shm").write_bytes(os.urandom(32_768)),
    "an empty file with a log of rubbish": lambda path: (
        os.truncate(path, 0),
        beside(path, "-wal").write_bytes(os.urandom(10_000)),
    ),
    "a link to a file": lambda path: (path.rename(path.parent / "other"), path.symlink_to("other")),
}


@pytest.mark.parametrize("change", WELL.values(), ids=WELL.keys())
async def test_what_is_no_damage_is_used(path, change):
    await asyncio.to_thread(made, path)
    change(path)
    for suffix in ("-wal", "-shm"):
        if beside(path, suffix).exists():
            beside(path, suffix).chmod(0o600)
    with database(path) as opened:
        assert (opened.aside, opened.faults) == ([], [])
        assert await works(opened)


@pytest.mark.parametrize("damage", ["pages", "all but the header", "all of it"])
async def test_what_is_damaged_in_between_is_set_aside_by_one_for_all(path, damage):
    with database(path) as one, database(path) as other:
        await fill(one)
        await one.read(lambda it: it.execute("PRAGMA wal_checkpoint(TRUNCATE)"), None)
        DAMAGE[damage](path)
        for opened in (one, other):
            # What SQLite has in memory it does not read again.
            await opened.read(lambda it: it.execute("PRAGMA shrink_memory"), None)
        for number in range(300):
            for opened in (one, other):
                await SqliteMemberships(opened).add(APP, digest(number), None, [Member(digest(number), 1, "a/b")])
            if one.aside or other.aside:
                break
        ((name, why),) = one.aside + other.aside
        assert name == "store.damaged-1"
        assert "malformed" in why or "not a database" in why
        for number in range(10):
            assert await works(one, number)
            assert await SqliteVerdicts(other).get(key(number), NOW) == remembered(key(number))
        assert len(one.aside + other.aside) == 1
    with database(path) as again:
        assert await SqliteVerdicts(again).get(key(9), NOW) == remembered(key(9))
        assert await again.read(lambda it: it.execute("PRAGMA integrity_check").fetchone()[0], "") == "ok"


async def test_who_had_the_old_file_open_takes_nothing_of_the_new_one_along(path):
    """SQLite unlinks the log by name when the last connection closes, but not where its file was moved."""
    with database(path) as one, database(path) as other:
        assert await works(one)
        assert await works(other)
        move_aside(path, identity_of(path), "for a test", one._moved)
        assert await works(one)
        log = beside(path, "-wal").stat().st_ino
        assert await works(other, 2)
        assert beside(path, "-wal").stat().st_ino == log
        assert await SqliteVerdicts(one).get(key(2), NOW) == remembered(key(2))
        assert beside(path, ".damaged-1-wal").exists()
        assert one.aside == [("store.damaged-1", "for a test")]


async def test_a_file_that_was_removed_is_made_again(path):
    with database(path) as opened:
        assert await works(opened)
        path.unlink()
        assert await works(opened, 2)
        assert (opened.aside, opened.faults) == ([], [])


async def test_two_are_kept(path):
    for number in range(1, 5):
        path.write_bytes(b"damage" * number * 100)
        path.chmod(0o600)
        with database(path) as opened:
            assert [name for name, _ in opened.aside] == [f"store.damaged-{number}"]
    kept = sorted(it.name for it in path.parent.iterdir() if "damaged" in it.name)
    assert kept == ["store.damaged-3", "store.damaged-4"]


@pytest.mark.parametrize("code", ["ENOSPC", "EROFS", "EMFILE"])
async def test_what_cannot_be_opened_now_is_tried_again(path, monkeypatch, code):
    real, fails = os.open, [True]

    def failing(what, flags, *mode):
        if fails[0] and flags & os.O_CREAT:
            raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)), str(what))
        return real(what, flags, *mode)

    monkeypatch.setattr(opening.os, "open", failing)
    monkeypatch.setattr(module, "OPEN_SECONDS", 0.0)
    with database(path) as opened:
        assert not await works(opened)
        assert all("see to its folder" in fault for fault in opened.faults)
        fails[0] = False
        assert await works(opened)


def test_a_full_disk_is_no_damage(path, monkeypatch):
    made(path)
    size = path.stat().st_size

    def full(connection, path):
        raise next(errors)

    monkeypatch.setattr(opening, "_prepare", full)
    for name in ("SQLITE_FULL", "SQLITE_CANTOPEN", "SQLITE_BUSY", "SQLITE_READONLY", "SQLITE_IOERR_SHMSIZE"):
        err = sqlite3.OperationalError(name)
        err.sqlite_errorcode = getattr(sqlite3, name)
        errors = iter([err])
        with database(path) as opened:
            assert (len(opened.faults), opened.aside) == (1, [])
        assert path.stat().st_size == size


def test_a_disk_that_cannot_be_read_is_damage(path, monkeypatch):
    made(path)
    err = sqlite3.OperationalError("disk I/O error")
    err.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
    assert is_damage(err)
    assert not is_damage(sqlite3.OperationalError("of Python's own"))
    real, errors = opening._prepare, [err]
    monkeypatch.setattr(
        opening, "_prepare", lambda *it: real(*it) if not errors else (_ for _ in ()).throw(errors.pop())
    )
    with database(path) as opened:
        assert opened.aside == [("store.damaged-1", "disk I/O error")]


def test_what_is_damaged_again_and_again_is_given_up(path, monkeypatch):
    def damaged(connection, path):
        raise opening._DamagedError("for a test")

    monkeypatch.setattr(opening, "_prepare", damaged)
    with database(path) as opened:
        assert len(opened.aside) == 3
        assert "is damaged as soon as it is made" in opened.faults[0]


@pytest.mark.skipif(IS_ROOT, reason="root may write into every folder")
def test_what_cannot_be_renamed_is_a_fault(path):
    made(path)
    overwrite(path, 0)
    path.parent.chmod(0o500)
    try:
        with database(path) as opened:
            assert "cannot be" in opened.faults[0] or "cannot open" in opened.faults[0]
    finally:
        path.parent.chmod(0o700)


def test_a_rename_that_fails_is_a_fault(path, monkeypatch):
    made(path)
    overwrite(path, 0)
    monkeypatch.setattr(
        type(path), "rename", lambda *_: (_ for _ in ()).throw(OSError(errno.EACCES, "Permission denied"))
    )
    with database(path) as opened:
        assert "and cannot be renamed: Permission denied: move it away" in opened.faults[0]


def test_another_that_has_set_it_aside_is_left_alone(path):
    made(path)
    told = []
    move_aside(path, (0, 0), "x", lambda *it: told.append(it))
    assert told == []
    assert path.exists()


def test_another_that_opens_for_ever_is_not_waited_for(path, monkeypatch):
    made(path)
    monkeypatch.setattr(opening, "LOCK_SECONDS_MAX", 0.05)
    command = [
        sys.executable, "-c",
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_SH); print(flush=True); sys.stdin.read()",
        str(beside(path, ".lock")),
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:  # noqa: S603 (our own)
        holder.stdout.readline()
        with pytest.raises(UnavailableStoreError, match=r"another process holds .*store\.lock"):
            move_aside(path, identity_of(path), "x", pytest.fail)
        open_database(path).close()  # those who open do so together
        holder.communicate()


def test_what_is_set_aside_is_logged_where_nobody_takes_it(path):
    path.write_bytes(b"hello" * 1000)
    path.chmod(0o600)
    with capture_logs() as logged:
        open_database(path).close()
    assert [(it["event"], it["file"]) for it in logged] == [("store set aside", "store.damaged-1")]


async def test_another_programs_file_that_appears_is_a_fault(path, monkeypatch):
    monkeypatch.setattr(module, "OPEN_SECONDS", 0.0)
    with database(path) as opened:
        assert await works(opened)
        path.unlink()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE theirs (x)")
        path.chmod(0o600)
        assert not await works(opened)
        assert "another program's" in opened.faults[0]
    with pytest.raises(StoreError):
        open_database(path)
    shutil.rmtree(path.parent)
