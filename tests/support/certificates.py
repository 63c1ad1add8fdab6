"""Certificates of made-up authorities, with anything about them changed, and SCTs in them."""

import hashlib
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTES, YEARS = timedelta(minutes=10), timedelta(days=3650)
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@cache
def key(name):
    """The P-256 key of this name; the same for the same name."""
    return ec.generate_private_key(ec.SECP256R1())


def der(certificate):
    return certificate.public_bytes(Encoding.DER)


def spki(private_key):
    return private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def named(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def usage(*names):
    return x509.KeyUsage(**{one: one in names for one in _USAGES})


def purposes(*oids):
    return x509.ExtendedKeyUsage(oids)


def skid(private_key):
    return x509.SubjectKeyIdentifier.from_public_key(private_key.public_key())


def akid(private_key):
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(private_key.public_key())


def unknown(oid="1.2.3.4", content=b"\x05\x00"):
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), content)


def _make(defaults, subject, issuer, given):
    """`extensions` replace the defaults of their kind, `without` are kinds to leave out, `critical` kinds to mark."""
    extensions, without, critical = (tuple(given.pop(one, ())) for one in ("extensions", "without", "critical"))
    public, signer, start, end = (given.pop(one) for one in ("public", "signer", "start", "end"))
    chosen = {one.oid: (one, is_critical) for one, is_critical in defaults}
    chosen |= {one.oid: (one, chosen.get(one.oid, (one, False))[1]) for one in extensions}
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject) if isinstance(subject, str) else subject)
        .issuer_name(named(issuer))
        .public_key(public)
        .serial_number(int.from_bytes(hashlib.sha256(f"{subject} {issuer}".encode()).digest()[:8]) | 1)
        .not_valid_before(start)
        .not_valid_after(end)
    )
    for one, is_critical in chosen.values():
        if not isinstance(one, without):
            builder = builder.add_extension(one, is_critical or isinstance(one, critical))
    return builder.sign(signer, **{"algorithm": SHA256()} | given)


def make_ca(subject, issuer=None, *, signer=None, own_key=None, path_length=None, **changes):
    """A CA's certificate, self-signed unless `issuer` is given; keys are those of the names."""
    own_key = own_key or key(subject)
    signer = signer or key(issuer or subject)
    defaults = [
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (usage("key_cert_sign", "crl_sign"), True),
        (skid(own_key), False),
        (akid(signer), False),
    ]
    given = {"start": NOW - YEARS, "end": NOW + YEARS, "public": own_key.public_key(), "signer": signer} | changes
    return _make(defaults, subject, issuer or subject, given)


def make_leaf(issuer, *, signer=None, subject=x509.Name([]), **changes):  # noqa: B008 (a name is a value)
    """A certificate as Fulcio writes it, valid for ten minutes from NOW."""
    signer = signer or key(issuer)
    defaults = [
        (usage("digital_signature"), True),
        (purposes(ExtendedKeyUsageOID.CODE_SIGNING), False),
        (akid(signer), False),
        (x509.SubjectAlternativeName([x509.RFC822Name("someone@example.com")]), True),
    ]
    given = {"start": NOW, "end": NOW + MINUTES, "public": key("leaf").public_key(), "signer": signer} | changes
    return _make(defaults, subject, issuer, given)


def prefixed(content, size=2):
    """An opaque vector of TLS."""
    return len(content).to_bytes(size) + content


def make_sct(log_key, precertificate, issuer_key, moment, **changes):
    """An SCT over a certificate without SCTs; `sign` makes the signature from the signed data."""
    extensions, algorithm = changes.get("extensions", b""), changes.get("algorithm", b"\x04\x03")
    sign = changes.get("sign", lambda data: log_key.sign(data, ec.ECDSA(SHA256())))
    time = int(moment.timestamp() * 1000).to_bytes(8)
    tbs = precertificate.tbs_certificate_bytes
    issuer = hashlib.sha256(spki(issuer_key)).digest()
    data = b"\x00\x00" + time + b"\x00\x01" + issuer + prefixed(tbs, 3) + prefixed(extensions)
    log_id = hashlib.sha256(spki(log_key)).digest()
    return b"\x00" + log_id + time + prefixed(extensions) + algorithm + prefixed(sign(data))


def sct_list(*scts, behind=b""):
    """The extension of a certificate that carries these SCTs."""
    content = prefixed(b"".join(map(prefixed, scts))) + behind
    octets = b"\x04\x82" + prefixed(content)
    if len(content) < 0x100:
        octets = b"\x04\x81" + prefixed(content, 1)
    if len(content) < 0x80:
        octets = b"\x04" + prefixed(content, 1)
    return x509.UnrecognizedExtension(ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS, octets)
