"""The one place where what went wrong becomes an OCI error (distribution-spec, Error Codes)."""

import json
from dataclasses import dataclass, replace
from enum import StrEnum

from proxy.oci.digest import shorten_digests
from proxy.oci.errors import (
    CorruptError,
    MalformedError,
    NotFoundError,
    RegistryError,
    UnavailableError,
    UnknownUpstreamError,
    UpstreamDeniedError,
)
from proxy.policy.explain import explain, explain_rejection
from proxy.policy.model import Decision
from proxy.verdict import Rejection, Undetermined

# In every answer. Docker told a registry by the first (docker/distribution, API specification); the second names the
# product and keeps its parts and their versions to itself.
COMMON_HEADERS = {"Docker-Distribution-Api-Version": "registry/2.0", "Server": "sealgate"}
# Measured: Docker shows one line; containerd 1.6 only the status line, where longer ones are cut.
MESSAGE_MAX = 200
# What stands in a status line, a Location and a JSON text alike without being escaped, cut or parsed as something else.
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;/@_-+=()[]'*<>!&|~")
_IMAGE_MAX = 90
# Seconds after which an outage may be over, where the upstream did not say when.
RETRY_AFTER = 5
# ... and the most that is passed on of what it said: clients sleep as long, and an outage may be over before.
RETRY_AFTER_MAX = 60


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no, in the terms of the specification.

    `status` and `code` are what a client is told that has nowhere else to go; `message` is one safe ASCII line of at
    most MESSAGE_MAX characters. `label` is what metrics count it under. `id` is what people quote: it stands in the
    message, the log and the audit line. `rule` is set where a rule refused without an image having been judged.
    """

    status: int
    code: str
    message: str
    label: str
    retry_after: int | None = None
    id: str | None = None
    rule: str | None = None


class Outcome(StrEnum):
    """The outcome of a request, whatever the form of its answer."""

    SERVED = "served"
    REFUSED = "refused"
    NOT_FOUND = "not_found"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"

    @classmethod
    def of(cls, status: int) -> "Outcome":
        """Return the outcome that a status stands for: of an answer, or of a refusal before it was put in a form."""
        match status:
            case 404:
                return cls.NOT_FOUND
            case 503:
                return cls.UNAVAILABLE
            case _ if status >= 500:  # noqa: PLR2004 (RFC 9110, 15.6)
                return cls.FAILED
            case _ if status >= 400:  # noqa: PLR2004 (RFC 9110, 15.5)
                return cls.REFUSED
            case _:
                return cls.SERVED


def one_line(text: str, limit: int = MESSAGE_MAX) -> str:
    """Return the text as one line of safe ASCII, cut to `limit` characters."""
    line = " ".join("".join(char if char in _SAFE else " " if char.isspace() else "'" for char in text).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def short_image(image: str) -> str:
    """Return an image's name with 12 digits of its digest, and its end kept where it is long: it tells images apart."""
    image = shorten_digests(image)
    return image if len(image) <= _IMAGE_MAX else "..." + image[3 - _IMAGE_MAX :]


def from_error(error: RegistryError, image: str, missing: str = "MANIFEST_UNKNOWN") -> Refusal:
    """Say an error about an image in OCI terms; `missing` is the code for what the upstream does not have."""
    match error:
        case UnknownUpstreamError():
            status, code, label, words = 404, "NAME_UNKNOWN", "name_unknown", str(error)
        case NotFoundError():
            status, code, label, words = 404, missing, "not_found", f"not found: {error}"
        case UpstreamDeniedError():
            status, code, label = 403, "DENIED", "upstream_denied"
            words = f"the upstream registry refuses access: {error}"
        case MalformedError():
            status, code, label = 403, "DENIED", "malformed"
            words = f"not an image that can be verified: {error}"
        case CorruptError():
            status, code, label = 403, "DENIED", "corrupt"
            words = f"the upstream registry sent other bytes than it promised: {error}"
        case _:
            status, code, label = 503, "UNAVAILABLE", "unavailable"
            words = f"could not be verified now: {error}"
    retry_after = None
    if isinstance(error, UnavailableError):
        # In this order, what is not a number is the limit.
        retry_after = max(1, round(min(RETRY_AFTER_MAX, error.retry_after or RETRY_AFTER)))
    message = one_line(f"sealgate: {short_image(image)}: {shorten_digests(words)}")
    return Refusal(status, code, message, label, retry_after)


def from_manifest_error(error: RegistryError, image: str) -> Refusal:
    """Return the refusal for an error about a manifest; an outage counts as undetermined, as one while judging does."""
    refusal = from_error(error, image)
    return replace(refusal, label="undetermined") if isinstance(error, UnavailableError) else refusal


def with_id(refusal: Refusal, identifier: str) -> Refusal:
    """Return the refusal with an id, which is at the end of its message however long that was."""
    suffix = f" (id {identifier})"
    message = one_line(refusal.message, MESSAGE_MAX - len(suffix)) + suffix
    return replace(refusal, message=message, id=identifier)


def from_decision(decision: Decision, image: str) -> Refusal:
    """Say a decision that does not serve the image: which image, which rule, the most useful reason, the id."""
    words = explain(decision.verdict)
    if isinstance(decision.verdict, Undetermined):
        text = f"sealgate: {short_image(image)}: {words}"
        refusal = Refusal(503, "UNAVAILABLE", text, "undetermined", RETRY_AFTER)
    else:
        text = f"sealgate: {short_image(image)} refused by rule {decision.verdict.rule}: {words}"
        refusal = Refusal(403, "DENIED", text, decision.reason or "refused")
    return with_id(refusal, decision.id)


def from_rule(rule: str, rejection: Rejection, image: str) -> Refusal:
    """Return the refusal by a rule that refuses the whole repository, worded like a decision about an image."""
    text = f"sealgate: {short_image(image)} refused by rule {rule}: {explain_rejection(rejection)}"
    return Refusal(403, "DENIED", one_line(text), rejection.reason, rule=rule)


def unusable(image: str, why: str) -> Refusal:
    """Return the refusal of an accepted image that Docker cannot use, and would ask another registry for."""
    words = f"accepted, but this Docker cannot use it: {why}"
    return Refusal(403, "DENIED", one_line(f"sealgate: {short_image(image)}: {words}"), "unusable")


def unknown_blob(image: str) -> Refusal:
    """Say that no accepted manifest of this repository names this blob."""
    words = "blob refused: no manifest that was let through names it; pull the image's manifest first"
    return Refusal(403, "DENIED", one_line(f"sealgate: {short_image(image)}: {words}"), "unknown_blob")


def no_accounts() -> Refusal:
    """Return the refusal of a login: a status of 200 would look like a correct password."""
    message = "sealgate: there are no accounts here and no password is checked: pull without logging in"
    return Refusal(403, "DENIED", message, "no_accounts")


def external(image: str, what: str) -> Refusal:
    """Return the refusal of an image of which clients would fetch a part without this proxy."""
    text = f"sealgate: {short_image(image)}: {what}, past this proxy (external_urls)"
    return Refusal(403, "DENIED", one_line(text), "external_urls")


def our_mistake() -> Refusal:
    """Say that this program failed; what happened is for its log."""
    return Refusal(500, "UNKNOWN", "sealgate: internal error, see the log of sealgate", "internal_error")


def bad_request(error: MalformedError) -> Refusal:
    """Say what is wrong with a request that names nothing."""
    return Refusal(400, "NAME_INVALID", one_line(f"sealgate: {shorten_digests(str(error))}"), "name_invalid")


def unreadable(status: int, reason: str) -> Refusal:
    """Return the refusal of a request that is not HTTP, or more of it than is read."""
    if status >= 500:  # noqa: PLR2004 (RFC 9110, 15.6)
        return our_mistake()
    return Refusal(status, "UNSUPPORTED", one_line(f"sealgate: {reason}"), "unreadable")


def unsupported(method: str) -> Refusal:
    """Say that this endpoint or method is not offered: this is a pull-through proxy."""
    message = one_line(f"sealgate: {method} of this endpoint is not supported: this proxy is for pulling only")
    return Refusal(405 if method not in {"GET", "HEAD"} else 404, "UNSUPPORTED", message, "unsupported")


def body(refusal: Refusal) -> bytes:
    """Return the OCI error body; clients show the first error only."""
    return json.dumps({"errors": [{"code": refusal.code, "message": refusal.message}]}).encode()
