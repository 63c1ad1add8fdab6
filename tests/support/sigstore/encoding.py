"""The few encodings that every part of Sigstore shares."""

import base64
import hashlib
import json

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key


def base64_of(content):
    return base64.b64encode(content).decode()


def pem_of(der):
    """Write a certificate in PEM, whatever its bytes are."""
    lines = base64.encodebytes(der).replace(b"\n", b"")
    wrapped = b"\n".join(lines[start : start + 64] for start in range(0, len(lines), 64))
    return b"-----BEGIN CERTIFICATE-----\n%b\n-----END CERTIFICATE-----\n" % wrapped


def canonical(value):
    """Write JSON as RFC 8785 does, for texts in ASCII and integers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def sha256(content):
    return hashlib.sha256(content).digest()


def public_key_of(key):
    return load_pem_public_key(key.public_pem)


def spki_of(key):
    """Return the DER SubjectPublicKeyInfo of a signing key."""
    return public_key_of(key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# The algorithm registry's name of a key as Rekor 2 and trust roots write it, and the hash that goes with it.
KEY_DETAILS = {
    "ECDSA P-256": ("PKIX_ECDSA_P256_SHA_256", "sha256"),
    "ECDSA P-384": ("PKIX_ECDSA_P384_SHA_384", "sha384"),
    "ECDSA P-521": ("PKIX_ECDSA_P521_SHA_512", "sha512"),
    "RSA 2048": ("PKIX_RSA_PKCS1V15_2048_SHA256", "sha256"),
    "RSA 3072": ("PKIX_RSA_PKCS1V15_3072_SHA256", "sha256"),
    "RSA 4096": ("PKIX_RSA_PKCS1V15_4096_SHA256", "sha256"),
    "Ed25519": ("PKIX_ED25519", "sha512"),
}


def details_of(key):
    return KEY_DETAILS[key.public.describe()][0]


def hash_of(key):
    return KEY_DETAILS[key.public.describe()][1]
