"""Which keys are accepted, and which signatures are theirs."""
# ruff: noqa: S303, S505 (weak keys and hashes on purpose: they must be refused)

import hashlib
import re
from base64 import b64decode, encodebytes

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from proxy.crypto.keys import HASHES, PEM_BYTES_MAX, PublicKey
from proxy.oci.errors import MalformedError

MESSAGE = b"what is signed"
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
P521 = ec.generate_private_key(ec.SECP521R1())
RSA = rsa.generate_private_key(65537, 2048)
ED = ed25519.Ed25519PrivateKey.generate()
PKCS1 = padding.PKCS1v15()
PSS = padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32)


def pem(key, form=PublicFormat.SubjectPublicKeyInfo):
    return key.public_key().public_bytes(Encoding.PEM, form)


def der(key):
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def as_pem(content, label="PUBLIC KEY"):
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label.encode(), encodebytes(content), label.encode())


def private(key, form=PrivateFormat.PKCS8):
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


@pytest.mark.parametrize(
    ("key", "kind"),
    [(P256, "ECDSA P-256"), (P384, "ECDSA P-384"), (P521, "ECDSA P-521"), (RSA, "RSA 2048"), (ED, "Ed25519")],
)
def test_accepted_keys(key, kind):
    read = PublicKey.parse(pem(key))
    assert read.describe() == kind
    assert read.fingerprint == hashlib.sha256(der(key)).hexdigest()
    assert read == PublicKey.parse(b"a comment\n" + pem(key))
    assert len({read, PublicKey.parse(pem(key))}) == 1


def test_pkcs1_is_the_same_key():
    assert PublicKey.parse(pem(RSA, PublicFormat.PKCS1)) == PublicKey.parse(pem(RSA))


# The library makes no keys on P-192, so here is one that openssl made.
P192_SPKI = b64decode(
    "MEkwEwYHKoZIzj0CAQYIKoZIzj0DAQEDMgAEbSiwkSAfg0rYplP/FQWBDlICwPNqqJZt/mO+Udb4YGwdJY/zPFep0Kgm7SUdaMkj"
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (pem(ec.generate_private_key(ec.SECP256K1())), "curve secp256k1 are not accepted; accepted are"),
        (pem(ec.generate_private_key(ec.SECP224R1())), "curve secp224r1 are not accepted"),
        (as_pem(P192_SPKI), "accepted are ECDSA P-256"),
        (pem(rsa.generate_private_key(65537, 1024)), "RSA keys of 1024 bits are not accepted"),
        (pem(rsa.generate_private_key(3, 2048)), "public exponent below 65537"),
        (pem(ed448.Ed448PrivateKey.generate()), "Ed448 keys are not accepted"),
        (pem(x25519.X25519PrivateKey.generate()), "X25519 keys are not accepted"),
        (pem(dsa.generate_private_key(1024)), "DSA keys are not accepted"),
        (private(P256), "this is a private key"),
        (private(RSA, PrivateFormat.TraditionalOpenSSL), "this is a private key"),
        (as_pem(b"{}", "ENCRYPTED SIGSTORE PRIVATE KEY"), "this is a private key"),
        (as_pem(b"\x30", "CERTIFICATE"), "this is a certificate"),
        (as_pem(b"\x30\x03\x02\x01\x01"), "not a readable public key"),
        (as_pem(der(P256)[:-1]), "not a readable public key"),
        (as_pem(der(P256)[:-1] + b"\x00"), "not a readable public key"),
        (as_pem(der(P256), "EC PARAMETERS"), "not a readable public key"),
        (pem(P256) + pem(P384), "2 are there"),
        (der(P256), "this is DER"),
        (b"ssh-ed25519 AAAAC3Nz me@here", "this is an SSH key"),
        (b"\necdsa-sha2-nistp256 AAAAE2Vj me@here", "this is an SSH key"),
        (b"sk-ssh-ed25519@openssh.com AAAAGnNr", "this is an SSH key"),
        (b"", "0 are there"),
        (b"\xff\xfe-----BEGIN ", "not a readable public key"),
        (pem(P256) + b" " * PEM_BYTES_MAX, "longer than"),
    ],
)
def test_refused_keys(text, says):
    with pytest.raises(MalformedError, match=re.escape(says)) as caught:
        PublicKey.parse(text)
    assert str(caught.value).isascii()


@pytest.mark.parametrize(
    ("key", "signature", "good"),
    [
        (P256, P256.sign(MESSAGE, ec.ECDSA(SHA256())), True),
        (P384, P384.sign(MESSAGE, ec.ECDSA(SHA384())), True),
        (P384, P384.sign(MESSAGE, ec.ECDSA(SHA256())), True),
        (P521, P521.sign(MESSAGE, ec.ECDSA(SHA512())), True),
        (P521, P521.sign(MESSAGE, ec.ECDSA(SHA256())), True),
        (RSA, RSA.sign(MESSAGE, PKCS1, SHA256()), True),
        (RSA, RSA.sign(MESSAGE, PSS, SHA256()), True),
        (ED, ED.sign(MESSAGE), True),
        (P256, P256.sign(MESSAGE, ec.ECDSA(SHA1())), False),
        (P256, P256.sign(MESSAGE, ec.ECDSA(SHA512())), False),
        (P384, P384.sign(MESSAGE, ec.ECDSA(SHA512())), False),
        (P521, P521.sign(MESSAGE, ec.ECDSA(SHA384())), False),
        (RSA, RSA.sign(MESSAGE, PKCS1, SHA1()), False),
        (RSA, RSA.sign(MESSAGE, PKCS1, SHA512()), False),
        (P256, P384.sign(MESSAGE, ec.ECDSA(SHA256())), False),
        (ED, ED.sign(hashlib.sha512(MESSAGE).digest()), False),
        (RSA, b"\x00" * 256, False),
        (ED, b"\x00" * 64, False),
    ],
)
def test_hash_rules(key, signature, good):
    read = PublicKey.parse(pem(key))
    assert read.verify(signature, MESSAGE) is good
    assert not read.verify(signature, MESSAGE + b"\n")


OTHER_PSS = padding.PSS(mgf=padding.MGF1(SHA512()), salt_length=64)
MIXED_PSS = padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32)


@pytest.mark.parametrize(
    ("key", "signature", "hashing"),
    [
        (RSA, RSA.sign(MESSAGE, PKCS1, SHA256()), "sha256"),
        (RSA, RSA.sign(MESSAGE, PKCS1, SHA384()), "sha384"),
        (RSA, RSA.sign(MESSAGE, PKCS1, SHA512()), "sha512"),
        (RSA, RSA.sign(MESSAGE, OTHER_PSS, SHA512()), "sha512"),
        (RSA, RSA.sign(MESSAGE, MIXED_PSS, SHA512()), None),
        (RSA, RSA.sign(MESSAGE, PKCS1, SHA1()), None),
        (P256, P256.sign(MESSAGE, ec.ECDSA(SHA384())), "sha384"),
        (P256, P256.sign(MESSAGE, ec.ECDSA(SHA512())), "sha512"),
        (P384, P384.sign(MESSAGE, ec.ECDSA(SHA512())), "sha512"),
        (P521, P521.sign(MESSAGE, ec.ECDSA(SHA256())), "sha256"),
    ],
)
def test_a_hash_that_is_named_is_the_only_one(key, signature, hashing):
    read = PublicKey.parse(pem(key))
    for name in HASHES:
        digest = hashlib.new(name, MESSAGE).digest()
        assert read.verify(signature, MESSAGE, name) is (name == hashing)
        assert read.verify_digest(signature, name, digest, name) is (name == hashing)
        assert not read.verify(signature, MESSAGE + b"x", name)
        assert not read.verify_digest(signature, name, digest[:-1], name)
        assert not any(read.verify_digest(signature, other, digest, name) for other in HASHES if other != name)


def test_which_hashes_are_usual():
    usual = {key: [one.name for one in PublicKey.parse(pem(key)).hashes()] for key in (P256, P384, P521, RSA, ED)}
    assert list(usual.values()) == [["sha256"], ["sha384", "sha256"], ["sha512", "sha256"], ["sha256"], []]


def test_ed25519_has_no_hash_to_choose():
    assert all(PublicKey.parse(pem(ED)).verify(ED.sign(MESSAGE), MESSAGE, one) for one in HASHES)


R, S = decode_dss_signature(P256.sign(MESSAGE, ec.ECDSA(SHA256())))
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def numbers(*values, pad=0):
    parts = b"".join(b"\x02" + bytes([size]) + value.to_bytes(size, "big") for value in values for size in [33 + pad])
    return b"\x30" + bytes([len(parts)]) + parts


def test_the_other_s_is_valid_ecdsa():
    """ECDSA itself allows n - s; nothing here counts signatures, so it does no harm."""
    assert PublicKey.parse(pem(P256)).verify(encode_dss_signature(R, ORDER - S), MESSAGE)


@pytest.mark.parametrize(
    "signature",
    [
        numbers(R, S, pad=1),
        encode_dss_signature(R, S) + b"\x00",
        encode_dss_signature(R, S)[:-1],
        b"\x30\x81" + encode_dss_signature(R, S)[1:],
        b"\x30\x80" + encode_dss_signature(R, S)[2:] + b"\x00\x00",
        R.to_bytes(32, "big") + S.to_bytes(32, "big"),
        encode_dss_signature(0, 0),
        encode_dss_signature(R, 0),
        encode_dss_signature(0, S),
        encode_dss_signature(R, S + ORDER),
        encode_dss_signature(R + ORDER, S),
        encode_dss_signature(1 << 5000, 1),
        bytes.fromhex("3006020180020101"),
        b"",
    ],
)
def test_ecdsa_is_strict_der(signature):
    assert not PublicKey.parse(pem(P256)).verify(signature, MESSAGE)


@pytest.mark.parametrize("key", [P256, P384, RSA, ED])
@given(signature=st.binary(max_size=300))
def test_no_bytes_raise(key, signature):
    assert PublicKey.parse(pem(key)).verify(signature, MESSAGE) is False


@given(text=st.binary(max_size=200))
def test_no_text_raises_anything_else(text):
    with pytest.raises(MalformedError):
        PublicKey.parse(b"-----BEGIN PUBLIC KEY-----\n" + text + b"\n-----END PUBLIC KEY-----\n")


@pytest.mark.parametrize("key", [P256, RSA, ED])
def test_a_key_in_der_is_the_same_key(key):
    assert PublicKey.parse_der(der(key)) == PublicKey.parse(pem(key))


@pytest.mark.parametrize("content", [b"", b"\x30\x00", der(P256)[:-1], der(ed448.Ed448PrivateKey.generate())])
def test_other_der_is_refused(content):
    with pytest.raises(MalformedError):
        PublicKey.parse_der(content)


DIGEST = hashlib.sha256(MESSAGE).digest()


@pytest.mark.parametrize(
    ("key", "signature"),
    [
        (P256, P256.sign(MESSAGE, ec.ECDSA(SHA256()))),
        (P384, P384.sign(MESSAGE, ec.ECDSA(SHA256()))),
        (RSA, RSA.sign(MESSAGE, PKCS1, SHA256())),
        (RSA, RSA.sign(MESSAGE, PSS, SHA256())),
    ],
)
def test_a_signature_is_checked_with_the_digest_alone(key, signature):
    public = PublicKey.parse(pem(key))
    assert public.verify_sha256(signature, DIGEST)
    assert not public.verify_sha256(signature, hashlib.sha256(b"else").digest())
    assert not public.verify_sha256(signature + b"0", DIGEST)


def test_ed25519_needs_the_message():
    assert not PublicKey.parse(pem(ED)).verify_sha256(ED.sign(DIGEST), DIGEST)
