"""A remembered verdict as JSON: plain fields, a version, and strict when it is read.

Repository and digest of the subject are not written. They are the key's: a verdict that is read is a verdict about what
was asked for, whatever else lies in the file.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
from proxy.oci.reference import Repository
from proxy.oci.strict_json import loads_object
from proxy.policy import plain
from proxy.verdict import Accepted, Evidence, InsecureUnverified, Reason, Refused, Rejection, Subject

# 4: when it was judged.
# 3: until when the evidence holds.
# 2: who signed, the source of the time, the log entry, and what was proven of a candidate that did not count.
VERSION = 4
_COMMON = frozenset({"v", "id", "verdict", "tag", "rule", "judged", "expires"})
_EVIDENCE = frozenset(
    {"format", "signer", "signature", "trust", "signed_at", "claims", "subject", "issuer", "time_source", "log_index"}
)
_REJECTION = frozenset({"reason", "detail", "signer", "signature", "proven"})


def dumps(identifier: str, verdict: Accepted | InsecureUnverified | Refused, judged: datetime) -> bytes:
    """Write the verdict, its id and when it was judged."""
    document: dict[str, Any] = {
        "v": VERSION,
        "id": identifier,
        "verdict": _KINDS_BY_TYPE[type(verdict)],
        "tag": verdict.subject.tag,
        "rule": verdict.rule,
        "judged": judged.isoformat(),
        "expires": verdict.expires.isoformat(),
    }
    if isinstance(verdict, Accepted):
        document["evidence"] = [plain.evidence(it) for it in verdict.evidence]
        document["proven_until"] = verdict.proven_until.isoformat() if verdict.proven_until else None
    elif isinstance(verdict, Refused):
        document["rejections"] = [plain.rejection(it) for it in verdict.rejections]
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def loads(
    document: bytes, repository: Repository, digest: Digest
) -> tuple[str, Accepted | InsecureUnverified | Refused, datetime]:
    """Read what `dumps` wrote of a verdict about this content; raises MalformedError for anything else."""
    value = loads_object(document, "the remembered verdict")
    if value.get("v") != VERSION:
        raise MalformedError("the remembered verdict has another version")
    kind = _text(value, "verdict")
    if kind not in _READERS:
        raise MalformedError("the remembered verdict is of no known kind")
    members, read = _READERS[kind]
    _check_members(value, members)
    verdict = read(value, Subject(repository, digest, _optional_text(value, "tag")))
    return _text(value, "id"), verdict, _time(value, "judged")


def _read_accepted(value: Mapping[str, Any], subject: Subject) -> Accepted:
    evidence = tuple(_read_evidence(it) for it in _list(value, "evidence"))
    if not evidence:
        raise MalformedError("the remembered verdict accepts without evidence")
    proven_until = None if value["proven_until"] is None else _time(value, "proven_until")
    return Accepted(subject, _text(value, "rule"), evidence, _time(value, "expires"), proven_until)


def _read_refused(value: Mapping[str, Any], subject: Subject) -> Refused:
    rejections = tuple(_read_rejection(it) for it in _list(value, "rejections"))
    return Refused(subject, _text(value, "rule"), rejections, _time(value, "expires"))


def _read_insecure(value: Mapping[str, Any], subject: Subject) -> InsecureUnverified:
    return InsecureUnverified(subject, _text(value, "rule"), _time(value, "expires"))


_READERS: dict[
    str, tuple[frozenset[str], Callable[[Mapping[str, Any], Subject], Accepted | InsecureUnverified | Refused]]
] = {
    "accepted": (_COMMON | {"evidence", "proven_until"}, _read_accepted),
    "refused": (_COMMON | {"rejections"}, _read_refused),
    "insecure_unverified": (_COMMON, _read_insecure),
}
_KINDS_BY_TYPE: dict[type, str] = {
    Accepted: "accepted",
    Refused: "refused",
    InsecureUnverified: "insecure_unverified",
}


def _read_evidence(value: object) -> Evidence:
    members = _object(value, _EVIDENCE)
    return Evidence(
        _text(members, "format"),
        _text(members, "signer"),
        _text(members, "signature"),
        _text(members, "trust"),
        None if members["signed_at"] is None else _time(members, "signed_at"),
        _pairs(members, "claims"),
        _optional_text(members, "subject"),
        _optional_text(members, "issuer"),
        _optional_text(members, "time_source"),
        None if members["log_index"] is None else _index(members, "log_index"),
    )


def _read_rejection(value: object) -> Rejection:
    members = _object(value, _REJECTION)
    try:
        reason = Reason(_text(members, "reason"))
    except ValueError:
        raise MalformedError("the remembered verdict has an unknown reason") from None
    return Rejection(
        reason,
        _text(members, "detail"),
        _optional_text(members, "signer"),
        _optional_text(members, "signature"),
        _pairs(members, "proven"),
    )


def _object(value: object, names: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError("a part of the remembered verdict is not an object")
    _check_members(value, names)
    return value


def _check_members(value: Mapping[str, Any], names: frozenset[str]) -> None:
    if value.keys() != names:
        raise MalformedError(f"the remembered verdict has members {sorted(value)}, not {sorted(names)}")


def _list(value: Mapping[str, Any], name: str) -> list[Any]:
    items = value[name]
    if not isinstance(items, list):
        raise MalformedError(f"{name} of the remembered verdict is not a list")
    return items


def _pairs(value: Mapping[str, Any], name: str) -> tuple[tuple[str, str], ...]:
    return tuple(_pair(it, name) for it in _list(value, name))


def _pair(value: object, name: str) -> tuple[str, str]:
    match value:
        case [str() as first, str() as second]:
            return first, second
    raise MalformedError(f"{name} of the remembered verdict are not pairs of texts")


def _index(value: Mapping[str, Any], name: str) -> int:
    index = value[name]
    if type(index) is not int or index < 0:
        raise MalformedError(f"{name} of the remembered verdict is not a number of a log entry")
    return index


def _text(value: Mapping[str, Any], name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str):
        raise MalformedError(f"{name} of the remembered verdict is not a text")
    return text


def _optional_text(value: Mapping[str, Any], name: str) -> str | None:
    return None if value[name] is None else _text(value, name)


def _time(value: Mapping[str, Any], name: str) -> datetime:
    text = _text(value, name)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise MalformedError(f"{name} of the remembered verdict is no time") from None
    if time.tzinfo is None:
        raise MalformedError(f"{name} of the remembered verdict has no time zone")
    return time
