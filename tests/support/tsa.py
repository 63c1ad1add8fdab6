"""A timestamp authority in the process, which can also make every kind of bad timestamp (RFC 3161, RFC 5652)."""
# ruff: noqa: S303 (weak hashes on purpose: they must be refused)

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512
from cryptography.x509 import Certificate, ExtendedKeyUsage, ObjectIdentifier, SubjectAlternativeName
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.certificates import der, make_ca, make_leaf, named, purposes, skid

from proxy.crypto.timestamp import TimestampAuthority
from proxy.crypto.window import Window

ALWAYS = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC))

DATA = "1.2.840.113549.1.7.1"
SIGNED_DATA = "1.2.840.113549.1.7.2"
TST_INFO = "1.2.840.113549.1.9.16.1.4"
CONTENT_TYPE = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
SIGNING_TIME = "1.2.840.113549.1.9.5"
SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.12"
SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"

HASHES = MappingProxyType(
    {
        "sha1": ("1.3.14.3.2.26", SHA1()),
        "sha256": ("2.16.840.1.101.3.4.2.1", SHA256()),
        "sha384": ("2.16.840.1.101.3.4.2.2", SHA384()),
        "sha512": ("2.16.840.1.101.3.4.2.3", SHA512()),
    }
)
SIGNATURES = MappingProxyType(
    {
        ("ECDSA", "sha1"): "1.2.840.10045.4.1",
        ("ECDSA", "sha256"): "1.2.840.10045.4.3.2",
        ("ECDSA", "sha384"): "1.2.840.10045.4.3.3",
        ("ECDSA", "sha512"): "1.2.840.10045.4.3.4",
        ("RSA", None): "1.2.840.113549.1.1.1",
        ("RSA", "sha1"): "1.2.840.113549.1.1.5",
        ("RSA", "sha256"): "1.2.840.113549.1.1.11",
        ("RSA", "sha384"): "1.2.840.113549.1.1.12",
        ("RSA", "sha512"): "1.2.840.113549.1.1.13",
        ("Ed25519", "sha512"): "1.3.101.112",
    }
)
_CURVES = MappingProxyType({"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1})


@cache
def make_key(kind, name="tsa"):
    """The key of this kind and name; the same for the same two."""
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind]())
    return ed25519.Ed25519PrivateKey.generate() if kind == "Ed25519" else rsa.generate_private_key(65537, int(kind[4:]))


def tlv(tag, *parts):
    """One value in DER with this tag, around these parts."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(*parts):
    return tlv(0x30, *parts)


def set_of(*parts):
    return tlv(0x31, *sorted(parts))


def tagged(number, *parts):
    """[number], EXPLICIT around one part, or IMPLICIT for a SEQUENCE or SET of the parts."""
    return tlv(0xA0 | number, *parts)


def octets(content):
    return tlv(0x04, content)


def integer(number):
    return asn1.encode_der(number)


def oid(name):
    return asn1.encode_der(ObjectIdentifier(name))


def algorithm(name, parameters=b""):
    return sequence(oid(name), parameters)


def hash_algorithm(name, parameters=b""):
    return algorithm(HASHES[name][0], parameters)


def generalized(moment):
    """A GeneralizedTime, with fractions where the moment has them."""
    return asn1.encode_der(asn1.GeneralizedTime(moment))


def attribute(name, *values):
    return sequence(oid(name), set_of(*values))


def extension(name, *, critical):
    return sequence(oid(name), b"\x01\x01\xff" if critical else b"", octets(b"\x05\x00"))


def certificate_id(certificate, hashing="sha256", *, written=b"", issuer=None, serial=None):
    """An ESSCertIDv2; `written` is its hash algorithm, if it is written out."""
    names = () if issuer is None else (sequence(sequence(tagged(4, issuer)), integer(serial)),)
    return sequence(written, octets(hashlib.new(hashing, der(certificate)).digest()), *names)


@dataclass(frozen=True, kw_only=True)
class _Token:
    """All that a token is made of; each can be given otherwise.

    The later parts are made of the earlier ones unless they are given themselves: `info`, `attributes`, `signature`.
    `attributes` change the signed ones by name: a tuple of values, or None to leave one out.
    """

    status: int = 0
    granted: bool = True
    token_type: str = SIGNED_DATA
    version: int = 3
    content_type: str = TST_INFO
    info_version: int = 1
    imprint_hash: str = "sha256"
    imprint: bytes | None = None
    time: bytes | None = None
    accuracy: bytes = b""
    ordering: bytes = b""
    nonce: bytes = b""
    authority: bytes = b""
    extensions: tuple = ()
    info: bytes | None = None
    hash: str = "sha256"
    listed: tuple = ()
    parameters: bytes = b""
    attributes: dict = field(default_factory=dict)
    repeated: tuple = ()
    signer_version: int | None = None
    signer: bytes | None = None
    by_key_id: bool = False
    signing_certificate: tuple = ()
    algorithm: str | None = None
    signing_key: Any = None
    signature: bytes | None = None
    without_attributes: bool = False
    unsigned: bytes = b""
    certificates: tuple | None = None
    revocations: bytes = b""
    signers: int = 1
    behind: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Tsa:
    """An authority: its key, and its certificates from the one that signs to the anchor."""

    key: Any
    chain: tuple[Certificate, ...]
    window: Window = ALWAYS

    @classmethod
    def create(cls, kind="P-256", *, name="tsa", intermediates=0, window=ALWAYS, **leaf):
        """Make one with a key of this kind; `leaf` changes the certificate that signs, as in `make_leaf`."""
        names = [f"{name} root", *(f"{name} intermediate {n}" for n in range(intermediates))]
        valid = {"start": ALWAYS.start, "end": ALWAYS.end}
        cas = [make_ca(names[0], **valid)]
        cas += [make_ca(one, issuer, **valid) for issuer, one in pairwise(names)]
        key = make_key(kind, name)
        changes = {
            "subject": named(name),
            "public": key.public_key(),
            "extensions": (purposes(ExtendedKeyUsageOID.TIME_STAMPING), skid(key)),
            "without": (SubjectAlternativeName,),
            "critical": (ExtendedKeyUsage,),
        }
        signer = make_leaf(names[-1], **(valid | changes | leaf))
        return cls(key=key, chain=(signer, *reversed(cas)), window=window)

    @property
    def certificate_chain(self):
        """The certificates in DER, as a trust root lists them."""
        return [der(one) for one in self.chain]

    def authority(self):
        """This authority as a trust root has it."""
        return TimestampAuthority(self.chain, self.window)

    def token(self, content, at, **mutations):
        """A TimeStampResp in DER that says that the content existed at this time; see _Token for the mutations."""
        token = _Token(**mutations)
        parts = (self.content_info(content, at, **mutations),) if token.granted else ()
        return sequence(sequence(integer(token.status)), *parts) + token.behind

    def content_info(self, content, at, **mutations):
        """The TimeStampToken in DER, without response."""
        token = _Token(**mutations)
        token = replace(token, info=_tst_info(token, content, at) if token.info is None else token.info)
        bag = token.certificates
        signed = sequence(
            integer(token.version),
            set_of(*[hash_algorithm(one) for one in token.listed or (token.hash,)]),
            sequence(oid(token.content_type), tagged(0, octets(token.info))),
            tagged(0, *bag) if bag is not None else b"",
            token.revocations,
            set_of(*[self._signer_info(token, at, n) for n in range(token.signers)]),
        )
        return sequence(oid(token.token_type), tagged(0, signed))

    def _signer_info(self, token, at, number):
        certificate, key_id = self.chain[0], skid(self.key).digest
        named_by = token.signer or sequence(certificate.issuer.public_bytes(), integer(certificate.serial_number))
        if token.by_key_id:
            named_by = tlv(0x80, key_id)
        version = token.signer_version or (3 if token.by_key_id else 1)
        attributes = () if token.without_attributes else self._attributes(token, at)
        message = set_of(*attributes) if attributes else token.info
        key = token.signing_key or self.key
        signature = token.signature if token.signature is not None else sign(key, message, token.hash)
        return sequence(
            integer(version + number),
            named_by,
            hash_algorithm(token.hash, token.parameters),
            tagged(0, *sorted(attributes)) if attributes else b"",
            algorithm(token.algorithm or SIGNATURES[family(key), token.hash], token.parameters),
            octets(signature),
            token.unsigned,
        )

    def _attributes(self, token, at):
        identifiers = token.signing_certificate or (certificate_id(self.chain[0]),)
        values = {
            CONTENT_TYPE: (oid(token.content_type),),
            SIGNING_TIME: (asn1.encode_der(asn1.UTCTime(at.replace(microsecond=0))),),
            MESSAGE_DIGEST: (octets(hashlib.new(token.hash, token.info).digest()),),
            SIGNING_CERTIFICATE_V2: (sequence(sequence(*identifiers)),),
        } | token.attributes
        return [attribute(name, *given) for name, given in values.items() if given is not None] + list(token.repeated)


def family(key):
    kinds = {ec.EllipticCurvePrivateKey: "ECDSA", rsa.RSAPrivateKey: "RSA", ed25519.Ed25519PrivateKey: "Ed25519"}
    return next(name for kind, name in kinds.items() if isinstance(key, kind))


def sign(key, message, hashing):
    algorithms = {"ECDSA": lambda: (ec.ECDSA(HASHES[hashing][1]),), "RSA": lambda: (PKCS1v15(), HASHES[hashing][1])}
    return key.sign(message, *algorithms.get(family(key), tuple)())


def _tst_info(token, content, at):
    imprint = hashlib.new(token.imprint_hash, content).digest() if token.imprint is None else token.imprint
    return sequence(
        integer(token.info_version),
        oid("1.3.6.1.4.1.57264.2"),
        sequence(hash_algorithm(token.imprint_hash, token.parameters), octets(imprint)),
        integer(1),
        token.time or generalized(at),
        token.accuracy,
        token.ordering,
        token.nonce,
        token.authority,
        tagged(1, *token.extensions) if token.extensions else b"",
    )
