"""Bodies of Rekor's entries: what each kind says, in one form (rekor and rekor-tiles, types of their kinds)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.formats.cosign import wire
from proxy.oci.errors import MalformedError
from proxy.oci.strict_json import loads_object
from proxy.verdict import Failure, Reason

# As in an envelope; an entry with more than one is refused.
SIGNATURES_MAX = 8

# As Rekor v1 writes them, and as protobuf-specs does (HashAlgorithm).
_ALGORITHMS = {
    "sha256": "sha256",
    "sha384": "sha384",
    "sha512": "sha512",
    "SHA2_256": "sha256",
    "SHA2_384": "sha384",
    "SHA2_512": "sha512",
}
# RFC 7468 as Rekor stores it, which reads and writes each key anew: one block, no headers, nothing around it.
_PEM = re.compile(
    rb"-----BEGIN (?P<label>CERTIFICATE|PUBLIC KEY)-----\n"
    rb"(?P<base64>(?:[A-Za-z0-9+/=]+\n)+)"
    rb"-----END (?P=label)-----\n?"
)


@dataclass(frozen=True, slots=True)
class Verifier:
    """Who signed, in DER: a certificate, or a public key (SubjectPublicKeyInfo).

    `algorithm` is what Rekor 2 says of the key (protobuf-specs, PublicKeyDetails), None in older entries.
    """

    der: bytes = field(repr=False)
    is_certificate: bool
    algorithm: str | None = None


@dataclass(frozen=True, slots=True)
class EntryBody:
    """What an entry says: this verifier made this signature over content of this digest, which is in hex.

    `is_of_envelope` says that the digest is of the payload of an envelope; False, that it is of anything else that is
    signed; None, that it is of what is signed, be it the encoding of an envelope (DSSE, PAE) or anything else.
    """

    kind: str
    version: str
    signature: bytes = field(repr=False)
    verifier: Verifier
    algorithm: str
    digest: str
    is_of_envelope: bool | None
    payload_type: str | None = None

    @classmethod
    def parse(cls, document: bytes) -> "EntryBody | Failure":
        """Read a canonical body; a Failure for unknown kinds. Raises MalformedError for what its kind has not."""
        members = loads_object(document, "the log entry", wire.VALUES_MAX)
        kind, version = (wire.text(members.get(name), f"the log entry.{name}") for name in ("kind", "apiVersion"))
        read = _KINDS.get((kind, version))
        if read is None:
            detail = f"log entries of kind {kind!a:.40}, version {version!a:.20}, are not read"
            return Failure(Reason.UNSUPPORTED, detail)
        return read(members, "the log entry")


def _hashedrekord_1(value: object, where: str) -> EntryBody:
    members = _HASHEDREKORD_1(value, where)
    signature, digest = members["spec"]["signature"], members["spec"]["data"]["hash"]
    return EntryBody(
        members["kind"],
        members["apiVersion"],
        signature["content"],
        signature["publicKey"]["content"],
        digest["algorithm"],
        digest["value"],
        is_of_envelope=False,
    )


def _hashedrekord_2(value: object, where: str) -> EntryBody:
    members = _HASHEDREKORD_2(value, where)
    spec = members["spec"]["hashedRekordV002"]
    return EntryBody(
        members["kind"],
        members["apiVersion"],
        spec["signature"]["content"],
        spec["signature"]["verifier"],
        spec["data"]["algorithm"],
        spec["data"]["digest"].hex(),
        is_of_envelope=None,
    )


def _dsse(value: object, where: str) -> EntryBody:
    # envelopeHash is of the envelope as its client had written it, which a bundle does not keep.
    members = _DSSE(value, where)
    one, digest = _only(members["spec"]["signatures"], where), members["spec"]["payloadHash"]
    return EntryBody(
        members["kind"],
        members["apiVersion"],
        one["signature"],
        one["verifier"],
        digest["algorithm"],
        digest["value"],
        is_of_envelope=True,
    )


def _intoto(value: object, where: str) -> EntryBody:
    members = _INTOTO(value, where)
    content = members["spec"]["content"]
    one, digest = _only(content["envelope"]["signatures"], where), content["payloadHash"]
    return EntryBody(
        members["kind"],
        members["apiVersion"],
        one["sig"],
        one["publicKey"],
        digest["algorithm"],
        digest["value"],
        is_of_envelope=True,
        payload_type=content["envelope"]["payloadType"],
    )


def _pem(value: object, where: str) -> Verifier:
    """Read one PEM block, in base64."""
    block = _PEM.fullmatch(wire.binary(value, where))
    if not block:
        raise MalformedError(f"{where} is not one certificate or public key in PEM")
    der = wire.binary(block["base64"].replace(b"\n", b"").decode(), where)
    return Verifier(der, is_certificate=block["label"] == b"CERTIFICATE")


def _verifier(value: object, where: str) -> Verifier:
    members = _VERIFIER(value, where)
    certificate, key = members.get("x509Certificate"), members.get("publicKey")
    if (certificate is None) is (key is None):
        raise MalformedError(f"{where} is not one certificate or public key")
    return Verifier((certificate or key)["rawBytes"], is_certificate=key is None, algorithm=members["keyDetails"])


def _algorithm(value: object, where: str) -> str:
    name = _ALGORITHMS.get(wire.text(value, where))
    if name is None:
        raise MalformedError(f"{where} is {value!a:.20}; SHA-256, SHA-384 and SHA-512 are known")
    return name


def _only(signatures: tuple[Mapping[str, Any], ...], where: str) -> Mapping[str, Any]:
    if len(signatures) != 1:
        raise MalformedError(f"{where} has {len(signatures)} signatures, not one")
    return signatures[0]


def _twice(value: object, where: str) -> bytes:
    """Read bytes that are in base64 twice: kind intoto keeps the texts of the envelope as bytes."""
    try:
        inner = wire.binary(value, where).decode("ascii")
    except UnicodeDecodeError:
        raise MalformedError(f"{where} is not base64 in base64") from None
    return wire.binary(inner, where)


def _entry(spec: wire.Reader) -> wire.Reader:
    return wire.message({"kind": wire.text, "apiVersion": wire.text, "spec": spec})


_HASH = wire.message({"algorithm": _algorithm, "value": wire.text})
_RAW = wire.message({"rawBytes": wire.binary})
_VERIFIER = wire.message({"keyDetails": wire.text}, {"x509Certificate": _RAW, "publicKey": _RAW})
_HASHEDREKORD_1 = _entry(
    wire.message(
        {
            "data": wire.message({"hash": _HASH}),
            "signature": wire.message({"content": wire.binary, "publicKey": wire.message({"content": _pem})}),
        }
    )
)
_HASHEDREKORD_2 = _entry(
    wire.message(
        {
            "hashedRekordV002": wire.message(
                {
                    "data": wire.message({"algorithm": _algorithm, "digest": wire.binary}),
                    "signature": wire.message(
                        {
                            "content": wire.binary,
                            "verifier": _verifier,
                        }
                    ),
                }
            )
        }
    )
)
_DSSE = _entry(
    wire.message(
        {
            "envelopeHash": _HASH,
            "payloadHash": _HASH,
            "signatures": wire.listed(wire.message({"signature": wire.binary, "verifier": _pem}), SIGNATURES_MAX),
        }
    )
)
_INTOTO = _entry(
    wire.message(
        {
            "content": wire.message(
                {
                    "envelope": wire.message(
                        {
                            "payloadType": wire.text,
                            "signatures": wire.listed(
                                wire.message({"publicKey": _pem, "sig": _twice}, {"keyid": wire.text}), SIGNATURES_MAX
                            ),
                        },
                        # The hash stands for it; Rekor stores it elsewhere, and some servers leave it in.
                        {"payload": wire.text},
                    ),
                    "hash": _HASH,
                    "payloadHash": _HASH,
                }
            )
        }
    )
)
# Not read: dsse 0.0.2, which only early instances of Rekor v2 wrote and which no client reads any more, and whatever
# is older than these, which cosign does not read in bundles.
_KINDS: Mapping[tuple[str, str], Callable[[object, str], EntryBody]] = {
    ("hashedrekord", "0.0.1"): _hashedrekord_1,
    ("hashedrekord", "0.0.2"): _hashedrekord_2,
    ("dsse", "0.0.1"): _dsse,
    ("intoto", "0.0.2"): _intoto,
}
