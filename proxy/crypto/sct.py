"""Certificate transparency: a log of certificates promised to hold this one (RFC 6962, 3.2 and 3.3)."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import Certificate, ObjectIdentifier
from cryptography.x509.oid import ExtensionOID

from proxy.crypto.tlog import TransparencyLog
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.verdict import Failure, Reason

# As many as sigstore-go reads (its limit for all that can be many); Fulcio writes one.
SCTS_MAX = 32

_SCT_LIST = ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS
_V1 = 0
_LOG_ID_BYTES = 32
# RFC 5246, 7.4.1.4.1: hash, then signature. RFC 6962, 2.1.4, allows these two; what kind of key each one is of.
_ALGORITHMS: Mapping[bytes, str] = {b"\x04\x01": "RSA", b"\x04\x03": "ECDSA"}
# signature_type certificate_timestamp; entry_type precert_entry.
_CERTIFICATE_TIMESTAMP, _PRECERT_ENTRY = b"\x00", b"\x00\x01"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS_MAX = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class CertificateLogged:
    """A log of the trust root promised at this time to hold the certificate."""

    log: TransparencyLog
    logged_at: datetime


@dataclass(frozen=True, slots=True)
class SignedCertificateTimestamp:
    """One SCT of version 1 as a certificate carries it; nothing of it is proven.

    `milliseconds` count from 1970; `algorithm` is the pair of hash and signature algorithm of RFC 5246, 7.4.1.4.1.
    """

    log_id: bytes
    milliseconds: int
    extensions: bytes
    algorithm: bytes
    signature: bytes

    @property
    def timestamp(self) -> datetime:
        """Return when the log says that it took the certificate."""
        return _EPOCH + timedelta(milliseconds=self.milliseconds)


def check_scts(leaf: Certificate, issuer: Certificate, logs: Sequence[TransparencyLog]) -> CertificateLogged | Failure:
    """Find the promise of a log of the trust root, whose window covers it, that it holds this certificate.

    `issuer` is the certificate of the CA that issued it. One such SCT is enough, and SCTs of unknown logs or outside
    of their log's window prove nothing and do no harm; one that bears a known log's name and is not its, does. Raises
    MalformedError for a list that cannot be read, and OverLimitError for more than SCTS_MAX SCTs.
    """
    raw = _embedded_list(leaf)
    if raw is None:
        return _untrusted("the certificate has no SCT: nothing shows that it was logged")
    # The same SCT twice is one promise.
    known = [(sct, log) for sct in dict.fromkeys(parse_sct_list(raw)) for log in logs if log.log_id == sct.log_id]
    if not known:
        return _untrusted("none of the certificate's SCTs is by a log of the trust root")
    covered = [(sct, log) for sct, log in known if log.window.covers(sct.timestamp)]
    if not covered:
        return _untrusted("the trust root does not believe the log at the time of any of the certificate's SCTs")
    precertificate = _precertificate(leaf, issuer)
    forged = next((log for sct, log in covered if not _is_signed(sct, log, precertificate)), None)
    if forged:
        return _untrusted(f"an SCT is not what the log {forged.origin!a} signed for this certificate")
    sct, log = covered[0]
    return CertificateLogged(log, sct.timestamp)


def parse_sct_list(raw: bytes) -> tuple[SignedCertificateTimestamp, ...]:
    """Read a SignedCertificateTimestampList (RFC 6962, 3.3), with nothing behind it.

    Raises MalformedError for anything else, for an empty list and for other versions than 1, and OverLimitError for
    more than SCTS_MAX SCTs.
    """
    items = tuple(_items(_only_item(raw)))
    if not items:
        raise MalformedError("the certificate's SCT list is empty")
    if len(items) > SCTS_MAX:
        raise OverLimitError(f"the certificate has more than {SCTS_MAX} SCTs")
    return tuple(_sct(item) for item in items)


@asn1.sequence
class _Extension:
    oid: ObjectIdentifier
    critical: Annotated[bool, asn1.Default(value=False)]
    value: bytes


@asn1.sequence
class _TbsCertificate:
    version: Annotated[int, asn1.Explicit(0)]
    serial: asn1.TLV
    signature: asn1.TLV
    issuer: asn1.TLV
    validity: asn1.TLV
    subject: asn1.TLV
    key: asn1.TLV
    issuer_id: Annotated[asn1.BitString | None, asn1.Implicit(1)]
    subject_id: Annotated[asn1.BitString | None, asn1.Implicit(2)]
    extensions: Annotated[list[_Extension], asn1.Explicit(3)]


def _untrusted(detail: str) -> Failure:
    return Failure(Reason.UNTRUSTED_CERTIFICATE, detail)


def _embedded_list(leaf: Certificate) -> bytes | None:
    if all(extension.oid != _SCT_LIST for extension in leaf.extensions):
        return None
    # What the X.509 library reads hides bytes behind the list, so the extension's own bytes are wanted.
    try:
        tbs = asn1.decode_der(_TbsCertificate, leaf.tbs_certificate_bytes)
        content = next(extension.value for extension in tbs.extensions if extension.oid == _SCT_LIST)
        return asn1.decode_der(bytes, content)
    except ValueError:
        raise MalformedError("the certificate's SCT list is no octet string in DER") from None


def _only_item(raw: bytes) -> bytes:
    item, rest = _take_item(raw)
    if rest:
        raise MalformedError("the certificate's SCT list has bytes that belong to nothing")
    return item


def _items(raw: bytes) -> Iterator[bytes]:
    while raw:
        item, raw = _take_item(raw)
        yield item


def _take_item(raw: bytes) -> tuple[bytes, bytes]:
    # opaque<0..2^16-1> of RFC 5246, 4.3: two bytes of length in front.
    length, rest = _take(raw, 2)
    return _take(rest, int.from_bytes(length))


def _take(raw: bytes, count: int) -> tuple[bytes, bytes]:
    if len(raw) < count:
        raise MalformedError("the certificate's SCT list is cut short")
    return raw[:count], raw[count:]


def _sct(raw: bytes) -> SignedCertificateTimestamp:
    version, rest = _take(raw, 1)
    if version[0] != _V1:
        raise MalformedError(f"an SCT of the certificate is of version {version[0] + 1}; version 1 is supported")
    log_id, rest = _take(rest, _LOG_ID_BYTES)
    time, rest = _take(rest, 8)
    extensions, rest = _take_item(rest)
    algorithm, rest = _take(rest, 2)
    milliseconds = int.from_bytes(time)
    if milliseconds > _MILLISECONDS_MAX:
        raise MalformedError("an SCT of the certificate is of a time behind the year 9999")
    return SignedCertificateTimestamp(log_id, milliseconds, extensions, algorithm, _only_item(rest))


def _precertificate(leaf: Certificate, issuer: Certificate) -> bytes:
    key = issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    tbs = leaf.tbs_precertificate_bytes
    return hashlib.sha256(key).digest() + len(tbs).to_bytes(3) + tbs


def _is_signed(sct: SignedCertificateTimestamp, log: TransparencyLog, precertificate: bytes) -> bool:
    kind = _ALGORITHMS.get(sct.algorithm)
    if kind is None or not log.key.describe().startswith(kind):
        return False
    signed = b"".join(
        (
            bytes([_V1]) + _CERTIFICATE_TIMESTAMP,
            sct.milliseconds.to_bytes(8),
            _PRECERT_ENTRY,
            precertificate,
            len(sct.extensions).to_bytes(2) + sct.extensions,
        )
    )
    return log.key.verify_sha256(sct.signature, hashlib.sha256(signed).digest())
