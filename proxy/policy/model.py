"""The policy as frozen values (the words of `design.md`: rule, requirement, signer, mode)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from proxy.formats.api import Requirement
from proxy.policy.expression import Expression
from proxy.policy.match import Pattern


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


@dataclass(frozen=True, slots=True)
class InsecureAllowUnverified:
    """`require = "insecure_allow_unverified"`: served without looking for a signature."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What images of these names need.

    `signers` holds each signer that the expression names. `fingerprint` changes with anything that could change a
    verdict: the expression, the signers' trust material and conditions. It is part of the key of remembered verdicts.
    """

    name: str
    images: tuple[Pattern, ...]
    require: Expression | Refuse | InsecureAllowUnverified
    signers: Mapping[str, Requirement] = field(default_factory=dict, hash=False)
    mode: Mode = Mode.ENFORCE
    on_outage: OnOutage = OnOutage.REFUSE
    fingerprint: str = ""
