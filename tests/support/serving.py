"""`sealgate serve` as a process of its own, and what it says."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path


class Process:
    """A running Sealgate: `said` is its log so far, line by line; `rest` what it wrote until its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[dict[str, object]] = []
        self.rest = ""
        self.registry = self.admin = ""

    @property
    def number(self) -> int:
        return self._process.pid

    async def event(self, name: str) -> dict[str, object]:
        """Wait for this event in the log; what stood before it is in `said`."""
        async with asyncio.timeout(30):
            while True:
                line = await self._process.stderr.readline()
                assert line, f"ended with {await self._process.wait()} before {name!r}: {self.said}"
                try:
                    self.said.append(json.loads(line))
                except ValueError:  # an error message
                    self.said.append({"event": line.decode()})
                if self.said[-1]["event"] == name:
                    return self.said[-1]

    async def ready(self, event: str = "ready") -> None:
        found = await self.event(event)
        self.registry, self.admin = str(found["registry"]), str(found["admin"])

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def workers(self) -> list[int]:
        """Return the numbers of its children that have not ended, in the order of their start."""
        task = Path(f"/proc/{self.number}/task/{self.number}/children")
        return [int(one) for one in task.read_text(encoding="ascii").split() if lives(int(one))]

    async def end(self) -> int:
        """Wait for its end and return its exit code."""
        async with asyncio.timeout(30):
            rest, _ = await asyncio.gather(self._process.stderr.read(), self._process.wait())
        self.rest = rest.decode()
        return self._process.returncode


def lives(process: int) -> bool:
    """Say whether a process has not ended; one that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@asynccontextmanager
async def started(*command: str, passed: Sequence[socket.socket] = (), **environment: str) -> AsyncIterator[Process]:
    """Run a program while the context lasts; it has what is passed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
        pass_fds=[one.fileno() for one in passed],
    )
    it = Process(process)
    try:
        yield it
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def serving(
    config: Path, *command: str, passed: Sequence[socket.socket] = (), **environment: str
) -> AbstractAsyncContextManager[Process]:
    """Run Sealgate while the context lasts; `command` starts it, if it is not started directly."""
    arguments = [*command, sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    return started(*arguments, passed=passed, **environment)
