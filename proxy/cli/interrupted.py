"""Work that can be ended: by Ctrl-C, by SIGTERM and by a closed terminal, so that nothing is left half."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import typer

# What a shell reports for a program that SIGTERM ended.
TERMINATED = 143

_T = TypeVar("_T")


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Do the work and return what comes of it; Ctrl-C (KeyboardInterrupt), SIGTERM and SIGHUP (Exit) cancel it."""
    try:
        return asyncio.run(_terminable(work))
    except asyncio.CancelledError:
        raise typer.Exit(TERMINATED) from None


async def _terminable(work: Coroutine[Any, Any, _T]) -> _T:
    task = asyncio.current_task()
    with suppress(RuntimeError):  # not the main thread, which alone has signals
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, lambda: task and task.cancel())
    return await work
