"""Findings to verdicts: every branch as a table, and that more evidence never hurts."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.policy import NOW, SUBJECT, evidence, rejection, rule

from proxy.policy.evaluate import REJECTIONS_MAX, Lifetimes, evaluate, refused_by_name
from proxy.policy.model import Mode
from proxy.verdict import Accepted, InsecureUnverified, Reason, Refused, Undetermined

LIFETIMES = Lifetimes(timedelta(hours=2), timedelta(seconds=30))


def judge(require, findings=None, rejections=(), unreached=()):
    return evaluate(rule(require) if require else None, SUBJECT, findings or {}, rejections, unreached, NOW, LIFETIMES)


def test_evidence_accepts():
    proof = evidence()
    assert judge("release", {"release": [proof]}) == Accepted(SUBJECT, "rule", (proof,), NOW + timedelta(hours=2))


def test_a_decoy_hides_nothing():
    """A28: any one candidate is enough, whatever lies beside it and whatever could not be reached."""
    findings = {"release": [rejection(Reason.MALFORMED), evidence(), rejection(Reason.OTHER_IMAGE)]}
    verdict = judge("release", findings, [rejection(Reason.CORRUPT)], ["registry away"])
    assert isinstance(verdict, Accepted)


def test_all_evidence_is_kept():
    findings = {"b": [evidence("b")], "a": [evidence("a", "one"), evidence("a", "two")]}
    verdict = judge("a or b", findings)
    assert [(one.signer, one.signature) for one in verdict.evidence] == [("a", "one"), ("a", "two"), ("b", "here")]


def test_only_signers_of_the_rule_count():
    assert judge("release", {"other": [evidence("other")]}) == judge("release")


@pytest.mark.parametrize("require", ["refuse", None])
def test_evidence_does_not_help_where_no_signature_does(require):
    verdict = judge(require, {"release": [evidence()]})
    assert isinstance(verdict, Refused)
    assert verdict.rejections[0].reason is (Reason.REFUSED_BY_RULE if require else Reason.NO_RULE)
    assert verdict.rule == ("rule" if require else "none")
    assert verdict.expires == NOW + timedelta(seconds=30)


@pytest.mark.parametrize(
    ("of", "refused"),
    [
        (None, ("none", Reason.NO_RULE)),
        (rule("refuse"), ("rule", Reason.REFUSED_BY_RULE)),
        (rule("refuse", mode=Mode.WARN), None),
        (rule("refuse", mode=Mode.AUDIT), None),
        (rule("release"), None),
        (rule("insecure_allow_unverified"), None),
    ],
)
def test_which_rules_refuse_a_whole_repository(of, refused):
    said = refused_by_name(of, SUBJECT.repository)
    assert (said and (said[0], said[1].reason)) == refused


def test_unverified_is_not_accepted():
    """A39: what was let through unseen has a verdict of its own."""
    verdict = judge("insecure_allow_unverified", {"release": [evidence()]})
    assert verdict == InsecureUnverified(SUBJECT, "rule", NOW + timedelta(hours=2))


@pytest.mark.parametrize("findings", [{}, {"release": [rejection()]}])
def test_not_having_found_proves_nothing_while_a_place_is_unreached(findings):
    verdict = judge("release", findings, [rejection()], ["away", "away", "slow"])
    assert verdict == Undetermined(SUBJECT, "rule", "away; slow")


@pytest.mark.parametrize(
    ("reasons", "best"),
    [
        ([], Reason.NOT_SIGNED),
        ([Reason.UNTRUSTED_SIGNER, Reason.UNTRUSTED_SIGNER], Reason.UNTRUSTED_SIGNER),
        ([Reason.NOT_A_SIGNATURE, Reason.UNTRUSTED_SIGNER], Reason.UNTRUSTED_SIGNER),
        ([Reason.NOT_A_SIGNATURE], Reason.NOT_A_SIGNATURE),
        ([Reason.UNTRUSTED_SIGNER, Reason.MALFORMED], Reason.MALFORMED),
        ([Reason.MALFORMED, Reason.OTHER_IMAGE, Reason.UNTRUSTED_SIGNER], Reason.OTHER_IMAGE),
        ([Reason.OTHER_IMAGE, Reason.ANNOTATION_MISSING], Reason.ANNOTATION_MISSING),
        ([Reason.CORRUPT, Reason.OVER_LIMIT, Reason.UNSUPPORTED], Reason.OVER_LIMIT),
    ],
)
def test_the_most_useful_reason_is_first(reasons, best):
    found = [rejection(reason) for reason in reasons]
    for verdict in (judge("release", {"release": found}), judge("release", {}, found)):
        assert verdict.rejections[0].reason is best
        assert len(verdict.rejections) == max(1, len(reasons))


def test_what_is_missing_is_said():
    verdict = judge("release and 2 of (a, b, c)", {"release": [evidence()], "b": [evidence("b")], "a": [rejection()]})
    assert [one.reason for one in verdict.rejections] == [Reason.REQUIREMENT_NOT_MET, Reason.UNTRUSTED_SIGNER]
    assert verdict.rejections[0].detail == "signed by b, release; still needed: 1 of (a, c)"


def test_reasons_are_bounded():
    verdict = judge("release", {"release": [rejection()] * 1000 + [rejection(Reason.OTHER_IMAGE)]})
    assert len(verdict.rejections) == REJECTIONS_MAX
    assert verdict.rejections[0].reason is Reason.OTHER_IMAGE


SIGNERS = ["a", "b", "c", "d"]
REQUIREMENTS = st.sampled_from(
    ["a", "a and b", "a or b", "2 of (a, b, c)", "d and (a or 2 of (b, c))", "1 of (a and b, c)"]
)
FINDING = st.one_of(st.sampled_from(list(Reason)).map(rejection), st.just(evidence()))
FINDINGS = st.dictionaries(st.sampled_from(SIGNERS), st.lists(FINDING, max_size=3))
PLACES = st.lists(st.sampled_from(["here", "there"]), max_size=2)


@given(REQUIREMENTS, FINDINGS, FINDINGS, PLACES, PLACES)
def test_more_findings_never_turn_accepted_into_refused(require, findings, more, unreached, further):
    before = judge(require, findings, (), unreached)
    both = {name: [*findings.get(name, []), *more.get(name, [])] for name in SIGNERS}
    after = judge(require, both, [rejection()], [*unreached, *further])
    if isinstance(before, Accepted):
        assert isinstance(after, Accepted)
    if isinstance(after, Refused):
        assert isinstance(before, Refused)


@given(
    REQUIREMENTS,
    st.dictionaries(st.sampled_from(SIGNERS), st.lists(st.sampled_from(list(Reason)).map(rejection))),
    PLACES,
)
def test_without_evidence_nothing_is_accepted(require, findings, unreached):
    assert isinstance(judge(require, findings, (), unreached), Undetermined if unreached else Refused)
