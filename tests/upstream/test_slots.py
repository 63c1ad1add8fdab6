"""Limits on what is done at once, in which no group takes everything."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from proxy.upstream.slots import FairSlots


class Crowd:
    """Tasks that each want a slot, and the order in which they got it."""

    def __init__(self, slots, tasks):
        self.slots, self.tasks, self.order = slots, tasks, []

    async def come(self, *groups):
        """Let one task of each group come, and give them time to get what is free."""
        found = [self.tasks.create_task(self._hold(group, asyncio.Event())) for group in groups]
        await settled()
        return found

    async def _hold(self, group, end):
        async with self.slots.hold(group):
            self.order.append(group)
            await end.wait()

    async def go(self, *held):
        """Let these tasks go, whether they hold a slot or wait for one."""
        for one in held:
            one.cancel()
        await settled()


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def crowd():
    async with asyncio.TaskGroup() as tasks:
        made = []

        def make(*limits):
            made.append(Crowd(FairSlots(*limits), tasks))
            return made[-1]

        yield make
        for task in tasks._tasks:
            task.cancel()


@pytest.mark.parametrize(
    ("limits", "come", "got"),
    [
        ((2, 2), "aaa", "aa"),
        ((3, 2), "aaab", "aab"),
        ((3, 2), "abc", "abc"),
        ((3, 2), "aaabcd", "aab"),
        ((1, 1, 1), "abc", "abc"),
        ((1, 1, 1), "aabbcc", "abc"),
        ((2, 2, 1), "aaabbb", "aab"),
        ((1, 1), "ab", "a"),
    ],
)
async def test_how_many_are_let_in(crowd, limits, come, got):
    it = crowd(*limits)
    await it.come(*come)
    assert "".join(it.order) == got


async def test_groups_take_turns_and_each_keeps_its_order():
    slots, order = FairSlots(1, 1), []

    async def come(name):
        async with slots.hold(name[0]):
            order.append(name)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for name in ("a1", "b1", "b2", "b3", "c1", "d1", "c2"):
            tasks.create_task(come(name))
    assert order == ["a1", "b1", "c1", "d1", "b2", "c2", "b3"]


async def test_who_leaves_takes_no_slot_along(crowd):
    it = crowd(1, 1)
    first = await it.come("a")
    left = await it.come("b", "b", "c")
    await it.go(*left[:2])
    await it.go(*first)
    assert "".join(it.order) == "ac"
    await it.go(left[2])
    await it.come("b")
    assert "".join(it.order) == "acb"


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_who_leaves_in_the_moment_he_is_let_in_gives_the_slot_on(crowd, turns):
    it = crowd(1, 1)
    (first,) = await it.come("a")
    (second,) = await it.come("b")
    await it.come("c")
    first.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    second.cancel()
    await settled()
    assert "".join(it.order) == ("abc" if turns == 2 else "ac")


async def test_everything_is_given_back():
    slots = FairSlots(3, 2, 1)
    for _ in range(3):
        async with AsyncExitStack() as stack:
            for group in "aabcde":
                await asyncio.wait_for(stack.enter_async_context(slots.hold(group)), 1)
    assert not slots._held
    assert not slots._waiting
