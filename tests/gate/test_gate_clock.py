"""What is remembered holds for its lifetime, also where the clock is set back or the lifetime is made shorter."""

from datetime import timedelta

import pytest
from support.fakes import image_body
from test_gate import APP, by_digest, by_tag, layer
from test_gate_restart import machine  # noqa: F401 (a fixture)

from proxy.gate.lasting import Lasting
from proxy.oci.errors import UnavailableError

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("restart", [False, True])
async def test_an_acceptance_of_a_time_to_come_is_none(machine, restart):  # noqa: F811
    it = machine(accepted_max_stale=timedelta(days=1))
    digest = it.signed(image_body("good"))
    it.bench.clock.advance(10**8)  # the clock is three years ahead
    async with it.start() as gate:
        assert (await gate.pull(by_digest(digest), "client")).decision.served
        assert (await gate.blob(APP, layer("good"), "client")).served
        it.bench.clock.advance(-(10**8))
        it.away()
        if not restart:
            assert not (await gate.pull(by_digest(digest), "client")).decision.served
            assert not (await gate.blob(APP, layer("good"), "client")).served
    async with it.start() as gate:
        assert not (await gate.pull(by_digest(digest), "client")).decision.served
        assert not (await gate.blob(APP, layer("good"), "client")).served


async def test_a_refusal_of_a_time_to_come_is_none(machine):  # noqa: F811
    it = machine()
    digest = it.bench.registry.add(APP, image_body("good"))
    it.bench.clock.advance(10**8)
    async with it.start() as gate:
        assert not (await gate.pull(by_digest(digest), "client")).decision.served
        it.bench.clock.advance(-(10**8))
        it.signed(image_body("good"))
        assert (await gate.pull(by_digest(digest), "client")).decision.served


@pytest.mark.parametrize("rate_limited", [False, True])
async def test_a_tag_of_a_time_to_come_is_asked_for(machine, rate_limited):  # noqa: F811
    it = machine(tag_max_stale=timedelta(days=1))
    it.signed(image_body("good"))
    it.bench.clock.advance(10**8)
    async with it.start() as gate:
        await gate.pull(by_tag(), "client")
        it.bench.clock.advance(-(10**8))
        it.bench.registry.fault = UnavailableError("away", rate_limited=rate_limited)
        with pytest.raises(UnavailableError):
            await gate.pull(by_tag(), "client")


@pytest.mark.parametrize(
    ("age", "lifetime", "stale", "served"),
    [
        (600, HOUR, 0, True),
        (600, timedelta(seconds=601), 0, True),
        (600, timedelta(seconds=600), 0, False),
        (600, timedelta(seconds=600), 1, True),
        (601, timedelta(seconds=600), 1, False),
        (3599, 10 * HOUR, 0, True),
        (3600, 10 * HOUR, 0, False),
    ],
)
async def test_a_shorter_lifetime_of_acceptances_takes_effect_at_once(machine, age, lifetime, stale, served):  # noqa: F811
    it = machine(accepted_max_stale=timedelta(seconds=stale))
    digest = it.signed(image_body("good"))
    async with it.start() as gate:
        await gate.pull(by_digest(digest), "client")
    it.away()
    it.bench.clock.advance(age)
    async with it.start(accepted=lifetime) as gate:
        assert (await gate.pull(by_digest(digest), "client")).decision.served is served
        assert (await gate.blob(APP, layer("good"), "client")).served is served


@pytest.mark.parametrize(("seconds", "found"), [(-1, None), (0, "value"), (9, "value"), (10, None), (11, None)])
def test_what_lasts_lasts_from_when_it_was_put_until_it_expires(machine, seconds, found):  # noqa: F811
    now = machine().bench.clock()
    kept = Lasting(2)
    kept.put("key", "value", now, now + timedelta(seconds=10))
    assert kept.get("key", now + timedelta(seconds=seconds)) == found
    assert kept.last("key") == "value"
    kept.drop("key")
    kept.drop("key")
    assert kept.last("key") is None
