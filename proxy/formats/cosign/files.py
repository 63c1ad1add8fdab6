"""Bundles beside files: what `sealgate verify-bundle` checks, and Sigstore's conformance suite asks."""

from dataclasses import dataclass, field
from datetime import datetime

from proxy.formats.cosign.bundle import FILE_BUNDLE_TYPES, Bundle, Message
from proxy.formats.cosign.dsse import Envelope
from proxy.formats.cosign.proof import Proven
from proxy.formats.cosign.shapes import of_bundle
from proxy.formats.cosign.verify import Wanted, check_signer, statement_of, unreadable
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
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
        content = _signed_content(bundle, file)
        failure = check_signer(wanted, of_bundle(bundle, content), now, proven)
        # 3. What is signed is the file, or a statement about it.
        return failure or (_check_about(content, file.digest) if isinstance(content, Envelope) else None)
    except MalformedError as err:
        return unreadable(err)


def _signed_content(bundle: Bundle, file: File) -> bytes | Digest | Envelope:
    if isinstance(bundle.content, Envelope):
        return bundle.content
    return file.digest if file.content is None else file.content


def _check_about(envelope: Envelope, digest: Digest) -> Failure | None:
    statement = statement_of(envelope)
    if isinstance(statement, Failure):
        return statement
    if not any(subject.names(digest) for subject in statement.subjects):
        return Failure(Reason.OTHER_IMAGE, "the statement is about other content")
    return None
