"""An acceptance past its lifetime stands in for what cannot be judged, as long as the rule allows, and never longer."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from support.fakes import START, image_body, index_body
from test_gate import APP, by_digest, by_tag, layer
from test_gate_restart import machine  # noqa: F401 (a fixture)

from proxy.gate import TrustAges
from proxy.oci.digest import Digest
from proxy.policy.match import Pattern
from proxy.policy.model import InsecureAllowUnverified, OnOutage, Rule
from proxy.policy.rules import Rules
from proxy.stores.verdicts import Remembered, VerdictKey
from proxy.verdict import Accepted, Refused, Subject, Undetermined

# Accepted for 3600 s; with this until 4600 s at most. Refused for 30 s, a tag holds for 60 s.
ALLOWED = timedelta(seconds=1000)
FIRST, LAST, END = 3600, 4599, 4600


def back(it):
    it.bench.registry.fault = None
    it.bench.notebook.unreached = []


async def accepted(it, gate):
    """Let an image be accepted, and the registry go away; return its reference."""
    digest = it.signed(image_body("good"))
    assert (await gate.pull(by_digest(digest), "client")).decision.served
    assert (await gate.blob(APP, layer("good"), "client")).served
    it.away()
    return by_digest(digest)


@pytest.mark.parametrize(
    ("allowed", "age", "served"),
    [
        (ALLOWED, FIRST - 1, True),
        (ALLOWED, FIRST, True),
        (ALLOWED, LAST, True),
        (ALLOWED, END, False),
        (ALLOWED, 1_000_000, False),
        (timedelta(0), FIRST - 1, True),
        (timedelta(0), FIRST, False),
    ],
)
@pytest.mark.parametrize("restart", [False, True])
async def test_stands_in_for_as_long_as_the_rule_allows(machine, allowed, age, served, restart):  # noqa: F811
    it = machine(accepted_max_stale=allowed)
    async with it.start() as gate:
        image = await accepted(it, gate)
        it.bench.clock.advance(age)
        if restart:
            async with it.start() as another:
                await ends(another, image, age, served)
        else:
            await ends(gate, image, age, served)


async def ends(gate, image, age, served):
    pulled = await gate.pull(image, "client")
    assert (pulled.decision.served, pulled.decision.stale is not None) == (served, served and age >= FIRST)
    assert isinstance(pulled.decision.verdict, Accepted if served else Undetermined)
    assert (await gate.blob(APP, layer("good"), "client")).served is served


async def test_nothing_of_it_outlives_the_limit(machine):  # noqa: F811
    it = machine(accepted_max_stale=ALLOWED)
    async with it.start() as gate:
        image = await accepted(it, gate)
        it.bench.clock.advance(LAST - 0.5)
        pulled, grant = await gate.pull(image, "client"), await gate.blob(APP, layer("good"), "client")
        end = START + timedelta(seconds=END)
        assert pulled.expires == grant.expires == pulled.decision.stale.until == end
        it.bench.clock.now = end
        assert not (await gate.pull(image, "client")).decision.served
        assert not (await gate.blob(APP, layer("good"), "client")).served


async def test_judging_is_tried_again_once_in_a_tags_lifetime(machine):  # noqa: F811
    it = machine(accepted_max_stale=ALLOWED)
    async with it.start() as gate:
        image = await accepted(it, gate)
        it.bench.notebook.looked.clear()
        it.bench.clock.advance(FIRST)
        for _ in range(3):
            assert (await gate.pull(image, "client")).expires == it.bench.clock() + timedelta(seconds=60)
            await asyncio.gather(*(gate.pull(image, "client") for _ in range(20)))
            it.bench.clock.advance(60)
    assert len(it.bench.notebook.looked) == 3


async def test_it_is_seen(machine):  # noqa: F811
    it = machine(accepted_max_stale=ALLOWED)
    async with it.start() as gate:
        image = await accepted(it, gate)
        first = it.bench.watcher.judged_[-1]
        it.bench.clock.advance(FIRST)
        decision = (await gate.pull(image, "client")).decision
        it.bench.clock.advance(END)
        await gate.pull(image, "client")
    assert it.bench.watcher.judged_[1] == decision
    assert (decision.verdict, decision.stale.cause) == (first.verdict, "the registry is away")
    assert decision.id != first.id
    assert [one for one in it.bench.watcher.lookups if one[0] == "stale_verdict"] == [
        ("stale_verdict", True),
        ("stale_verdict", False),
    ]


@pytest.mark.parametrize("where", ["here", "after a restart", "in another worker"])
async def test_a_refusal_takes_over_and_ends_it_for_good(machine, where):  # noqa: F811
    it = machine(accepted_max_stale=ALLOWED)
    async with it.start() as gate:
        image = await accepted(it, gate)
        it.bench.clock.advance(FIRST)
        assert (await gate.pull(image, "client")).decision.stale is not None
        back(it)
        it.bench.clock.advance(60)
        if where == "here":
            assert isinstance((await gate.pull(image, "client")).decision.verdict, Refused)
        else:
            async with it.start() as another:
                assert isinstance((await another.pull(image, "client")).decision.verdict, Refused)
        it.away()
        for _ in range(10):  # the refusal itself has expired at the second
            if where == "after a restart":
                async with it.start() as another:
                    decision = (await another.pull(image, "client")).decision
            else:
                decision = (await gate.pull(image, "client")).decision
                assert not (await gate.blob(APP, layer("good"), "client")).served
            assert not decision.served
            assert decision.stale is None
            # Others judge, and so remove what has expired.
            other = it.bench.registry.add(APP, image_body("other"))
            back(it)
            await gate.pull(by_digest(other), "client")
            it.away()
            it.bench.clock.advance(31)


async def test_a_refusal_that_could_not_be_written_ends_it_here(machine):  # noqa: F811
    it = machine(accepted_max_stale=ALLOWED)
    async with it.start() as gate:
        image = await accepted(it, gate)
        it.bench.clock.advance(FIRST)
        back(it)
        await it.opened.read(lambda db: db.execute("PRAGMA query_only = 1").fetchall(), None)
        assert isinstance((await gate.pull(image, "client")).decision.verdict, Refused)
        it.away()
        it.bench.clock.advance(31)
        assert not (await gate.pull(image, "client")).decision.served


async def test_a_registry_that_is_back_gives_a_new_acceptance(machine):  # noqa: F811
    it = machine(accepted_max_stale=ALLOWED)
    async with it.start() as gate:
        image = await accepted(it, gate)
        it.bench.clock.advance(FIRST)
        await gate.pull(image, "client")
        back(it)
        it.bench.notebook.signed[image.digest] = ("release",)
        it.bench.clock.advance(60)
        decision = (await gate.pull(image, "client")).decision
        assert decision.stale is None
        assert decision.verdict.expires == it.bench.clock() + timedelta(hours=1)


@pytest.mark.parametrize("others", [0, 50])
async def test_an_acceptance_that_may_stand_in_is_not_removed_when_it_expires(machine, others):  # noqa: F811
    it = machine(accepted_max_stale=ALLOWED)
    async with it.start() as gate:
        image = await accepted(it, gate)
        it.bench.clock.advance(LAST)
        back(it)
        for number in range(others):
            await gate.pull(by_digest(it.signed(image_body(f"other {number}"))), "client")
        it.away()
    async with it.start() as gate:
        assert (await gate.pull(image, "client")).decision.stale is not None


def using(it, **changes):
    """Let the bench's rule have changed, as a restart with other settings does."""
    (rule,) = it.bench.rules
    it.bench.rules = Rules([replace(rule, **changes)])


CHANGED = {
    "another limit": ({"accepted_max_stale": timedelta(seconds=10)}, False),
    "the same limit": ({"accepted_max_stale": ALLOWED}, True),
    "a longer limit": ({"accepted_max_stale": 2 * ALLOWED}, True),
    "no limit": ({"accepted_max_stale": timedelta(0)}, False),
    "another rule": ({"name": "other"}, False),
    "no signers": ({"require": InsecureAllowUnverified(), "signers": {}}, True),
    "what is allowed in an outage": ({"on_outage": OnOutage.INSECURE_ALLOW}, True),
    "a limit on the trust root": ({"trust_root_max_age": timedelta(days=1)}, False),
}


@pytest.mark.parametrize(("changes", "served"), CHANGED.values(), ids=CHANGED.keys())
async def test_counts_by_the_rule_as_it_is_now(machine, changes, served):  # noqa: F811
    it = machine(accepted_max_stale=ALLOWED)
    async with it.start() as gate:
        image = await accepted(it, gate)
        it.bench.clock.advance(FIRST + 10)
    using(it, **changes)
    async with it.start() as gate:
        assert (await gate.pull(image, "client")).decision.served is served


async def test_without_a_rule_nothing_stands_in(machine):  # noqa: F811
    it = machine(accepted_max_stale=ALLOWED)
    async with it.start() as gate:
        image = await accepted(it, gate)
        it.bench.clock.advance(FIRST)
        gate.use(Rules([Rule("other", (Pattern.parse("ghcr.io/**"),), InsecureAllowUnverified())]))
        assert not (await gate.pull(image, "client")).decision.served


@pytest.mark.parametrize("age", [99, 100])
async def test_a_trust_root_that_is_too_old_is_no_outage_that_it_bridges(machine, age):  # noqa: F811
    it = machine(accepted_max_stale=ALLOWED, trust_root_max_age=timedelta(seconds=100))
    it.bench.trust = TrustAges({"release": "private"}, {"private": START})
    async with it.start() as gate:
        image = await accepted(it, gate)
        it.bench.clock.advance(FIRST)
        it.bench.trust.confirm("private", it.bench.clock() - timedelta(seconds=age))
        assert (await gate.pull(image, "client")).decision.served is (age < 100)


async def test_of_what_is_allowed_in_an_outage_the_acceptance_is_taken(machine):  # noqa: F811
    it = machine(accepted_max_stale=ALLOWED, on_outage=OnOutage.INSECURE_ALLOW)
    async with it.start() as gate:
        image = await accepted(it, gate)
        it.bench.clock.advance(FIRST)
        assert isinstance((await gate.pull(image, "client")).decision.verdict, Accepted)
        it.bench.clock.advance(1000)
        assert isinstance((await gate.pull(image, "client")).decision.verdict, Undetermined)


@pytest.mark.parametrize("kind", ["refused", "another subject's"])
async def test_nothing_else_stands_in(machine, kind):  # noqa: F811
    it = machine(accepted_max_stale=ALLOWED)
    async with it.start() as gate:
        digest = it.bench.registry.add(APP, image_body("bad"), "v1")
        other = it.signed(image_body("good"), "v2")
        await gate.pull(by_digest(other if kind == "another subject's" else digest), "client")
        await gate.pull(by_tag("v1"), "client") if kind == "refused" else None
        it.bench.clock.advance(FIRST)
        it.away()
        it.bench.registry.fault = None
        assert not (await gate.pull(by_digest(digest), "client")).decision.served


async def test_a_child_is_served_as_its_index_is(machine):  # noqa: F811
    it = machine(accepted_max_stale=ALLOWED)
    child = image_body("good")
    reference = by_digest(it.bench.registry.add(APP, child))
    index = by_digest(it.signed(index_body(child)))
    async with it.start() as gate:
        await gate.pull(index, "client")
        await gate.pull(reference, "client")
        it.away()
        for age, served in ((FIRST, True), (LAST, True), (END, False)):
            it.bench.clock.now = START + timedelta(seconds=age)
            for one in (reference, index):
                assert (await gate.pull(one, "client")).decision.served is served
            assert (await gate.blob(APP, layer("good"), "client")).served is served


async def test_a_tag_has_its_own_limit(machine):  # noqa: F811
    it = machine(accepted_max_stale=ALLOWED, tag_max_stale=timedelta(seconds=FIRST))
    it.signed(image_body("good"))
    async with it.start() as gate:
        await gate.pull(by_tag(), "client")
        it.away()
        it.bench.clock.advance(FIRST + 59)
        assert (await gate.pull(by_tag(), "client")).decision.stale is not None
        it.bench.clock.advance(1)
        with pytest.raises(type(it.bench.registry.fault)):
            await gate.pull(by_tag(), "client")


async def test_a_disk_that_fails_with_the_registry_serves_nothing_stale(machine):  # noqa: F811
    it = machine(accepted_max_stale=ALLOWED)
    async with it.start() as gate:
        image = await accepted(it, gate)
        it.bench.clock.advance(FIRST)
        await it.opened.read(lambda db: db.execute("DROP TABLE verdict"), None)
        assert not (await gate.pull(image, "client")).decision.served


async def test_an_expiry_at_the_end_of_time(machine):  # noqa: F811
    it = machine(accepted_max_stale=timedelta(days=30))
    async with it.start() as gate:
        digest = it.bench.registry.add(APP, image_body("good"))
        (rule,) = it.bench.rules
        end = START.replace(year=9999, month=12, day=31)
        verdict = Refused(Subject(APP, digest, None), "all", (), end)
        remembered = Remembered("id", verdict, START)
        await it.bench.memory.verdicts.put(VerdictKey(APP, digest, None, rule.fingerprint), remembered)
        decision = (await gate.pull(by_digest(digest), "client")).decision
        assert (decision.id, decision.verdict.expires) == ("id", START + timedelta(seconds=30))


async def test_many_refused_by_digest_are_no_room_for_one(machine):  # noqa: F811
    it = machine(accepted_max_stale=ALLOWED)
    async with it.start() as gate:
        image = await accepted(it, gate)
        back(it)
        for number in range(30):
            await gate.pull(by_digest(it.bench.registry.add(APP, image_body(f"bad {number}"))), "client")
        it.bench.clock.advance(FIRST)
        it.away()
        assert (await gate.pull(image, "client")).decision.served
        for number in range(30):
            bad = Digest.of(image_body(f"bad {number}"))
            assert not (await gate.pull(by_digest(bad), "client")).decision.served
