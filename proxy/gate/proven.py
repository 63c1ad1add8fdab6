"""How long what proves an acceptance goes on to be enough, without asking anybody again."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from proxy.formats.api import UntrustedSignature
from proxy.policy.evaluate import Lifetimes, evaluate
from proxy.policy.model import Rule
from proxy.verdict import Accepted, Evidence, Finding

# A signature, whose it is and what it proves now.
Counting = tuple[str, UntrustedSignature, Evidence]
# How exactly the end is found. Of a day these are eleven times that a signature is verified again.
PROVEN_WITHIN = timedelta(minutes=1)
# How often all signatures are verified again, for one of them may be enough for longer than those that were looked at.
# Whoever may push can copy them: each round is as much work as judging.
ROUNDS_MAX = 4


def proven_until(
    rule: Rule, accepted: Accepted, counting: Sequence[Counting], now: datetime, furthest: datetime
) -> datetime:
    """Return how long the same signatures go on to be enough, at most until `furthest`, to PROVEN_WITHIN too early.

    What is proven by time ends: the time in which a key is in use, the age that an attestation may have. Verifying is
    pure, so that it can be asked about times to come; what has ended is taken not to begin again. Where each of very
    many signatures ends later than another, it may be earlier than need be.
    """

    def holds_at(one: Counting, at: datetime) -> bool:
        signer = rule.signers[one[0]]
        return not signer.ends or isinstance(signer.verify(accepted.subject, one[1], at), Evidence)

    def are_enough_at(ones: Sequence[Counting], at: datetime) -> bool:
        return are_enough([one for one in ones if holds_at(one, at)])

    def are_enough(ones: Sequence[Counting]) -> bool:
        findings: dict[str, list[Finding]] = {}
        for signer, _, evidence in ones:
            findings.setdefault(signer, []).append(evidence)
        return isinstance(evaluate(rule, accepted.subject, findings, (), (), now, Lifetimes()), Accepted)

    pool, proven = list(counting), now
    for _ in range(ROUNDS_MAX):
        few = _few(pool, are_enough)
        proven = _last(partial(are_enough_at, few), proven, furthest)
        if proven == furthest:
            break
        later = min(proven + PROVEN_WITHIN, furthest)
        # From the other side, for they may lie there by age.
        pool = [one for one in reversed(pool) if holds_at(one, later)]
        if not are_enough(pool):
            break
        proven = later
    return proven


def _few(pool: Sequence[Counting], are_enough: Callable[[Sequence[Counting]], bool]) -> list[Counting]:
    """Return as many of each signer's as are enough together, or little more."""
    by_signer: dict[str, list[Counting]] = {}
    for one in pool:
        by_signer.setdefault(one[0], []).append(one)
    number = 1
    while True:
        few = [one for ones in by_signer.values() for one in ones[-number:]]
        if len(few) == len(pool) or are_enough(few):
            return few
        number *= 2


def _last(holds: Callable[[datetime], bool], good: datetime, furthest: datetime) -> datetime:
    """Return the last time that holds, to PROVEN_WITHIN too early; `good` does."""
    if holds(furthest):
        return furthest
    bad = furthest
    while bad - good > PROVEN_WITHIN:
        middle = good + (bad - good) / 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good
