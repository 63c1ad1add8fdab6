"""Judging one subject: discover for every signer of the rule, verify each candidate, evaluate."""

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from proxy.formats.api import Discovered, Discovery, Requirement, Source, UntrustedSignature
from proxy.gate.judging_slots import JudgingSlots
from proxy.gate.merge import merged
from proxy.gate.once import Once
from proxy.gate.proven import proven_until
from proxy.gate.timed import TimedSource
from proxy.gate.trust_ages import TrustAges
from proxy.policy.evaluate import NO_RULE, Lifetimes, evaluate
from proxy.policy.model import Rule
from proxy.verdict import Accepted, Evidence, Finding, Rejection, Subject, Undetermined, Verdict

_T = TypeVar("_T")

# Longer than clients wait for an answer (`front.server`): by then they were asked to retry.
SLOT_SECONDS = 30.0
# Candidates that are verified before the next image has its turn, of 0.1 to 1.4 ms each (P-256 to P-384).
VERIFIED_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Candidate:
    """One signature that was looked at for one signer, and what came of it."""

    signer: str
    signature: UntrustedSignature
    finding: Finding


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything that was seen on the way to a verdict: what a dry run shows.

    `withheld` is why a pull is refused whatever the verdict, None where nothing but the verdict counts.
    """

    verdict: Verdict
    candidates: tuple[Candidate, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    unreached: tuple[str, ...] = ()
    withheld: str | None = None


class Judge:
    """Turns a subject and its rule into a verdict.

    `seconds` bounds one whole discovery; `TimedSource` says what becomes of what is not found by then. `at_once` bounds
    how many images of one registry are judged at the same time (`JudgingSlots`). `canonical`
    is searched besides `source`, at the same time and for as long, and what is found in either counts. `trust` knows
    whose trust root is too old for a rule: what such a signer proves does not count, but may be found out later.
    """

    def __init__(  # noqa: PLR0913 (one composition root calls this, with names)
        self,
        source: Source,
        clock: Callable[[], datetime],
        lifetimes: Lifetimes,
        *,
        seconds: float,
        at_once: int,
        canonical: Source | None = None,
        trust: TrustAges | None = None,
    ) -> None:
        self._source = source
        self._canonical = canonical
        self._clock = clock
        self._trust = trust or TrustAges({}, {})
        self._lifetimes = lifetimes
        self._seconds = seconds
        self._slots = JudgingSlots(at_once)
        # One thread: under the one interpreter lock more verify no faster, but each may keep the event loop from the
        # lock for a switch interval (5 ms) at a time. bench/NOTES.md, loop lag.
        self._verifier = ThreadPoolExecutor(max_workers=1, thread_name_prefix="verify")

    @property
    def lifetimes(self) -> Lifetimes:
        """How long its verdicts hold."""
        return self._lifetimes

    async def examine(self, rule: Rule | None, subject: Subject) -> Examination:
        """Judge and show all that was seen. Raises nothing of `oci.errors`: an outage is an `Undetermined`.

        So is an image that waits for others longer than any client waits for it: what is under way stays bounded.
        """
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(SLOT_SECONDS):
                    await stack.enter_async_context(self._slots.hold(subject.repository))
            except TimeoutError:
                cause = f"too many images of {subject.repository.registry} are being judged; ask again"
                return Examination(Undetermined(subject, rule.name if rule else NO_RULE, cause, overloaded=True))
            return await self._examine(rule, subject)

    async def _examine(self, rule: Rule | None, subject: Subject) -> Examination:
        requirements = rule.signers if rule else {}
        found = await self._discover({need.discovery for need in requirements.values()}, subject)
        now = self._clock()
        too_old = self.too_old(rule)
        trusted = {name: need for name, need in requirements.items() if name not in too_old}
        candidates = await self._verify_all(trusted, found, subject, now)
        findings: dict[str, list[Finding]] = {name: [] for name in requirements}
        for candidate in candidates:
            findings[candidate.signer].append(candidate.finding)
        rejections = tuple(rejection for one in found.values() for rejection in one.rejections)
        unreached = (*too_old.values(), *(place for one in found.values() for place in one.unreached))
        verdict = evaluate(rule, subject, findings, rejections, unreached, now, self._lifetimes)
        if isinstance(verdict, Undetermined) and any(one.overloaded for one in found.values()):
            verdict = replace(verdict, overloaded=True)
        if rule is not None and isinstance(verdict, Accepted):
            accepted, furthest = verdict, verdict.expires + rule.accepted_max_stale
            counting = [(it.signer, it.signature, it.finding) for it in candidates if isinstance(it.finding, Evidence)]
            until = await self._off_the_loop(lambda: proven_until(rule, accepted, counting, now, furthest))
            verdict = replace(accepted, expires=min(accepted.expires, until), proven_until=until)
        return Examination(verdict, candidates, rejections, unreached)

    def too_old(self, rule: Rule | None) -> Mapping[str, str]:
        """Return the signers of the rule whose trust root is too old for it, each with that in words."""
        return self._trust.too_old(rule, self._clock()) if rule is not None else {}

    async def _off_the_loop(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._verifier, work)

    async def _verify_all(
        self,
        requirements: Mapping[str, Requirement],
        found: Mapping[Discovery, Discovered],
        subject: Subject,
        now: datetime,
    ) -> tuple[Candidate, ...]:
        wanted = {need.discovery for need in requirements.values()}
        distinct = await self._off_the_loop(lambda: {place: _distinct(found[place].signatures) for place in wanted})
        todo = [(need, one) for need in requirements.values() for one in distinct[need.discovery]]

        def verify(some: Sequence[tuple[Requirement, UntrustedSignature]]) -> list[Candidate]:
            return [Candidate(need.name, one, need.verify(subject, one, now)) for need, one in some]

        candidates: list[Candidate] = []
        for first in range(0, len(todo), VERIFIED_AT_ONCE):  # between two, the thread is for other images
            candidates += await self._off_the_loop(partial(verify, todo[first : first + VERIFIED_AT_ONCE]))
        return tuple(candidates)

    async def _discover(self, discoveries: set[Discovery], subject: Subject) -> Mapping[Discovery, Discovered]:
        ordered = list(discoveries)
        if self._canonical is None:
            results = await self._discover_in(self._source, ordered, subject)
        else:
            both = await asyncio.gather(
                self._discover_in(self._source, ordered, subject), self._discover_in(self._canonical, ordered, subject)
            )
            results = await self._off_the_loop(lambda: list(map(merged, *both)))
        return dict(zip(ordered, results, strict=True))

    async def _discover_in(
        self, source: Source, discoveries: Sequence[Discovery], subject: Subject
    ) -> Sequence[Discovered]:
        within = Once(TimedSource(source, self._seconds))
        return await asyncio.gather(*(self._discover_one(one, subject, within) for one in discoveries))

    async def _discover_one(self, discovery: Discovery, subject: Subject, source: Source) -> Discovered:
        try:
            async with asyncio.timeout(self._seconds):
                return await discovery(subject, source)
        except TimeoutError:
            return Discovered(unreached=(f"looking for signatures took longer than {self._seconds:g} s",))


def _distinct(signatures: Sequence[UntrustedSignature]) -> Sequence[UntrustedSignature]:
    """Return the first of each content, as one can be pushed a thousand times. Hashes every payload."""
    unique: dict[Hashable, UntrustedSignature] = {}
    for one in signatures:
        unique.setdefault((one.kind, one.payload, tuple(sorted(one.annotations.items()))), one)
    return list(unique.values())
