"""One process that serves: from its fork to its last transfer."""

import asyncio
import faulthandler
import gc
import os
import signal
from contextlib import suppress

from proxy.app.composition import SHUTDOWN_SECONDS, Place, running
from proxy.app.crew import SERVES
from proxy.app.loop_errors import LoopErrors
from proxy.app.supervisor import BEAT_SECONDS
from proxy.config import Settings
from proxy.oci.errors import MalformedError
from proxy.ops.limited import Limited
from proxy.stores.database import StoreError

# How long transfers go on in a worker that was replaced: a layer of 10 GB at 20 MB/s.
DRAIN_SECONDS = 600.0


def work(settings: Settings, place: Place, *, pulse: int, lifeline: int) -> int:
    """Serve until SIGTERM or SIGINT, until the last transfer after SIGUSR1, or until the supervisor has ended.

    What is written to `pulse`: see `crew.Post`. Returns the exit code.
    """
    os.set_blocking(pulse, False)
    with suppress(RuntimeError, OSError):  # without a standard error
        faulthandler.enable()
    try:
        asyncio.run(_work(settings, place, pulse, lifeline))
    except (OSError, StoreError, MalformedError) as err:
        os.write(pulse, _line(err).encode(errors="replace"))
        return os.EX_CONFIG
    return os.EX_OK


async def _work(settings: Settings, place: Place, pulse: int, lifeline: int) -> None:
    replaced, stop = asyncio.Event(), asyncio.Event()

    def end() -> None:
        loop.remove_reader(lifeline)  # it can be read for ever
        stop.set()
        replaced.set()

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(LoopErrors(Limited()))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGUSR1, replaced.set)
    loop.add_reader(lifeline, end)
    async with running(settings, place) as server:
        # What is there now stays: the collector need not look through it again (31 ms for 83,000 objects, measured).
        gc.freeze()
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(_beat(pulse))
            await replaced.wait()
            waits = [tasks.create_task(server.drain(DRAIN_SECONDS - SHUTDOWN_SECONDS)), tasks.create_task(stop.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in (beating, *waits):
                task.cancel()


async def _beat(pulse: int) -> None:
    while True:
        with suppress(OSError):  # a supervisor that stands still, or has ended
            os.write(pulse, SERVES)
        await asyncio.sleep(BEAT_SECONDS)


def _line(error: Exception) -> str:
    match error:
        case OSError(strerror=str(what), filename=str(where)):
            return f"{where}: {what}"
        case OSError(strerror=str(what)):
            return what
        case _:
            return str(error)
