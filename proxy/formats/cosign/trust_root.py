"""A Sigstore trust root: whose certificates, logs and timestamps count (protobuf-specs, sigstore_trustroot.proto)."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from proxy.crypto.chain import Authority, parse_certificate
from proxy.crypto.keys import PublicKey
from proxy.crypto.timestamp import TimestampAuthority
from proxy.crypto.tlog import TransparencyLog
from proxy.crypto.window import Window
from proxy.formats.cosign import wire
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.oci.strict_json import loads_object

VERSIONS = frozenset(
    {
        "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "application/vnd.dev.sigstore.trustedroot.v0.2+json",
    }
)
# The public-good root has 7 kB after five years of rotations.
TRUST_ROOT_BYTES_MAX = 1024 * 1024
# Of each kind: logs and authorities, with all that were retired.
ENTRIES_MAX = 100
# Leaf, intermediates and root.
CHAIN_MAX = 10

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """Equal by `fingerprint`, the hex SHA-256 of the document. Each section may be empty, and then proves nothing.

    `ignored` says what of the document is not used, for it is of a kind that is not known here; whatever only that
    would prove stays unproven.
    """

    fingerprint: str
    logs: tuple[TransparencyLog, ...] = field(default=(), compare=False, repr=False)
    certificate_logs: tuple[TransparencyLog, ...] = field(default=(), compare=False, repr=False)
    certificate_authorities: tuple[Authority, ...] = field(default=(), compare=False, repr=False)
    timestamp_authorities: tuple[TimestampAuthority, ...] = field(default=(), compare=False, repr=False)
    ignored: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def parse(cls, document: bytes) -> Self:
        """Read a trusted_root.json, v0.1 or v0.2; raises MalformedError, with the member that is wrong."""
        if len(document) > TRUST_ROOT_BYTES_MAX:
            raise OverLimitError(f"the trust root is longer than {TRUST_ROOT_BYTES_MAX} bytes")
        members = _ROOT(wire.without_null(loads_object(document, "the trust root")), "the trust root")
        if members["mediaType"] not in VERSIONS:
            raise MalformedError(f"the trust root's mediaType is {members['mediaType']!a:.80}; v0.1 and v0.2 are read")
        ignored: list[str] = []
        return cls(
            hashlib.sha256(document).hexdigest(),
            _known(_log, members.get("tlogs", ()), "tlogs", ignored),
            _known(_log, members.get("ctlogs", ()), "ctlogs", ignored),
            _known(_authority, members.get("certificateAuthorities", ()), "certificateAuthorities", ignored),
            _known(_timestamps, members.get("timestampAuthorities", ()), "timestampAuthorities", ignored),
            tuple(ignored),
        )


# The root of those who trust nobody: what a signer by key has that asks for no log entry and no timestamp.
NO_TRUST_ROOT = TrustRoot("none")


def _known(make: Callable[[Any], _T], entries: Iterable[Any], where: str, ignored: list[str]) -> tuple[_T, ...]:
    """Make what can be made: a log with a new kind of key must not take from us the logs that are known."""
    made = []
    for number, entry in enumerate(entries):
        try:
            made.append(make(entry))
        except MalformedError as err:
            ignored.append(f"{where}[{number}]: {err}")
    return tuple(made)


def _log(entry: dict[str, Any]) -> TransparencyLog:
    key = entry["publicKey"]
    if entry.get("hashAlgorithm", "SHA2_256") != "SHA2_256":
        raise MalformedError(f"hash algorithm {entry['hashAlgorithm']!a:.40} is not known")
    hint = entry["checkpointKeyId"]["keyId"] if "checkpointKeyId" in entry else None
    log_id = entry["logId"]["keyId"] if "logId" in entry else hint
    if log_id is None:
        raise MalformedError("it has neither a logId nor a checkpointKeyId")
    return TransparencyLog(
        _host(entry.get("baseUrl", "")), log_id, PublicKey.parse_der(key["rawBytes"]), key["validFor"], hint
    )


def _host(url: str) -> str:
    """Return the host, which is the origin that a Rekor v2 writes into its checkpoints (as in sigstore-go)."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        raise MalformedError(f"baseUrl {url!a:.80} is no URL") from None


def _authority(entry: dict[str, Any]) -> Authority:
    return Authority(_chain(entry), entry["validFor"])


def _timestamps(entry: dict[str, Any]) -> TimestampAuthority:
    return TimestampAuthority(_chain(entry), entry["validFor"])


def _chain(entry: dict[str, Any]) -> tuple[Any, ...]:
    certificates = entry["certChain"]["certificates"]
    if not certificates:
        raise MalformedError("the chain is empty")
    return tuple(parse_certificate(one["rawBytes"], f"certificate {n}") for n, one in enumerate(certificates, start=1))


def _time(value: object, where: str) -> datetime:
    text = wire.text(value, where)
    try:
        moment = datetime.fromisoformat(text)
        utc = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise MalformedError(f"{where} is not a time (RFC 3339)") from None
    if moment.tzinfo is None:
        raise MalformedError(f"{where} has no time zone")
    return utc


def _window(value: object, where: str) -> Window:
    members = _TIME_RANGE(value, where)
    return Window(members["start"], members.get("end"))


_TIME_RANGE = wire.message({"start": _time}, {"end": _time})
_KEY_ID = wire.message({"keyId": wire.binary})
_LOG = wire.message(
    {"publicKey": wire.message({"rawBytes": wire.binary, "validFor": _window}, {"keyDetails": wire.text})},
    {
        "baseUrl": wire.text,
        "hashAlgorithm": wire.text,
        "logId": _KEY_ID,
        "checkpointKeyId": _KEY_ID,
        "operator": wire.text,
    },
)
_CHAIN = wire.message({"certificates": wire.listed(wire.message({"rawBytes": wire.binary}), CHAIN_MAX)})
_AUTHORITY = wire.message(
    {"certChain": _CHAIN, "validFor": _window},
    {
        "subject": wire.message({}, {"organization": wire.text, "commonName": wire.text}),
        "uri": wire.text,
        "operator": wire.text,
    },
)
_ROOT = wire.message(
    {"mediaType": wire.text},
    {
        "tlogs": wire.listed(_LOG, ENTRIES_MAX),
        "ctlogs": wire.listed(_LOG, ENTRIES_MAX),
        "certificateAuthorities": wire.listed(_AUTHORITY, ENTRIES_MAX),
        "timestampAuthorities": wire.listed(_AUTHORITY, ENTRIES_MAX),
    },
)
