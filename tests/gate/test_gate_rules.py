"""Other rules hold at once, and nothing that the old ones allowed outlives them."""

import asyncio

import pytest
from support.fakes import FakeSigner, image_body, index_body
from test_gate import APP, bench, by_digest, by_tag, layer

from proxy.policy.expression import parse
from proxy.policy.match import Pattern
from proxy.policy.model import Refuse, Rule
from proxy.policy.rules import Rules

REFUSE_ALL = Rules([Rule("all", (Pattern.parse("**"),), Refuse())])


def same_rule_with(signer):
    return Rules([Rule("all", (Pattern.parse("**"),), parse("release"), {"release": signer})])


async def test_what_was_accepted_is_refused_by_rules_that_refuse_it():
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        assert (await gate.pull(by_tag(), "client")).decision.served
        assert (await gate.blob(APP, layer("good"), "client")).served
        gate.use(REFUSE_ALL)
        assert not (await gate.pull(by_tag(), "client")).decision.served
        assert not (await gate.pull(by_digest(digest), "client")).decision.served
        assert not (await gate.blob(APP, layer("good"), "client")).served


async def test_a_rule_that_is_the_same_keeps_its_verdicts():
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        first = await gate.pull(by_tag(), "client")
        gate.use(same_rule_with(FakeSigner("release", it.notebook)))
        second = await gate.pull(by_tag(), "client")
    assert first.decision == second.decision
    assert second.rules is not first.rules


class Held:
    """A registry whose signatures wait until they are let go."""

    def __init__(self, notebook):
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.inner = FakeSigner("release", notebook)
        self.discovery = self.look
        self.name, self.fingerprint, self.verify = "release", "held", self.inner.verify
        self.binds_tag = self.ends = False

    async def look(self, subject, source):
        self.begun.set()
        await self.go.wait()
        return await self.inner.discovery(subject, source)


@pytest.mark.parametrize("ask", ["manifest", "blob", "child"])
async def test_what_was_under_way_is_not_remembered(ask):
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    index = it.registry.add(APP, index_body(image_body("good")), "index")
    it.notebook.signed |= {digest: ("release",), index: ("release",)}
    if ask == "child":
        del it.notebook.signed[digest]
    async with it.gate() as gate:
        gate.use(REFUSE_ALL)
        await gate.pull(by_tag("index"), "client")
        await gate.pull(by_tag(), "client")
        held = Held(it.notebook)
        gate.use(same_rule_with(held))
        work = gate.blob(APP, layer("good"), "client") if ask == "blob" else gate.pull(by_digest(digest), "client")
        under_way = asyncio.ensure_future(work)  # noqa: TID251 (the test is the group)
        await held.begun.wait()
        gate.use(REFUSE_ALL)
        held.go.set()
        old = await under_way
        if ask == "blob":
            assert old.served
        if ask == "manifest":
            assert old.decision.served
            assert old.rules is not gate.rules
        assert not (await gate.pull(by_digest(digest), "client")).decision.served
        assert not (await gate.blob(APP, layer("good"), "client")).served


@pytest.mark.parametrize("use", [REFUSE_ALL, None], ids=["other rules", "the same"])
async def test_nobody_joins_what_was_begun_by_other_rules(use):
    it = bench()
    it.notebook.signed[it.registry.add(APP, image_body("good"), "v1")] = ("release",)
    async with it.gate() as gate, asyncio.TaskGroup() as tasks:
        held = Held(it.notebook)
        gate.use(same_rule_with(held))
        begun = tasks.create_task(gate.pull(by_tag(), "client"))
        await held.begun.wait()
        if use is not None:
            gate.use(use)
        joining = tasks.create_task(gate.pull(by_tag(), "client"))
        await asyncio.sleep(0)
        held.go.set()
    assert begun.result().decision.served
    assert joining.result().decision.served is (use is None)
