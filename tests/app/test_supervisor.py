"""What becomes of workers: those that die, all at once or again and again, that hang, or cannot be made."""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from support.serving import Process, started

TESTS = Path(__file__).parents[1]


@asynccontextmanager
async def crew(folder: Path, settings: str, *command: str) -> AsyncIterator[Process]:
    """Run workers that do nothing (`support/crew.py`)."""
    (folder / "crew").write_text(settings)
    paths = os.pathsep.join([str(TESTS), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    arguments = [*command, sys.executable, "-P", "-m", "support.crew", str(folder / "crew")]
    async with started(*arguments, PYTHONPATH=paths) as it:
        await it.ready()
        yield it


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 (other processes set no Event)
            await asyncio.sleep(0.02)


async def test_all_that_die_at_once_are_replaced(tmp_path):
    async with crew(tmp_path, "16") as it:
        for worker in it.workers():
            os.kill(worker, signal.SIGKILL)
        for _ in range(16):
            await it.event("worker died and is replaced")
        await until(lambda: len(it.workers()) == 16)
        it.send(signal.SIGTERM)
        assert await it.end() == 0


async def test_one_that_hangs_is_killed_and_replaced(tmp_path):
    async with crew(tmp_path, "1 silent") as it:
        (worker,) = it.workers()
        assert (await it.event("worker hangs and is killed"))["process"] == worker
        assert (await it.event("worker died and is replaced"))["exit_code"] == -signal.SIGABRT
        await until(lambda: len(it.workers()) == 1)
        assert it.workers() != [worker]


async def test_one_that_is_stopped_is_killed_and_replaced(tmp_path):
    async with crew(tmp_path, "2") as it:
        first, other = it.workers()
        os.kill(first, signal.SIGSTOP)
        assert (await it.event("worker died and is replaced"))["exit_code"] == -signal.SIGKILL
        await until(lambda: len(it.workers()) == 2)
        assert other in it.workers()
        assert first not in it.workers()


async def test_a_whole_that_stood_still_kills_nobody(tmp_path):
    async with crew(tmp_path, "2") as it:
        before = it.workers()
        for process in (it.number, *before):
            os.kill(process, signal.SIGSTOP)
        await asyncio.sleep(2)
        for process in (it.number, *before):
            os.kill(process, signal.SIGCONT)
        await asyncio.sleep(0.5)
        assert it.workers() == before


async def test_a_crew_that_does_not_get_ready_changes_nothing(tmp_path):
    async with crew(tmp_path, "2") as it:
        before = it.workers()
        (tmp_path / "crew").write_text("2 stuck")
        it.send(signal.SIGHUP)
        assert "does not serve after 1 s" in str((await it.event("not reloaded"))["cause"])
        await until(lambda: it.workers() == before)


async def test_the_end_comes_in_mid_start(tmp_path):
    async with crew(tmp_path, "2") as it:
        (tmp_path / "crew").write_text("2 stuck")
        it.send(signal.SIGHUP)
        await until(lambda: len(it.workers()) == 4)
        it.send(signal.SIGTERM)
        it.send(signal.SIGTERM)
        assert await it.end() == 0


async def test_where_none_can_be_made_those_that_live_go_on(tmp_path):
    limit = resource.RLIMIT_NOFILE
    async with crew(tmp_path, "2") as it:
        first, other = it.workers()
        before = resource.prlimit(it.number, limit, (3, resource.prlimit(it.number, limit)[1]))
        os.kill(first, signal.SIGKILL)
        await it.event("worker cannot be replaced yet")
        assert (await it.event("vacant"))["why"]
        assert it.workers() == [other]
        resource.prlimit(it.number, limit, before)
        await until(lambda: len(it.workers()) == 2)
        assert other in it.workers()


async def test_a_place_that_is_left_is_told_until_it_is_filled(tmp_path):
    async with crew(tmp_path, "2 fatal") as it:
        first, other = it.workers()
        os.kill(first, signal.SIGKILL)
        told = await it.event("vacant")  # not yet when the first died: the next comes at once
        assert (told["why"], told["alone"]) == ("no room", False)
        os.kill(other, signal.SIGKILL)
        while not (told := await it.event("vacant"))["alone"]:
            pass
        assert told["why"] == "no room"
        (tmp_path / "crew").write_text("2")
        it.send(signal.SIGHUP)
        await it.event("reloaded")
        assert len(it.workers()) == 2


async def test_a_place_that_is_filled_again_is_told(tmp_path):
    async with crew(tmp_path, "2") as it:
        os.kill(it.workers()[1], signal.SIGKILL)
        await it.event("worker died and is replaced")
        await until(lambda: len(it.workers()) == 2)
        os.kill(it.workers()[1], signal.SIGKILL)
        told = await it.event("vacant")
        assert told["why"] == "it ended with exit code -9"
        assert (await it.event("filled"))["place"] == told["place"]


async def test_it_beats_while_somebody_serves(tmp_path):
    """And so the service manager hears of it where nobody does, or where the supervisor itself stands still."""
    async with crew(tmp_path, "1 fatal told") as it:
        await it.event("beat")
        await it.event("beat")
        os.kill(it.workers()[0], signal.SIGKILL)
        await it.event("worker died and is replaced")
        it.said.clear()
        await it.event("worker died and is replaced")
        assert "beat" not in {one["event"] for one in it.said}


async def test_it_takes_signals_that_its_parent_had_held_back(tmp_path):
    hold = "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 30))"
    async with crew(tmp_path, "1", *before(hold)) as it:
        os.kill(it.workers()[0], signal.SIGKILL)
        await it.event("worker died and is replaced")
        it.send(signal.SIGTERM)
        assert await it.end() == 0


def before(what: str) -> list[str]:
    """Return what does something in a process before it becomes a program."""
    return [sys.executable, "-c", f"import os, signal, sys; {what}; os.execv(sys.argv[1], sys.argv[1:])"]


async def test_others_children_are_buried(tmp_path):
    """As a container's first process it inherits those whose parent has ended."""
    async with crew(tmp_path, "1", *before("os.fork() or signal.pause()")) as it:
        orphan, worker = it.workers()
        os.kill(orphan, signal.SIGTERM)
        await until(lambda: not os.path.exists(f"/proc/{orphan}"))  # noqa: PTH110
        assert it.workers() == [worker]
