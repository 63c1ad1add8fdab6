"""Searches that decoys make long, and registries that answer slowly or not at all."""

import asyncio
import math
from dataclasses import replace
from functools import partial

import pytest
from support.cosign import IMAGE, KEY, REPOSITORY, SIGNER, SUBJECT, classic_layer, referrer, repository_of, tagged
from support.fakes import Clock
from support.snapshot import SnapshotSource

from proxy.demo.signing import bundle_signature, classic_signature
from proxy.gate.judge import Judge
from proxy.oci.errors import UnavailableError
from proxy.policy.evaluate import Lifetimes
from proxy.policy.expression import parse
from proxy.policy.match import Pattern
from proxy.policy.model import Rule
from proxy.verdict import Accepted, Reason, Refused, Undetermined

SECONDS = 12.0
RULE = Rule("all", (Pattern.parse("**"),), parse("release"), {"release": SIGNER})
DECOYS = [referrer(b"decoy", subject=replace(IMAGE, size=n)) for n in range(60)]


def made_time(monkeypatch, source):
    loop = asyncio.get_running_loop()
    time = loop.time
    monkeypatch.setattr(loop, "time", lambda: time() + source.late)


class Slow(SnapshotSource):
    """Answers everything, each after so many seconds; what `silent` names it never answers."""

    def __init__(self, *artifacts, seconds, monkeypatch, silent=""):
        super().__init__({REPOSITORY.path: repository_of(*artifacts)}, referrers_api=True)
        self.late = 0.0
        made_time(monkeypatch, self)
        self._each, self._silent = seconds, silent

    async def _slowly(self, what, answer):
        if self._silent and self._silent in what:
            self.late = SECONDS * 0.95
            await asyncio.Event().wait()
        self.late += self._each
        await asyncio.sleep(0)
        return await answer()

    async def manifest(self, reference):
        return await self._slowly(str(reference), partial(super().manifest, reference))

    async def blob(self, repository, descriptor, limit):
        return await self._slowly(str(descriptor.digest), partial(super().blob, repository, descriptor, limit))

    async def referrers(self, repository, digest):
        return await self._slowly("referrers", partial(super().referrers, repository, digest))


async def verdict(source):
    judge = Judge(source, Clock(), Lifetimes(), seconds=SECONDS, at_once=1)
    return (await judge.examine(RULE, SUBJECT)).verdict


@pytest.mark.parametrize(("seconds", "reason"), [(0.2, Reason.OVER_LIMIT), (0.0, Reason.MALFORMED)])
async def test_decoys_that_take_all_the_time_are_no_outage(seconds, reason, monkeypatch):
    found = await verdict(Slow(*DECOYS, seconds=seconds, monkeypatch=monkeypatch))
    assert isinstance(found, Refused)
    assert found.rejections[0].reason is reason


async def test_what_was_found_before_the_time_was_over_counts(monkeypatch):
    signature = classic_signature(KEY, IMAGE)
    source = Slow(signature, *DECOYS[:20], seconds=0.2, monkeypatch=monkeypatch)
    assert isinstance(await verdict(source), Accepted)


@pytest.mark.parametrize("silent", [".sig", "referrers"])
async def test_what_does_not_answer_is_an_outage(silent, monkeypatch):
    found = await verdict(Slow(*DECOYS[:1], seconds=0.0, monkeypatch=monkeypatch, silent=silent))
    assert isinstance(found, Undetermined)
    assert "no answer within 10.8 s" in found.cause


async def test_an_outage_is_passed_on(monkeypatch):
    source = Slow(seconds=0.0, monkeypatch=monkeypatch)
    source.failures["referrers"] = UnavailableError("the registry is down")
    assert isinstance(await verdict(source), Undetermined)


async def settled():
    for _ in range(20):
        await asyncio.sleep(0)


class Distant(SnapshotSource):
    """Answers everything that is asked at the same time after so many seconds together: a round of requests."""

    def __init__(self, *artifacts, seconds, monkeypatch):
        super().__init__({REPOSITORY.path: repository_of(*artifacts)}, referrers_api=True)
        self.late, self._seconds, self._asked = 0.0, seconds, []
        made_time(monkeypatch, self)

    async def _later(self, answer):
        turn = asyncio.get_running_loop().create_future()
        self._asked.append(turn)
        if len(self._asked) == 1:
            steps = math.ceil(self._seconds / 0.5)  # finer than what is left for the end of a search
            for _ in range(steps):
                await settled()
                self.late += self._seconds / steps
            await settled()
            asked, self._asked = self._asked, []
            for one in asked:
                if not one.done():
                    one.set_result(None)
        await turn
        return await answer()

    async def manifest(self, reference):
        return await self._later(partial(super().manifest, reference))

    async def blob(self, repository, descriptor, limit):
        return await self._later(partial(super().blob, repository, descriptor, limit))

    async def referrers(self, repository, digest):
        return await self._later(partial(super().referrers, repository, digest))


CLASSIC, BUNDLE = classic_signature(KEY, IMAGE), bundle_signature(KEY, IMAGE)
MANY = [referrer(b"decoy %d" % n) for n in range(60)]
JUNK = [classic_layer(b"junk %d" % n, "AAAA") for n in range(200)]
# Rounds of requests to the end: two for what lies under a tag, three for a referrer, of 10.8 s.
PACES = {
    "nothing there": ((), [(0.1, Refused), (5.3, Refused), (10.7, Refused), (11.0, Undetermined)]),
    "a signature under the tag": (
        (CLASSIC,),
        [(0.1, Accepted), (5.3, Accepted), (6.5, Undetermined), (11, Undetermined)],
    ),
    "a referrer": ((BUNDLE,), [(0.1, Accepted), (3.5, Accepted), (6.5, Undetermined), (11.0, Undetermined)]),
    "one decoy": (MANY[:1], [(0.1, Refused), (3.5, Refused), (3.7, Undetermined), (6.5, Undetermined)]),
    "many decoys": (MANY, [(0.1, Refused), (0.5, Refused), (2.0, Refused), (3.5, Refused), (3.7, Undetermined)]),
    "many decoys under the tag": (
        (tagged(*JUNK),),
        [(0.1, Refused), (2.0, Refused), (5.3, Refused), (6.5, Undetermined)],
    ),
    "many decoys, and then a signature": (
        (*MANY, BUNDLE),
        [(0.1, Accepted), (0.5, Accepted), (3.5, Accepted), (6.5, Undetermined)],
    ),
    "as many decoys as are looked at": (
        (tagged(*[JUNK[0]] * 1000),),
        [(0.1, Refused), (5.3, Refused), (6.5, Undetermined)],
    ),
    "more decoys than are looked at": ((tagged(*[JUNK[0]] * 1001),), [(0.1, Refused), (5.3, Refused), (6.5, Refused)]),
}


@pytest.mark.parametrize(
    ("artifacts", "pace", "kind"),
    [(artifacts, pace, kind) for artifacts, paces in PACES.values() for pace, kind in paces],
    ids=[f"{name} at {pace} s" for name, (_, paces) in PACES.items() for pace, _ in paces],
)
async def test_slow_is_undetermined_and_many_are_refused(artifacts, pace, kind, monkeypatch):
    """Seen: at 6.5 s an answer a signed image was refused, and its last acceptance erased.

    However many decoys there are, they make nothing undetermined that one of them would not.
    """
    found = await verdict(Distant(*artifacts, seconds=pace, monkeypatch=monkeypatch))
    assert type(found) is kind
    if kind is Undetermined:
        assert "no answer within 10.8 s" in found.cause
