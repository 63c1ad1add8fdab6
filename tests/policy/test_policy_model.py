"""What is served, and what a fingerprint covers."""

from dataclasses import replace
from datetime import timedelta

import pytest
from support.policy import NOW, SUBJECT, NamedSigner, evidence, rejection, rule

from proxy.policy import model
from proxy.policy.expression import parse
from proxy.policy.model import Decision, Mode, OnOutage, Rule
from proxy.verdict import Accepted, InsecureUnverified, Reason, Refused, Undetermined

ACCEPTED = Accepted(SUBJECT, "rule", (evidence(),), NOW)
INSECURE = InsecureUnverified(SUBJECT, "rule", NOW)
REFUSED = Refused(SUBJECT, "rule", (rejection(Reason.OTHER_IMAGE), rejection()), NOW)
UNDETERMINED = Undetermined(SUBJECT, "rule", "away")


@pytest.mark.parametrize(
    ("verdict", "mode", "on_outage", "served"),
    [
        (ACCEPTED, "enforce", "refuse", True),
        (INSECURE, "enforce", "refuse", True),
        (REFUSED, "enforce", "refuse", False),
        (REFUSED, "enforce", "insecure_allow", False),
        (REFUSED, "warn", "refuse", True),
        (REFUSED, "audit", "refuse", True),
        (UNDETERMINED, "enforce", "refuse", False),
        (UNDETERMINED, "enforce", "insecure_allow", True),
        (UNDETERMINED, "warn", "refuse", True),
        (UNDETERMINED, "audit", "refuse", True),
    ],
)
def test_what_is_served(verdict, mode, on_outage, served):
    assert Decision("id", verdict, Mode(mode), OnOutage(on_outage)).served is served


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [(ACCEPTED, None), (UNDETERMINED, None), (REFUSED, Reason.OTHER_IMAGE), (replace(REFUSED, rejections=()), None)],
)
def test_the_reason_is_the_first(verdict, reason):
    assert Decision("id", verdict, Mode.ENFORCE, OnOutage.REFUSE).reason is reason


@pytest.mark.parametrize("signers", [{}, {"a": NamedSigner("a")}, {name: NamedSigner(name) for name in "abc"}])
def test_the_signers_are_those_of_the_expression(signers):
    with pytest.raises(ValueError, match="not those that its expression names"):
        Rule("rule", (), parse("a and b"), signers)


def test_the_fingerprint_covers_what_a_verdict_depends_on(monkeypatch):
    first = rule("a and b")
    others = [
        rule("a or b"),
        rule("a and b", name="other"),
        rule("a and b", a=NamedSigner("a", "changed")),
        rule("a and b", b=NamedSigner("b", "changed")),
        rule("refuse"),
        rule("insecure_allow_unverified"),
        replace(rule("a and b"), trust_root_max_age=timedelta(days=7)),
        replace(rule("a and b"), trust_root_max_age=timedelta(days=8)),
    ]
    monkeypatch.setattr(model, "__version__", "next")
    others.append(rule("a and b"))
    assert len({one.fingerprint for one in [first, *others]}) == len(others) + 1


def test_the_fingerprint_covers_nothing_else():
    same = rule("(a and b)", "alpine", mode=Mode.WARN, on_outage=OnOutage.INSECURE_ALLOW)
    same = replace(same, tag_max_stale=timedelta(1), accepted_max_stale=timedelta(1))
    assert same.fingerprint == rule("a and b").fingerprint
    assert len(same.fingerprint) == 64


def test_a_rule_binds_the_tag_if_a_signer_does():
    assert not rule("a and b").binds_tag
    assert rule("a and b", b=NamedSigner("b", binds_tag=True)).binds_tag
    assert not rule("refuse").binds_tag
