"""Bundles beside files: what `sealgate verify-bundle` checks, and Sigstore's conformance suite asks."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from proxy.formats.cosign.bundle import FILE_BUNDLE_TYPES, Bundle, Message
from proxy.formats.cosign.dsse import Envelope, StatementSubject
from proxy.formats.cosign.proof import Proven
from proxy.formats.cosign.shapes import of_bundle
from proxy.formats.cosign.verify import Wanted, check_signer, statement_of, unreadable
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
from proxy.verdict import Failure, Reason

# By which a bundle or a statement may name a file (protobuf-specs, HashAlgorithm; in-toto, digest_set.md).
FILE_HASHES = ("sha256", "sha384", "sha512")


@dataclass(frozen=True, slots=True)
class File:
    """A file by a digest; `content` is None where it is not at hand, and then `others` are what else is known of it."""

    digest: Digest
    content: bytes | None = field(default=None, repr=False)
    others: tuple[Digest, ...] = ()

    def digest_by(self, algorithm: str) -> Digest | None:
        """Return its digest by this algorithm of FILE_HASHES; None where that is not known."""
        if self.content is not None:
            return Digest(algorithm, hashlib.new(algorithm, self.content).hexdigest())
        return next((one for one in (self.digest, *self.others) if one.algorithm == algorithm), None)


def check_file(wanted: Wanted, document: bytes, file: File, now: datetime, proven: Proven) -> Failure | None:
    """Check a bundle, v0.1 to v0.3: None if whoever is wanted signed the file, or a statement about it.

    `proven` is filled on the way, with what holds even where a later check fails.
    """
    try:
        bundle = Bundle.parse(document, FILE_BUNDLE_TYPES)
        # 1. The bundle means this file, if it says which.
        if isinstance(bundle.content, Message) and (failure := _check_digest(bundle.content, file)):
            return failure
        # 2. Whoever is wanted signed it, and whatever is demanded besides is proven.
        content = _signed_content(bundle, file)
        failure = check_signer(wanted, of_bundle(bundle, content), now, proven)
        # 3. What is signed is the file, or a statement about it.
        return failure or (_check_about(content, file) if isinstance(content, Envelope) else None)
    except MalformedError as err:
        return unreadable(err)


def _signed_content(bundle: Bundle, file: File) -> bytes | Digest | Envelope:
    if isinstance(bundle.content, Envelope):
        return bundle.content
    return (bundle.content.digest or file.digest) if file.content is None else file.content


def _check_digest(message: Message, file: File) -> Failure | None:
    stated = message.digest
    if stated is None:
        return None
    known = file.digest_by(stated.algorithm)
    if known is None:
        return _not_known(stated.algorithm)
    return None if known == stated else Failure(Reason.OTHER_IMAGE, "the bundle is of other content")


def _check_about(envelope: Envelope, file: File) -> Failure | None:
    statement = statement_of(envelope)
    if isinstance(statement, Failure):
        return statement
    if any(_names(subject, file) for subject in statement.subjects):
        return None
    stated = {one for subject in statement.subjects for one in subject.digests if one in FILE_HASHES}
    if stated and not any(file.digest_by(algorithm) for algorithm in stated):
        return _not_known(min(stated))
    return Failure(Reason.OTHER_IMAGE, "the statement is about other content")


def _names(subject: StatementSubject, file: File) -> bool:
    """Return whether a subject is this file, by the digests that it states: npm states a SHA-512 only.

    All that can be compared must be the same: in-toto is content with any one, but no file has two of one algorithm.
    """
    known = [one for algorithm in FILE_HASHES if algorithm in subject.digests and (one := file.digest_by(algorithm))]
    return bool(known) and all(subject.names(one) for one in known)


def _not_known(algorithm: str) -> Failure:
    detail = f"signed is a {algorithm} digest, which is not known of the file; give the file, or {algorithm}:<hex>"
    return Failure(Reason.UNSUPPORTED, detail)
