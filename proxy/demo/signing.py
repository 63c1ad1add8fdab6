"""Signatures in cosign's shapes, made in process: for the demo, and for tests that need them in thousands.

Never for signing what matters: keys made here live in memory and end with the process.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proxy.crypto.keys import PublicKey
from proxy.formats.cosign.discover import SIGNATURE_ARTIFACT
from proxy.formats.cosign.dsse import IN_TOTO, SIGN_PREDICATE, pae
from proxy.formats.cosign.simplesigning import CRITICAL_TYPE, PAYLOAD_TYPE, SIGNATURE
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_MANIFEST, Descriptor

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"

_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
_CURVES: Mapping[str, tuple[ec.EllipticCurve, HashAlgorithm]] = {
    "P-256": (ec.SECP256R1(), SHA256()),
    "P-384": (ec.SECP384R1(), SHA384()),
    "P-521": (ec.SECP521R1(), SHA512()),
}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key that signs as cosign does with one of its kind."""

    public: PublicKey
    public_pem: bytes
    _key: _PrivateKey

    @classmethod
    def generate(cls, kind: str = "P-256") -> Self:
        """Make a key: `P-256`, `P-384`, `P-521`, `Ed25519`, or `RSA-` and the number of bits."""
        key: _PrivateKey
        if kind in _CURVES:
            key = ec.generate_private_key(_CURVES[kind][0])
        elif kind == "Ed25519":
            key = ed25519.Ed25519PrivateKey.generate()
        else:
            key = rsa.generate_private_key(65537, int(kind.removeprefix("RSA-")))
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return cls(PublicKey.parse(pem), pem, key)

    def sign(self, message: bytes) -> bytes:
        """Sign: ECDSA in DER with the curve's hash, RSA PKCS #1 v1.5 with SHA-256, or pure Ed25519."""
        match self._key:
            case ec.EllipticCurvePrivateKey() as key:
                hashing = {curve.name: hashing for curve, hashing in _CURVES.values()}[key.curve.name]
                return key.sign(message, ec.ECDSA(hashing))
            case rsa.RSAPrivateKey() as key:
                return key.sign(message, padding.PKCS1v15(), SHA256())
            case key:
                return key.sign(message)


@dataclass(frozen=True, slots=True)
class SignatureArtifact:
    """What goes to the registry for one signature: blobs by digest, and a manifest.

    With a `tag` the manifest is pushed by that tag; without one it is a referrer of `subject`.
    """

    manifest_body: bytes
    media_type: str
    blobs: Mapping[Digest, bytes]
    tag: str | None
    subject: Digest

    @property
    def digest(self) -> Digest:
        """The digest of the manifest."""
        return Digest.of(self.manifest_body)


def classic_signature(
    key: SigningKey, image: Descriptor, annotations: Mapping[str, str] | None = None, *, referrer: bool = False
) -> SignatureArtifact:
    """Make what `cosign sign --new-bundle-format=false` writes: at the tag `sha256-<hex>.sig`, or as a referrer."""
    payload = simple_signing_payload(image.digest, annotations)
    layer = layer_of(PAYLOAD_TYPE, payload) | {"annotations": {SIGNATURE: _base64(key.sign(payload))}}
    tag = None if referrer else f"{image.digest.algorithm}-{image.digest.hex}.sig"
    return artifact(image, SIGNATURE_ARTIFACT, [(layer, payload)], tag)


def bundle_signature(
    key: SigningKey, image: Descriptor, annotations: Mapping[str, str] | None = None
) -> SignatureArtifact:
    """Make what `cosign sign --key` 3 writes without a log: a referrer that holds a bundle v0.3."""
    document = bundle(key, statement(image.digest, annotations))
    return artifact(image, BUNDLE_TYPE, [(layer_of(BUNDLE_TYPE, document), document)], None)


def simple_signing_payload(image: Digest, annotations: Mapping[str, str] | None = None) -> bytes:
    """Write the payload of a classic signature."""
    critical = {
        "identity": {"docker-reference": ""},
        "image": {"docker-manifest-digest": str(image)},
        "type": CRITICAL_TYPE,
    }
    return _json({"critical": critical, "optional": dict(annotations) if annotations else None})


def statement(image: Digest, annotations: Mapping[str, str] | None = None) -> bytes:
    """Write the in-toto statement of a bundle signature."""
    return _json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"digest": {image.algorithm: image.hex}, "annotations": dict(annotations or {})}],
            "predicateType": SIGN_PREDICATE,
            "predicate": {},
        }
    )


def bundle(key: SigningKey, payload: bytes, payload_type: str = IN_TOTO) -> bytes:
    """Sign a statement and write the bundle around it."""
    hint = _base64(bytes.fromhex(key.public.fingerprint))
    return _json(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": hint}},
            "dsseEnvelope": {
                "payload": _base64(payload),
                "payloadType": payload_type,
                "signatures": [{"sig": _base64(key.sign(pae(payload_type, payload)))}],
            },
        }
    )


def artifact(
    image: Descriptor, artifact_type: str, layers: list[tuple[dict[str, object], bytes]], tag: str | None
) -> SignatureArtifact:
    """Put layers, each a descriptor and its content, into a manifest; one without a tag names the image as subject."""
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": layer_of(EMPTY_TYPE, EMPTY),
        "layers": [layer for layer, _ in layers],
    }
    if tag is None:
        subject = {"mediaType": image.media_type, "digest": str(image.digest), "size": image.size}
        manifest |= {"artifactType": artifact_type, "subject": subject}
    blobs = {Digest.of(content): content for content in [EMPTY, *(content for _, content in layers)]}
    return SignatureArtifact(_json(manifest), OCI_MANIFEST, blobs, tag, image.digest)


def layer_of(media_type: str, content: bytes) -> dict[str, object]:
    """Write the descriptor of a layer."""
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
