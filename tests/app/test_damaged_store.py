"""A damaged, full or missing database is never an outage, and a place without a worker keeps no connection waiting."""

import asyncio
import errno
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from support.serving import serving
from support.stack import sign
from support.whole import configuration

from proxy.demo.images import image
from proxy.demo.registry import Registry
from proxy.demo.registry import serve as serve_registry
from proxy.oci.digest import Digest

GOOD = image("good")
MANIFEST = "/v2/team/good/manifests/1"


@pytest.fixture
async def config(tmp_path):
    registry = Registry()
    GOOD.add_to(registry, "team/good", "1")
    sign(registry, "team/good", GOOD.media_type, GOOD.body)
    async with serve_registry(registry) as url:
        yield configuration(tmp_path, url, server="workers = 2")


@pytest.fixture
def store(tmp_path):
    return tmp_path / "state" / "sealgate.sqlite3"


async def get(url: str, seconds: float = 10) -> tuple[int, str]:
    """Ask on a connection of its own; 0 where it is refused or reset."""
    try:
        async with (
            ClientSession(connector=TCPConnector(force_close=True), timeout=ClientTimeout(seconds)) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            return response.status, (await response.read()).decode(errors="replace")
    except (ConnectionError, ClientError) as err:  # no TimeoutError: who hangs fails the test
        return 0, repr(err)


async def until_all_answer(url: str, number: int = 20) -> None:
    """Ask until every connection of a round is answered well; none of any round may hang."""
    async with asyncio.timeout(30):
        while {status for status, _ in await asyncio.gather(*(get(url) for _ in range(number)))} != {200}:  # noqa: ASYNC110 (other processes set no Event)
            await asyncio.sleep(0.1)


def overwrite_all(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(os.urandom(file.stat().st_size))


def overwrite_middle(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(os.urandom(file.stat().st_size - 4096))


DAMAGE = {"all of it": overwrite_all, "all but the header": overwrite_middle}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
async def test_damage_and_a_dead_worker_keep_no_connection_waiting(config, store, damage):
    """Seen before: 8 of 20 connections hung for ever, while /healthz was green."""
    async with serving(config) as it:
        await it.ready()
        await until_all_answer(it.registry + MANIFEST)
        damage(store)
        os.kill(it.workers()[0], signal.SIGKILL)
        await it.event("worker died and is replaced")
        await until_all_answer(it.registry + MANIFEST)
        # What one worker has told is on the page of the other half a second later.
        for page, words in (("/metrics", "sealgate_store_set_aside_total 1.0"), ("/", "database was damaged")):
            async with asyncio.timeout(30):
                while words not in (await get(it.admin + page))[1]:
                    await get(it.registry + "/v2/team/other/manifests/1")
                    await asyncio.sleep(0.1)
        async with asyncio.timeout(30):
            # The dead one's place is empty for a second.
            while (await get(f"{it.admin}/readyz"))[0] != 200:  # noqa: ASYNC110 (as above)
                await asyncio.sleep(0.1)
        assert len(it.workers()) == 2
        it.send(signal.SIGTERM)
        assert await it.end() == 0
        events = [one for one in it.said if one["event"] == "store set aside"] or [it.rest]
        assert "sealgate.sqlite3.damaged-1" in str(events)
    assert store.with_name("sealgate.sqlite3.damaged-1").exists()
    with closing(sqlite3.connect(store)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_damage_is_set_aside_at_the_start(config, store):
    store.parent.mkdir(mode=0o700)
    store.write_bytes(os.urandom(50_000))
    store.chmod(0o600)
    async with serving(config) as it:
        await it.ready()
        assert [one["file"] for one in it.said if one["event"] == "store set aside"] == ["sealgate.sqlite3.damaged-1"]
        await until_all_answer(it.registry + MANIFEST)
    assert store.with_name("sealgate.sqlite3.damaged-1").stat().st_size == 50_000


async def test_a_place_that_cannot_be_filled_gives_its_socket_back(config, store):
    """Its worker finds a state that others may write, and so does each that follows it."""
    async with serving(config) as it:
        await it.ready()
        await until_all_answer(it.registry + MANIFEST)
        store.parent.chmod(0o777)
        first, other = it.workers()
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(30):
            while (await it.event("worker died and is replaced"))["process"] == first:
                pass
        await until_all_answer(it.registry + MANIFEST)
        status, page = await get(f"{it.admin}/readyz")
        assert status == 503
        assert page.startswith("1 of 2 workers cannot be started: ")
        assert "may be written by every user" in page
        assert (await get(f"{it.admin}/healthz"))[0] == 200
        assert "sealgate_workers_vacant 1.0" in (await get(f"{it.admin}/metrics"))[1]
        assert it.workers()[:1] == [other]
        store.parent.chmod(0o700)
        await it.event("worker serves again")
        assert (await get(f"{it.admin}/readyz"))[0] == 200
        await until_all_answer(it.registry + MANIFEST)
        assert len(it.workers()) == 2


async def test_where_nobody_serves_connections_are_refused(config, store):
    config.write_text(config.read_text().replace("workers = 2", "workers = 1"))
    async with serving(config) as it:
        await it.ready()
        assert (await get(it.registry + MANIFEST))[0] == 200
        store.parent.chmod(0o777)
        os.kill(it.workers()[0], signal.SIGKILL)
        for _ in range(2):
            await it.event("worker died and is replaced")
        for url in (it.registry, it.admin):
            port = int(url.rpartition(":")[2])
            with socket.socket() as client:
                assert client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
        store.parent.chmod(0o700)
        await it.event("worker serves again")
        assert (await get(it.registry + MANIFEST))[0] == 200
        assert (await get(f"{it.admin}/readyz"))[0] == 200


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode != 0,  # noqa: S607
    reason="no mount namespace can be made here (unshare -Urm)",
)
async def test_a_disk_that_is_full_at_the_start_is_no_outage(config, tmp_path):
    config.write_text(config.read_text().replace("workers = 2", "workers = 1"))
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    fill = f'dd if=/dev/zero of="{state}/rest" bs=4096 2>/dev/null'
    mount = f'mount -t tmpfs -o size=2m,mode=0700 tmpfs "{state}" && {{ {fill}; exec "$@"; }}'
    async with serving(config, "unshare", "-Urm", "sh", "-c", mount, "sh") as it:
        await it.ready()
        await until_all_answer(it.registry + MANIFEST)
        assert (await get(f"{it.registry}/v2/team/good/blobs/{Digest.of(GOOD.blobs[0])}"))[0] == 200
        inside = Path(f"/proc/{it.number}/root{state}")
        (inside / "rest").unlink()
        async with asyncio.timeout(30):
            while not (inside / "sealgate.sqlite3-wal").exists():
                await get(f"{it.registry}/v2/team/other/manifests/1")
                await asyncio.sleep(0.5)
