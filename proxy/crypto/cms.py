"""Signed content with one signer: CMS SignedData as timestamps use it (RFC 5652, 5; RFC 5035).

Read strictly as DER, and by algorithm tables: what is not in them is refused. The certificates that come along are
kept as bytes, in whatever order: OpenSSL does not sort them. Nothing that the signer did not sign is believed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self, TypeVar

from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate, ExtensionNotFound, ObjectIdentifier, SubjectKeyIdentifier

from proxy.crypto.algorithms import Algorithm, digest_of, hash_of, signature_failure
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.verdict import Failure, Reason

# Tokens have 0.5 kB, or some 7 kB with four certificates of RSA 4096. Each kB of empty parts costs 0.1 ms to read.
TOKEN_BYTES_MAX = 16 * 1024
# As long as a chain of a trust root may be.
BAG_CERTIFICATES_MAX = 10

SIGNED_DATA = ObjectIdentifier("1.2.840.113549.1.7.2")
_CONTENT_TYPE = ObjectIdentifier("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST = ObjectIdentifier("1.2.840.113549.1.9.4")
_SIGNING_CERTIFICATE_V2 = ObjectIdentifier("1.2.840.113549.1.9.16.2.47")

_Kind = TypeVar("_Kind")


@asn1.sequence
class _ContentInfo:
    content_type: ObjectIdentifier
    content: Annotated[asn1.TLV, asn1.Explicit(0)]


@asn1.sequence
class _EncapsulatedContent:
    content_type: ObjectIdentifier
    content: Annotated[bytes, asn1.Explicit(0)]


@asn1.sequence
class _IssuerAndSerial:
    # A Name, compared byte by byte as Go's crypto/x509 does: the library's own type warns of what strangers write.
    issuer: asn1.TLV
    serial: int


@asn1.sequence
class _Attribute:
    kind: ObjectIdentifier
    values: asn1.SetOf[asn1.TLV]


@asn1.sequence
class _SignerInfo:
    version: int
    signer: _IssuerAndSerial | Annotated[bytes, asn1.Implicit(0)]
    digest_algorithm: Algorithm
    signed_attributes: Annotated[asn1.SetOf[_Attribute] | None, asn1.Implicit(0)]
    signature_algorithm: Algorithm
    signature: bytes
    unsigned_attributes: Annotated[list[asn1.TLV] | None, asn1.Implicit(1)]


@asn1.sequence
class _SignedData:
    version: int
    digest_algorithms: asn1.SetOf[Algorithm]
    content: _EncapsulatedContent
    # A SEQUENCE OF has the form of a SET OF and no order.
    certificates: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]
    revocations: Annotated[list[asn1.TLV] | None, asn1.Implicit(1)]
    signers: asn1.SetOf[_SignerInfo]


@asn1.sequence
class _IssuerSerial:
    # GeneralNames of one directoryName (RFC 5035, 5).
    issuer: list[Annotated[asn1.TLV, asn1.Explicit(4)]]
    serial: int


@asn1.sequence
class _CertificateId:
    # Optional and not a DEFAULT of SHA-256: some write the default out.
    hash_algorithm: Algorithm | None
    digest: bytes
    issuer_serial: _IssuerSerial | None


@asn1.sequence
class _SigningCertificate:
    certificates: list[_CertificateId]
    policies: list[asn1.TLV] | None


def decode(kind: type[_Kind], der: bytes, what: str) -> _Kind:
    """Read one value in DER with nothing behind it; `what` names it in the MalformedError."""
    try:
        return asn1.decode_der(kind, der)
    except ValueError:
        raise MalformedError(
            f"{what} is not readable as DER, or not of the form that RFC 3161 and RFC 5652 give it"
        ) from None


@dataclass(frozen=True, slots=True)
class UntrustedSignedData:
    """What claims to be signed, until `flaw` finds nothing wrong for a certificate that is trusted.

    `certificates` are the DER of those that came along: nobody vouches for them.
    """

    content_type: ObjectIdentifier
    content: bytes
    certificates: tuple[bytes, ...] = field(repr=False)
    _signer: _SignerInfo = field(repr=False, compare=False)

    @classmethod
    def parse(cls, der: bytes) -> Self | Failure:
        """Read a ContentInfo of SignedData version 3 with exactly one signer.

        Raises MalformedError, and OverLimitError above TOKEN_BYTES_MAX or BAG_CERTIFICATES_MAX.
        """
        if len(der) > TOKEN_BYTES_MAX:
            raise OverLimitError(f"a timestamp token is longer than {TOKEN_BYTES_MAX} bytes")
        info = decode(_ContentInfo, der, "a timestamp token")
        if info.content_type != SIGNED_DATA:
            return _unproven("the timestamp token is not of type SignedData")
        signed = decode(_SignedData, asn1.encode_der(info.content), "a timestamp token's SignedData")
        bag = signed.certificates or []
        # Before anything is made of them: 30,000 empty ones have room in a token.
        if len(bag) > BAG_CERTIFICATES_MAX:
            raise OverLimitError(f"a timestamp token carries more than {BAG_CERTIFICATES_MAX} certificates")
        signers = signed.signers.as_list()
        if len(signers) != 1:
            return _unproven(f"the timestamp token has {len(signers)} signers, not one")
        # RFC 5652, 5.1: 3 for content other than plain data, and for certificates of X.509.
        if signed.version != 3:  # noqa: PLR2004
            return Failure(Reason.UNSUPPORTED, "the timestamp token's SignedData is not of version 3")
        # RFC 5652, 5.1, lets a verifier refuse what is not listed; the list itself is not signed.
        if signers[0].digest_algorithm.name not in {one.name for one in signed.digest_algorithms.as_list()}:
            return _unproven("the timestamp token does not list the hash algorithm of its signer")
        certificates = tuple(map(asn1.encode_der, bag))
        return cls(signed.content.content_type, signed.content.content, certificates, signers[0])

    def names(self, certificate: Certificate) -> bool:
        """Say whether the signer is named as the holder of this certificate: by issuer and serial, or by key id."""
        signer = self._signer.signer
        if isinstance(signer, bytes):
            try:
                return certificate.extensions.get_extension_for_class(SubjectKeyIdentifier).value.digest == signer
            except ExtensionNotFound:
                return False
        return _is_issued(certificate, [signer.issuer], signer.serial)

    def flaw(self, certificate: Certificate) -> Failure | None:
        """Find what is wrong with this as signed by the key of this certificate, or nothing.

        The certificate, and its kind of key, must be such as `crypto.chain` accepts; this is not looked at here.
        Raises MalformedError for signed attributes that cannot be read.
        """
        hashing = hash_of(self._signer.digest_algorithm)
        if isinstance(hashing, Failure):
            return hashing
        return next((failure for failure in self._checks(certificate, hashing) if failure), None)

    def _checks(self, certificate: Certificate, hashing: HashAlgorithm) -> Iterator[Failure | None]:
        info = self._signer
        # 1. The version fits the way in which the signer is named (RFC 5652, 5.3).
        version = 3 if isinstance(info.signer, bytes) else 1
        yield None if info.version == version else _unproven("the timestamp's SignerInfo has another version")
        # 2. What is signed are attributes, each once and with one value.
        attributes = info.signed_attributes.as_list() if info.signed_attributes else []
        values = {one.kind: one.values.as_list() for one in attributes}
        once = len(values) == len(attributes) and all(len(one) == 1 for one in values.values())
        yield None if once else _unproven("a signed attribute of the timestamp has not exactly one value")
        signed = {kind: asn1.encode_der(one[0]) for kind, one in values.items()}
        # 3. They name the content: its type and its digest (RFC 5652, 11.1 and 11.2).
        yield _check_content(signed, self.content_type, digest_of(self.content, hashing))
        # 4. They name the certificate (RFC 5816, 2.2.1).
        yield _check_signing_certificate(signed, certificate)
        # 5. The certificate's key signed them, as the SET that they are, in DER (RFC 5652, 5.4).
        message = asn1.encode_der(asn1.SetOf(attributes))
        yield signature_failure(certificate.public_key(), info.signature_algorithm, hashing, info.signature, message)


def _check_content(
    signed: Mapping[ObjectIdentifier, bytes], content_type: ObjectIdentifier, digest: bytes
) -> Failure | None:
    if _CONTENT_TYPE not in signed or _MESSAGE_DIGEST not in signed:
        return _unproven("the timestamp lacks the signed attributes content type and message digest")
    if decode(ObjectIdentifier, signed[_CONTENT_TYPE], "a timestamp's content type") != content_type:
        return _unproven("the timestamp's signed content type is another than that of its content")
    if decode(bytes, signed[_MESSAGE_DIGEST], "a timestamp's message digest") != digest:
        return _unproven("the timestamp's signed digest is not that of its content")
    return None


def _is_issued(certificate: Certificate, issuer: Sequence[asn1.TLV], serial: int) -> bool:
    names = [asn1.encode_der(one) for one in issuer]
    return (names, serial) == ([certificate.issuer.public_bytes()], certificate.serial_number)


def _check_signing_certificate(signed: Mapping[ObjectIdentifier, bytes], certificate: Certificate) -> Failure | None:
    # The first version of this attribute names the certificate by SHA-1, and counts as none.
    if _SIGNING_CERTIFICATE_V2 not in signed:
        return _unproven("the timestamp does not name its certificate by the signed attribute signingCertificateV2")
    what = "a timestamp's attribute signingCertificateV2"
    named = decode(_SigningCertificate, signed[_SIGNING_CERTIFICATE_V2], what).certificates
    if not named:
        raise MalformedError(f"{what} names no certificate")
    # RFC 5035, 3: the first is that of the signer, the others are of its chain.
    first = named[0]
    hashing = hash_of(first.hash_algorithm) if first.hash_algorithm else SHA256()
    if isinstance(hashing, Failure):
        return hashing
    there = first.issuer_serial
    same = there is None or _is_issued(certificate, there.issuer, there.serial)
    if not same or first.digest != digest_of(certificate.public_bytes(Encoding.DER), hashing):
        return _unproven("the timestamp's attribute signingCertificateV2 names another certificate")
    return None


def _unproven(detail: str) -> Failure:
    return Failure(Reason.TIME_NOT_PROVEN, detail)
