"""Signers, rules and findings for tests that are not about a format."""

from dataclasses import dataclass
from datetime import UTC, datetime

from proxy.oci.digest import Digest
from proxy.oci.reference import Repository
from proxy.policy.expression import parse
from proxy.policy.match import Pattern
from proxy.policy.model import InsecureAllowUnverified, Mode, OnOutage, Refuse, Rule, named_signers
from proxy.verdict import Evidence, Reason, Rejection, Subject

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SUBJECT = Subject(Repository.parse("alpine"), Digest.parse("sha256:" + "a" * 64), "3.20")


@dataclass(frozen=True)
class NamedSigner:
    """What a rule reads of a requirement; it never looks and never verifies."""

    name: str
    fingerprint: str = "material"
    binds_tag: bool = False
    ends: bool = False


def rule(require="release", *images, name="rule", mode=Mode.ENFORCE, on_outage=OnOutage.REFUSE, **signers):
    """Make a rule; signers that the expression names are made too where they are not given."""
    words = {"refuse": Refuse(), "insecure_allow_unverified": InsecureAllowUnverified()}
    requirement = words.get(require) or parse(require)
    named = {signer: signers.get(signer, NamedSigner(signer)) for signer in named_signers(requirement)}
    return Rule(name, tuple(map(Pattern.parse, images or ("**",))), requirement, named, mode, on_outage)


def evidence(signer="release", signature="here"):
    return Evidence("cosign", signer, signature, "key")


def rejection(reason=Reason.UNTRUSTED_SIGNER, detail="detail", signer=None):
    return Rejection(reason, detail, signer, "here")
