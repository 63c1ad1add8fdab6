"""`on_outage = "insecure_allow"` lets through what could not be judged, and never what was refused."""

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from unittest.mock import AsyncMock

import pytest
from support.fakes import image_body, index_body
from test_gate import APP, bench, by_digest, by_tag, layer
from test_gate_restart import machine  # noqa: F401 (a fixture)

from proxy.gate.decisions import REFUSAL_STANDS
from proxy.oci.errors import BusyError
from proxy.policy.explain import explain
from proxy.policy.model import Mode, OnOutage
from proxy.policy.rules import Rules
from proxy.verdict import Accepted, Reason, Refused, Rejection, Undetermined

ALLOW = OnOutage.INSECURE_ALLOW
# Refused for 30 s, accepted for 3600 s.
LATER = 100
PLACES = ["in the same worker", "after a restart", "in another worker"]


def away(it):
    """Let the signatures be out of reach, and the manifests not."""
    it.bench.notebook.unreached = ["the registry is away"]
    it.bench.notebook.signed.clear()


def unsigned(it, name="bad"):
    return it.bench.registry.add(APP, image_body(name), "v1")


@asynccontextmanager
async def gates(it, place, work):
    """Do the work in one gate, and give the one that is asked later."""
    async with it.start() as gate:
        await work(gate)
        if place == "in the same worker":
            yield gate
            return
        if place == "in another worker":
            async with it.start() as other:
                yield other
            return
    async with it.start() as other:
        yield other


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("age", "served"),
    [(1, False), (LATER, False), (REFUSAL_STANDS.total_seconds(), False), (REFUSAL_STANDS.total_seconds() + 60, True)],
)
async def test_a_refusal_stands_however_long_ago(machine, place, age, served):  # noqa: F811
    it = machine(on_outage=ALLOW)
    digest = unsigned(it)

    async def refuse(gate):
        assert not (await gate.pull(by_digest(digest), "client")).decision.served

    async with gates(it, place, refuse) as gate:
        away(it)
        it.bench.clock.advance(age)
        decision = (await gate.pull(by_digest(digest), "client")).decision
        # Memory keeps it for longer than the store does.
        assert decision.served is (served and place != "in the same worker")
        assert (await gate.blob(APP, layer("bad"), "client")).served is decision.served


@pytest.mark.parametrize("place", PLACES)
async def test_what_was_never_judged_is_let_through(machine, place):  # noqa: F811
    it = machine(on_outage=ALLOW)
    one, other = unsigned(it), unsigned(it, "other")

    async def refuse(gate):
        await gate.pull(by_digest(one), "client")

    async with gates(it, place, refuse) as gate:
        away(it)
        assert (await gate.pull(by_digest(other), "client")).decision.served


@pytest.mark.parametrize("place", PLACES)
async def test_an_acceptance_lifts_it(machine, place):  # noqa: F811
    it = machine(on_outage=ALLOW)
    digest = unsigned(it)

    async def refuse_and_accept(gate):
        await gate.pull(by_digest(digest), "client")
        it.bench.clock.advance(LATER)
        it.bench.notebook.signed[digest] = ("release",)
        assert isinstance((await gate.pull(by_digest(digest), "client")).decision.verdict, Accepted)

    async with gates(it, place, refuse_and_accept) as gate:
        away(it)
        it.bench.clock.advance(4000)
        decision = (await gate.pull(by_digest(digest), "client")).decision
    assert isinstance(decision.verdict, Undetermined)
    assert decision.served


async def test_one_that_could_not_be_written_stands_in_memory(machine, monkeypatch):  # noqa: F811
    it = machine(on_outage=ALLOW)
    digest = unsigned(it)
    async with it.start() as gate:
        monkeypatch.setattr(it.bench.memory.verdicts, "put", AsyncMock())
        await gate.pull(by_digest(digest), "client")
        away(it)
        it.bench.clock.advance(LATER)
        assert not (await gate.pull(by_digest(digest), "client")).decision.served


async def test_an_acceptance_of_another_worker_lifts_what_memory_knows(machine):  # noqa: F811
    it = machine(on_outage=ALLOW)
    digest = unsigned(it)
    async with it.start() as gate, it.start() as other:
        await gate.pull(by_digest(digest), "client")
        it.bench.clock.advance(LATER)
        it.bench.notebook.signed[digest] = ("release",)
        await other.pull(by_digest(digest), "client")
        away(it)
        it.bench.clock.advance(4000)
        assert (await gate.pull(by_digest(digest), "client")).decision.served


@pytest.mark.parametrize("back", [0, 10_000])
async def test_a_clock_that_is_set_back_lifts_none(machine, back):  # noqa: F811
    it = machine(on_outage=ALLOW)
    digest = unsigned(it)
    async with it.start() as gate:
        await gate.pull(by_digest(digest), "client")
    away(it)
    it.bench.clock.advance(LATER - back)
    async with it.start() as gate:
        assert not (await gate.pull(by_digest(digest), "client")).decision.served


@pytest.mark.parametrize(
    ("changes", "served"),
    [
        ({"name": "another"}, True),
        ({"on_outage": OnOutage.REFUSE}, False),
        ({"mode": Mode.WARN}, True),
        ({"accepted_max_stale": timedelta(days=1)}, False),
    ],
)
async def test_it_is_one_of_the_same_policy(machine, changes, served):  # noqa: F811
    it = machine(on_outage=ALLOW)
    digest = unsigned(it)
    async with it.start() as gate:
        await gate.pull(by_digest(digest), "client")
    (rule,) = it.bench.rules
    it.bench.rules = Rules([replace(rule, **changes)])
    away(it)
    it.bench.clock.advance(LATER)
    async with it.start() as gate:
        assert (await gate.pull(by_digest(digest), "client")).decision.served is served


@pytest.mark.parametrize(("hours", "served"), [(1, False), (23, False), (25, True)])
async def test_one_by_a_rule_that_let_nothing_through_then_stands_for_a_day(machine, hours, served):  # noqa: F811
    """An operator lets images through when the outage is there."""
    it = machine(on_outage=OnOutage.REFUSE)
    digest = unsigned(it)
    async with it.start() as gate:
        await gate.pull(by_digest(digest), "client")
        it.bench.clock.advance(hours * 3600)
        for n in range(20):  # what is not kept any more goes when something new is put
            await gate.pull(by_digest(it.bench.registry.add(APP, image_body(f"other {n}"))), "client")
    (rule,) = it.bench.rules
    it.bench.rules = Rules([replace(rule, on_outage=ALLOW)])
    away(it)
    async with it.start() as gate:
        assert (await gate.pull(by_digest(digest), "client")).decision.served is served


async def test_it_is_seen_and_judging_is_tried_again_once_in_a_tags_lifetime(machine):  # noqa: F811
    it = machine(on_outage=ALLOW)
    unsigned(it)
    async with it.start() as gate:
        await gate.pull(by_tag(), "client")
        away(it)
        it.bench.clock.advance(LATER)
        it.bench.notebook.looked.clear()
        decisions = [(await gate.pull(by_tag(), "client")).decision for _ in range(3)]
        it.bench.clock.advance(61)
        await gate.pull(by_tag(), "client")
    assert len(it.bench.notebook.looked) == 2
    assert explain(decisions[0]) == "refused before, not signed; cannot be verified again: the registry is away"
    assert decisions[0].reason is Reason.NOT_SIGNED


async def test_an_index_that_cannot_be_judged_lifts_no_refusal_of_its_child(machine):  # noqa: F811
    it = machine(on_outage=ALLOW)
    child = image_body("bad")
    digest = it.bench.registry.add(APP, child)
    index = it.bench.registry.add(APP, index_body(child), "v1")
    async with it.start() as gate:
        assert not (await gate.pull(by_digest(digest), "client")).decision.served
        away(it)
        assert (await gate.pull(by_digest(index), "client")).decision.served
        for _ in range(2):
            assert not (await gate.pull(by_digest(digest), "client")).decision.served
            it.bench.clock.advance(LATER)


@pytest.mark.parametrize("refused_before", [True, False])
async def test_a_child_goes_with_its_index(machine, refused_before):  # noqa: F811
    """The twin: in an outage of all, and by an index that is accepted, the child comes."""
    it = machine(on_outage=ALLOW)
    child = image_body("good")
    digest = it.bench.registry.add(APP, child)
    index = it.bench.registry.add(APP, index_body(child), "v1")
    async with it.start() as gate:
        if refused_before:
            await gate.pull(by_digest(digest), "client")
            it.bench.notebook.signed[index] = ("release",)
        else:
            away(it)
        assert (await gate.pull(by_digest(index), "client")).decision.served
        assert (await gate.pull(by_digest(digest), "client")).decision.served


async def test_a_flood_of_reasons_keeps_none_from_being_kept(machine, monkeypatch):  # noqa: F811
    """Whoever may push decides how much a refusal has to tell; a store keeps 64 KiB of one."""
    it = machine(on_outage=ALLOW)
    digest = unsigned(it)
    long = Rejection(Reason.MALFORMED, "x" * 5000, "release", "sha256-0.sig", (("subject", "y" * 5000),))
    monkeypatch.setattr("support.fakes.FakeSigner.verify", lambda *_: long)
    it.bench.notebook.signed[digest] = tuple(f"someone {n}" for n in range(100))
    async with it.start() as gate:
        assert len((await gate.pull(by_digest(digest), "client")).decision.verdict.rejections) == 100
    away(it)
    it.bench.clock.advance(LATER)
    async with it.start() as gate:
        decision = (await gate.pull(by_digest(digest), "client")).decision
    assert isinstance(decision.verdict, Refused)
    assert len(decision.verdict.rejections) == 10


@pytest.mark.parametrize("busy", [True, False])
async def test_a_limit_of_our_own_is_no_outage(busy):
    it = bench(on_outage=ALLOW)
    digest = it.registry.add(APP, image_body("bad"), "v1")
    it.notebook.unreached.append("too many requests are under way" if busy else "the registry is away")
    it.notebook.overloaded = busy
    async with it.gate() as gate:
        decision = (await gate.pull(by_digest(digest), "client")).decision
    assert isinstance(decision.verdict, Undetermined)
    assert decision.served is not busy


async def test_a_manifest_that_has_no_place_is_no_outage_either():
    it = bench(on_outage=ALLOW)
    it.registry.fault = BusyError("too many requests to docker.io are under way; ask again")
    async with it.gate() as gate:
        with pytest.raises(BusyError):
            await gate.pull(by_tag(), "client")
