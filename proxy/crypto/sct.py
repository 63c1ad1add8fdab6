"""Certificate transparency: a log of certificates promised to hold this one (RFC 6962, 3.2 and 3.3)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import Certificate, PrecertificateSignedCertificateTimestamps
from cryptography.x509.certificate_transparency import SignatureAlgorithm, SignedCertificateTimestamp

from proxy.crypto.tlog import TransparencyLog
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.verdict import Failure, Reason

# As many as sigstore-go reads of whatever can be many; Fulcio writes one.
SCTS_MAX = 32

# The kind of key that each algorithm of RFC 6962, 2.1.4, belongs to.
_KINDS: Mapping[SignatureAlgorithm, str] = {SignatureAlgorithm.ECDSA: "ECDSA", SignatureAlgorithm.RSA: "RSA"}
# sct_version v1, signature_type certificate_timestamp; then, behind the time, entry_type precert_entry.
_V1_CERTIFICATE_TIMESTAMP, _PRECERT_ENTRY = b"\x00\x00", b"\x00\x01"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CertificateLogged:
    """A log of the trust root promised at this time to hold the certificate."""

    log: TransparencyLog
    logged_at: datetime


def check_scts(leaf: Certificate, issuer: Certificate, logs: Sequence[TransparencyLog]) -> CertificateLogged | Failure:
    """Find the promise of a log of the trust root, whose window covers it, that it holds this certificate.

    `issuer` is the certificate of the CA that issued it. One such SCT is enough, and SCTs of unknown logs or outside
    of their log's window prove nothing and do no harm; one that bears a known log's name and is not its, does. `leaf`
    is one that `parse_certificate` read, which knows SCTs of version 1 only. Raises MalformedError for a time that
    nothing can have, and OverLimitError for more than SCTS_MAX SCTs.
    """
    scts = embedded_scts(leaf)
    if not scts:
        return _untrusted("the certificate has no SCT: nothing shows that it was logged")
    known = [(log, sct, _time(sct)) for sct in scts for log in logs if log.log_id == sct.log_id]
    if not known:
        return _untrusted("none of the certificate's SCTs is by a log of the trust root")
    covered = [one for one in known if one[0].window.covers(one[2])]
    if not covered:
        return _untrusted("the trust root does not believe the log at the time of any of the certificate's SCTs")
    precertificate = _precertificate(leaf, issuer)
    for log, sct, moment in covered:
        if not _is_signed(log, sct, moment, precertificate):
            return _untrusted(f"an SCT is not what the log {log.origin!a} signed for this certificate")
    log, _, moment = covered[0]
    return CertificateLogged(log, moment)


def _untrusted(detail: str) -> Failure:
    return Failure(Reason.UNTRUSTED_CERTIFICATE, detail)


def embedded_scts(leaf: Certificate) -> tuple[SignedCertificateTimestamp, ...]:
    """Return the certificate's SCTs; raises OverLimitError for more than SCTS_MAX."""
    lists = (one.value for one in leaf.extensions if isinstance(one.value, PrecertificateSignedCertificateTimestamps))
    scts = tuple(next(lists, ()))
    if len(scts) > SCTS_MAX:
        raise OverLimitError(f"the certificate has more than {SCTS_MAX} SCTs")
    return scts


def _time(sct: SignedCertificateTimestamp) -> datetime:
    try:
        return sct.timestamp.replace(tzinfo=UTC)
    except ValueError:
        raise MalformedError("an SCT of the certificate is of a time behind the year 9999") from None


def _precertificate(leaf: Certificate, issuer: Certificate) -> bytes:
    key = issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    tbs = leaf.tbs_precertificate_bytes
    return hashlib.sha256(key).digest() + len(tbs).to_bytes(3) + tbs


def _is_signed(log: TransparencyLog, sct: SignedCertificateTimestamp, moment: datetime, precertificate: bytes) -> bool:
    kind = _KINDS.get(sct.signature_algorithm)
    if kind is None or not log.key.describe().startswith(kind) or not isinstance(sct.signature_hash_algorithm, SHA256):
        return False
    milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    signed = b"".join(
        (
            _V1_CERTIFICATE_TIMESTAMP,
            milliseconds.to_bytes(8),
            _PRECERT_ENTRY,
            precertificate,
            len(sct.extension_bytes).to_bytes(2),
            sct.extension_bytes,
        )
    )
    return log.key.verify_sha256(sct.signature, hashlib.sha256(signed).digest())
