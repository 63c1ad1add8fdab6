"""A registry that hangs, or one namespace of it, holds up nobody else's judging."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from support.fakes import Clock, FakeRegistry, FakeSigner, Notebook

from proxy.gate import Judge
from proxy.gate.judging_slots import REGISTRIES_AT_ONCE, JudgingSlots
from proxy.oci.digest import Digest
from proxy.oci.reference import Repository
from proxy.policy.evaluate import Lifetimes
from proxy.policy.expression import parse
from proxy.policy.match import Pattern
from proxy.policy.model import Decision, Mode, OnOutage, Rule
from proxy.verdict import Accepted, Refused, Subject, Undetermined

AT_ONCE = 4


def repository(name):
    registry, _, path = name.partition("/")
    return Repository(registry, path)


@pytest.mark.parametrize("at_once", [1, 2, 4, 16])
@pytest.mark.parametrize(
    ("crowd", "other"),
    [
        (["hangs.test/a/{n}"], "other.test/a/1"),
        (["hangs.test/{n}/app"], "other.test/a/1"),
        (["hangs{n}.test/{n}/app"], "other.test/a/1"),
        (
            ["hangs1.test/{n}/app", "hangs2.test/{n}/app", "hangs3.test/{n}/app", "hangs4.test/{n}/app"],
            "other.test/b/1",
        ),
    ],
    ids=["one namespace", "one registry", "many registries", "some registries"],
)
async def test_who_is_not_held_up(at_once, crowd, other):
    slots = JudgingSlots(at_once)
    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
        waiting = [
            tasks.create_task(stack.enter_async_context(slots.hold(repository(name.format(n=n)))))
            for n in range(100)
            for name in crowd
        ]
        await asyncio.sleep(0.01)
        assert sum(one.done() for one in waiting) <= at_once * REGISTRIES_AT_ONCE + 100 * max(1, at_once // 4)
        await asyncio.wait_for(stack.enter_async_context(slots.hold(repository(other))), 1)
        for one in waiting:
            one.cancel()


@pytest.mark.parametrize(("at_once", "held"), [(2, 1), (4, 2), (5, 3), (16, 8)])
async def test_a_namespace_has_half_of_its_registrys_slots(at_once, held):
    slots = JudgingSlots(at_once)
    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
        waiting = [
            tasks.create_task(stack.enter_async_context(slots.hold(repository(f"r.test/tenant/{n}"))))
            for n in range(at_once * 2)
        ]
        await asyncio.sleep(0.01)
        assert sum(one.done() for one in waiting) == held
        await asyncio.wait_for(stack.enter_async_context(slots.hold(repository("r.test/neighbour/app"))), 1)
        for one in waiting:
            one.cancel()


async def test_a_registry_that_hangs_leaves_the_judging_of_others_alone():
    """Seen: sixteen images of a registry that hung held up every other image for 18 s."""
    hangs, quick = Notebook(wait=asyncio.Event().wait), Notebook()
    rules = {
        name: Rule(name, (Pattern.parse("**"),), parse(name), {name: FakeSigner(name, book)})
        for name, book in {"hangs": hangs, "quick": quick}.items()
    }
    judge = Judge(FakeRegistry(), Clock(), Lifetimes(), seconds=60, at_once=AT_ONCE)

    def examine(rule, name, n):
        return judge.examine(rules[rule], Subject(repository(name), Digest.of(b"%d" % n)))

    async with asyncio.TaskGroup() as tasks:
        stuck = [tasks.create_task(examine("hangs", "hangs.test/a/app", n)) for n in range(3 * AT_ONCE)]
        await asyncio.sleep(0.01)
        assert len(hangs.looked) == AT_ONCE // 2
        for name in ("other.test/a/app", "hangs.test/b/app"):
            found = await asyncio.wait_for(examine("quick", name, 1), 5)
            assert isinstance(found.verdict, Refused)
        for one in stuck:
            one.cancel()


async def test_what_waits_longer_than_any_client_is_undetermined_and_no_outage(monkeypatch):
    """However many images a client asks for, no work is left over when it has gone."""
    monkeypatch.setattr("proxy.gate.judge.SLOT_SECONDS", 0.05)
    hangs = Notebook(wait=asyncio.Event().wait)
    rule = Rule("all", (Pattern.parse("**"),), parse("hangs"), {"hangs": FakeSigner("hangs", hangs)})
    judge = Judge(FakeRegistry(), Clock(), Lifetimes(), seconds=60, at_once=1)
    async with asyncio.TaskGroup() as tasks:
        stuck = tasks.create_task(judge.examine(rule, Subject(repository("r.test/a/app"), Digest.of(b"1"))))
        await asyncio.sleep(0.01)
        found = await judge.examine(rule, Subject(repository("r.test/a/app"), Digest.of(b"2")))
        unruled = await judge.examine(None, Subject(repository("r.test/a/app"), Digest.of(b"2")))
        stuck.cancel()
    assert isinstance(found.verdict, Undetermined)
    assert found.verdict.overloaded
    assert "too many images of r.test are being judged" in found.verdict.cause
    assert unruled.verdict.rule == "none"
    assert not Decision("id", found.verdict, Mode.ENFORCE, OnOutage.INSECURE_ALLOW).served


async def test_a_signature_that_is_copied_is_verified_once():
    """Whoever may push can copy one a thousand times."""
    verified = []

    class Counting(FakeSigner):
        def verify(self, subject, signature, now):
            verified.append(signature.location)
            return super().verify(subject, signature, now)

    digest = Digest.of(b"1")
    book = Notebook(signed={digest: ("other",) * 500 + ("release",) * 500 + ("third", "other")})
    rule = Rule("all", (Pattern.parse("**"),), parse("release"), {"release": Counting("release", book)})
    judge = Judge(FakeRegistry(), Clock(), Lifetimes(), seconds=60, at_once=1)
    found = await judge.examine(rule, Subject(repository("r.test/a/app"), digest))
    assert isinstance(found.verdict, Accepted)
    assert verified == ["other", "release", "third"]
