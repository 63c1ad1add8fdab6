"""The policy as frozen values (rule, requirement, signer, mode), and what a rule makes of a verdict."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from proxy import __version__
from proxy.formats.api import Requirement
from proxy.policy.expression import Expression, names
from proxy.policy.match import Pattern
from proxy.verdict import Accepted, InsecureUnverified, Reason, Refused, Undetermined, Verdict


class Mode(StrEnum):
    """What a refusal by a rule does."""

    ENFORCE = "enforce"  # the image is not served
    WARN = "warn"  # served with a Warning header, counted, logged
    AUDIT = "audit"  # served without a word to the client, counted, logged


class OnOutage(StrEnum):
    """What becomes of an image that could not be judged."""

    REFUSE = "refuse"
    INSECURE_ALLOW = "insecure_allow"


@dataclass(frozen=True, slots=True)
class Refuse:
    """`require = "refuse"`: no signature helps."""

    def __str__(self) -> str:
        return "refuse"


@dataclass(frozen=True, slots=True)
class InsecureAllowUnverified:
    """`require = "insecure_allow_unverified"`: served without looking for a signature."""

    def __str__(self) -> str:
        return "insecure_allow_unverified"


@dataclass(frozen=True, slots=True)
class Rule:
    """What images of these names need.

    `signers` holds exactly the signers that the expression names; ValueError where it does not. `fingerprint` is made
    here and changes with anything that could change a verdict: the rule's name, the expression, the signers' trust
    material and conditions, and the version of the code that judges. It is part of the key of remembered verdicts.
    `tag_max_stale` is for how long after its lifetime a tag may mean what it meant last, `accepted_max_stale` for how
    long after its own an acceptance may stand in while the image cannot be judged. `trust_root_max_age` is how long ago
    a signer's trust root was confirmed at most, None for no limit.
    """

    name: str
    images: tuple[Pattern, ...]
    require: Expression | Refuse | InsecureAllowUnverified
    signers: Mapping[str, Requirement] = field(default_factory=dict, hash=False)
    mode: Mode = Mode.ENFORCE
    on_outage: OnOutage = OnOutage.REFUSE
    tag_max_stale: timedelta = timedelta(0)
    accepted_max_stale: timedelta = timedelta(0)
    trust_root_max_age: timedelta | None = None
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        """Check that the signers are those of the expression, and sum up what a verdict by this rule depends on."""
        if self.signers.keys() != named_signers(self.require):
            raise ValueError(f"rule {self.name!r}: the signers are not those that its expression names")
        object.__setattr__(self, "fingerprint", _fingerprint(self))

    @property
    def binds_tag(self) -> bool:
        """Say whether the verdict depends on the tag."""
        return any(signer.binds_tag for signer in self.signers.values())


@dataclass(frozen=True, slots=True)
class Stale:
    """The cause for which an expired verdict stands in for a current one, and the end of that."""

    cause: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, and what the rule makes of it. `id` is what people quote: in the message, the log, the audit line.

    With `stale` the verdict is the last one there was, which has expired: an acceptance as long as the rule allows, or
    a refusal, which an outage does not lift. `note` is what else is known of an image that is refused.
    """

    id: str
    verdict: Verdict
    mode: Mode
    on_outage: OnOutage
    stale: Stale | None = None
    note: str = ""

    @property
    def served(self) -> bool:
        """Say whether the image may be served."""
        if isinstance(self.verdict, Accepted | InsecureUnverified):
            return True
        if isinstance(self.verdict, Undetermined) and not self.verdict.overloaded:
            return self.on_outage is OnOutage.INSECURE_ALLOW or self._tolerated
        return self._tolerated

    @property
    def _tolerated(self) -> bool:
        return self.mode in {Mode.WARN, Mode.AUDIT}

    @property
    def reason(self) -> Reason | None:
        """The most useful reason of a refusal; None for every other verdict."""
        if isinstance(self.verdict, Refused) and self.verdict.rejections:
            return self.verdict.rejections[0].reason
        return None


def named_signers(require: Expression | Refuse | InsecureAllowUnverified) -> frozenset[str]:
    """Return the signers that a requirement names: none for the two that look for no signature."""
    return frozenset() if isinstance(require, Refuse | InsecureAllowUnverified) else names(require)


def _fingerprint(rule: Rule) -> str:
    # JSON, so that no two different rules are written alike.
    signers = [[name, rule.signers[name].fingerprint] for name in sorted(rule.signers)]
    text = json.dumps([__version__, rule.name, str(rule.require), signers, str(rule.trust_root_max_age)])
    return hashlib.sha256(text.encode()).hexdigest()
