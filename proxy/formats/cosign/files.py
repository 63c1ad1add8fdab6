"""Bundles beside files: what `sealgate verify-bundle` checks, and Sigstore's conformance suite asks."""

from dataclasses import dataclass, field
from datetime import datetime

from proxy.formats.cosign.bundle import FILE_BUNDLE_TYPES, Bundle, Message
from proxy.formats.cosign.dsse import IN_TOTO, Envelope, Statement
from proxy.formats.cosign.proof import Proven
from proxy.formats.cosign.shapes import of_bundle
from proxy.formats.cosign.verify import Wanted, check_signer
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.verdict import Failure, Reason


@dataclass(frozen=True, slots=True)
class File:
    """A file by its SHA-256 digest; `content` is None where only that is known."""

    digest: Digest
    content: bytes | None = field(default=None, repr=False)


def check_file(wanted: Wanted, document: bytes, file: File, now: datetime, proven: Proven) -> Failure | None:
    """Check a bundle, v0.1 to v0.3: None if whoever is wanted signed the file, or a statement about it.

    `proven` is filled on the way, with what holds even where a later check fails.
    """
    try:
        bundle = Bundle.parse(document, FILE_BUNDLE_TYPES)
        # 1. The bundle means this file, if it says which.
        if isinstance(bundle.content, Message) and bundle.content.sha256 not in {None, bytes.fromhex(file.digest.hex)}:
            return Failure(Reason.OTHER_IMAGE, "the bundle is of other content")
        # 2. Whoever is wanted signed it, and whatever is demanded besides is proven.
        content = (
            bundle.content
            if isinstance(bundle.content, Envelope)
            else file.digest
            if file.content is None
            else file.content
        )
        failure = check_signer(wanted, of_bundle(bundle, content), now, proven)
        # 3. What is signed is the file, or a statement about it.
        return failure or (_check_about(content, file.digest) if isinstance(content, Envelope) else None)
    except OverLimitError as err:
        return Failure(Reason.OVER_LIMIT, str(err))
    except MalformedError as err:
        return Failure(Reason.MALFORMED, str(err))


def _check_about(envelope: Envelope, digest: Digest) -> Failure | None:
    if envelope.payload_type != IN_TOTO:
        return Failure(Reason.NOT_A_SIGNATURE, f"what is signed is of type {envelope.payload_type!a:.60}")
    if not any(subject.names(digest) for subject in Statement.parse(envelope.payload).subjects):
        return Failure(Reason.OTHER_IMAGE, "the statement is about other content")
    return None
