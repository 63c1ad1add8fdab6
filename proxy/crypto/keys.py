"""Public keys, and whether a signature is theirs (Sigstore algorithm registry; cosign's rules for keys).

The key decides the algorithm, never the signature or anything that comes with it.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from proxy.oci.errors import MalformedError

# An RSA key of 16384 bits, the longest accepted, has 2.8 kB as PEM; the rest is room for comments around it.
PEM_BYTES_MAX = 16 * 1024
# NIST SP 800-57: 2048 bits is the least that is still allowed.
RSA_BITS_MIN = 2048
# OpenSSL verifies with nothing longer (OPENSSL_RSA_MAX_MODULUS_BITS).
RSA_BITS_MAX = 16384
# FIPS 186-5, A.1.1: 2**16 < e. A small exponent lets lax padding checks be forged.
RSA_EXPONENT_MIN = 65537

_ACCEPTED = f"accepted are ECDSA P-256, P-384, P-521, RSA of {RSA_BITS_MIN} bits or more, and Ed25519"
_CURVE_NAMES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
# The curve's own hash first, then SHA-256: cosign before 2.5 signed with SHA-256 whatever the curve.
_CURVE_HASHES: Mapping[str, tuple[HashAlgorithm, ...]] = {
    "secp256r1": (SHA256(),),
    "secp384r1": (SHA384(), SHA256()),
    "secp521r1": (SHA512(), SHA256()),
}
# By the names that settings have.
HASHES: Mapping[str, HashAlgorithm] = {"sha256": SHA256(), "sha384": SHA384(), "sha512": SHA512()}

_Key = EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key of an accepted kind. Keys are equal by their fingerprint.

    `fingerprint` is the hex SHA-256 of the DER SubjectPublicKeyInfo (RFC 5280, 4.1.2.7).
    """

    fingerprint: str
    _key: _Key = field(repr=False, compare=False)

    @classmethod
    def parse(cls, pem: bytes) -> Self:
        """Read one key in PEM, `PUBLIC KEY` (RFC 7468, 13) or `RSA PUBLIC KEY` (RFC 8017, A.1.1).

        Raises MalformedError for anything else, and for kinds and lengths that are not accepted.
        """
        _check_pem(pem)
        try:
            return cls.of(load_pem_public_key(pem))
        except (ValueError, UnsupportedAlgorithm) as err:
            raise _unreadable(err) from None

    @classmethod
    def parse_der(cls, der: bytes) -> Self:
        """Read one key in DER, SubjectPublicKeyInfo; raises MalformedError as `parse` does."""
        try:
            return cls.of(load_der_public_key(der))
        except (ValueError, UnsupportedAlgorithm) as err:
            raise _unreadable(err) from None

    @classmethod
    def of(cls, key: object) -> Self:
        """Take over a key that a library read; raises MalformedError for kinds and lengths that are not accepted."""
        if isinstance(key, EllipticCurvePublicKey):
            _check_curve(key)
        elif isinstance(key, RSAPublicKey):
            _check_rsa(key)
        elif not isinstance(key, Ed25519PublicKey):
            raise MalformedError(f"{type(key).__name__.removesuffix('PublicKey')} keys are not accepted; {_ACCEPTED}")
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return cls(hashlib.sha256(der).hexdigest(), key)

    @property
    def is_ed25519(self) -> bool:
        """Say whether this is an Ed25519 key."""
        return isinstance(self._key, Ed25519PublicKey)

    def describe(self) -> str:
        """Return kind and size for people: `ECDSA P-256`, `RSA 3072`, `Ed25519`."""
        match self._key:
            case EllipticCurvePublicKey(curve=curve):
                return f"ECDSA {_CURVE_NAMES[curve.name]}"
            case RSAPublicKey(key_size=bits):
                return f"RSA {bits}"
            case _:
                return "Ed25519"

    @property
    def is_rsa(self) -> bool:
        """Return whether this is an RSA key, which does not determine the hash that it signs with."""
        return isinstance(self._key, RSAPublicKey)

    def hashes(self, hashing: str | None = None) -> tuple[HashAlgorithm, ...]:
        """Return the hashes that a signature by this key may have: the one that is named, of `HASHES`, or the usual.

        ECDSA: the curve's hash, and SHA-256. RSA: SHA-256. Ed25519 has none to choose.
        """
        match self._key:
            case Ed25519PublicKey():
                return ()
            case EllipticCurvePublicKey(curve=curve):
                usual = _CURVE_HASHES[curve.name]
            case _:
                usual = (SHA256(),)
        return usual if hashing is None else (HASHES[hashing],)

    def verify(self, signature: bytes, message: bytes, hashing: str | None = None) -> bool:
        """Return whether this key signed the message, with one of its `hashes`. Raises nothing, whatever the bytes.

        ECDSA: strict DER. RSA: PKCS #1 v1.5 or PSS. Ed25519: pure (RFC 8032); its prehashed form Ed25519ph, which
        cosign writes and cannot verify itself, counts as no signature.
        """
        if isinstance(self._key, Ed25519PublicKey):
            return _holds(self._key.verify, signature, message)
        return any(_is_signed(self._key, signature, message, one, one) for one in self.hashes(hashing))

    def verify_digest(self, signature: bytes, algorithm: str, digest: bytes, hashing: str | None = None) -> bool:
        """Return whether this key signed the message of this digest, where the message itself is unknown.

        `algorithm` is the digest's, which must be one of the key's `hashes`. Never true for Ed25519, which needs the
        message itself (RFC 8032).
        """
        key = self._key
        if isinstance(key, Ed25519PublicKey):
            return False
        fitting = [one for one in self.hashes(hashing) if (one.name, one.digest_size) == (algorithm, len(digest))]
        return any(_is_signed(key, signature, digest, one, Prehashed(one)) for one in fitting)

    def verify_sha256(self, signature: bytes, digest: bytes) -> bool:
        """Return whether this key signed the message of this SHA-256 digest; see `verify_digest`."""
        return self.verify_digest(signature, "sha256", digest)


def _unreadable(err: Exception) -> MalformedError:
    return err if isinstance(err, MalformedError) else MalformedError(f"not a readable public key; {_ACCEPTED}")


def _check_pem(pem: bytes) -> None:
    if len(pem) > PEM_BYTES_MAX:
        raise MalformedError(f"longer than the {PEM_BYTES_MAX} bytes that a public key may have")
    if b"PRIVATE KEY-----" in pem:
        raise MalformedError("this is a private key: keep it secret, and give the public one (cosign public-key)")
    if b"-----BEGIN CERTIFICATE-----" in pem:
        raise MalformedError("this is a certificate; a public key is wanted (openssl x509 -pubkey -noout)")
    blocks = pem.count(b"-----BEGIN ")
    if blocks != 1:
        hint = "it begins with -----BEGIN PUBLIC KEY-----, and key_file is for a path"
        raise MalformedError(_other_form(pem) or f"one PEM block of a public key is wanted, {blocks} are there; {hint}")


def _other_form(content: bytes) -> str | None:
    """Return the message for a public key in a form other than PEM: SSH (RFC 4253, 6.6) or DER."""
    if re.match(rb"\s*(?:ssh-|ecdsa-sha2-|sk-)[a-z0-9@.-]+ ", content):
        return "this is an SSH key; cosign signs with a key pair of its own: give its cosign.pub"
    if content.startswith(b"\x30"):  # the tag of a SEQUENCE
        return "this is DER; PEM is wanted (openssl pkey -pubin -inform DER -in FILE)"
    return None


def _check_curve(key: EllipticCurvePublicKey) -> None:
    if key.curve.name not in _CURVE_HASHES:
        raise MalformedError(f"ECDSA keys on curve {key.curve.name} are not accepted; {_ACCEPTED}")


def _check_rsa(key: RSAPublicKey) -> None:
    if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
        raise MalformedError(f"RSA keys of {key.key_size} bits are not accepted; {_ACCEPTED}")
    if key.public_numbers().e < RSA_EXPONENT_MIN:
        raise MalformedError(f"RSA keys with a public exponent below {RSA_EXPONENT_MIN} are not accepted")


def _is_der(signature: bytes) -> bool:
    # Another encoding of the same two numbers would be another signature that nobody made (RFC 3279, 2.2.3: DER).
    try:
        return encode_dss_signature(*decode_dss_signature(signature)) == signature
    except ValueError:
        return False


def _is_signed(
    key: EllipticCurvePublicKey | RSAPublicKey,
    signature: bytes,
    content: bytes,
    hashing: HashAlgorithm,
    given: HashAlgorithm | Prehashed,
) -> bool:
    """Verify by this hash; `given` is the hash, or that the content is a digest already."""
    if isinstance(key, EllipticCurvePublicKey):
        return _is_der(signature) and _holds(key.verify, signature, content, ECDSA(given))
    # The salt may have any length; the mask is generated with the same hash, as in Go's crypto/rsa.
    paddings = (padding.PKCS1v15(), padding.PSS(mgf=padding.MGF1(hashing), salt_length=padding.PSS.AUTO))
    return any(_holds(key.verify, signature, content, one, given) for one in paddings)


def _holds(verify: Callable[..., None], *arguments: object) -> bool:
    try:
        verify(*arguments)
    except InvalidSignature:
        return False
    return True
