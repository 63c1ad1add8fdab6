"""cosign's classic signature: a simple-signing payload, signed in the annotations of its layer (SIGNATURE_SPEC.md)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from proxy.formats.cosign import wire
from proxy.formats.cosign.dsse import text_values
from proxy.formats.cosign.entry import LogEntry
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
from proxy.oci.strict_json import loads_object

PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
CRITICAL_TYPE = "cosign container image signature"
# Layer annotations: what cosign's code writes; its specification's text has another prefix for the last three.
SIGNATURE = "dev.cosignproject.cosign/signature"
CERTIFICATE = "dev.sigstore.cosign/certificate"
LOG_ENTRY = "dev.sigstore.cosign/bundle"
TIMESTAMP = "dev.sigstore.cosign/rfc3161timestamp"
# One block as RFC 7468 has it strictly: no headers, nothing around.
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=\n]+)\n-----END CERTIFICATE-----", re.ASCII)
_LOWER_HEX = re.compile(r"(?:[0-9a-f]{2}){1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Payload:
    """What a classic signature says. It means nothing until the signature over its bytes is checked.

    `docker-reference` is read and not kept: cosign does not check it, and images are copied with their signatures.
    """

    kind: str
    image: Digest
    annotations: Mapping[str, str] = field(hash=False)

    @classmethod
    def parse(cls, document: bytes) -> Self:
        """Read the payload; raises MalformedError, also for unknown members outside of `optional`."""
        members = _PAYLOAD(loads_object(document, "the payload"), "the payload")
        critical = members["critical"]
        return cls(critical["type"], critical["image"]["docker-manifest-digest"], members.get("optional", {}))


def signature(annotations: Mapping[str, str]) -> bytes:
    """Return the signature, in DER where it is ECDSA's; raises MalformedError where there is none.

    Line breaks in its base64 are passed over, here and nowhere else: openssl and base64 write them, `cosign attach
    signature` keeps what it is given, and Go's decoder ignores CR and LF wherever they stand (encoding/base64).
    """
    where = f"annotation {SIGNATURE}"
    text = wire.text(annotations.get(SIGNATURE), where)
    signed = wire.binary(text.replace("\r", "").replace("\n", ""), where)
    if not signed:
        raise MalformedError(f"{where} is empty")
    return signed


def certificate(annotations: Mapping[str, str]) -> bytes | None:
    """Return the certificate beside a signature, in DER; raises MalformedError where it is not one PEM block."""
    pem = annotations.get(CERTIFICATE)
    if not pem:
        return None  # cosign 3 writes an empty text for none
    block = _PEM.fullmatch(pem.strip())
    if block is None:
        raise MalformedError(f"annotation {CERTIFICATE} is not one certificate in PEM")
    return wire.binary(block[1].replace("\n", ""), f"annotation {CERTIFICATE}")


def log_entry(annotations: Mapping[str, str]) -> LogEntry | None:
    """Return the log entry beside a signature, with its promise; raises MalformedError."""
    members = _extra(annotations, LOG_ENTRY, _LOG_ENTRY)
    if members is None:
        return None
    payload = members["Payload"]
    return LogEntry(
        kind=None,
        version=None,
        log_id=payload["logID"],
        index=payload["logIndex"],
        integrated_time=payload["integratedTime"] or None,
        promise=members["SignedEntryTimestamp"],
        proof=None,
        body=payload["body"],
    )


def timestamp(annotations: Mapping[str, str]) -> bytes | None:
    """Return the timestamp beside a signature (RFC 3161, TimeStampResp); raises MalformedError."""
    members = _extra(annotations, TIMESTAMP, _TIMESTAMP)
    return members["SignedRFC3161Timestamp"] if members is not None else None


def _extra(annotations: Mapping[str, str], name: str, read: wire.Reader) -> Mapping[str, Any] | None:
    text = annotations.get(name)
    if not text:
        return None
    members: Mapping[str, Any] = read(loads_object(text.encode("utf-8", "surrogatepass"), name, wire.VALUES_MAX), name)
    return members


def _optional(value: object, where: str) -> dict[str, str]:
    return {} if value is None else text_values(value, where)  # cosign writes null for no annotations


def _hex(value: object, where: str) -> bytes:
    text = wire.text(value, where)
    if not _LOWER_HEX.fullmatch(text):
        raise MalformedError(f"{where} is not hex in lower case")
    return bytes.fromhex(text)


def _digest(value: object, where: str) -> Digest:
    return Digest.parse(wire.text(value, where))


_PAYLOAD = wire.message(
    {
        "critical": wire.message(
            {
                "identity": wire.message({"docker-reference": wire.text}),
                "image": wire.message({"docker-manifest-digest": _digest}),
                "type": wire.text,
            }
        )
    },
    {"optional": _optional},
)
_LOG_ENTRY = wire.message(
    {
        "SignedEntryTimestamp": wire.binary,
        "Payload": wire.message(
            {"body": wire.binary, "integratedTime": wire.natural, "logIndex": wire.natural, "logID": _hex}
        ),
    }
)
_TIMESTAMP = wire.message({"SignedRFC3161Timestamp": wire.binary})
