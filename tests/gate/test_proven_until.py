"""An acceptance ends with what it is proven by: a key that was in use for a time, an attestation that grows too old."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from support import cosign
from support.fakes import START, FakeSigner, Notebook, image_body
from test_gate import by_digest
from test_gate_restart import machine  # noqa: F401 (a fixture)

from proxy.crypto.window import Window
from proxy.demo.signing import simple_signing_payload
from proxy.formats.api import UntrustedSignature
from proxy.formats.cosign.verify import WantedKey
from proxy.gate.judge import Judge
from proxy.gate.proven import PROVEN_WITHIN, ROUNDS_MAX, proven_until
from proxy.policy.evaluate import Lifetimes
from proxy.policy.expression import parse
from proxy.policy.match import Pattern
from proxy.policy.model import Rule
from proxy.policy.rules import Rules
from proxy.verdict import Accepted, Evidence, Reason, Rejection

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class EndingSigner(FakeSigner):
    """A signer whose signatures count until a time."""

    ends: bool = True
    until: datetime = START

    def verify(self, subject, signature, now):
        if now >= self.until:
            return Rejection(Reason.TIME_NOT_PROVEN, "the key was in use until then", self.name, signature.location)
        return super().verify(subject, signature, now)


def asking(it, require, **ends):
    """Let the bench ask for these signers, whose signatures count for so long (None: without end)."""
    (rule,) = it.bench.rules
    signers = {
        name: FakeSigner(name, it.bench.notebook)
        if end is None
        else EndingSigner(name, it.bench.notebook, until=START + end)
        for name, end in ends.items()
    }
    it.bench.rules = Rules([replace(rule, require=parse(require), signers=signers)])


def signed(it):
    digest = it.signed(image_body("good"))
    it.bench.notebook.signed[digest] = ("a", "b")
    return by_digest(digest)


# What is asked for, how long the signatures of each count, and how long the acceptance may at most.
ENDS = {
    "no end": ("a", {"a": None}, HOUR),
    "later": ("a", {"a": 2 * HOUR}, HOUR),
    "sooner": ("a", {"a": HOUR / 2}, HOUR / 2),
    "a minute": ("a", {"a": timedelta(minutes=1)}, timedelta(minutes=1)),
    "a second": ("a", {"a": timedelta(seconds=1)}, timedelta(seconds=1)),
    "both are needed": ("a and b", {"a": HOUR / 2, "b": HOUR / 3}, HOUR / 3),
    "one is enough": ("a or b", {"a": HOUR / 2, "b": HOUR / 3}, HOUR / 2),
    "one is enough, without end": ("a or b", {"a": HOUR / 2, "b": None}, HOUR),
}


@pytest.mark.parametrize(("require", "ends", "most"), ENDS.values(), ids=ENDS.keys())
async def test_an_acceptance_ends_with_its_evidence(machine, require, ends, most):  # noqa: F811
    it = machine()
    asking(it, require, **ends)
    image = signed(it)
    async with it.start() as gate:
        pulled = await gate.pull(image, "client")
        assert pulled.decision.served
        assert most - PROVEN_WITHIN <= pulled.decision.verdict.expires - START <= most
        assert pulled.expires == pulled.decision.verdict.expires
        it.bench.clock.now = START + most
        decision = (await gate.pull(image, "client")).decision
        assert decision.served is (most == HOUR and ends != {"a": HOUR})


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    ("end", "most"),
    [(HOUR / 2, HOUR / 2), (HOUR + HOUR / 4, HOUR + HOUR / 4), (2 * HOUR, 1.5 * HOUR), (None, 1.5 * HOUR)],
)
async def test_nor_does_it_stand_in_for_longer(machine, end, most, restart):  # noqa: F811
    it = machine(accepted_max_stale=HOUR / 2)
    asking(it, "a", a=end)
    image = signed(it)
    async with it.start() as gate:
        await gate.pull(image, "client")
        it.away()
        for before, served in ((PROVEN_WITHIN, True), (timedelta(0), False)):
            it.bench.clock.now = START + most - before - timedelta(seconds=1) * served
            if restart:
                async with it.start() as another:
                    pulled = await another.pull(image, "client")
            else:
                pulled = await gate.pull(image, "client")
            assert pulled.decision.served is served
            assert pulled.expires <= START + most


async def test_a_longer_setting_is_no_proof(machine):  # noqa: F811
    """How long the evidence holds was looked into for the setting of that time only."""
    it = machine()
    asking(it, "a", a=None)
    image = signed(it)
    async with it.start() as gate:
        await gate.pull(image, "client")
    (rule,) = it.bench.rules
    it.bench.rules = Rules([replace(rule, accepted_max_stale=HOUR)])
    it.away()
    it.bench.clock.now = START + HOUR
    async with it.start() as gate:
        assert not (await gate.pull(image, "client")).decision.served


@dataclass(frozen=True)
class CountingSigner(FakeSigner):
    """A signer each of whose signatures counts for as many minutes as its payload says, and which counts its work."""

    ends: bool = True
    verified: list[float] = field(default_factory=list, compare=False)

    def verify(self, subject, signature, now):
        self.verified.append(1)
        if now - START >= timedelta(minutes=float(signature.payload)):
            return Rejection(Reason.CONDITION_NOT_MET, "too old", self.name, signature.location)
        return Evidence("fake", self.name, signature.location, "fake key", signed=signature.location)


MANY = {
    "copies of one": ("a", {"a": [90] * 100}, 90),
    "the newest first": ("a", {"a": range(100, 0, -1)}, 100),
    "the newest last": ("a", {"a": range(1, 101)}, 100),
    "one does not end": ("a", {"a": [90] * 50 + [10_000] + [90] * 49}, 24 * 60),
    "both are needed": ("a and b", {"a": [90] * 100, "b": [80] * 10 + [70] * 90}, 80),
    "one is enough": ("a or b", {"a": [90] * 100, "b": [300] + [10] * 99}, 300),
    "two are needed": ("2 of (a, b, c)", {"a": [90] * 50, "b": [80] * 50, "c": [100] * 50}, 90),
    "three of one": ("3 of (a, b, c)", {"a": [90] * 50, "b": [80] * 50, "c": [100] * 50}, 80),
    "few": ("a", {"a": [5]}, 5),
}


@pytest.mark.parametrize(("require", "minutes", "most"), MANY.values(), ids=MANY.keys())
def test_many_signatures_are_not_verified_at_each_step(require, minutes, most):
    signers = {name: CountingSigner(name, Notebook()) for name in minutes}
    rule = Rule("app", (Pattern.parse("**"),), parse(require), signers)
    signatures = [
        (name, UntrustedSignature("fake", f"{name} {number}", str(one).encode()))
        for name, ones in minutes.items()
        for number, one in enumerate(ones)
    ]
    counting = [(name, one, signers[name].verify(cosign.SUBJECT, one, START)) for name, one in signatures]
    for signer in signers.values():
        signer.verified.clear()
    accepted = Accepted(cosign.SUBJECT, "app", (), START + 24 * HOUR)
    until = proven_until(rule, accepted, counting, START, accepted.expires)
    assert timedelta(minutes=most) - PROVEN_WITHIN <= until - START <= timedelta(minutes=most)
    work = sum(len(signer.verified) for signer in signers.values())
    assert work <= ROUNDS_MAX * (len(counting) + 12 * 4 * len(signers))


async def judged_by_a_key(window):
    payload = simple_signing_payload(cosign.SUBJECT.digest)
    source = cosign.source_of(
        cosign.tagged(cosign.classic_layer(payload, cosign.encoded(cosign.KEY.sign(payload)))), referrers_api=True
    )
    wanted = replace(cosign.SIGNER.wanted, who=WantedKey(cosign.KEY.public, window))
    rule = Rule("app", (Pattern.parse("**"),), parse("release"), {"release": replace(cosign.SIGNER, wanted=wanted)})
    judge = Judge(source, lambda: START, Lifetimes(accepted=HOUR), seconds=5, at_once=1)
    return (await judge.examine(rule, cosign.SUBJECT)).verdict


@pytest.mark.parametrize(
    ("window", "most"),
    [
        (None, HOUR),
        (Window(START), HOUR),
        (Window(START, START + 2 * HOUR), HOUR),
        (Window(START, START + HOUR), HOUR),
        (Window(START, START + HOUR / 2), HOUR / 2),
        (Window(START, START), timedelta(0)),
    ],
)
async def test_a_key_that_was_in_use_for_a_time(window, most):
    verdict = await judged_by_a_key(window)
    assert isinstance(verdict, Accepted)
    assert most - PROVEN_WITHIN <= verdict.expires - START <= most
    assert verdict.proven_until == verdict.expires
