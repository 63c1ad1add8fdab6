"""Entries of a Rekor log, and whether one is about this signature, this verifier and this content."""

from dataclasses import dataclass, field

from proxy.crypto.keys import PublicKey
from proxy.crypto.tlog import InclusionProof
from proxy.formats.cosign.dsse import Envelope
from proxy.oci.digest import Digest


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
