"""Entries of a Rekor log, and whether one is about this signature, this verifier and this content."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.crypto.chain import parse_certificate
from proxy.crypto.keys import PublicKey
from proxy.crypto.tlog import InclusionProof
from proxy.formats.cosign.dsse import Envelope
from proxy.formats.cosign.entry_body import EntryBody, Verifier
from proxy.oci.digest import Digest
from proxy.verdict import Failure, Reason

# protobuf-specs, PublicKeyDetails; the second of P-384 and P-521 is what older clients signed with.
_ALGORITHMS: Mapping[str, frozenset[str]] = {
    "ECDSA P-256": frozenset({"PKIX_ECDSA_P256_SHA_256"}),
    "ECDSA P-384": frozenset({"PKIX_ECDSA_P384_SHA_384", "PKIX_ECDSA_P384_SHA_256"}),
    "ECDSA P-521": frozenset({"PKIX_ECDSA_P521_SHA_512", "PKIX_ECDSA_P521_SHA_256"}),
    "RSA": frozenset({"PKIX_RSA_PKCS1V15_{}_SHA256", "PKIX_RSA_PSS_{}_SHA256"}),
    "Ed25519": frozenset({"PKIX_ED25519", "PKIX_ED25519_PH"}),
}


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A log entry as it came with a signature. Nothing in it is proven.

    `kind` and `version` are what the bundle declares, both None for cosign's classic annotation, which declares
    nothing. `log_id` is 32 bytes or a key hint of 4, `index` counts all shards of the log. `integrated_time` is in
    seconds since 1970, None where it is missing or 0. `body` is the canonical body, the leaf of the tree.
    """

    kind: str | None
    version: str | None
    log_id: bytes
    index: int
    integrated_time: int | None
    promise: bytes | None = field(repr=False)
    proof: InclusionProof | None
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signed:
    """What an entry must be about: this signature by this verifier over this content.

    `verifier` is the certificate's DER, or the key where there is no certificate. `content` is the bytes that are
    signed, or their digest where only that is known, or the envelope whose signature this is.
    """

    signature: bytes = field(repr=False)
    verifier: bytes | PublicKey = field(repr=False)
    content: bytes | Digest | Envelope = field(repr=False)


def read_body(entry: LogEntry) -> EntryBody | Failure:
    """Read the body, which must be of a known kind, the one that the bundle declares.

    Raises MalformedError for a body that is not of its kind's form.
    """
    body = EntryBody.parse(entry.body)
    if (
        not isinstance(body, Failure)
        and entry.kind is not None
        and (entry.kind, entry.version) != (body.kind, body.version)
    ):
        return _not_proven(f"the log entry is declared as {entry.kind!a:.40}, and is of another kind or version")
    return body


def check_binding(entry: LogEntry, signed: Signed) -> Failure | None:
    """Check that the entry is about this signature, this verifier and this content; None if it is (CVE-2022-36056).

    That the entry is in a log is not checked here. Raises MalformedError for a body that is not of its kind's form.
    """
    # 1. The body is of a kind that is known, and which the bundle declares.
    body = read_body(entry)
    if isinstance(body, Failure):
        return body
    # 2. It is about this signature.
    if body.signature != signed.signature:
        return _not_proven("the log entry is about another signature")
    # 3. Made by this very certificate, or by this key without a certificate.
    if not _is(body.verifier, signed.verifier):
        return _not_proven("the log entry is about another signer's certificate or key")
    # 4. The log says the same of its key as the key itself.
    if body.verifier.algorithm is not None and body.verifier.algorithm not in _algorithms(signed.verifier):
        return _not_proven(f"the log entry states another kind of key, {body.verifier.algorithm!a:.40}")
    # 5. Over this content.
    return _check_content(body, signed.content)


def _not_proven(detail: str) -> Failure:
    return Failure(Reason.LOG_NOT_PROVEN, detail)


def _is(logged: Verifier, verifier: bytes | PublicKey) -> bool:
    if isinstance(verifier, bytes):
        return logged.is_certificate and logged.der == verifier
    return not logged.is_certificate and hashlib.sha256(logged.der).hexdigest() == verifier.fingerprint


def _algorithms(verifier: bytes | PublicKey) -> frozenset[str]:
    if isinstance(verifier, bytes):
        verifier = PublicKey.of(parse_certificate(verifier, "the certificate").public_key())
    kind, _, size = verifier.describe().partition(" ")
    return _ALGORITHMS.get(verifier.describe()) or frozenset(form.format(size) for form in _ALGORITHMS[kind])


def _check_content(body: EntryBody, content: bytes | Digest | Envelope) -> Failure | None:
    if isinstance(content, Envelope) is not body.is_of_envelope and body.is_of_envelope is not None:
        return _not_proven("the log entry is about an envelope, or what is signed is one, but not both")
    if isinstance(content, Envelope):
        if body.payload_type not in {None, content.payload_type}:
            return _not_proven("the log entry is about a payload of another type")
        content = content.payload if body.is_of_envelope else content.signed
    if isinstance(content, Digest):
        same = (content.algorithm, content.hex) == (body.algorithm, body.digest)
    else:
        same = hashlib.new(body.algorithm, content).hexdigest() == body.digest
    return None if same else _not_proven("the log entry is about other content")
