"""One limit for many waits: only a wait that is too long ends, and only by its own task."""

import asyncio

import pytest

from proxy.upstream.patience import Patience

SHORT = 0.02


async def test_many_waits_that_take_longer_together():
    async with Patience(SHORT) as limited:
        for _ in range(10):
            with limited:
                await asyncio.sleep(SHORT / 5)


async def test_one_wait_too_long():
    async def wait():
        async with Patience(SHORT) as limited:
            with limited:
                await asyncio.sleep(SHORT / 2)
            with limited:
                await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait()
    assert not asyncio.current_task().cancelling()


async def test_what_is_between_the_waits_may_take_long():
    async with Patience(SHORT) as limited:
        with limited:
            await asyncio.sleep(0)
        await asyncio.sleep(3 * SHORT)
        with limited:
            await asyncio.sleep(0)


async def test_what_fails_in_between_is_told_and_a_cancelled_task_is_cancelled():
    async def fail():
        async with Patience(SHORT) as limited:
            with limited:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    async def wait():
        async with Patience(60) as limited:
            with limited:
                await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(wait())
        await asyncio.sleep(0)
        waiting.cancel()
    assert waiting.cancelled()
