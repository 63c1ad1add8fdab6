"""Work that is ended in mid course is cancelled, and not cut off."""

import asyncio
import os
import signal

import pytest
import typer

from proxy.cli.interrupted import TERMINATED, run


@pytest.mark.parametrize(
    ("number", "ends"), [(signal.SIGTERM, typer.Exit), (signal.SIGHUP, typer.Exit), (signal.SIGINT, KeyboardInterrupt)]
)
def test_it_is_cancelled(number, ends):
    cleaned = []

    async def work():
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    with pytest.raises(ends) as raised:
        run(work())
    assert cleaned == [True]
    if ends is typer.Exit:
        assert raised.value.exit_code == TERMINATED


async def test_what_it_returns_anywhere():
    """Also where signals are somebody else's."""

    async def work():
        return 7

    assert await asyncio.to_thread(run, work()) == 7
