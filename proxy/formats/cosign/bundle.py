"""Sigstore bundles, v0.1 to v0.3 (protobuf-specs, sigstore_bundle.proto), read strictly."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from proxy.crypto.tlog import PROOF_HASHES_MAX, InclusionProof
from proxy.formats.cosign import wire
from proxy.formats.cosign.dsse import Envelope
from proxy.formats.cosign.entry import LogEntry
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
from proxy.oci.strict_json import loads_object

# Both spellings of one version; as media type of a layer and as `mediaType` of the document. The only one that cosign
# reads from a registry.
BUNDLE_TYPES = frozenset(
    {"application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle+json;version=0.3"}
)
V01 = "application/vnd.dev.sigstore.bundle+json;version=0.1"
V02 = "application/vnd.dev.sigstore.bundle+json;version=0.2"
# What lies beside a file may be older.
FILE_BUNDLE_TYPES = BUNDLE_TYPES | {V01, V02}
# sigstore-go's limits (verify/tlog.go, verify/tsa.go; CVE-2024-45395).
TLOG_ENTRIES_MAX = 32
TIMESTAMPS_MAX = 32
# Leaf, intermediate and root, with room; Fulcio's own chains have three.
CERTIFICATES_MAX = 10
_CONTENTS = ("dsseEnvelope", "messageSignature")
# protobuf-specs, HashAlgorithm: the hashes of P-256, P-384 and P-521.
_HASHES = {"SHA2_256": "sha256", "SHA2_384": "sha384", "SHA2_512": "sha512"}
_SIGNERS = ("publicKey", "x509CertificateChain", "certificate")


@dataclass(frozen=True, slots=True)
class Message:
    """A signature over a file, of which the bundle may state a digest (`messageSignature`)."""

    signature: bytes = field(repr=False)
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as it was read. Nothing in it is proven.

    `content` is what is signed: a statement in its envelope, or a file. `certificate` is the signer's, in DER, None
    where a key is meant instead; a key's hint is not signed, nor kept. `links` are the certificates behind the signer's
    in a v0.3 bundle with a chain, in DER, and None where it has none; those of older bundles are not kept.
    """

    content: Envelope | Message
    certificate: bytes | None = field(repr=False)
    entries: tuple[LogEntry, ...] = field(default=(), repr=False)
    timestamps: tuple[bytes, ...] = field(default=(), repr=False)
    links: tuple[bytes, ...] | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, document: bytes, versions: frozenset[str] = BUNDLE_TYPES) -> Self:
        """Read a bundle; raises MalformedError for other versions, and for what the specification does not know."""
        members = loads_object(document, "the bundle", wire.VALUES_MAX)
        version = wire.text(members.get("mediaType"), "the bundle.mediaType")
        if version not in versions:
            known = "only v0.3 is read" if versions == BUNDLE_TYPES else "v0.1 to v0.3 are read"
            raise MalformedError(f"the bundle's mediaType is {version!a:.80}; {known}")
        # Early clients wrote null for what is not there.
        members = _BUNDLE(wire.null_as_absent(members) if version == V01 else members, "the bundle")
        material = members["verificationMaterial"]
        entries = material.get("tlogEntries", ())
        _check_entries(entries, version)
        certificate, links = _certificates(material, version)
        return cls(
            members[_only_one(members, _CONTENTS, "the bundle")],
            certificate,
            entries,
            tuple(one["signedTimestamp"] for one in material.get("timestampVerificationData", {}).get(_TIMESTAMPS, ())),
            links,
        )


def _certificates(material: Mapping[str, Any], version: str) -> tuple[bytes | None, tuple[bytes, ...] | None]:
    chain = [one["rawBytes"] for one in material.get("x509CertificateChain", {}).get("certificates", ())]
    match _only_one(material, _SIGNERS, "verificationMaterial"):
        case "publicKey":
            return None, None
        case "certificate" if version in BUNDLE_TYPES:
            return material["certificate"]["rawBytes"], None
        # Before v0.3 the certificate was the first of a chain, of which the rest is not needed (sigstore_bundle.proto);
        # in v0.3 a chain is there for what the trust root lacks, and counts where a signer allows it.
        case "x509CertificateChain" if chain:
            return chain[0], tuple(chain[1:]) if version in BUNDLE_TYPES else None
        case other:
            raise MalformedError(f"verificationMaterial.{other} is empty, or not what a bundle of this version has")


def _check_entries(entries: tuple[LogEntry, ...], version: str) -> None:
    """Check what each version has of a log entry (sigstore_bundle.proto, `tlog_entries`)."""
    for entry in entries:
        if version == V01 and entry.promise is None:
            raise MalformedError("a log entry of a v0.1 bundle has no inclusion promise")
        if version != V01 and entry.proof is None:
            raise MalformedError("a log entry has no inclusion proof")


def _only_one(members: Mapping[str, Any], names: tuple[str, ...], where: str) -> str:
    there = [name for name in names if name in members]
    if len(there) != 1:
        raise MalformedError(f"{where} has {len(there)} of {', '.join(names)}, not one")
    return there[0]


def _proof(value: object, where: str) -> InclusionProof | None:
    members = _INCLUSION_PROOF(value, where)
    if "checkpoint" not in members:
        return None  # proves nothing: nobody vouches for its root (v0.1 had such)
    return InclusionProof(
        members.get("logIndex", 0),
        members["treeSize"],
        members["rootHash"],
        members.get("hashes", ()),
        members["checkpoint"]["envelope"],
    )


def _entry(value: object, where: str) -> LogEntry:
    members = _TLOG_ENTRY(value, where)
    return LogEntry(
        kind=members["kindVersion"]["kind"],
        version=members["kindVersion"]["version"],
        log_id=members["logId"]["keyId"],
        index=members.get("logIndex", 0),
        integrated_time=members.get("integratedTime", 0) or None,
        promise=members.get("inclusionPromise", {}).get("signedEntryTimestamp"),
        proof=members.get("inclusionProof"),
        body=members["canonicalizedBody"],
    )


def _message(value: object, where: str) -> Message:
    members = _MESSAGE(value, where)
    return Message(members["signature"], members.get("messageDigest"))


def _digest(value: object, where: str) -> Digest:
    members = _MESSAGE_DIGEST(value, where)
    algorithm = _HASHES.get(members["algorithm"])
    if algorithm is None:
        known = ", ".join(_HASHES)
        raise MalformedError(f"{where}.algorithm is {members['algorithm']!a:.40}; {known} are read")
    return Digest(algorithm, members["digest"].hex())


_TIMESTAMPS = "rfc3161Timestamps"
_CERTIFICATE = wire.message({"rawBytes": wire.binary})
# Protobuf's JSON leaves out what has its default value: 0, an empty text, an empty list.
_INCLUSION_PROOF = wire.message(
    {"rootHash": wire.binary, "treeSize": wire.natural},
    {
        "logIndex": wire.natural,
        "hashes": wire.listed(wire.binary, PROOF_HASHES_MAX),
        "checkpoint": wire.message({"envelope": wire.text}),
    },
)
_TLOG_ENTRY = wire.message(
    {
        "logId": wire.message({"keyId": wire.binary}),
        "kindVersion": wire.message({"kind": wire.text, "version": wire.text}),
        "canonicalizedBody": wire.binary,
    },
    {
        "logIndex": wire.natural,
        "integratedTime": wire.natural,
        "inclusionPromise": wire.message({"signedEntryTimestamp": wire.binary}),
        "inclusionProof": _proof,
    },
)
_MESSAGE_DIGEST = wire.message({"algorithm": wire.text, "digest": wire.binary})
_MESSAGE = wire.message({"signature": wire.binary}, {"messageDigest": _digest})
_VERIFICATION_MATERIAL = wire.message(
    {},
    {
        "publicKey": wire.message({}, {"hint": wire.text}),
        "certificate": _CERTIFICATE,
        "x509CertificateChain": wire.message({}, {"certificates": wire.listed(_CERTIFICATE, CERTIFICATES_MAX)}),
        "tlogEntries": wire.listed(_entry, TLOG_ENTRIES_MAX),
        "timestampVerificationData": wire.message(
            {}, {_TIMESTAMPS: wire.listed(wire.message({"signedTimestamp": wire.binary}), TIMESTAMPS_MAX)}
        ),
    },
)
_BUNDLE = wire.message(
    {"mediaType": wire.text, "verificationMaterial": _VERIFICATION_MATERIAL},
    {"dsseEnvelope": Envelope.read, "messageSignature": _message},
)
