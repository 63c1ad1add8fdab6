"""The words for every reason."""

import pytest
from support.policy import NOW, SUBJECT, evidence, rejection

from proxy.policy.explain import LENGTH_MAX, explain, explain_rejection
from proxy.policy.model import Decision, Mode, OnOutage, Stale
from proxy.verdict import Accepted, InsecureUnverified, Reason, Refused, Undetermined

DETAIL = "the detail"
WORDS = {
    Reason.NOT_SIGNED: "not signed",
    Reason.UNTRUSTED_SIGNER: "signed, but by nobody this rule trusts",
    Reason.OTHER_IMAGE: "signature is for another image",
    Reason.NOT_A_SIGNATURE: "not signed: what was found with it are no signatures",
    Reason.ANNOTATION_MISSING: "signed, but not as the rule requires: the detail",
    Reason.CONDITION_NOT_MET: "attested, but not as the rule requires: the detail",
    Reason.BAD_SIGNATURE: "signature does not verify",
    Reason.UNTRUSTED_CERTIFICATE: "signed with a certificate that is not trusted: the detail",
    Reason.LOG_NOT_PROVEN: "signed, but its log entry is not proven: the detail",
    Reason.TIME_NOT_PROVEN: "signed, but not at a proven time: the detail",
    Reason.MALFORMED: "signature cannot be read: the detail",
    Reason.CORRUPT: "signature does not have its digest: the detail",
    Reason.UNSUPPORTED: "signature is of a kind that is not supported: the detail",
    Reason.OVER_LIMIT: "signatures exceed a limit: the detail",
    Reason.REQUIREMENT_NOT_MET: "the detail",
    Reason.REFUSED_BY_RULE: "refused by the rule, whoever signed it",
    Reason.NO_RULE: "no rule allows this image",
}


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_words(reason):
    verdict = Refused(SUBJECT, "rule", (rejection(reason, DETAIL), rejection(Reason.MALFORMED, "other")), NOW)
    assert explain(verdict) == WORDS[reason]
    assert explain(Decision("id", verdict, Mode.ENFORCE, OnOutage.REFUSE)) == WORDS[reason]
    assert explain_rejection(verdict.rejections[0]) == WORDS[reason]


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Accepted(SUBJECT, "rule", (evidence("b"), evidence("a"), evidence("b")), NOW), "signed by b, a"),
        (InsecureUnverified(SUBJECT, "rule", NOW), "not verified: the rule asks for no signature"),
        (Undetermined(SUBJECT, "rule", "registry away"), "could not be verified now: registry away"),
        (Refused(SUBJECT, "rule", (), NOW), "refused"),
    ],
)
def test_other_verdicts(verdict, words):
    assert explain(verdict) == words


def test_what_else_is_known():
    verdict = Refused(SUBJECT, "rule", (rejection(Reason.NOT_SIGNED),), NOW)
    assert explain(Decision("id", verdict, Mode.ENFORCE, OnOutage.REFUSE, note="part of index")) == (
        "not signed; part of index"
    )


def test_what_was_denied_and_taken_as_absent_is_said():
    denied = (
        "denied though the image is given, so taken as absent: it refuses us the manifest team/app:sha256-0.sig (403)"
    )
    verdict = Refused(SUBJECT, "rule", (rejection(Reason.NOT_SIGNED, denied),), NOW)
    assert explain(verdict).startswith("not signed: denied though the image is given, so taken as absent: it refuses")


def test_a_refusal_that_stands():
    verdict = Refused(SUBJECT, "rule", (rejection(Reason.NOT_SIGNED, DETAIL),), NOW)
    decision = Decision("id", verdict, Mode.ENFORCE, OnOutage.INSECURE_ALLOW, Stale("the registry is away", NOW))
    assert explain(decision) == "refused before, not signed; cannot be verified again: the registry is away"


def test_an_acceptance_that_stands_in():
    verdict = Accepted(SUBJECT, "rule", (evidence("a"),), NOW)
    decision = Decision("id", verdict, Mode.ENFORCE, OnOutage.REFUSE, Stale("the registry is away", NOW))
    assert explain(decision) == "accepted before, signed by a; cannot be verified again: the registry is away"


@pytest.mark.parametrize(
    "cause", ["x" * 1000, "a\r\nX-Header: b", "\x1b[31m", "ä\u2028\U0001f600", "x" * (LENGTH_MAX - 27)]
)
def test_one_line_of_ascii(cause):
    words = explain(Undetermined(SUBJECT, "rule", cause))
    assert len(words) <= LENGTH_MAX
    assert words.isascii()
    assert words.isprintable()
    assert words.endswith("...") == (len(cause) > LENGTH_MAX - 27)
