"""Sigstore bundle v0.3 (protobuf-specs, sigstore_bundle.proto), read strictly."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from proxy.formats.cosign import wire
from proxy.formats.cosign.dsse import Envelope
from proxy.oci.errors import MalformedError
from proxy.oci.strict_json import loads_object

# Both spellings of one version; as media type of a layer and as `mediaType` of the document.
BUNDLE_TYPES = frozenset(
    {"application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle+json;version=0.3"}
)
# sigstore-go's limits (verify/tlog.go, verify/tsa.go; CVE-2024-45395).
TLOG_ENTRIES_MAX = 32
TIMESTAMPS_MAX = 32
# RFC 6962, 2.1.1: a proof has one hash a level, and a tree of 2**63 leaves has 63 levels.
PROOF_HASHES_MAX = 63
# Leaf, intermediate and root, with room; Fulcio's own chains have three.
CERTIFICATES_MAX = 10
_MATERIALS = ("publicKey", "certificate", "x509CertificateChain")
_CONTENTS = ("dsseEnvelope", "messageSignature")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as it was read. Nothing in it is proven.

    `envelope` is None where the bundle signs a blob's digest instead (`messageSignature`). `material` says by what the
    signer is named: `publicKey`, `certificate` or `x509CertificateChain`. A public key's hint is not signed, nor kept.
    """

    envelope: Envelope | None
    material: str
    tlog_entries: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    timestamps: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, document: bytes) -> Self:
        """Read a bundle; raises MalformedError for other versions, and for what the specification does not know."""
        members = loads_object(document, "the bundle")
        version = wire.text(members.get("mediaType"), "the bundle.mediaType")
        if version not in BUNDLE_TYPES:
            raise MalformedError(f"the bundle's mediaType is {version!a:.80}; only v0.3 is read")
        members = _BUNDLE(members, "the bundle")
        _only_one(members, _CONTENTS, "the bundle")
        material = members["verificationMaterial"]
        return cls(
            members.get("dsseEnvelope"),
            _only_one(material, _MATERIALS, "verificationMaterial"),
            material.get("tlogEntries", ()),
            tuple(one["signedTimestamp"] for one in material.get("timestampVerificationData", {}).get(_TIMESTAMPS, ())),
        )


def _only_one(members: Mapping[str, Any], names: tuple[str, ...], where: str) -> str:
    there = [name for name in names if name in members]
    if len(there) != 1:
        raise MalformedError(f"{where} has {len(there)} of {', '.join(names)}, not one")
    return there[0]


_TIMESTAMPS = "rfc3161Timestamps"
_CERTIFICATE = wire.message({"rawBytes": wire.binary})
# Protobuf's JSON leaves out what has its default value: 0, an empty text, an empty list.
_INCLUSION_PROOF = wire.message(
    {"rootHash": wire.binary, "treeSize": wire.natural, "checkpoint": wire.message({"envelope": wire.text})},
    {"logIndex": wire.natural, "hashes": wire.listed(wire.binary, PROOF_HASHES_MAX)},
)
_TLOG_ENTRY = wire.message(
    {
        "logId": wire.message({"keyId": wire.binary}),
        "kindVersion": wire.message({"kind": wire.text, "version": wire.text}),
        "inclusionProof": _INCLUSION_PROOF,
        "canonicalizedBody": wire.binary,
    },
    {
        "logIndex": wire.natural,
        "integratedTime": wire.natural,
        "inclusionPromise": wire.message({"signedEntryTimestamp": wire.binary}),
    },
)
_VERIFICATION_MATERIAL = wire.message(
    {},
    {
        "publicKey": wire.message({}, {"hint": wire.text}),
        "certificate": _CERTIFICATE,
        "x509CertificateChain": wire.message({"certificates": wire.listed(_CERTIFICATE, CERTIFICATES_MAX)}),
        "tlogEntries": wire.listed(_TLOG_ENTRY, TLOG_ENTRIES_MAX),
        "timestampVerificationData": wire.message(
            {}, {_TIMESTAMPS: wire.listed(wire.message({"signedTimestamp": wire.binary}), TIMESTAMPS_MAX)}
        ),
    },
)
_BUNDLE = wire.message(
    {"mediaType": wire.text, "verificationMaterial": _VERIFICATION_MATERIAL},
    {
        "dsseEnvelope": Envelope.read,
        "messageSignature": wire.message(
            {"signature": wire.binary},
            {"messageDigest": wire.message({"algorithm": wire.text, "digest": wire.binary})},
        ),
    },
)
