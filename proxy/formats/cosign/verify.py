"""The checks of a signature by key, one function a shape, each a numbered list.

Whatever the bytes say is believed only after the signature over them has been checked: a stranger's words decide
nothing, not even the reason of the refusal.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from proxy.crypto.keys import PublicKey
from proxy.formats.api import UntrustedSignature
from proxy.formats.cosign import simplesigning, wire
from proxy.formats.cosign.bundle import Bundle
from proxy.formats.cosign.dsse import IN_TOTO, Statement
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.verdict import Reason

# What `cosign sign` 3 signs; any other predicate type is an attestation, which says something about an image and
# approves nothing (CVE-2022-35929).
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"


class Kind(StrEnum):
    """The shapes of a cosign signature, as `UntrustedSignature.kind`."""

    CLASSIC = "cosign-classic"
    BUNDLE = "cosign-bundle"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a signature does not count."""

    reason: Reason
    detail: str


Annotations = Mapping[str, str]


def check(key: PublicKey, image: Digest, required: Annotations, signature: UntrustedSignature) -> Annotations | Failure:
    """Return the annotations that this key signed together with the image's digest, or why it did not."""
    shape = _SHAPES.get(signature.kind)
    if shape is None:
        return Failure(Reason.UNSUPPORTED, f"candidates of kind {signature.kind!a:.40} are not cosign's")
    try:
        return shape(key, image, required, signature)
    except OverLimitError as err:
        return Failure(Reason.OVER_LIMIT, str(err))
    except MalformedError as err:
        return Failure(Reason.MALFORMED, str(err))


def _check_classic(
    key: PublicKey, image: Digest, required: Annotations, signature: UntrustedSignature
) -> Annotations | Failure:
    # 1. There is a signature at all.
    signed = wire.binary(signature.annotations.get(simplesigning.SIGNATURE), f"annotation {simplesigning.SIGNATURE}")
    if not signed:
        return Failure(Reason.MALFORMED, f"annotation {simplesigning.SIGNATURE} is empty")
    # 2. It is this key's, over the exact bytes of the payload.
    if not key.verify(signed, signature.payload):
        return _not_by_this_key(key, keyless=simplesigning.CERTIFICATE in signature.annotations)
    # 3. What lies beside it can be read. That it is true is not required of a key's signature.
    simplesigning.check_extras(signature.annotations)
    # 4. The payload is a statement by cosign about an image, and not something else that the key signed.
    payload = simplesigning.Payload.parse(signature.payload)
    if payload.kind != simplesigning.CRITICAL_TYPE:
        return Failure(Reason.NOT_A_SIGNATURE, f"what is signed is of type {payload.kind!a:.60}")
    # 5. It is about this image.
    if payload.image != image:
        return Failure(Reason.OTHER_IMAGE, f"the signature is for {payload.image}")
    # 6. It carries the annotations that are asked for.
    return _with_annotations(required, payload.annotations)


def _check_bundle(  # noqa: PLR0911 (a check list leaves where a check fails)
    key: PublicKey, image: Digest, required: Annotations, signature: UntrustedSignature
) -> Annotations | Failure:
    # 1. It is a bundle of the one version that is known, all of it understood.
    bundle = Bundle.parse(signature.payload)
    # 2. It names its signer by a key. The key's hint is not signed and decides nothing.
    if bundle.material != "publicKey":
        return _not_by_this_key(key, keyless=True)
    # 3. It signs a statement.
    if bundle.envelope is None:
        return Failure(Reason.NOT_A_SIGNATURE, "the bundle signs a blob, not a statement about an image")
    # 4. The one signature is this key's, over payload type and payload.
    if not key.verify(bundle.envelope.signature, bundle.envelope.signed):
        return _not_by_this_key(key, keyless=False)
    # 5. The statement is in-toto's.
    if bundle.envelope.payload_type != IN_TOTO:
        return Failure(Reason.NOT_A_SIGNATURE, f"what is signed is of type {bundle.envelope.payload_type!a:.60}")
    statement = Statement.parse(bundle.envelope.payload)
    # 6. It is a signature and no attestation.
    if statement.predicate_type != SIGN_PREDICATE:
        return Failure(Reason.NOT_A_SIGNATURE, f"an attestation of type {statement.predicate_type!a:.80}")
    # 7. It is about this image.
    about = [subject.annotations for subject in statement.subjects if subject.names(image)]
    if not about:
        return Failure(Reason.OTHER_IMAGE, "the statement is about other content")
    # 8. It carries the annotations that are asked for.
    return _with_annotations(required, *about)


def _not_by_this_key(key: PublicKey, *, keyless: bool) -> Failure:
    if keyless:
        return Failure(Reason.UNTRUSTED_SIGNER, "signed keyless, and this signer is a key")
    if key.is_ed25519:
        # cosign signs with an Ed25519 key as Ed25519ph and cannot verify that itself: say so, or nobody finds it.
        return Failure(Reason.UNTRUSTED_SIGNER, "not signed by this key, or as Ed25519ph, which is not supported")
    return Failure(Reason.UNTRUSTED_SIGNER, "not signed by this key")


def _with_annotations(required: Annotations, *signed: Annotations) -> Annotations | Failure:
    for annotations in signed:
        if required.items() <= annotations.items():
            return annotations
    missing = min(name for name, value in required.items() if signed[0].get(name) != value)
    return Failure(Reason.ANNOTATION_MISSING, f"annotation {missing!a:.60} is not signed with the required value")


_SHAPES: Mapping[str, Callable[[PublicKey, Digest, Annotations, UntrustedSignature], Annotations | Failure]] = {
    Kind.CLASSIC: _check_classic,
    Kind.BUNDLE: _check_bundle,
}
