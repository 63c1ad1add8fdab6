"""The label values of metrics: closed sets, so that no client can make a new series.

The names of verdicts and of relaxations are those of log and audit lines too.
"""

from collections.abc import Collection, Iterable, Sequence

from proxy.oci.artifacts import ArtifactKind
from proxy.policy.model import Decision, InsecureAllowUnverified, Mode, OnOutage, Rule
from proxy.verdict import Accepted, InsecureUnverified, Reason, Refused, Undetermined, Verdict

KINDS = frozenset({"ping", "manifests", "blobs", "tags", "referrers", "unsupported"})
METHODS = frozenset({"GET", "HEAD"})
ANSWERS = frozenset({"served", "refused", "not_found", "unavailable", "failed"})
FORMS = frozenset({"hold", "plain"})
OPERATIONS = frozenset({"manifest", "resolve", "blob", "head_blob", "referrers", "tags"})
OUTCOMES = frozenset({"ok", "not_found", "denied", "corrupt", "malformed", "busy", "unavailable", "cancelled"})
REFRESHES = frozenset({"changed", "unchanged", "unavailable", "corrupt", "malformed"})
CACHES = frozenset(
    {
        "response",
        "verdict",
        "stale_verdict",
        "tag",
        "stale_tag",
        "stored_tag",
        "manifest",
        "stored_manifest",
        "grant",
        "content",
    }
)
ARTIFACTS = frozenset(kind.value for kind in ArtifactKind)
TRANSFERS = frozenset({"kept", "not_kept", "failed", "joined", "resumed", "prefetched"})
# The reasons of refusals besides those of the policy, as in `front/errors`.
REFUSALS = frozenset(Reason) | {
    "undetermined",
    "refused",
    "unknown_blob",
    "unusable",
    "name_invalid",
    "name_unknown",
    "not_found",
    "upstream_denied",
    "unavailable",
    "unsupported",
    "internal_error",
    "unreadable",
    "external_urls",
}
# The reasons for closing a connection or not accepting it yet, as in `front/accepting` and `front/bounded`.
DROPPED = frozenset({"limit", "full", "files", "handshake", "head"})
VERDICTS: dict[type[Verdict], str] = {
    Accepted: "accepted",
    Refused: "refused",
    Undetermined: "undetermined",
    InsecureUnverified: "insecure_unverified",
}


def one_of(known: Collection[str], value: str) -> str:
    """Return the value if it is known, else `other`."""
    return value if value in known else "other"


def verdict_name(verdict: Verdict) -> str:
    """Return the name that a verdict has in metrics and logs."""
    return VERDICTS[type(verdict)]


def found_name(decision: Decision) -> str:
    """Return the name of what judging found: undetermined, where an expired verdict stands in."""
    return verdict_name(decision.verdict) if decision.stale is None else VERDICTS[Undetermined]


def why_unverified(decision: Decision) -> str:
    """Return the relaxation by which an image is served that was not accepted."""
    if isinstance(decision.verdict, InsecureUnverified):
        return "insecure_allow_unverified"
    return decision.mode.value if decision.mode is not Mode.ENFORCE else "insecure_allow"


def ways_unverified(rules: Iterable[Rule]) -> Sequence[tuple[str, str]]:
    """Return each rule by which an image can be served that was not accepted, with what `why_unverified` then says."""
    ways = []
    for rule in rules:
        if isinstance(rule.require, InsecureAllowUnverified):
            ways.append((rule.name, "insecure_allow_unverified"))
        elif rule.mode is not Mode.ENFORCE:
            ways.append((rule.name, rule.mode.value))
        elif rule.on_outage is OnOutage.INSECURE_ALLOW:
            ways.append((rule.name, "insecure_allow"))
    return ways
