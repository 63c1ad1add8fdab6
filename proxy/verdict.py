"""What is decided about an image, and why: values, never exceptions.

`Reason` is public: it is the label of a metric, a field of the audit log and of `--json`. Keep its members few and
stable.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from proxy.oci.digest import Digest
from proxy.oci.reference import Repository


class Reason(StrEnum):
    """Why a candidate did not count, or why an image is refused."""

    NOT_SIGNED = "not_signed"
    UNTRUSTED_SIGNER = "untrusted_signer"
    OTHER_IMAGE = "other_image"
    NOT_A_SIGNATURE = "not_a_signature"
    ANNOTATION_MISSING = "annotation_missing"
    CONDITION_NOT_MET = "condition_not_met"
    BAD_SIGNATURE = "bad_signature"
    UNTRUSTED_CERTIFICATE = "untrusted_certificate"
    LOG_NOT_PROVEN = "log_not_proven"
    TIME_NOT_PROVEN = "time_not_proven"
    MALFORMED = "malformed"
    CORRUPT = "corrupt"
    UNSUPPORTED = "unsupported"
    OVER_LIMIT = "over_limit"
    REQUIREMENT_NOT_MET = "requirement_not_met"
    REFUSED_BY_RULE = "refused_by_rule"
    NO_RULE = "no_rule"


# In the detail of a NOT_SIGNED: something was asked for and not given, which was taken for its absence.
TAKEN_AS_ABSENT = "taken as absent"


@dataclass(frozen=True, slots=True)
class Subject:
    """The image that is judged: exactly these bytes, in this repository, asked for by this tag or by digest."""

    repository: Repository
    digest: Digest
    tag: str | None = None

    def __str__(self) -> str:
        """Write the long form of the reference."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}@{self.digest}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one check failed. The detail is one line for people."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one signature proved.

    `subject` and `issuer` are who signed, where a certificate says it, and `issuer` is who vouches for that.
    `signed_at` is set only where a trusted party proves it, which `time_source` names; `log_index` is the number of
    the proven entry of a transparency log. `claims` are what was signed and what the rule asked for; `proven` is all
    that was proven, asked for or not, for whoever looks closer. `signed` tells this signature from others, wherever it
    lies: the hex SHA-256 of it.
    """

    format: str
    signer: str
    signature: str
    trust: str
    signed_at: datetime | None = None
    claims: tuple[tuple[str, str], ...] = ()
    subject: str | None = None
    issuer: str | None = None
    time_source: str | None = None
    log_index: int | None = None
    signed: str = ""
    proven: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one candidate, or one signer, did not count.

    `signature` says where the candidate was found; `proven` is what of it had been proven before a check failed, by
    name (`subject`, `issuer`, `log_index`, `signed_at`, ...).
    """

    reason: Reason
    detail: str
    signer: str | None = None
    signature: str | None = None
    proven: tuple[tuple[str, str], ...] = ()


Finding = Evidence | Rejection


@dataclass(frozen=True, slots=True)
class Accepted:
    """The rule is met by this evidence; to be judged again after `expires`.

    `proven_until` is when the evidence is known to meet it still, though nobody looks again: a key may be in use for a
    time only, what is attested may grow too old. None: not looked into.
    """

    subject: Subject
    rule: str
    evidence: tuple[Evidence, ...]
    expires: datetime
    proven_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class InsecureUnverified:
    """The rule lets the image through without looking for signatures: nothing is proven."""

    subject: Subject
    rule: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """The rule is not met: every reason that was found, the most useful one first."""

    subject: Subject
    rule: str
    rejections: tuple[Rejection, ...]
    expires: datetime


@dataclass(frozen=True, slots=True)
class Undetermined:
    """It could not be found out: never remembered, never accepted.

    `overloaded` says that a limit of our own is among the causes: clients can exhaust it, so that it is no outage for
    which `on_outage` serves an image.
    """

    subject: Subject
    rule: str
    cause: str
    overloaded: bool = False


Verdict = Accepted | InsecureUnverified | Refused | Undetermined
