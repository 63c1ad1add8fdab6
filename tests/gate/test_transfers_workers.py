"""Several processes, one download a blob: who asks for what another fetches follows it, and goes on when it is gone."""

import asyncio
import os
import random
import re
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aiohttp import web
from support.content import files_in
from support.stack import listening

from proxy.oci.digest import Digest

TESTS = Path(__file__).parent.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
BLOB = random.Random(5).randbytes(8 * 1024 * 1024)  # noqa: S311 (anything that differs)
DIGEST = Digest.of(BLOB)
PIECE = 64 * 1024
HELD_AT = 4 * 1024 * 1024
RIGHT = f"read {DIGEST.hex}"


class Upstream:
    """A registry with one blob, that it holds back from HELD_AT on until `go` is set."""

    def __init__(self):
        self.asked = []
        self.go = asyncio.Event()

    async def answer(self, request):
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        self.asked.append(request.headers.get("Range"))
        start, stop = (int(part[1]), int(part[2] or len(BLOB) - 1) + 1) if part else (0, len(BLOB))
        response = web.StreamResponse(status=206 if part else 200, headers={"Content-Length": str(stop - start)})
        if part:
            response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(BLOB)}"
        await response.prepare(request)
        for at in range(start, stop, PIECE):
            if at >= HELD_AT:
                await self.go.wait()
            await response.write(BLOB[at : min(at + PIECE, stop)])
        return response


class Worker:
    def __init__(self, process):
        self.process = process

    def read(self, readers=1):
        self.process.stdin.write(b"\n" * readers)

    async def hears(self, line):
        """Return what is said until a line that begins so."""
        heard = []
        while not heard or not heard[-1].startswith(line):
            said = await self.process.stdout.readline()
            assert said, f"it ended, and had said {heard}"
            heard.append(said.decode().strip())
        return heard

    async def rest(self):
        self.process.stdin.close()
        return (await self.process.stdout.read()).decode().splitlines()


@asynccontextmanager
async def working(folder, count, silent=10.0):
    upstream = Upstream()
    async with asyncio.timeout(60), listening(upstream.answer) as url, AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(worker(folder, url, silent)) for _ in range(count)]
        yield upstream, workers
        upstream.go.set()


@asynccontextmanager
async def worker(folder, url, silent):
    arguments = [TESTS / "support" / "transfer_workers.py", folder, url, DIGEST, len(BLOB), silent]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=ENVIRONMENT,
    )
    made = Worker(process)
    await made.hears("ready")
    try:
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # its pipes; asyncio leaves them to chance


async def test_all_processes_ask_once(tmp_path):
    async with working(tmp_path, 3) as (upstream, workers):
        for it in workers:
            it.read(2)
        for it in workers:
            await it.hears("began")
        upstream.go.set()
        said = [line for it in workers for line in await it.rest()]
        assert said.count(RIGHT) == 6
        assert sorted(line for line in said if line.startswith("transfer")) == [
            *["transfer joined"] * 2,
            "transfer kept",
        ]
        assert upstream.asked == [None]
        assert files_in(tmp_path) == [f"sha256/{DIGEST.hex[:2]}/{DIGEST.hex}"]


async def test_the_one_that_fetches_is_killed(tmp_path):
    async with working(tmp_path, 3) as (upstream, workers):
        first, *others = workers
        first.read()
        await first.hears("began")
        for it in others:
            it.read(2)
            await it.hears("began")
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
        while len(upstream.asked) < 2:  # noqa: ASYNC110 (nobody else is told)
            await asyncio.sleep(0.005)
        upstream.go.set()
        said = [line for it in others for line in await it.rest()]
        assert said.count(RIGHT) == 4, said
        assert len(upstream.asked) == 2
        assert int(re.fullmatch(r"bytes=(\d+)-", upstream.asked[1])[1]) >= 1024 * 1024
        assert said.count("transfer kept") == 1
        assert files_in(tmp_path) == [f"sha256/{DIGEST.hex[:2]}/{DIGEST.hex}"]


async def test_killed_one_after_another_at_any_moment(tmp_path):
    async with working(tmp_path, 4) as (upstream, workers):
        upstream.go.set()
        for it in workers:
            it.read(3)
        for it in workers[:-1]:
            await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311 (any moment)
            it.process.send_signal(signal.SIGKILL)
            await it.process.wait()
        said = await workers[-1].rest()
        assert sum(line in {RIGHT, f"stored {DIGEST.hex}"} for line in said) == 3, said
        assert len(upstream.asked) <= 4


async def test_the_one_that_fetches_stands_still(tmp_path):
    async with working(tmp_path, 2, silent=0.3) as (upstream, workers):
        first, second = workers
        first.read()
        await first.hears("began")
        second.read()
        await second.hears("began")
        first.process.send_signal(signal.SIGSTOP)
        upstream.go.set()
        assert RIGHT in await second.hears("read")
        assert len(upstream.asked) == 2
        assert re.fullmatch(f"bytes=[0-9]+-{len(BLOB) - 1}", upstream.asked[1])
        first.process.send_signal(signal.SIGCONT)
        assert RIGHT in await first.hears("read")
        await first.rest()
        assert files_in(tmp_path) == [f"sha256/{DIGEST.hex[:2]}/{DIGEST.hex}"]
