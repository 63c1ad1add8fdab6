"""Findings become a verdict: the one place where "verified" is said. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxy.oci.reference import Repository
from proxy.policy.expression import Expression, Signatures, holds, missing, names
from proxy.policy.model import InsecureAllowUnverified, Mode, Refuse, Rule
from proxy.verdict import (
    Accepted,
    Evidence,
    Finding,
    InsecureUnverified,
    Reason,
    Refused,
    Rejection,
    Subject,
    Undetermined,
    Verdict,
)

# A refusal is remembered and logged. Formats bound their candidates, but each candidate is tried for each signer.
REJECTIONS_MAX = 100
NO_RULE = "none"
# The nearer a candidate came to counting, the more useful it is to hear what it lacked, and the harder it is to hide
# the true reason behind a decoy.
_BY_USE = (
    Reason.REQUIREMENT_NOT_MET,
    Reason.CONDITION_NOT_MET,
    Reason.ANNOTATION_MISSING,
    Reason.TIME_NOT_PROVEN,
    Reason.LOG_NOT_PROVEN,
    Reason.OTHER_IMAGE,
    Reason.OVER_LIMIT,
    Reason.CORRUPT,
    Reason.UNSUPPORTED,
    Reason.MALFORMED,
    Reason.UNTRUSTED_SIGNER,
    Reason.BAD_SIGNATURE,
    Reason.UNTRUSTED_CERTIFICATE,
    Reason.NOT_A_SIGNATURE,
    Reason.NOT_SIGNED,
    Reason.REFUSED_BY_RULE,
    Reason.NO_RULE,
)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long a verdict holds.

    `accepted`: a day. What is proven by a key stays proven for the same bytes, and a change of the policy makes every
    verdict anew at once; so this only says how late the removal of a signature is noticed, and how long an outage of
    the signatures' registry goes unnoticed. `refused`: a minute, which is how long one waits after signing.
    """

    accepted: timedelta = timedelta(hours=24)
    refused: timedelta = timedelta(seconds=60)

    def until(self, verdict: Accepted | InsecureUnverified | Refused, judged: datetime) -> datetime:
        """Return until when a verdict of that time holds: as it says, or less where its kind holds less by now."""
        return min(verdict.expires, judged + (self.refused if isinstance(verdict, Refused) else self.accepted))


def evaluate(  # noqa: PLR0913, PLR0917 (everything that a verdict depends on, and nothing hidden)
    rule: Rule | None,
    subject: Subject,
    findings: Mapping[str, Sequence[Finding]],
    rejections: Sequence[Rejection],
    unreached: Sequence[str],
    now: datetime,
    lifetimes: Lifetimes,
) -> Verdict:
    """Judge the subject by what was found.

    `findings` are the results of verification by the name of the signer; `rejections` are candidates that could not be
    read; `unreached` are places that could not be asked. One piece of evidence satisfies its signer, whatever lies
    beside it. Not having found enough proves nothing while a place is unreached.
    """
    refused_until = now + lifetimes.refused
    if rule is None or isinstance(rule.require, Refuse):
        name, rejection = _refused_by_name(rule, subject.repository)
        return Refused(subject, name, (rejection,), refused_until)
    if isinstance(rule.require, InsecureAllowUnverified):
        return InsecureUnverified(subject, rule.name, now + lifetimes.accepted)
    expression = rule.require
    signers = sorted(names(expression))
    found = [finding for name in signers for finding in findings.get(name, ())]
    signatures = {name: {_told(one) for one in findings.get(name, ()) if isinstance(one, Evidence)} for name in signers}
    if holds(expression, signatures):
        evidence = tuple(one for one in found if isinstance(one, Evidence))
        return Accepted(subject, rule.name, evidence, now + lifetimes.accepted)
    if unreached:
        return Undetermined(subject, rule.name, "; ".join(dict.fromkeys(unreached)))
    failed = [*(one for one in found if isinstance(one, Rejection)), *rejections]
    return Refused(subject, rule.name, _why(expression, signatures, failed), refused_until)


def refused_by_name(rule: Rule | None, repository: Repository) -> tuple[str, Rejection] | None:
    """Return the rule's name and its reason where it refuses all of a repository; None for every other rule.

    Such a rule needs no registry to decide, so nothing of the repository is to be asked for or given out. In another
    mode than `enforce` a rule refuses nothing.
    """
    if rule is not None and (not isinstance(rule.require, Refuse) or rule.mode is not Mode.ENFORCE):
        return None
    return _refused_by_name(rule, repository)


def _refused_by_name(rule: Rule | None, repository: Repository) -> tuple[str, Rejection]:
    if rule is None:
        return NO_RULE, Rejection(Reason.NO_RULE, f"no rule matches {repository}")
    return rule.name, Rejection(Reason.REFUSED_BY_RULE, f"rule {rule.name} refuses every image that it matches")


def _told(evidence: Evidence) -> str:
    """Tell one signature from another, wherever it lies."""
    return evidence.signed or f"by {evidence.signer} at {evidence.signature}"


def _why(expression: Expression, signatures: Signatures, failed: Sequence[Rejection]) -> tuple[Rejection, ...]:
    """Return every reason, the most useful one first."""
    satisfied = sorted(name for name, counting in signatures.items() if counting)
    reasons = list(failed)
    if satisfied:
        detail = f"signed by {', '.join(satisfied)}; still needed: {missing(expression, signatures)}"
        reasons.append(Rejection(Reason.REQUIREMENT_NOT_MET, detail))
    if not reasons:
        reasons.append(Rejection(Reason.NOT_SIGNED, "no signature was found"))
    reasons.sort(key=lambda one: _BY_USE.index(one.reason))
    return tuple(reasons[:REJECTIONS_MAX])
