"""The checks of one candidate: who signed, what was signed, and whether it is about this image.

Whatever the bytes say is believed only after the signature over them has been checked: a stranger's words decide
nothing, not even the reason of the refusal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from proxy.crypto.keys import PublicKey
from proxy.crypto.window import Window
from proxy.formats.api import UntrustedSignature
from proxy.formats.cosign.dsse import IN_TOTO, SIGN_PREDICATE, Envelope, Statement
from proxy.formats.cosign.entry import Signed
from proxy.formats.cosign.identity import WantedIdentity
from proxy.formats.cosign.proof import (
    Demands,
    Material,
    Proven,
    other_hash,
    prove_by_certificate,
    prove_by_key,
    signed_by,
)
from proxy.formats.cosign.shapes import Candidate, read
from proxy.formats.cosign.simplesigning import CRITICAL_TYPE, Payload
from proxy.formats.cosign.trust_root import TrustRoot
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.verdict import Failure, Reason

Claims = tuple[tuple[str, str], ...]


class WantedAttestation(Protocol):
    """What is asked of an attestation: its predicate type, and conditions on what it says."""

    @property
    def predicate_type(self) -> str:
        """The type, as a URI."""
        ...

    def check(self, statement: Statement, now: datetime) -> Claims | Failure:
        """Return what of the statement was asked for, or what is not as it should be. Raises MalformedError."""
        ...


@dataclass(frozen=True, slots=True)
class WantedKey:
    """A key that a policy names.

    `window` is when it was in use; None: always (CVE-2026-54787). `hashing` is the one hash that it signs with, of
    `proxy.crypto.keys.HASHES`; None: those that are usual for its kind.
    """

    key: PublicKey
    window: Window | None = None
    hashing: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a policy asks of a candidate: who signed, what must be proven, and what must be said.

    Without `attestation` a signature is wanted, with all `annotations` among what it signs.
    """

    who: WantedKey | WantedIdentity
    root: TrustRoot
    demands: Demands
    annotations: tuple[tuple[str, str], ...] = ()
    attestation: WantedAttestation | None = None


def check(
    wanted: Wanted, image: Digest, signature: UntrustedSignature, now: datetime, proven: Proven
) -> Claims | Failure:
    """Return what was signed together with the image's digest, or why the candidate does not count.

    `proven` is filled on the way, with what holds even where a later check fails.
    """
    try:
        # 1. It is of a known shape, all of it understood.
        candidate = read(signature)
        if isinstance(candidate, Failure):
            return candidate
        # 2. Whoever is wanted signed it, and whatever is demanded besides is proven.
        if failure := check_signer(wanted, candidate, now, proven):
            return failure
        # 3. What is signed is what is wanted, and about this image.
        if isinstance(candidate.content, Envelope):
            return _check_statement(wanted, image, candidate.content, now)
        return _check_payload(wanted, image, signature.payload)
    except MalformedError as err:
        return unreadable(err)


def unreadable(error: MalformedError) -> Failure:
    """Say why something does not count that could not be read."""
    return Failure(Reason.OVER_LIMIT if isinstance(error, OverLimitError) else Reason.MALFORMED, str(error))


def statement_of(envelope: Envelope) -> Statement | Failure:
    """Return the in-toto statement of an envelope; a Failure where something else is signed. Raises MalformedError."""
    if envelope.payload_type != IN_TOTO:
        return Failure(Reason.NOT_A_SIGNATURE, f"what is signed is of type {envelope.payload_type!a:.60}")
    return Statement.parse(envelope.payload)


def check_signer(wanted: Wanted, candidate: Candidate, now: datetime, proven: Proven) -> Failure | None:
    """Check that whoever is wanted signed, and prove what is demanded besides; None if so. Raises MalformedError."""
    proven.signature = candidate.signature
    if isinstance(wanted.who, WantedKey):
        return _check_key(wanted.who, wanted, candidate, now, proven)
    if not candidate.has_certificate:
        return Failure(Reason.UNTRUSTED_SIGNER, "signed by a key, and this signer is an identity")
    extras = candidate.extras()
    material = Material(Signed(candidate.signature, extras.certificate or b"", candidate.content), extras)
    return prove_by_certificate(wanted.who, material, wanted.root, wanted.demands, proven)


def _check_key(who: WantedKey, wanted: Wanted, candidate: Candidate, now: datetime, proven: Proven) -> Failure | None:
    # 1. The key signed. A bundle names its one verifier; beside a classic signature a certificate is only more of it.
    signed = Signed(candidate.signature, who.key, candidate.content)
    by_certificate = candidate.has_certificate and candidate.names_verifier
    if by_certificate or not signed_by(who.key, signed, who.hashing):
        return _not_by_this_key(who, signed, keyless=candidate.has_certificate)
    # 2. What lies beside it can be read; that it is true must be proven where it is demanded.
    if failure := prove_by_key(Material(signed, candidate.extras()), wanted.root, wanted.demands, now, proven):
        return failure
    # 3. The key was in use when it signed; without a proven time it must be so now.
    moments = [one.moment for one in proven.times] or [now]
    if who.window is not None and not all(who.window.covers(moment) for moment in moments):
        return Failure(Reason.UNTRUSTED_SIGNER, "signed by this key when it was not in use")
    return None


def _check_payload(wanted: Wanted, image: Digest, content: bytes) -> Claims | Failure:
    # 1. It is a statement by cosign about an image, and not something else that was signed.
    payload = Payload.parse(content)
    if payload.kind != CRITICAL_TYPE:
        return Failure(Reason.NOT_A_SIGNATURE, f"what is signed is of type {payload.kind!a:.60}")
    # 2. It is about this image.
    if payload.image != image:
        return Failure(Reason.OTHER_IMAGE, f"the signature is for {payload.image}")
    # 3. A signature is what is wanted, and with these annotations.
    if wanted.attestation is not None:
        return _no_attestation()
    return _with_annotations(wanted.annotations, payload.annotations)


def _check_statement(wanted: Wanted, image: Digest, envelope: Envelope, now: datetime) -> Claims | Failure:
    # 1. It is an in-toto statement.
    statement = statement_of(envelope)
    if isinstance(statement, Failure):
        return statement
    # 2. It is a signature where one is wanted, and no attestation.
    is_signature = statement.predicate_type == SIGN_PREDICATE
    if wanted.attestation is None and not is_signature:
        return Failure(Reason.NOT_A_SIGNATURE, f"an attestation of type {statement.predicate_type!a:.80}")
    # 3. It is about this image.
    about = [subject.annotations for subject in statement.subjects if subject.names(image)]
    if not about:
        return Failure(Reason.OTHER_IMAGE, "the statement is about other content")
    # 4. It says what is asked for.
    if wanted.attestation is None:
        return _with_annotations(wanted.annotations, *about)
    return _no_attestation() if is_signature else wanted.attestation.check(statement, now)


def _no_attestation() -> Failure:
    return Failure(Reason.CONDITION_NOT_MET, "a signature, and an attestation is wanted")


def _not_by_this_key(who: WantedKey, signed: Signed, *, keyless: bool) -> Failure:
    if keyless:
        return Failure(Reason.UNTRUSTED_SIGNER, "signed keyless, and this signer is a key")
    if who.key.is_ed25519:
        # cosign signs with an Ed25519 key as Ed25519ph and cannot verify that itself: say so, or nobody finds it.
        return Failure(Reason.UNTRUSTED_SIGNER, "not signed by this key, or as Ed25519ph, which is not supported")
    if other := other_hash(who.key, signed):
        detail = f'signed by this key with {other}, not {who.hashing or "sha256"}; hash = "{other}" accepts it'
        return Failure(Reason.UNTRUSTED_SIGNER, detail)
    return Failure(Reason.UNTRUSTED_SIGNER, "not signed by this key")


def _with_annotations(required: Claims, *signed: Mapping[str, str]) -> Claims | Failure:
    for annotations in signed:
        if set(required) <= set(annotations.items()):
            return tuple(sorted(annotations.items()))
    missing = min(name for name, value in required if signed[0].get(name) != value)
    return Failure(Reason.ANNOTATION_MISSING, f"annotation {missing!a:.60} is not signed with the required value")
