"""`sealgate serve` as it is started, with workers: what they share, and that no connection is lost when one goes."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientTimeout, TCPConnector
from structlog.testing import capture_logs
from support.serving import serving
from support.stack import sign
from support.whole import configuration

from proxy.app.serving import _Service, _state, processors
from proxy.app.sockets import open_sockets
from proxy.app.supervisor import Supervisor
from proxy.config import load
from proxy.demo.images import image
from proxy.demo.registry import Registry
from proxy.demo.registry import serve as serve_registry
from proxy.oci.digest import Digest

GOOD = image("good")
# More than the buffers between a server and a client who does not read.
LARGE = image("large", layer_bytes=16_000_000)
MANIFEST = "/v2/team/good/manifests/1"


@pytest.fixture
async def registry():
    registry = Registry()
    GOOD.add_to(registry, "team/good", "1")
    sign(registry, "team/good", GOOD.media_type, GOOD.body)
    LARGE.add_to(registry, "team/large", "1")
    sign(registry, "team/large", LARGE.media_type, LARGE.body)
    return registry


@pytest.fixture
async def config(tmp_path, registry):
    async with serve_registry(registry) as url:
        yield configuration(tmp_path, url, server="workers = 2")


async def get(url: str) -> tuple[int, str]:
    """Ask on a connection of its own."""
    async with (
        ClientSession(connector=TCPConnector(force_close=True), timeout=ClientTimeout(20)) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        return response.status, (await response.read()).decode(errors="replace")


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 (other processes set no Event)
            await asyncio.sleep(0.02)


async def shown(url: str, words: str) -> str:
    """Wait until a page has these words: what the other worker counted by hand is there after half a second."""
    async with asyncio.timeout(20):
        while words not in (page := (await get(url))[1]):  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.05)
    return page


async def test_they_share_what_is_known_and_what_is_counted(config, registry):
    async with serving(config) as it:
        await it.ready()
        answers = [await get(it.registry + MANIFEST) for _ in range(30)]
        assert {status for status, _ in answers} == {200}
        await get(f"{it.registry}/v2/team/unknown/manifests/1")
        metrics = await shown(
            f"{it.admin}/metrics", 'kind="manifests",method="GET",outcome="served",status="200"} 30.0'
        )
        assert 'sealgate_verdicts_total{reason="",rule="everything",verdict="accepted"} 1.0' in metrics
        for number in (0, 1):
            await shown(f"{it.admin}/metrics", f'process_resident_memory_bytes{{worker="{number}"}}')
        for _ in range(4):  # whichever is asked
            page = await shown(f"{it.admin}/", "2 workers")
            assert "docker.io/team/unknown:1" in page
        it.send(signal.SIGTERM)
        assert await it.end() == 0


async def test_one_that_dies_is_replaced_and_what_was_counted_stays(config):
    async with serving(config) as it:
        await it.ready()
        for _ in range(10):
            assert (await get(it.registry + MANIFEST))[0] == 200
        counted = 'kind="manifests",method="GET",outcome="served",status="200"} 10.0'
        await shown(f"{it.admin}/metrics", counted)
        first, other = it.workers()
        os.kill(first, signal.SIGKILL)
        died = await it.event("worker died and is replaced")
        assert (died["process"], died["exit_code"]) == (first, -signal.SIGKILL)
        # Those whose connection waits for the dead one are answered by the next.
        answers = await asyncio.gather(*(get(it.registry + MANIFEST) for _ in range(10)))
        assert {status for status, _ in answers} == {200}
        assert first not in it.workers()
        assert other in it.workers()
        metrics = await shown(f"{it.admin}/metrics", counted.replace("10.0", "20.0"))
        assert "sealgate_worker_restarts_total 1.0" in metrics


async def test_a_reload_refuses_nobody_and_a_transfer_goes_on(config):
    layer = LARGE.blobs[1]
    async with serving(config) as it:
        await it.ready()
        before = it.workers()
        statuses: set[int] = set()

        async def ask() -> None:
            while True:
                statuses.add((await get(it.registry + MANIFEST))[0])

        async with ClientSession() as session, asyncio.TaskGroup() as tasks:
            async with session.get(f"{it.registry}/v2/team/large/manifests/1") as response:
                assert response.status == 200
            async with session.get(f"{it.registry}/v2/team/large/blobs/{Digest.of(layer)}") as response:
                content = await response.content.readexactly(1)  # and then nothing for now
                asking = tasks.create_task(ask())
                config.write_text(config.read_text().replace("workers = 2", "workers = 1"))
                it.send(signal.SIGHUP)
                reloaded = await it.event("reloaded")
                assert (reloaded["workers"], reloaded["settings_altered"]) == (1, ["server.workers"])
                assert "rules_altered" not in reloaded
                after = [one for one in it.workers() if one not in before]
                await until(lambda: len(it.workers()) == 2)  # the new one, and the one that still sends
                content += await response.content.read()
            asking.cancel()
        assert content == layer
        assert statuses == {200}
        assert len(after) == 1
        await until(lambda: it.workers() == after)
        assert (await get(it.registry + MANIFEST))[0] == 200
        it.send(signal.SIGINT)
        assert await it.end() == 0


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (('require = "release"', 'require = "releas"'), "signer 'releas' is not defined"),
        (('state_dir = "state"', 'state_dir = "other"'), "needs a restart"),
        (("[server]\n", '[server]\naudit_log = "no/such/folder/audit.jsonl"\n'), "No such file or directory"),
        (
            ('listen = "127.0.0.1:0"', 'listen = "192.0.2.1:5000"'),
            "Cannot assign requested address: 'server.listen 192.0.2.1:5000'",
        ),
    ],
    ids=["a mistake", "another state_dir", "does not start", "another's address"],
)
async def test_a_reload_that_fails_changes_nothing(config, change, cause):
    async with serving(config) as it:
        await it.ready()
        before = it.workers()
        text = config.read_text()
        head, rules = text.split("[[rules]]")
        old, new = change
        config.write_text(
            f"{head}[[rules]]{rules.replace(old, new)}" if old == "release" else text.replace(old, new, 1)
        )
        it.send(signal.SIGHUP)
        assert cause in str((await it.event("not reloaded"))["cause"])
        assert (await get(it.registry + MANIFEST))[0] == 200
        await until(lambda: it.workers() == before)  # those that did not start end
        metrics = await shown(f"{it.admin}/metrics", "sealgate_config_last_reload_successful 0.0")
        failed_at = float(re.search(r"\nsealgate_config_last_reload_timestamp_seconds (\S+)", metrics)[1])
        assert "The configuration could not be reloaded" in (await get(f"{it.admin}/"))[1]
        config.write_text(text)
        it.send(signal.SIGHUP)
        await it.event("reloaded")
        metrics = await shown(f"{it.admin}/metrics", "sealgate_config_last_reload_successful 1.0")
        assert float(re.search(r"\nsealgate_config_last_reload_timestamp_seconds (\S+)", metrics)[1]) > failed_at
        assert "could not be reloaded" not in (await get(f"{it.admin}/"))[1]


def test_a_reload_that_breaks_changes_nothing(config, tmp_path):
    """A bug in how settings are read is no reason to end what serves by the old ones."""
    settings = load(config)
    sockets = open_sockets(settings.server.listen, settings.server.admin_listen)
    service = _Service(lambda: 1 // 0, settings, sockets, tmp_path)
    with capture_logs() as logs, Supervisor(lambda _: None, stop_seconds=1, drain_seconds=1) as supervisor:
        service.reload(supervisor)
    service.close()
    assert [(it["event"], it["cause"]) for it in logs] == [("not reloaded", "internal error")]


async def test_a_reload_moves_to_another_address(config):
    async with serving(config) as it:
        await it.ready()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        listen = f'\nlog_level = "debug"\nlisten = "127.0.0.1:{port}"'
        config.write_text(config.read_text().replace('\nlisten = "127.0.0.1:0"', listen))
        old, admin = it.registry, it.admin
        it.send(signal.SIGHUP)
        await it.ready("reloaded")
        assert "debug" in {one["level"] for one in it.said}  # the new workers already
        assert it.registry == f"http://127.0.0.1:{port}"
        assert it.admin == admin
        assert (await get(it.registry + MANIFEST))[0] == 200
        async with asyncio.timeout(20):
            while await is_open(old):  # noqa: ASYNC110 (as above)
                await asyncio.sleep(0.02)


async def is_open(url: str) -> bool:
    try:
        await get(url)
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('audit_log = "no/such/folder/audit.jsonl"', "no/such/folder/audit.jsonl: No such file or directory"),
        ('listen = "{taken}"', "address already in use"),
        ("workers = 0", "server.workers"),
    ],
)
async def test_what_cannot_start_says_why(config, change, said):
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        name = change.partition(" ")[0]
        lines = [line for line in config.read_text().splitlines() if not line.startswith(f"{name} =")]
        lines.insert(lines.index("[server]") + 1, change.format(taken=taken))
        config.write_text("\n".join(lines))
        async with serving(config) as it:
            assert await it.end() == 2
            assert said in it.rest


async def test_a_second_one_is_kept_out_of_the_state(config):
    async with serving(config) as first:
        await first.ready()
        async with serving(config) as second:
            assert await second.end() == 2
            assert "give this one a state_dir of its own" in second.rest
        assert (await get(first.registry + MANIFEST))[0] == 200


def mapped(process: int) -> set[Path]:
    lines = Path(f"/proc/{process}/maps").read_text(encoding="utf-8").splitlines()
    return {Path(line.split(maxsplit=5)[-1]) for line in lines}


async def test_workers_end_with_a_supervisor_that_was_killed(config):
    async with serving(config) as it:
        await it.ready()
        workers = it.workers()
        (shared,) = {path.parent for path in mapped(workers[0]) if path.name.startswith("counter_")}
        it.send(signal.SIGKILL)
        await it.end()
        await until(lambda: not any(os.path.exists(f"/proc/{one}") for one in workers))  # noqa: PTH110
    assert not shared.exists()
    async with serving(config) as again:  # and what they left is no obstacle
        await again.ready()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode != 0,  # noqa: S607
    reason="no mount namespace can be made here (unshare -Urm)",
)
async def test_a_full_disk_ends_no_worker(config, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    mount = f'mount -t tmpfs -o size=3m,mode=0700 tmpfs "{state}" && exec "$@"'
    async with serving(config, "unshare", "-Urm", "sh", "-c", mount, "sh") as it:
        await it.ready()
        assert (await get(it.registry + MANIFEST))[0] == 200
        fill(Path(f"/proc/{it.number}/root{state}/rest"))
        for number in range(10):
            assert (await get(it.registry + MANIFEST))[0] == 200
            await get(f"{it.registry}/v2/team/unknown-{number}/manifests/1")
            assert (await get(f"{it.admin}/metrics"))[0] == 200
        it.send(signal.SIGHUP)
        await it.event("reloaded")
        assert (await get(it.registry + MANIFEST))[0] == 200
        assert not [one for one in it.said if one["event"] == "worker died and is replaced"]


async def test_systemd_is_told_and_its_sockets_are_taken(config, tmp_path):
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.create_server(("127.0.0.1", 0)) as registry,
        socket.create_server(("127.0.0.1", 0)) as admin,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        # What systemd does between fork and exec: the sockets from 3 on, and whose they are.
        passing = (
            "import os, sys; a, b, *command = sys.argv[1:]; os.dup2(int(a), 103); os.dup2(int(b), 104);"
            "os.dup2(103, 3); os.dup2(104, 4); os.environ['LISTEN_PID'] = str(os.getpid());"
            "os.execv(command[0], command)"
        )
        command = [sys.executable, "-c", passing, str(registry.fileno()), str(admin.fileno())]
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "sealgate:admin"}
        async with serving(config, *command, passed=(registry, admin), **environment) as it:
            await it.ready()
            assert it.registry.endswith(f":{registry.getsockname()[1]}")
            assert it.admin.endswith(f":{admin.getsockname()[1]}")
            assert {(await get(it.registry + MANIFEST))[0] for _ in range(4)} == {200}
            assert await told(manager) == "READY=1"
            assert await asyncio.to_thread(manager.recv, 1000) == b"WATCHDOG=1"
            it.send(signal.SIGHUP)
            assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=[0-9]+", await told(manager))
            assert await told(manager) == "READY=1"
            assert {(await get(it.registry + MANIFEST))[0] for _ in range(4)} == {200}
            it.send(signal.SIGTERM)
            assert await told(manager) == "STOPPING=1"
            assert await it.end() == 0


async def told(manager: socket.socket) -> str:
    """Return what comes next but beats."""
    while (said := (await asyncio.to_thread(manager.recv, 1000)).decode()) == "WATCHDOG=1":
        pass
    return said


@pytest.fixture
def memory(tmp_path, monkeypatch):
    (tmp_path / "memory").mkdir()
    (tmp_path / "state").mkdir()
    monkeypatch.setattr("proxy.app.serving._MEMORY", tmp_path / "memory")
    return tmp_path / "memory"


def test_what_is_shared_lies_in_memory(memory, tmp_path):
    with _state(tmp_path / "state") as run:
        assert run.parent == memory
        (run / "left").touch()
        another = tmp_path / "another"
        with _state(another) as others:
            assert others != run
            assert (run / "left").exists()
    assert list(memory.iterdir()) == []


def test_what_one_left_that_was_killed_is_removed(memory, tmp_path):
    with _state(tmp_path / "state") as run:
        pass
    run.mkdir()
    (run / "left").touch()
    with _state(tmp_path / "state") as again:
        assert again == run
        assert list(run.iterdir()) == []


@pytest.mark.parametrize("why", ["no room", "no folder", "another's"])
def test_without_memory_it_lies_in_the_state(memory, tmp_path, monkeypatch, why):
    if why == "no room":
        monkeypatch.setattr("proxy.app.serving.MEMORY_BYTES", 2**62)
    elif why == "no folder":
        memory.rmdir()
    else:
        with _state(tmp_path / "state") as run:
            pass
        run.symlink_to(tmp_path)  # what it can be without our doing, and is not ours to follow
    with _state(tmp_path / "state") as run:
        assert run == tmp_path / "state" / "run"


@pytest.mark.parametrize(
    ("cpu_max", "expected"),
    [("max 100000", None), ("100000 100000", 1), ("50000 100000", 1), ("150000 100000", 2), ("", None), (None, None)],
)
def test_processors(tmp_path, monkeypatch, cpu_max, expected):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3})
    if cpu_max is not None:
        (tmp_path / "cpu.max").write_text(cpu_max)
    assert processors(tmp_path / "cpu.max") == (expected or 4)
