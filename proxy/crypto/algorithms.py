"""Algorithms as X.509 and CMS name them, by object identifier; what is not in the tables is refused (RFC 5754)."""

import hashlib
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.x509 import ObjectIdentifier

from proxy.verdict import Failure, Reason

_HASHES: Mapping[ObjectIdentifier, HashAlgorithm] = {
    ObjectIdentifier("2.16.840.1.101.3.4.2.1"): SHA256(),
    ObjectIdentifier("2.16.840.1.101.3.4.2.2"): SHA384(),
    ObjectIdentifier("2.16.840.1.101.3.4.2.3"): SHA512(),
}
# By kind of key; the hash is that of the digest algorithm, which rsaEncryption does not repeat (RFC 3370, 3.2).
_SIGNATURES: Mapping[ObjectIdentifier, tuple[str, str | None]] = {
    ObjectIdentifier("1.2.840.10045.4.3.2"): ("ECDSA", "sha256"),
    ObjectIdentifier("1.2.840.10045.4.3.3"): ("ECDSA", "sha384"),
    ObjectIdentifier("1.2.840.10045.4.3.4"): ("ECDSA", "sha512"),
    ObjectIdentifier("1.2.840.113549.1.1.1"): ("RSA", None),
    ObjectIdentifier("1.2.840.113549.1.1.11"): ("RSA", "sha256"),
    ObjectIdentifier("1.2.840.113549.1.1.12"): ("RSA", "sha384"),
    ObjectIdentifier("1.2.840.113549.1.1.13"): ("RSA", "sha512"),
}


@asn1.sequence
class Algorithm:
    """AlgorithmIdentifier (RFC 5280, 4.1.1.2). Of the algorithms known here none has parameters but NULL."""

    name: ObjectIdentifier
    parameters: asn1.Null | asn1.TLV | None


def hash_of(algorithm: Algorithm) -> HashAlgorithm | Failure:
    """Name the hash: SHA-256, SHA-384 or SHA-512."""
    if isinstance(algorithm.parameters, asn1.TLV) or algorithm.name not in _HASHES:
        return _unsupported("hash algorithm", algorithm)
    return _HASHES[algorithm.name]


def digest_of(content: bytes, algorithm: HashAlgorithm) -> bytes:
    """Hash the content."""
    return hashlib.new(algorithm.name, content).digest()


def signature_failure(
    key: object, algorithm: Algorithm, hashing: HashAlgorithm, signature: bytes, message: bytes
) -> Failure | None:
    """Find why this is no signature of a timestamp's message by this key, or nothing.

    ECDSA, and RSA by PKCS #1 v1.5. The algorithm must name the hash that is asked for, or none.
    """
    kind, name = _SIGNATURES.get(algorithm.name, (None, None))
    if kind is None or isinstance(algorithm.parameters, asn1.TLV) or name not in {None, hashing.name}:
        return _unsupported("signature algorithm", algorithm)
    if not _holds(kind, key, hashing, signature, message):
        return Failure(Reason.TIME_NOT_PROVEN, "the timestamp is not signed by the key of its authority's certificate")
    return None


def _holds(kind: str, key: object, hashing: HashAlgorithm, signature: bytes, message: bytes) -> bool:
    try:
        match kind, key:
            case "ECDSA", EllipticCurvePublicKey():
                key.verify(signature, message, ECDSA(hashing))
            case "RSA", RSAPublicKey():
                key.verify(signature, message, PKCS1v15(), hashing)
            case _:
                return False
    except InvalidSignature:
        return False
    return True


def _unsupported(what: str, algorithm: Algorithm) -> Failure:
    return Failure(Reason.UNSUPPORTED, f"{what} {algorithm.name.dotted_string:.80} of a timestamp is not accepted")
