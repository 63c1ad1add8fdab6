"""The whole of Sealgate on loopback: its configuration, in this process with made time, or as a process of its own."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.serving import lives
from support.stack import KEY

from proxy.app import Addresses
from proxy.config import Settings, load
from proxy.oci.digest import Digest
from proxy.stores.content_folder import ALGORITHMS, INCOMING

# `sealgate`, and a way to ask how many tasks and objects it has: SIGUSR2 writes them to FOLDER/seen.<process id>.
_SEALGATE = """
import asyncio, gc, json, os, pathlib, signal, sys
folder = pathlib.Path(sys.argv.pop(1))
def write(*_):
    try:
        tasks = len(asyncio.all_tasks())
    except RuntimeError:
        return
    made = folder / f"seen.{os.getpid()}.new"
    made.write_text(json.dumps({"tasks": tasks, "objects": len(gc.get_objects())}))
    made.rename(made.with_suffix(""))
signal.signal(signal.SIGUSR2, write)
from proxy.__main__ import main
main()
"""


def configuration(folder: Path, upstream: str, *, server: str = "", rule: str = "", more: str = "") -> Path:
    """Write a configuration: one upstream, and one rule by which `support.stack.KEY` has to sign everything.

    `server` and `rule` are further keys of these tables, `more` are further tables.
    """
    (folder / "release.pub").write_bytes(KEY.public_pem)
    path = folder / "sealgate.toml"
    path.write_text(f"""
[server]
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
state_dir = "state"
{server}

[upstreams."docker.io"]
url = "{upstream}"

[signers.release]
type = "cosign-key"
key_file = "release.pub"

[[rules]]
name = "everything"
images = ["**"]
require = "release"
{rule}

{more}
""")
    return path


class MadeTime:
    """The time of day and the time that passes, which only the test moves; to sleep is to move it."""

    def __init__(self) -> None:
        self._start = datetime.now(UTC)  # noqa: TID251 (files on the disk have this time too)
        self.passed = 0.0

    def clock(self) -> datetime:
        return self._start + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds
        await asyncio.sleep(0)


def in_app(monkeypatch, name: str, make: Callable[..., object]) -> None:
    """Let all of `proxy.app` use `make` for what it calls so."""
    changed = [
        monkeypatch.setattr(module, name, make)
        for key, module in list(sys.modules.items())
        if key.startswith("proxy.app") and hasattr(module, name)
    ]
    assert changed, f"nothing in proxy.app is called {name}"


def settings_of(path: Path) -> Settings:
    return load(path)


def assert_clean(state: Path) -> int:
    """Say how much is kept; each file is right, nothing is half there, and the database is whole."""
    content = state / "content"
    files = [it for algorithm in ALGORITHMS for it in (content / algorithm).rglob("*") if it.is_file()]
    wrong = [it.name for it in files if not Digest.parse(f"{it.parent.parent.name}:{it.name}").matches(it.read_bytes())]
    assert wrong == []
    assert list((content / INCOMING).iterdir()) == []
    for database in state.glob("*.sqlite3"):
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return len(files)


class Serving:
    """A `sealgate serve` of its own, with all processes that belong to it."""

    def __init__(self, process: asyncio.subprocess.Process, addresses: Addresses, folder: Path) -> None:
        self.process = process
        self.registry = addresses.registry
        self.admin = addresses.admin
        self._folder = folder

    def pids(self) -> list[int]:
        """Return its process id and those of its workers."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            children = Path(f"/proc/{pid}/task/{pid}/children")
            todo += [int(child) for child in children.read_text().split()] if children.exists() else []
        return found

    def peak(self) -> float:
        """Return the most memory (MiB) that any of its processes had at once: VmHWM."""
        return max(_kib(f"/proc/{pid}/status", "VmHWM") for pid in self.pids()) / 1024

    def memory(self) -> float:
        """Return the memory (MiB) of all its processes; what they share counts once (Pss)."""
        return sum(_kib(f"/proc/{pid}/smaps_rollup", "Pss") for pid in self.pids()) / 1024

    def threads(self) -> int:
        return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in self.pids())  # noqa: PTH208 (names are not needed)

    def open_files(self) -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids())  # noqa: PTH208 (names are not needed)

    async def seen(self) -> dict[str, int]:
        """Return how many tasks and objects its processes have; a process without an event loop has none."""
        sums = {"tasks": 0, "objects": 0}
        for pid in self.pids():
            (self._folder / f"seen.{pid}").unlink(missing_ok=True)
            os.kill(pid, signal.SIGUSR2)
        await asyncio.sleep(1)  # what has not answered by then has no event loop
        for answer in self._folder.glob("seen.*"):
            for key, value in json.loads(answer.read_text()).items():
                sums[key] += value
            answer.unlink()
        return sums

    async def kill(self) -> None:
        """End it in the middle of whatever it does."""
        pids = self.pids()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.process.wait()
        while any(map(lives, pids)):  # noqa: ASYNC110 (they are no children of ours)
            await asyncio.sleep(0.01)

    async def stop(self) -> int:
        """End it as a system does; return its exit code."""
        if self.process.returncode is None:
            self.process.terminate()
        return await self.process.wait()


def _kib(file: str, key: str) -> int:
    lines = Path(file).read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{key}:")), 0)


@asynccontextmanager
async def serving(config: Path) -> AsyncIterator[Serving]:
    """Run `sealgate serve --config CONFIG`; its log is in `log.jsonl` beside the configuration."""
    folder = config.parent
    with (folder / "log.jsonl").open("ab") as log:
        begun = log.tell()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _SEALGATE, str(folder), "serve", "--config", str(config),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            served = Serving(process, await _ready(folder / "log.jsonl", begun, process), folder)
        yield served
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _ready(log: Path, begun: int, process: asyncio.subprocess.Process) -> Addresses:
    while process.returncode is None:
        for line in _lines(log, begun):
            if '"ready"' in line and line.endswith("}\n"):
                said = json.loads(line)
                return Addresses(said["registry"], said["admin"])
        await asyncio.sleep(0.02)  # nobody else is told
    raise AssertionError(f"it ended: {''.join(_lines(log, begun))}")


def _lines(log: Path, begun: int) -> list[str]:
    with log.open() as file:
        file.seek(begun)
        return file.readlines()
