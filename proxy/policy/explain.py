"""A verdict in words: the one reason that is most useful, for refusals, the terminal and the audit log."""

from proxy.oci.digest import shorten_digests
from proxy.policy.model import Decision
from proxy.verdict import TAKEN_AS_ABSENT, Accepted, InsecureUnverified, Reason, Rejection, Undetermined, Verdict

# With image, rule and id it has to fit into the 200 characters of a refusal's one line.
LENGTH_MAX = 120
_WORDS = {
    Reason.NOT_SIGNED: "not signed",
    Reason.UNTRUSTED_SIGNER: "signed, but by nobody this rule trusts",
    Reason.OTHER_IMAGE: "signature is for another image",
    Reason.BAD_SIGNATURE: "signature does not verify",
    Reason.NOT_A_SIGNATURE: "not signed: what was found with it are no signatures",
    Reason.NO_RULE: "no rule allows this image",
    Reason.REFUSED_BY_RULE: "refused by the rule, whoever signed it",
}
_WORDS_WITH_DETAIL = {
    Reason.ANNOTATION_MISSING: "signed, but not as the rule requires: ",
    Reason.CONDITION_NOT_MET: "attested, but not as the rule requires: ",
    Reason.UNTRUSTED_CERTIFICATE: "signed with a certificate that is not trusted: ",
    Reason.LOG_NOT_PROVEN: "signed, but its log entry is not proven: ",
    Reason.TIME_NOT_PROVEN: "signed, but not at a proven time: ",
    Reason.MALFORMED: "signature cannot be read: ",
    Reason.CORRUPT: "signature does not have its digest: ",
    Reason.UNSUPPORTED: "signature is of a kind that is not supported: ",
    Reason.OVER_LIMIT: "signatures exceed a limit: ",
    Reason.REQUIREMENT_NOT_MET: "",
}


def explain(judged: Decision | Verdict) -> str:
    """Return one line of printable ASCII, at most 120 characters, without a full stop, with short digests."""
    if not isinstance(judged, Decision):
        return _one_line(_words(judged), LENGTH_MAX)
    words = _words(judged.verdict)
    if judged.stale is not None:
        before = "accepted" if isinstance(judged.verdict, Accepted) else "refused"
        words = f"{before} before, {words}; cannot be verified again: {judged.stale.cause}"
    return _one_line(f"{words}; {judged.note}" if judged.note else words, LENGTH_MAX)


def explain_rejection(rejection: Rejection) -> str:
    """Return one reason in the same form as `explain`."""
    return _one_line(_rejection(rejection), LENGTH_MAX)


def _one_line(text: str, length: int) -> str:
    """Make any text printable ASCII, at most `length` characters; what is cut off or replaced is seen to be."""
    plain = "".join(char if " " <= char <= "~" else "?" for char in shorten_digests(text))
    return plain if len(plain) <= length else plain[: length - 3] + "..."


def _words(verdict: Verdict) -> str:
    if isinstance(verdict, Accepted):
        return f"signed by {', '.join(dict.fromkeys(one.signer for one in verdict.evidence))}"
    if isinstance(verdict, InsecureUnverified):
        return "not verified: the rule asks for no signature"
    if isinstance(verdict, Undetermined):
        return f"could not be verified now: {verdict.cause}"
    return _rejection(verdict.rejections[0]) if verdict.rejections else "refused"


def _rejection(rejection: Rejection) -> str:
    if rejection.reason is Reason.NOT_SIGNED and TAKEN_AS_ABSENT in rejection.detail:
        return f"{_WORDS[Reason.NOT_SIGNED]}: {rejection.detail}"
    if rejection.reason in _WORDS:
        return _WORDS[rejection.reason]
    return _WORDS_WITH_DETAIL[rejection.reason] + rejection.detail
