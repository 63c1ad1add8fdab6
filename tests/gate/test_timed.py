"""Searches that decoys make long, and registries that do not answer."""

import asyncio
from dataclasses import replace
from functools import partial

import pytest
from support.cosign import IMAGE, KEY, REPOSITORY, SIGNER, SUBJECT, referrer, repository_of
from support.fakes import Clock
from support.snapshot import SnapshotSource

from proxy.demo.signing import classic_signature
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


class Slow(SnapshotSource):
    """Answers everything, each after so many seconds; what `silent` names it never answers."""

    def __init__(self, *artifacts, seconds, monkeypatch, silent=""):
        super().__init__({REPOSITORY.path: repository_of(*artifacts)}, referrers_api=True)
        loop = asyncio.get_running_loop()
        time, self.late = loop.time, 0.0
        monkeypatch.setattr(loop, "time", lambda: time() + self.late)
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
