"""A certificate authority like Fulcio: a root, an intermediate, and certificates of ten minutes for those who sign."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from support.certificates import usage
from support.sigstore.encoding import public_key_of, sha256, spki_of

from proxy.crypto.window import Window
from proxy.demo.signing import SigningKey

FULCIO = "1.3.6.1.4.1.57264.1"
OTHER_NAME = ObjectIdentifier(f"{FULCIO}.7")
SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
LIFETIME = timedelta(minutes=10)
# While everything of a private Sigstore is valid, unless a test says otherwise.
ALWAYS = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC))
IDENTITY = "ci@private.test"
ISSUER = "https://issuer.private.test"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a signer's certificate shall say. `None` leaves a part out.

    `names` are general names, or texts: of an e-mail address, or of a URI. `issuer` is claim .8, `issuer_v1` claim .1.
    `claims` are others by number; those below 7 stand in the certificate as they are, the rest as UTF8String; bytes
    are the extension's whole value.
    """

    key: SigningKey
    at: datetime
    names: tuple = (IDENTITY,)
    issuer: str | None = ISSUER
    issuer_v1: str | None = ISSUER
    claims: dict = field(default_factory=dict)
    usages: tuple = (ExtendedKeyUsageOID.CODE_SIGNING,)
    key_usage: str | None = "digital_signature"
    lifetime: timedelta = LIFETIME
    subject: x509.Name = field(default_factory=lambda: x509.Name([]))
    ca: bool | None = None
    serial: int = field(default_factory=x509.random_serial_number)

    def extensions(self):
        """Return the extensions that a Fulcio certificate has, without proof of its log; each with its criticality."""
        if self.key_usage:
            yield usage(self.key_usage), True
        if self.usages:
            yield x509.ExtendedKeyUsage(self.usages), False
        if self.ca is not None:
            yield x509.BasicConstraints(self.ca, None), True
        if self.names:
            yield x509.SubjectAlternativeName([general_name(name) for name in self.names]), True
        issuers = {1: self.issuer_v1, 8: self.issuer}
        for number, value in sorted(({n: v for n, v in issuers.items() if v is not None} | self.claims).items()):
            oid = ObjectIdentifier(f"{FULCIO}.{number}")
            yield x509.UnrecognizedExtension(oid, _claim(number, value)), False


@dataclass(frozen=True, kw_only=True)
class Authority:
    """The authority: its intermediate's key signs. `window` is what a trust root says of it."""

    root: x509.Certificate
    intermediate: x509.Certificate
    key: SigningKey
    window: Window = ALWAYS

    @classmethod
    def create(cls, kind="P-384", *, name="fulcio", root_valid=ALWAYS, intermediate_valid=ALWAYS, window=ALWAYS):
        """Make an authority whose keys are of this kind."""
        root, own = _Holder.create(f"{name}-root", kind), _Holder.create(f"{name}-intermediate", kind)
        extensions = [*_ca_extensions(0), (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)]
        return cls(
            root=_build(root, root, root_valid, _ca_extensions(None)),
            intermediate=_build(own, root, intermediate_valid, extensions),
            key=own.key,
            window=window,
        )

    @property
    def certificate_chain(self):
        """The certificates in DER as a trust root lists them, the issuing one first."""
        return [one.public_bytes(Encoding.DER) for one in (self.intermediate, self.root)]

    @property
    def key_hash(self):
        """How a precertificate names its issuer (RFC 6962, 3.2)."""
        return sha256(spki_of(self.key))

    def certificate(self, request, scts=()):
        """Issue a certificate; without SCTs it is what the certificate log signs."""
        extensions = list(request.extensions())
        if scts:
            extensions.append((x509.UnrecognizedExtension(SCT_LIST, asn1.encode_der(_vector(*scts))), False))
        valid = Window(request.at, request.at + request.lifetime)
        holder, issuer = _Holder(request.subject, request.key), _Holder(self.intermediate.subject, self.key)
        return _build(holder, issuer, valid, extensions, request.serial)


def general_name(name):
    if not isinstance(name, str):
        return name
    return x509.UniformResourceIdentifier(name) if "://" in name else x509.RFC822Name(name)


def other_name(text):
    """Write a name as Fulcio does for identities that are neither address nor URI."""
    return x509.OtherName(OTHER_NAME, asn1.encode_der(text))


class _Holder(NamedTuple):
    name: x509.Name
    key: SigningKey

    @classmethod
    def create(cls, common_name, kind):
        organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "private.test")
        name = x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        return cls(name, SigningKey.generate(kind))


def _build(holder, issuer, valid, extensions, serial=None):
    public = public_key_of(holder.key)
    builder = x509.CertificateBuilder(issuer.name, holder.name, public, serial or x509.random_serial_number())
    builder = builder.not_valid_before(valid.start).not_valid_after(valid.end)
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key_of(issuer.key))
    for extension, critical in [(identifier, False), (authority, False), *extensions]:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer.key._key, _hash_for(issuer.key._key))


def _ca_extensions(path_length):
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    return [(usage("key_cert_sign", "crl_sign"), True), (constraints, True)]


def _hash_for(key):
    match key:
        case EllipticCurvePrivateKey(curve=curve):
            return {256: SHA256(), 384: SHA384(), 521: SHA512()}[curve.key_size]
        case RSAPrivateKey():
            return SHA256()
        case _:
            return None


def _claim(number, value):
    if isinstance(value, bytes):
        return value
    return value.encode() if number < 7 else asn1.encode_der(value)


def _vector(*items):
    """Write a list as TLS does: each item, and then the whole, behind its length in two bytes (RFC 6962, 3.3)."""
    body = b"".join(len(item).to_bytes(2) + item for item in items)
    return len(body).to_bytes(2) + body
