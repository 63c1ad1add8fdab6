"""One file, one thread: what it survives, what it refuses, and how it says so."""

import asyncio
import re
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest
from structlog.testing import capture_logs
from support.stores import APP, NOW, database, digest, key, remembered

from proxy.oci.errors import MalformedError
from proxy.stores import database as module
from proxy.stores import opening
from proxy.stores.database import StoreError, digest_bytes, digest_of_bytes, open_database
from proxy.stores.grants import SqliteMemberships
from proxy.stores.schema import APPLICATION_ID, SCHEMA_VERSION, amount
from proxy.stores.verdicts import SqliteVerdicts


def one(opened, statement):
    return opened.read(lambda it: it.execute(statement).fetchone()[0], None)


async def test_is_durable_private_and_off_the_event_loop(tmp_path):
    with database(tmp_path / "store") as opened:
        assert await one(opened, "PRAGMA journal_mode") == "wal"
        assert await one(opened, "PRAGMA synchronous") == 1
        assert await one(opened, "PRAGMA busy_timeout") == module.BUSY_MILLISECONDS
        assert await one(opened, "PRAGMA user_version") == SCHEMA_VERSION
        names = {await opened.read(lambda _: threading.current_thread().name, "") for _ in range(3)}
        assert names == {"store_0"}
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o600


def make_newer(path):
    open_database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def make_older(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE verdict (id INTEGER PRIMARY KEY, expires REAL NOT NULL)")
        connection.execute("CREATE TABLE long_gone (x)")
        connection.execute("INSERT INTO verdict VALUES (1, 2)")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
    connection.close()


def make_foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()


UNUSABLE = {
    "newer": (
        make_newer,
        f"has schema version 99, this Sealgate reads {SCHEMA_VERSION}: start the version that wrote it",
    ),
    "another program's": (make_foreign, "is another program's SQLite file"),
    "open to others": (lambda path: (path.touch(), path.chmod(0o666)), "may be written by others"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_file_is_refused_by_name(tmp_path, name):
    make, message = UNUSABLE[name]
    make(tmp_path / "store")
    with pytest.raises(StoreError, match=message) as caught:
        open_database(tmp_path / "store")
    assert str(tmp_path / "store") in str(caught.value)
    assert not any(it.name.startswith("store") for it in threading.enumerate())


async def test_what_an_older_version_left_is_emptied(tmp_path):
    make_older(tmp_path / "store")
    for said in (["store emptied: another version wrote it"], []):
        with capture_logs() as logged, database(tmp_path / "store") as opened:
            assert [it["event"] for it in logged] == said
            assert await one(opened, "PRAGMA user_version") == SCHEMA_VERSION
            assert await one(opened, "SELECT count(*) FROM sqlite_master WHERE name = 'long_gone'") == 0
            store = SqliteVerdicts(opened)
            await store.put(key(), remembered(key()))
            assert await store.get(key(), NOW) == remembered(key())
            assert await opened.read(lambda it: amount(it, "verdicts"), None) == 1
            assert opened.faults == []


def test_another_programs_file_is_left_as_it_is(tmp_path):
    make_foreign(tmp_path / "store")
    before = (tmp_path / "store").read_bytes()
    with pytest.raises(StoreError):
        open_database(tmp_path / "store")
    assert (tmp_path / "store").read_bytes() == before


def test_opening_a_file_takes_no_lock_from_who_has_it_open(tmp_path):
    open_database(tmp_path / "store").close()
    holder = sqlite3.connect(tmp_path / "store", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    opening._make_file(tmp_path / "store")
    opening._check_files(tmp_path / "store")
    script = f"import sqlite3; sqlite3.connect({str(tmp_path / 'store')!r}, timeout=0).execute('BEGIN IMMEDIATE')"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)  # noqa: S603 (our own)
    holder.close()
    assert b"database is locked" in other.stderr


async def test_a_log_of_writes_that_was_removed_has_no_size(tmp_path):
    with database(tmp_path / "store") as opened:
        (tmp_path / "store-wal").unlink()
        assert await opened.read(lambda _: opened._log_size(), None) == 0


def test_a_file_system_without_wal_is_refused(tmp_path):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    with pytest.raises(StoreError, match="cannot be used in WAL mode: put it on a local disk"):
        opening._prepare(connection, tmp_path / "store")
    connection.close()


async def test_a_locked_file_is_a_fault_until_it_is_not(tmp_path, monkeypatch):
    open_database(tmp_path / "store").close()
    monkeypatch.setattr(opening, "BUSY_MILLISECONDS", 1)
    holder = sqlite3.connect(tmp_path / "store", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with database(tmp_path / "store") as opened:
        (fault,) = opened.faults
        assert re.search("is locked: see that no other program holds it", fault)
        assert await one(opened, "SELECT 1") is None
        assert len(opened.faults) == 1
        monkeypatch.setattr(opened, "_open_at", 0.0)
        holder.close()
        assert await one(opened, "SELECT 1") == 1
        assert len(opened.faults) == 1


async def test_a_failed_transaction_leaves_nothing(tmp_path):
    def half(connection):
        connection.execute("INSERT INTO repository (name) VALUES ('a')")
        connection.execute("INSERT INTO repository (name) VALUES ('a')")

    with database(tmp_path / "store") as opened:
        assert await opened.write(half, "otherwise") == "otherwise"
        assert await one(opened, "SELECT count(*) FROM repository") == 0
        assert opened.faults == ["IntegrityError: UNIQUE constraint failed: repository.name"]


async def test_a_bug_is_a_crash(tmp_path):
    with database(tmp_path / "store") as opened:
        with pytest.raises(ZeroDivisionError):
            await opened.write(lambda _: 1 / 0, None)
        assert await one(opened, "SELECT 1") == 1


async def test_nobody_waits_for_a_disk_that_stands_still(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS_MAX", 0.01)
    monkeypatch.setattr(module, "PENDING_MAX", 2)
    go_on = threading.Event()
    with database(tmp_path / "store") as opened:
        asked = [opened.read(lambda _: go_on.wait(), None) for _ in range(3)]
        assert await asyncio.gather(*asked) == [None] * 3
        go_on.set()
        assert (
            sorted(opened.faults)
            == ["2 requests wait for the store already"] + ["no answer from the store within 0.01 s"] * 2
        )


async def test_a_disk_that_stands_still_is_waited_for_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS_MAX", 0.01)
    go_on = threading.Event()
    with database(tmp_path / "store") as opened:
        assert await opened.read(lambda _: go_on.wait(), "otherwise") == "otherwise"
        for _ in range(1000):
            assert await opened.read(lambda _: 1, "at once") == "at once"
        assert opened.faults == ["no answer from the store within 0.01 s"]
        go_on.set()
        opened._stall.result()
        assert await opened.read(lambda _: 1, "at once") == 1


async def test_the_log_of_writes_is_cut_off_when_nobody_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WAL_BYTES_MAX", 100_000)
    monkeypatch.setattr(module, "BUSY_MILLISECONDS", 1)
    log = tmp_path / "store-wal"
    with database(tmp_path / "store") as opened:
        store = SqliteVerdicts(opened)
        reader = sqlite3.connect(tmp_path / "store", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM verdict").fetchone()
        for number in range(60):
            await store.put(key(number), remembered(key(number)))
        assert log.stat().st_size > 200_000
        reader.close()
        for number in range(120):
            await store.put(key(number), remembered(key(number)))
        assert log.stat().st_size < 200_000
        assert opened.faults == []


async def test_the_event_loop_goes_on(tmp_path):
    go_on = threading.Event()
    with database(tmp_path / "store") as opened:
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(opened.read(lambda _: go_on.wait(), None))
            await asyncio.sleep(0)
            go_on.set()  # only a loop that is not blocked comes here
        assert waiting.result() is True


async def test_faults_are_logged_where_nobody_else_takes_them(tmp_path):
    opened = open_database(tmp_path / "store")
    with capture_logs() as logged:
        await opened.read(lambda it: it.execute("nonsense"), None)
    opened.close()
    assert [it["log_level"] for it in logged] == ["error"]
    assert "syntax error" in logged[0]["fault"]


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65])
def test_only_known_digests_are_read(length):
    with pytest.raises(MalformedError):
        digest_of_bytes(bytes(length))
    assert digest_of_bytes(digest_bytes(digest(1))) == digest(1)


WRITER = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = ["tests"]
from support.stores import APP, database, digest, key, remembered
from proxy.stores.grants import Member, SqliteMemberships
from proxy.stores.verdicts import SqliteVerdicts

async def main():
    with database(Path(sys.argv[1])) as opened:
        verdicts, memberships = SqliteVerdicts(opened), SqliteMemberships(opened)
        number = int(sys.argv[2])
        while True:
            await verdicts.put(key(number), remembered(key(number)))
            await memberships.add(APP, digest(number), "v1", [Member(digest(f"b{number}"), number, "a/b")])
            print(number, flush=True)
            number += 1

asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing_that_was_answered(tmp_path):
    last = -1
    for _ in range(5):
        writer = subprocess.Popen(  # noqa: ASYNC220, S603 (our own script; nothing else runs here)
            [sys.executable, "-c", WRITER, tmp_path / "store", str(last + 1)], stdout=subprocess.PIPE
        )
        with writer:
            for line in writer.stdout:
                if int(line) >= last + 40:
                    break
            writer.kill()  # SIGKILL, amid the next write
            rest = writer.stdout.read()
        last = int((line + rest).split()[-1])
    with database(tmp_path / "store") as opened:
        verdicts, memberships = SqliteVerdicts(opened), SqliteMemberships(opened)
        for number in range(last + 1):
            assert await verdicts.get(key(number), NOW) == remembered(key(number))
            assert [it.member.size for it in await memberships.parents(APP, digest(f"b{number}"))] == [number]
        assert opened.faults == []
        assert await one(opened, "PRAGMA integrity_check") == "ok"
