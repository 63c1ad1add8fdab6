"""DSSE envelopes and the in-toto statements in them (DSSE v1.0.2, in-toto Statement v1 and v0.1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from proxy.formats.cosign import wire
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.oci.strict_json import count_tokens, loads_object

IN_TOTO = "application/vnd.in-toto+json"
# What `cosign sign` 3 signs; any other predicate type is an attestation, which says something about an image and
# approves nothing (CVE-2022-35929).
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
STATEMENT_TYPES = frozenset({"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"})
# sigstore-go's limit (verify/signature.go, maxAllowedSubjects; CVE-2024-45395).
SUBJECTS_MAX = 1024
# SBOMs have a value in 20 to 45 bytes, so this is enough for the largest that is fetched. Only what a wanted signer
# signed is read.
VALUES_MAX = 250_000
# Registered algorithms of in-toto's digest sets are fewer (in-toto attestation spec, digest_set.md).
DIGESTS_MAX = 32


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that a DSSE signature covers (pre-authentication encoding; lengths in bytes)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A DSSE envelope with its one signature. Nothing in it is proven."""

    payload_type: str
    payload: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @classmethod
    def read(cls, value: object, where: str) -> Self:
        """Read a parsed envelope; raises MalformedError where there is not exactly one signature."""
        members = _ENVELOPE(value, where)
        signatures = members["signatures"]
        if len(signatures) != 1:
            raise MalformedError(f"{where} has {len(signatures)} signatures, not one")
        return cls(members["payloadType"], members["payload"], signatures[0]["sig"])

    @property
    def signed(self) -> bytes:
        """The bytes that the signature covers."""
        return pae(self.payload_type, self.payload)


@dataclass(frozen=True, slots=True)
class StatementSubject:
    """What a statement is about: digests by algorithm, in hex, and the annotations whose values are texts."""

    digests: Mapping[str, str] = field(hash=False)
    annotations: Mapping[str, str] = field(hash=False)

    def names(self, digest: Digest) -> bool:
        """Say whether this is about the content of that digest."""
        return self.digests.get(digest.algorithm) == digest.hex


@dataclass(frozen=True, slots=True)
class Statement:
    """An in-toto statement. It means nothing until the signature over its bytes is checked.

    The predicate is an object or, as cosign writes SPDX documents in their tag-value form, a text. `size` is how many
    bytes the statement has, `values` how many JSON values, about.
    """

    predicate_type: str
    subjects: tuple[StatementSubject, ...]
    predicate: Mapping[str, Any] | str = field(hash=False, repr=False)
    size: int
    values: int

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the payload of an envelope; raises MalformedError, also for members the specification does not know.

        A sign statement may lack its predicate, which is empty in any case: cosign 3.0.0 to 3.0.4 wrote none.
        """
        members = _STATEMENT(loads_object(payload, "the statement", VALUES_MAX), "the statement")
        if members["_type"] not in STATEMENT_TYPES:
            raise MalformedError(f"the statement's _type is {members['_type']!a:.60}, which is none of in-toto's")
        kind = members["predicateType"]
        predicate = _predicate(members.get("predicate"), kind)
        return cls(kind, members["subject"], predicate, len(payload), count_tokens(payload))


def text_values(value: object, where: str) -> dict[str, str]:
    """Read an object and keep the members whose values are texts: annotations may hold any JSON."""
    if not isinstance(value, dict):
        raise MalformedError(f"{where} is not an object")
    return {name: entry for name, entry in value.items() if isinstance(entry, str)}


def _digest_set(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(digits, str) for digits in value.values()):
        raise MalformedError(f"{where} is not an object of texts")
    if len(value) > DIGESTS_MAX:
        raise OverLimitError(f"{where} has more than {DIGESTS_MAX} entries")
    return value


def _subject(value: object, where: str) -> StatementSubject:
    members = _RESOURCE(value, where)
    return StatementSubject(members.get("digest", {}), members.get("annotations", {}))


def _predicate(value: object, kind: str) -> dict[str, Any] | str:
    if kind == SIGN_PREDICATE:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise MalformedError("the statement.predicate is not an object")
        return value
    if value is None:
        raise MalformedError("the statement has no predicate")
    if not isinstance(value, dict | str):
        raise MalformedError("the statement.predicate is neither an object nor a text")
    return value


def _as_it_is(value: object, _where: str) -> object:
    return value


_ENVELOPE = wire.message(
    {
        "payload": wire.binary,
        "payloadType": wire.text,
        "signatures": wire.listed(wire.message({"sig": wire.binary}, {"keyid": wire.text}), limit=8),
    }
)
# in-toto attestation spec, resource_descriptor.md
_RESOURCE = wire.message(
    {},
    {
        "name": wire.text,
        "uri": wire.text,
        "digest": _digest_set,
        "content": wire.binary,
        "downloadLocation": wire.text,
        "mediaType": wire.text,
        "annotations": text_values,
    },
)
_STATEMENT = wire.message(
    {
        "_type": wire.text,
        "subject": wire.listed(_subject, SUBJECTS_MAX),
        "predicateType": wire.text,
    },
    # Whether it may be missing, and what it may be, is up to the type.
    {"predicate": _as_it_is},
)
