"""The shapes that cosign writes, read into one form: classic signature, attestation in an envelope, bundle."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from proxy.formats.api import UntrustedSignature
from proxy.formats.cosign import simplesigning, wire
from proxy.formats.cosign.bundle import Bundle, Message
from proxy.formats.cosign.dsse import Envelope
from proxy.formats.cosign.entry import LogEntry
from proxy.oci.digest import Digest
from proxy.oci.errors import OverLimitError
from proxy.oci.strict_json import loads_object
from proxy.verdict import Failure, Reason

# Log entries and timestamps each, of one candidate. Clients add one of each for every instance that they use; a file's
# bundle may have 32. Each costs 0.5 ms, and whoever may push can add 256 candidates that are genuine and useless.
PROOFS_MAX = 4


class Kind(StrEnum):
    """The shapes, as `UntrustedSignature.kind`."""

    CLASSIC = "cosign-classic"
    ATTESTATION = "cosign-attestation"
    BUNDLE = "cosign-bundle"


@dataclass(frozen=True, slots=True)
class Extras:
    """What lies beside a signature and may prove who made it, and when. `certificate` is in DER.

    `timestamped` is what a timestamp may be of. `links` are certificates that came with the signer's, None where it
    came alone.
    """

    certificate: bytes | None = field(repr=False)
    entries: tuple[LogEntry, ...]
    timestamps: tuple[bytes, ...] = field(repr=False)
    timestamped: tuple[bytes, ...] = field(repr=False)
    links: tuple[bytes, ...] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A signature and what it is over: bytes, their digest where only that is known, or an envelope's payload.

    Nothing in it is proven. `has_certificate` says that it came with one; a bundle names one verifier, so that no key
    counts besides (`names_verifier`). `extras` reads what lies beside it and raises MalformedError: beside a key's
    signature that is read only once the key is known to have signed.
    """

    content: bytes | Digest | Envelope = field(repr=False)
    signature: bytes = field(repr=False)
    has_certificate: bool
    names_verifier: bool
    extras: Callable[[], Extras] = field(repr=False)


def read(signature: UntrustedSignature) -> Candidate | Failure:
    """Read a candidate by its kind; raises MalformedError."""
    reader = _READERS.get(signature.kind)
    if reader is None:
        return Failure(Reason.UNSUPPORTED, f"candidates of kind {signature.kind!a:.40} are not cosign's")
    return reader(signature)


def _classic(signature: UntrustedSignature) -> Candidate:
    annotations = signature.annotations
    signed = simplesigning.signature(annotations)
    return Candidate(
        signature.payload,
        signed,
        has_certificate=bool(annotations.get(simplesigning.CERTIFICATE)),
        names_verifier=False,
        extras=lambda: _beside(annotations, (signed,)),
    )


def _attestation(signature: UntrustedSignature) -> Candidate:
    envelope = Envelope.read(loads_object(signature.payload, "the envelope", wire.VALUES_MAX), "the envelope")
    annotations = signature.annotations
    return Candidate(
        envelope,
        envelope.signature,
        has_certificate=bool(annotations.get(simplesigning.CERTIFICATE)),
        names_verifier=False,
        # cosign 2 let the whole envelope be timestamped (pkg/cosign, VerifyRFC3161Timestamp).
        extras=lambda: _beside(annotations, (envelope.signature, signature.payload)),
    )


def _bundle(signature: UntrustedSignature) -> Candidate | Failure:
    bundle = Bundle.parse(signature.payload)
    if max(len(bundle.entries), len(bundle.timestamps)) > PROOFS_MAX:
        raise OverLimitError(f"the bundle has more than {PROOFS_MAX} log entries or timestamps")
    if isinstance(bundle.content, Message):
        return Failure(Reason.NOT_A_SIGNATURE, "the bundle signs a blob, not a statement about an image")
    return of_bundle(bundle, bundle.content)


def of_bundle(bundle: Bundle, content: bytes | Digest | Envelope) -> Candidate:
    """Bring a bundle into the one form; `content` is its envelope, or the file that it signs."""
    signed = bundle.content.signature
    extras = Extras(bundle.certificate, bundle.entries, bundle.timestamps, (signed,), bundle.links)
    return Candidate(
        content,
        signed,
        has_certificate=bundle.certificate is not None,
        names_verifier=True,
        extras=lambda: extras,
    )


def _beside(annotations: Mapping[str, str], timestamped: tuple[bytes, ...]) -> Extras:
    entry = simplesigning.log_entry(annotations)
    token = simplesigning.timestamp(annotations)
    return Extras(
        simplesigning.certificate(annotations),
        (entry,) if entry is not None else (),
        (token,) if token is not None else (),
        timestamped,
    )


_READERS: Mapping[str, Callable[[UntrustedSignature], Candidate | Failure]] = {
    Kind.CLASSIC: _classic,
    Kind.ATTESTATION: _attestation,
    Kind.BUNDLE: _bundle,
}
