"""Transparency logs: keys, Merkle proofs, checkpoints, promises (RFC 6962; C2SP tlog-checkpoint and signed-note)."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from proxy.crypto.keys import PublicKey
from proxy.crypto.window import Window
from proxy.oci import canonical_base64
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.verdict import Failure, Reason

HASH_BYTES = 32
# C2SP signed-note: the key ID in front of each signature.
HINT_BYTES = 4
# RFC 9162, 2.1.3: at most one hash a level, and a tree of 2**63 leaves has 63 levels below its root.
PROOF_HASHES_MAX = 63
# Three lines and 32 signatures of a post-quantum size (ML-DSA-44: 3.2 kB in base64) do not reach half of it.
CHECKPOINT_BYTES_MAX = 64 * 1024
# The log's, and those of its witnesses: the public logs have three. Each one that claims to be the log's is verified.
CHECKPOINT_SIGNATURES_MAX = 32
# The last second of the year 9999, which is the last that a datetime can hold.
SECONDS_MAX = 253402300799

_SIGNATURE_LINE = re.compile(r"\u2014 ([^\s+]+) (\S+)")
# Control characters but for the line feed, and lone surrogates, which have no UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
# Rekor v1 appends the number of the tree to the name of the host.
_TREE_NUMBER = re.compile(r"(?P<host>\S+) - [0-9]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class TransparencyLog:
    """A log of a trust root: of signatures (Rekor) or of certificates (RFC 6962).

    `log_id` is how entries name it: 32 bytes, or, as a newer trust root writes, the 4 bytes of its checkpoints' key
    hint. `origin` is the first line of its checkpoints, without scheme. `window` is when its key was in use.
    `checkpoint_key_id` is how checkpoints name the key, where the trust root says that this is not the log id's start.
    """

    origin: str
    log_id: bytes
    key: PublicKey
    window: Window
    checkpoint_key_id: bytes | None = None

    @property
    def hint(self) -> bytes:
        """The 4 bytes in front of its signatures on checkpoints (C2SP signed-note; protobuf-specs: both ids agree)."""
        return (self.checkpoint_key_id or self.log_id)[:HINT_BYTES]


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


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line of a note: who is said to have signed, by which key, and the signature."""

    name: str
    hint: bytes
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's signed statement of its size and root (C2SP tlog-checkpoint). Nothing in it is proven.

    `text` is what the signatures cover. Extension lines, such as Rekor v1's time, are covered and mean nothing here.
    """

    text: bytes = field(repr=False)
    origin: str
    size: int
    root: bytes
    signatures: tuple[NoteSignature, ...]

    @classmethod
    def parse(cls, note: str) -> Self:
        """Read a signed note; raises MalformedError and, for a long one, OverLimitError."""
        text, blank, signatures = _printable(note).partition("\n\n")
        lines = text.split("\n")
        if not blank or not signatures.endswith("\n"):
            raise MalformedError("the checkpoint does not end with a blank line and lines of signatures")
        if len(lines) < len(("origin", "size", "root")) or not lines[0]:
            raise MalformedError("the checkpoint is not an origin, a size, a root hash and extensions, one a line")
        root = canonical_base64.decode(lines[2], "the checkpoint's root hash")
        if len(root) != HASH_BYTES:
            raise MalformedError(f"the checkpoint's root hash has {len(root)} bytes, not {HASH_BYTES}")
        return cls(f"{text}\n".encode(), lines[0], _size(lines[1]), root, _signatures(signatures[:-1].split("\n")))

    def is_signed_by(self, log: TransparencyLog) -> bool:
        """Say whether this log made it: its key signed under the name of its origin, and the origin is this log's.

        Other keys' signatures, as those of witnesses, are passed over. Rekor v1's origin, which has the number of a
        tree in it, names its host by a setting that private instances leave alone; there the key alone tells the log.
        """
        tree = _TREE_NUMBER.fullmatch(self.origin)
        host = tree["host"] if tree else self.origin
        # As in Go's sumdb/note, a signature that is repeated counts once.
        by_log = {one.signature for one in self.signatures if (one.name, one.hint) == (host, log.hint)}
        # A false signature in the name of a known key spoils the note, whatever lies beside it (C2SP signed-note).
        signed = bool(by_log) and all(log.key.verify(signature, self.text) for signature in by_log)
        return signed and (tree is not None or host == log.origin)


def log_of(logs: Iterable[TransparencyLog], log_id: bytes) -> TransparencyLog | None:
    """Return the log that an entry names, by the whole of the id that the trust root gives it; None for one not known.

    A key hint is for checkpoints: four bytes can be found for another key in seconds.
    """
    return next((log for log in logs if log_id and log.log_id == log_id), None)


def check_inclusion(log: TransparencyLog, proof: InclusionProof, body: bytes) -> Failure | None:
    """Check that this body is a leaf of the log, by a checkpoint that the log signed; None if it is.

    Says nothing of when, and so nothing of the log's window: a proof has no time that anybody signed. Who knows a
    trusted time checks it with `check_window`. Raises MalformedError for a checkpoint that cannot be read.
    """
    checkpoint = Checkpoint.parse(proof.checkpoint)
    if not checkpoint.is_signed_by(log):
        return _not_proven("the checkpoint of the inclusion proof is not signed by the log")
    if (checkpoint.size, checkpoint.root) != (proof.size, proof.root):
        return _not_proven("the inclusion proof is for another tree than its checkpoint")
    root = root_of_proof(leaf_hash(body), proof.index, proof.size, proof.hashes)
    if root is None or not hmac.compare_digest(root, checkpoint.root):
        return _not_proven("the inclusion proof does not lead to the root hash of the log")
    return None


def is_sharded(proof: InclusionProof) -> bool:
    """Return whether the proof is for a tree of Rekor 1, whose entries are numbered across all its trees."""
    return _TREE_NUMBER.fullmatch(proof.checkpoint.partition("\n")[0]) is not None


def check_promise(
    log: TransparencyLog, promise: bytes, body: bytes, integrated_time: int, log_index: int
) -> datetime | Failure:
    """Check a promise of Rekor v1 (signed entry timestamp), and return the time that it proves.

    `integrated_time` is in seconds since 1970; the log's window must cover it. What is signed is the RFC 8785 form of
    four members; the log's id in it is the SHA-256 of its key (rekor, `pkg/verify`).
    """
    if not 0 < integrated_time <= SECONDS_MAX:
        return _not_proven(f"the log's time, {integrated_time}, is none")
    members = {
        "body": base64.b64encode(body).decode(),
        "integratedTime": integrated_time,
        "logID": log.key.fingerprint,
        "logIndex": log_index,
    }
    # Members in ASCII and integers: this is their canonical JSON.
    signed = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
    if not log.key.verify(promise, signed):
        return _not_proven("the log's promise (SET) is not signed by the log, or is for another entry or time")
    moment = datetime.fromtimestamp(integrated_time, UTC)
    return check_window(log, moment) or moment


def check_window(log: TransparencyLog, moment: datetime) -> Failure | None:
    """Check that the log's key was in use at a time that is proven; None if it was."""
    if log.window.covers(moment):
        return None
    return _not_proven(f"the log's key was not in use at {moment.isoformat()}")


def leaf_hash(body: bytes) -> bytes:
    """Return the hash of a leaf (RFC 9162, 2.1.1)."""
    return hashlib.sha256(b"\0" + body).digest()


def root_of_proof(leaf: bytes, index: int, size: int, hashes: tuple[bytes, ...]) -> bytes | None:
    """Return the root that an inclusion proof leads to (RFC 9162, 2.1.3.2); None where it is none for this place.

    A proof has exactly one hash for each level where the leaf's path has a sibling: up to the level where it joins the
    path of the last leaf, on either side; above, on the left only.
    """
    if not 0 <= index < size or any(len(one) != HASH_BYTES for one in hashes):
        return None
    shared = (index ^ (size - 1)).bit_length()
    if len(hashes) != shared + (index >> shared).bit_count():
        return None
    node = leaf
    for level, sibling in enumerate(hashes):
        is_right = level >= shared or (index >> level) & 1
        node = hashlib.sha256(b"\1" + (sibling + node if is_right else node + sibling)).digest()
    return node


def _not_proven(detail: str) -> Failure:
    return Failure(Reason.LOG_NOT_PROVEN, detail)


def _printable(note: str) -> str:
    if len(note) > CHECKPOINT_BYTES_MAX:
        raise OverLimitError(f"the checkpoint is longer than {CHECKPOINT_BYTES_MAX} bytes")
    # C2SP signed-note: UTF-8 without control characters other than the line feed.
    if _UNPRINTABLE.search(note):
        raise MalformedError("the checkpoint has characters that a note must not have")
    return note


def _size(digits: str) -> int:
    if not _SIZE.fullmatch(digits):
        raise MalformedError("the checkpoint's second line is not the size of a tree")
    return int(digits)


def _signatures(lines: list[str]) -> tuple[NoteSignature, ...]:
    if len(lines) > CHECKPOINT_SIGNATURES_MAX:
        raise OverLimitError(f"the checkpoint has more than {CHECKPOINT_SIGNATURES_MAX} signatures")
    return tuple(map(_signature, lines))


def _signature(line: str) -> NoteSignature:
    parts = _SIGNATURE_LINE.fullmatch(line)
    if not parts:
        raise MalformedError("the checkpoint has a line after its blank line that is no signature")
    hint_and_signature = canonical_base64.decode(parts[2], "a signature of the checkpoint")
    if len(hint_and_signature) <= HINT_BYTES:
        raise MalformedError("a signature of the checkpoint is empty")
    return NoteSignature(parts[1], hint_and_signature[:HINT_BYTES], hint_and_signature[HINT_BYTES:])
