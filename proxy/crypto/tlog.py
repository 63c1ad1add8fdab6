"""Transparency logs: keys, Merkle proofs, checkpoints, promises (RFC 6962; C2SP tlog-checkpoint and signed-note)."""

from dataclasses import dataclass, field

from proxy.crypto.keys import PublicKey
from proxy.crypto.window import Window


@dataclass(frozen=True, slots=True)
class TransparencyLog:
    """A log of a trust root: of signatures (Rekor) or of certificates (RFC 6962).

    `log_id` is how entries name it: 32 bytes, or, as a newer trust root writes, the 4 bytes of its checkpoints' key
    hint. `origin` is the first line of its checkpoints, without scheme. `window` is when its key was in use.
    """

    origin: str
    log_id: bytes
    key: PublicKey
    window: Window


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """What is to show that a leaf is in a log of `size` leaves. Nothing in it is proven.

    `index` counts from 0 in this tree; `root` and `hashes` are 32 bytes each; `checkpoint` is a signed note.
    """

    index: int
    size: int
    root: bytes = field(repr=False)
    hashes: tuple[bytes, ...] = field(repr=False)
    checkpoint: str = field(repr=False)
