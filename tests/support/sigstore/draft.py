"""A signature in the making: plain data, each part replaceable before the next is made of it, in any shape."""

import hashlib
import json
from dataclasses import dataclass, replace
from enum import Enum

from support.sigstore.encoding import base64_of, details_of, hash_of, pem_of, sha256, spki_of
from support.sigstore.logs import Entry

from proxy.demo.signing import (
    STATEMENT_TYPE,
    SigningKey,
    artifact,
    layer_of,
    simple_signing_payload,
    statement,
)
from proxy.formats.cosign.dsse import IN_TOTO, pae
from proxy.oci.manifest import Descriptor

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
ENVELOPE = "application/vnd.dsse.envelope.v1+json"
SIGN = "https://sigstore.dev/cosign/sign/v1"
BUNDLES = {
    "0.1": "application/vnd.dev.sigstore.bundle+json;version=0.1",
    "0.2": "application/vnd.dev.sigstore.bundle+json;version=0.2",
    "0.3": "application/vnd.dev.sigstore.bundle.v0.3+json",
}


class Shape(Enum):
    """How cosign keeps a signature: the artifact type, and the suffix of the tag, or none for a referrer."""

    SIG = ("", ".sig")
    SIG_REFERRER = ("application/vnd.dev.cosign.artifact.sig.v1+json", None)
    ATT = ("", ".att")
    ATT_REFERRER = (IN_TOTO, None)
    BUNDLE = (BUNDLES["0.3"], None)
    FILE = ("", "")

    @property
    def is_dsse(self):
        """Whether a statement in an envelope is signed."""
        return self in {Shape.ATT, Shape.ATT_REFERRER, Shape.BUNDLE}


@dataclass(frozen=True, kw_only=True)
class Draft:
    """All parts of one signature. `certificate` is DER; without one the key itself is the verifier.

    `hashing` is what log entries name the content by, unless the key's kind says it.
    """

    shape: Shape
    payload: bytes
    image: Descriptor | None = None
    payload_type: str = IN_TOTO
    predicate_type: str | None = None
    key: SigningKey | None = None
    certificate: bytes | None = None
    signature: bytes = b""
    hashing: str | None = None
    entries: tuple[Entry, ...] = ()
    timestamps: tuple[bytes, ...] = ()

    @property
    def to_be_signed(self):
        """The bytes that the signature covers."""
        return pae(self.payload_type, self.payload) if self.shape.is_dsse else self.payload

    @property
    def to_be_stamped(self):
        """The bytes that a timestamp covers: the signature, and with `.att` the whole envelope."""
        return self.envelope_bytes() if self.shape in {Shape.ATT, Shape.ATT_REFERRER} else self.signature

    @property
    def verifier(self):
        """Certificate or key in PEM, as log entries have it."""
        return pem_of(self.certificate) if self.certificate else self.key.public_pem

    def signed_by(self, key, certificate=None):
        """Sign what stands there, with this key, and for a certificate under its name."""
        return replace(self, key=key, certificate=certificate, signature=key.sign(self.to_be_signed))

    def entry_body(self, version, kind=None):
        """Return what Rekor 1 or 2 logs; kind is `hashedrekord`, `dsse` or `intoto`, by default what cosign takes."""
        if version == 2:
            return self._hashedrekord_v2()
        write = {"hashedrekord": self._hashedrekord, "dsse": self._dsse, "intoto": self._intoto}
        return write[kind or ("dsse" if self.shape.is_dsse else "hashedrekord")]()

    def _hashedrekord(self):
        algorithm = self.hashing or hash_of(self.key)
        data = {"hash": {"algorithm": algorithm, "value": hashlib.new(algorithm, self.to_be_signed).hexdigest()}}
        signature = {"content": base64_of(self.signature), "publicKey": {"content": base64_of(self.verifier)}}
        return _entry("hashedrekord", "0.0.1", {"data": data, "signature": signature})

    def _dsse(self):
        signature = {"signature": base64_of(self.signature), "verifier": base64_of(self.verifier)}
        hashes = {"envelopeHash": _hash(self.envelope_bytes()), "payloadHash": _hash(self.payload)}
        return _entry("dsse", "0.0.1", hashes | {"signatures": [signature]})

    def _intoto(self):
        # Rekor keeps the signature in Base64 twice, and not the payload.
        twice = base64_of(base64_of(self.signature).encode())
        signature = {"publicKey": base64_of(self.verifier), "sig": twice}
        envelope = {"payloadType": self.payload_type, "signatures": [signature]}
        hashes = {"hash": _hash(self.envelope_bytes()), "payloadHash": _hash(self.payload)}
        return _entry("intoto", "0.0.2", {"content": {"envelope": envelope} | hashes})

    def _hashedrekord_v2(self):
        algorithm = self.hashing or hash_of(self.key)
        digest = hashlib.new(algorithm, self.to_be_signed).digest()
        raw = {"rawBytes": base64_of(self.certificate or spki_of(self.key))}
        verifier = {"keyDetails": details_of(self.key), "x509Certificate" if self.certificate else "publicKey": raw}
        data = {"algorithm": algorithm.upper().replace("SHA", "SHA2_"), "digest": base64_of(digest)}
        signature = {"content": base64_of(self.signature), "verifier": verifier}
        return _entry("hashedrekord", "0.0.2", {"hashedRekordV002": {"data": data, "signature": signature}})

    def envelope(self):
        """Write the DSSE envelope."""
        return {
            "payload": base64_of(self.payload),
            "payloadType": self.payload_type,
            "signatures": [{"sig": base64_of(self.signature)}],
        }

    def envelope_bytes(self):
        """Write the envelope as `.att` has it, and as it went to the log."""
        return _json(self.envelope())

    def bundle(self, version="0.3"):
        """Write a bundle of version 0.1, 0.2 or 0.3: with a statement, or of a file."""
        material = self._key_material(version) | {"tlogEntries": [one.to_json() for one in self.entries]}
        if self.timestamps:
            stamps = [{"signedTimestamp": base64_of(one)} for one in self.timestamps]
            material["timestampVerificationData"] = {"rfc3161Timestamps": stamps}
        document = {"mediaType": BUNDLES[version], "verificationMaterial": material}
        if self.shape.is_dsse:
            return document | {"dsseEnvelope": self.envelope()}
        digest = {"algorithm": "SHA2_256", "digest": base64_of(sha256(self.payload))}
        return document | {"messageSignature": {"messageDigest": digest, "signature": base64_of(self.signature)}}

    def _key_material(self, version):
        if self.certificate is None:
            return {"publicKey": {"hint": base64_of(sha256(spki_of(self.key)))}}
        certificate = {"rawBytes": base64_of(self.certificate)}
        if version == "0.3":
            return {"certificate": certificate}
        return {"x509CertificateChain": {"certificates": [certificate]}}

    def annotations(self):
        """Return the annotations of a classic layer; only an entry that has a promise has a place there."""
        dsse = self.shape.is_dsse
        notes = {"dev.cosignproject.cosign/signature": "" if dsse else base64_of(self.signature)}
        if dsse:
            notes["predicateType"] = self.predicate_type
        if self.certificate:
            notes |= {"dev.sigstore.cosign/certificate": self.verifier.decode(), "dev.sigstore.cosign/chain": ""}
        for entry in self.entries:
            notes["dev.sigstore.cosign/bundle"] = _json(entry.to_annotation()).decode()
        for stamp in self.timestamps:
            notes["dev.sigstore.cosign/rfc3161timestamp"] = _json({"SignedRFC3161Timestamp": base64_of(stamp)}).decode()
        return notes

    def layer(self):
        """Return the layer's descriptor and content."""
        if self.shape is Shape.BUNDLE:
            content = _json(self.bundle())
            return layer_of(BUNDLES["0.3"], content), content
        content = self.envelope_bytes() if self.shape.is_dsse else self.payload
        layer = layer_of(ENVELOPE if self.shape.is_dsse else SIMPLE_SIGNING, content)
        return layer | {"annotations": self.annotations()}, content

    def artifact(self, *others):
        """Return what goes to the registry, in one manifest with others of the same shape."""
        artifact_type, suffix = self.shape.value
        tag = None if suffix is None else f"{self.image.digest.algorithm}-{self.image.digest.hex}{suffix}"
        made = artifact(self.image, artifact_type, [one.layer() for one in (self, *others)], tag)
        return _annotated(made, self.predicate_type) if self.shape is Shape.BUNDLE else made


def signature_of(image, shape=Shape.BUNDLE, annotations=None):
    """Begin what `cosign sign` makes: a classic payload, or a statement in a bundle."""
    if shape is Shape.BUNDLE:
        return Draft(shape=shape, payload=statement(image.digest, annotations), image=image, predicate_type=SIGN)
    return Draft(shape=shape, payload=simple_signing_payload(image.digest, annotations), image=image)


def attestation_of(image, predicate_type, predicate, shape=Shape.BUNDLE):
    """Begin what `cosign attest` makes."""
    subject = {"name": "registry.private.test/team/app", "digest": {image.digest.algorithm: image.digest.hex}}
    content = {"_type": STATEMENT_TYPE, "subject": [subject], "predicateType": predicate_type, "predicate": predicate}
    return Draft(shape=shape, payload=_json(content), image=image, predicate_type=predicate_type)


def file_of(content):
    """Begin a signature of a file, which only bundles hold."""
    return Draft(shape=Shape.FILE, payload=content)


def _annotated(made, predicate_type):
    notes = {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": predicate_type}
    return replace(made, manifest_body=_json(json.loads(made.manifest_body) | {"annotations": notes}))


def _entry(kind, version, spec):
    return {"apiVersion": version, "kind": kind, "spec": spec}


def _hash(content):
    return {"algorithm": "sha256", "value": sha256(content).hex()}


def _json(value):
    return json.dumps(value, separators=(",", ":")).encode()
