"""A tag past its lifetime: answered at once with what it meant last, as long as the rule allows, and never longer."""

import asyncio
from datetime import timedelta

import pytest
from support.fakes import image_body
from test_gate import APP, bench, by_tag

from proxy.oci.errors import UnavailableError

# The lifetime is 60 s; with this a tag may be 160 s old.
ALLOWED = timedelta(seconds=100)


async def settled():
    """Let the background do what it has to."""
    for _ in range(10):
        await asyncio.sleep(0)


def signed(it, name, tag="v1"):
    digest = it.registry.add(APP, image_body(name), tag)
    it.notebook.signed[digest] = ("release",)
    return digest


async def test_what_it_meant_last_is_served_while_it_is_asked_for_again():
    it = bench(tag_max_stale=ALLOWED)
    old = signed(it, "old")
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
        new = signed(it, "new")
        it.clock.advance(61)
        assert (await gate.pull(by_tag(), "client")).manifest.digest == old
        await settled()
        assert (await gate.pull(by_tag(), "client")).manifest.digest == new
    assert ("stale_tag", True) in it.watcher.lookups


async def test_nobody_remembers_a_stale_answer():
    it = bench(tag_max_stale=ALLOWED)
    signed(it, "old")
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
        it.clock.advance(61)
        assert (await gate.pull(by_tag(), "client")).expires <= it.clock()


@pytest.mark.parametrize(("age", "served"), [(61, True), (159, True), (160, False), (10_000, False)])
async def test_an_outage_is_bridged_for_as_long_as_the_rule_allows(age, served):
    it = bench(tag_max_stale=ALLOWED)
    old = signed(it, "old")
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
        it.registry.fault = UnavailableError("the registry is away")
        it.clock.advance(age)
        if served:
            assert (await gate.pull(by_tag(), "client")).manifest.digest == old
            await settled()
            assert (await gate.pull(by_tag(), "client")).manifest.digest == old
        else:
            with pytest.raises(UnavailableError):
                await gate.pull(by_tag(), "client")


async def test_an_upstream_that_is_away_is_asked_once_a_lifetime():
    it = bench(tag_max_stale=timedelta(days=1))
    signed(it, "old")
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
        it.registry.fault = UnavailableError("the registry is away")
        it.registry.asked.clear()
        for _ in range(5):
            it.clock.advance(61)
            for _ in range(20):
                await gate.pull(by_tag(), "client")
                await settled()
    assert len(it.registry.asked) == 5


async def test_without_the_setting_an_expired_tag_is_asked_for():
    it = bench()
    signed(it, "old")
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
        new = signed(it, "new")
        it.clock.advance(61)
        assert (await gate.pull(by_tag(), "client")).manifest.digest == new
