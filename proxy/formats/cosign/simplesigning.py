"""cosign's classic signature: a simple-signing payload, signed in the annotations of its layer (SIGNATURE_SPEC.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from proxy.formats.cosign import wire
from proxy.formats.cosign.dsse import text_values
from proxy.oci.digest import Digest
from proxy.oci.strict_json import loads_object

PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
CRITICAL_TYPE = "cosign container image signature"
# Layer annotations: what cosign's code writes; its specification's text has another prefix for the last three.
SIGNATURE = "dev.cosignproject.cosign/signature"
CERTIFICATE = "dev.sigstore.cosign/certificate"
LOG_ENTRY = "dev.sigstore.cosign/bundle"
TIMESTAMP = "dev.sigstore.cosign/rfc3161timestamp"


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


def check_extras(annotations: Mapping[str, str]) -> None:
    """Check that the log entry and the timestamp, where there are any, can be read; raises MalformedError."""
    for name, read in _EXTRAS.items():
        if name in annotations:
            read(loads_object(annotations[name].encode("utf-8", "surrogatepass"), name), name)


def _optional(value: object, where: str) -> dict[str, str]:
    return {} if value is None else text_values(value, where)  # cosign writes null for no annotations


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
_EXTRAS: Mapping[str, Any] = {
    LOG_ENTRY: wire.message(
        {
            "SignedEntryTimestamp": wire.binary,
            "Payload": wire.message(
                {"body": wire.binary, "integratedTime": wire.natural, "logIndex": wire.natural, "logID": wire.text}
            ),
        }
    ),
    TIMESTAMP: wire.message({"SignedRFC3161Timestamp": wire.binary}),
}
