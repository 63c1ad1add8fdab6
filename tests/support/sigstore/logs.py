"""Transparency logs: of certificates (RFC 6962), and Rekor 1 and 2 with promises, proofs and checkpoints."""

import struct
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from support.sigstore.authority import ALWAYS
from support.sigstore.encoding import base64_of, canonical, public_key_of, sha256, spki_of

from proxy.crypto.window import Window
from proxy.demo.signing import SigningKey

# Entries of others, so that proofs have a path, and Rekor 1 an index of its own beside that in the tree.
CROWD = 5
SHARDED = 1000
TREE_ID = 123456789


@dataclass(frozen=True, kw_only=True)
class CertificateLog:
    """A log of certificates: its signed certificate timestamps (SCT) go into them."""

    key: SigningKey
    window: Window = ALWAYS
    url: str = "https://ct.private.test"

    @property
    def log_id(self):
        """What an SCT names the log by (RFC 6962, 3.2)."""
        return sha256(spki_of(self.key))

    def sct(self, tbs, issuer_key_hash, at: datetime, extensions=b""):
        """Sign a timestamp for a precertificate, given by its TBSCertificate in DER."""
        start = struct.pack(">BBQH", 0, 0, _milliseconds(at), 1)
        tail = len(extensions).to_bytes(2) + extensions
        signature = self.key.sign(start + issuer_key_hash + len(tbs).to_bytes(3) + tbs + tail)
        algorithm = b"\x04\x01" if isinstance(public_key_of(self.key), RSAPublicKey) else b"\x04\x03"
        head = b"\x00" + self.log_id + _milliseconds(at).to_bytes(8) + tail
        return head + algorithm + len(signature).to_bytes(2) + signature


@dataclass(frozen=True, kw_only=True)
class Proof:
    """That an entry is in a tree, and what the log signed of that tree."""

    index: int
    size: int
    root: bytes
    path: tuple[bytes, ...]
    checkpoint: str

    def to_json(self):
        return {
            "logIndex": str(self.index),
            "rootHash": base64_of(self.root),
            "treeSize": str(self.size),
            "hashes": [base64_of(one) for one in self.path],
            "checkpoint": {"envelope": self.checkpoint},
        }


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry of Rekor with all that the log says of it; `time` is None in Rekor 2."""

    kind: str
    version: str
    body: bytes
    log_id: bytes
    index: int
    time: int | None
    promise: bytes | None = None
    proof: Proof | None = None

    def to_json(self):
        """Write what a bundle has of it (protobuf-specs, TransparencyLogEntry)."""
        written = {
            "logIndex": str(self.index),
            "logId": {"keyId": base64_of(self.log_id)},
            "kindVersion": {"kind": self.kind, "version": self.version},
            "integratedTime": str(self.time or 0),
            "canonicalizedBody": base64_of(self.body),
        }
        if self.promise is not None:
            written["inclusionPromise"] = {"signedEntryTimestamp": base64_of(self.promise)}
        if self.proof is not None:
            written["inclusionProof"] = self.proof.to_json()
        return written

    def to_annotation(self):
        """Write what a classic signature has of it, which is no proof."""
        return {"SignedEntryTimestamp": base64_of(self.promise), "Payload": self.promised()}

    def promised(self):
        """Return what a promise (SET) signs, in canonical JSON."""
        return {
            "body": base64_of(self.body),
            "integratedTime": self.time,
            "logIndex": self.index,
            "logID": self.log_id.hex(),
        }


@dataclass(frozen=True, kw_only=True)
class Rekor:
    """A log of signatures, version 1 or 2. Copies made with `replace` share their entries."""

    key: SigningKey
    version: int
    name: str
    window: Window = ALWAYS
    leaves: list[bytes] = field(default_factory=lambda: [_leaf(b"%d" % number) for number in range(CROWD)])

    @property
    def log_id(self):
        """SHA-256 of the key, or, for Ed25519 in Rekor 2, of name and key (C2SP signed-note)."""
        key = public_key_of(self.key)
        if self.version == 2 and isinstance(key, Ed25519PublicKey):
            return sha256(self.name.encode() + b"\n\x01" + key.public_bytes_raw())
        return sha256(spki_of(self.key))

    @property
    def url(self):
        """Where the log would be; its host is the origin of its checkpoints."""
        return f"https://{self.name}"

    def add(self, body: dict, at: datetime):
        """Log an entry and return it with proof, and in version 1 with time and promise."""
        return self.add_bytes(canonical(body), at, body["kind"], body["apiVersion"])

    def add_bytes(self, body: bytes, at: datetime, kind, version):
        """Log bytes, whatever they are, as an entry of this kind and version."""
        self.leaves.append(_leaf(body))
        position, first = len(self.leaves) - 1, self.version == 1
        entry = Entry(
            kind=kind,
            version=version,
            body=body,
            log_id=self.log_id,
            index=position + (SHARDED if first else 0),
            time=int(at.timestamp()) if first else None,
            proof=self.prove(position, at),
        )
        return replace(entry, promise=self.promise(entry)) if first else entry

    def promise(self, entry):
        """Sign a promise (SET) for an entry as it stands."""
        return self.key.sign(canonical(entry.promised()))

    def prove(self, position, at: datetime, size=None):
        """Prove that a leaf is in the tree as it is, or was when it had this size."""
        leaves = self.leaves[:size]
        root = tree_hash(leaves)
        checkpoint = self.checkpoint(len(leaves), root, at)
        return Proof(
            index=position, size=len(leaves), root=root, path=tuple(path(position, leaves)), checkpoint=checkpoint
        )

    def checkpoint(self, size, root, at: datetime):
        """Write and sign a checkpoint: origin, size, root hash, and in version 1 a time."""
        lines = [f"{self.name} - {TREE_ID}" if self.version == 1 else self.name, str(size), base64_of(root)]
        if self.version == 1:
            lines.append(f"Timestamp: {_milliseconds(at)}000000")
        return self.note("".join(f"{line}\n" for line in lines))

    def note(self, text):
        """Sign a note (C2SP signed-note)."""
        return f"{text}\n{self.note_signature(text)}"

    def note_signature(self, text, name=None):
        """Write the line that signs a note, under the log's own name or another."""
        signature = base64_of(self.log_id[:4] + self.key.sign(text.encode()))
        return f"\N{EM DASH} {name or self.name} {signature}\n"


def tree_hash(leaves):
    """Return the Merkle tree hash of leaf hashes (RFC 6962, 2.1)."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"")
    half = _split(len(leaves))
    return sha256(b"\x01" + tree_hash(leaves[:half]) + tree_hash(leaves[half:]))


def path(position, leaves):
    """Return the audit path of a leaf (RFC 6962, 2.1.1)."""
    if len(leaves) == 1:
        return []
    half = _split(len(leaves))
    if position < half:
        return [*path(position, leaves[:half]), tree_hash(leaves[half:])]
    return [*path(position - half, leaves[half:]), tree_hash(leaves[:half])]


def _leaf(body):
    return sha256(b"\x00" + body)


def _split(count):
    return 1 << ((count - 1).bit_length() - 1)


def _milliseconds(at):
    return int(at.timestamp() * 1000)
