"""Timestamps: when something existed, by the word of an authority of a trust root (RFC 3161, RFC 5816).

Whose word counts is up to the trust root. Certificates that come with a timestamp are ignored, but for authorities of
which the trust root has the CAs alone. Accuracy, nonce, policy, serial number and the signing time are not looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from cryptography.hazmat import asn1
from cryptography.x509 import BasicConstraints, Certificate, ExtendedKeyUsage, ObjectIdentifier

from proxy.crypto.algorithms import Algorithm, digest_of, hash_of
from proxy.crypto.chain import TIME_STAMPING, Authority, issuer_at, parse_certificate
from proxy.crypto.cms import TOKEN_BYTES_MAX, UntrustedSignedData, decode
from proxy.crypto.window import Window
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.verdict import Failure, Reason

_TST_INFO = ObjectIdentifier("1.2.840.113549.1.9.16.1.4")
# granted, and grantedWithMods: with changes that the one who asked was to look at.
_GRANTED = (0, 1)


@asn1.sequence
class _Status:
    status: int
    text: list[str] | None
    failure: asn1.BitString | None


@asn1.sequence
class _Response:
    status: _Status
    # Anything or nothing: a lone TLV cannot be optional.
    token: asn1.Null | asn1.TLV | None


@asn1.sequence
class _Imprint:
    hash_algorithm: Algorithm
    digest: bytes


@asn1.sequence
class _Extension:
    name: ObjectIdentifier
    critical: Annotated[bool, asn1.Default(value=False)]
    content: bytes


@asn1.sequence
class _TstInfo:
    version: int
    policy: ObjectIdentifier
    imprint: _Imprint
    serial: int
    time: asn1.GeneralizedTime
    accuracy: list[asn1.TLV] | None
    ordering: Annotated[bool, asn1.Default(value=False)]
    nonce: int | None
    # EXPLICIT, of one GeneralName, which nothing is asked of.
    authority: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]
    extensions: Annotated[list[_Extension] | None, asn1.Implicit(1)]


@dataclass(frozen=True, slots=True)
class UnknownAuthority(Failure):
    """The timestamp names no authority of the trust root: it proves nothing, and is no evidence of a fault either."""


@dataclass(frozen=True, slots=True)
class TimestampAuthority:
    """An authority of a trust root: the certificate that signs, its issuer, and so on to the anchor; and its window.

    Where the first certificate is that of a CA, the one that signs is not known, and any that this CA issued for
    timestamps may. Raises MalformedError if there is no CA, and OverLimitError for too long a chain.
    """

    chain: tuple[Certificate, ...]
    window: Window
    _signer: Certificate | None = field(init=False, compare=False, repr=False)
    _issuers: tuple[Authority, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        signer = None if not self.chain or _is_ca(self.chain[0]) else self.chain[0]
        object.__setattr__(self, "_signer", signer)
        object.__setattr__(self, "_issuers", (Authority(self.chain[1:] if signer else self.chain, self.window),))

    def signer_of(self, signed: UntrustedSignedData) -> Certificate | None:
        """Find the certificate that the signer says to hold: the authority's own, or if it has none, one sent along.

        One that came along is this authority's if it says that one of the authority's CAs issued it.
        """
        if self._signer:
            return self._signer if signed.names(self._signer) else None
        own = {ca.subject for ca in self.chain}
        sent = (_readable(der) for der in signed.certificates)
        return next((one for one in sent if one and signed.names(one) and one.issuer in own), None)

    def flaw_of(self, signer: Certificate, moment: datetime) -> Failure | None:
        """Find why this authority cannot have signed by this certificate at this moment, or nothing."""
        usage = next((one for one in signer.extensions if isinstance(one.value, ExtendedKeyUsage)), None)
        # RFC 3161, 2.3: critical, and for nothing else, so that no other key of the CA can tell the time.
        if usage is None or not usage.critical or list(usage.value) != [TIME_STAMPING]:
            return _unproven("the timestamp authority's certificate is not for time stamping alone, marked critical")
        issuer = issuer_at(signer, self._issuers, moment, TIME_STAMPING)
        return _unproven(f"of the timestamp authority: {issuer.detail}") if isinstance(issuer, Failure) else None


def timestamp(token: bytes, content: bytes, authorities: Sequence[TimestampAuthority]) -> datetime | Failure:
    """Find when the content existed, by a TimeStampResp in DER (RFC 3161, 2.4.2), as Sigstore has them.

    The failure is an UnknownAuthority where the timestamp is by nobody whom the trust root knows. Raises MalformedError
    for what cannot be read, and OverLimitError above the limits of `proxy.crypto.cms`.
    """
    if len(token) > TOKEN_BYTES_MAX:
        raise OverLimitError(f"a timestamp is longer than {TOKEN_BYTES_MAX} bytes")
    response = decode(_Response, token, "a timestamp")
    if response.status.status not in _GRANTED or response.token is None:
        return _unproven("the timestamp was not granted")
    return token_time(asn1.encode_der(response.token), content, authorities)


def token_time(token: bytes, content: bytes, authorities: Sequence[TimestampAuthority]) -> datetime | Failure:
    """Find when the content existed, by a TimeStampToken in DER: a response's second half (RFC 3161, 2.4.2).

    Raises as `timestamp` does. Of several authorities that name the same certificate, one is enough.
    """
    # 1. A SignedData with one signer, and nothing behind it.
    signed = UntrustedSignedData.parse(token)
    if isinstance(signed, Failure):
        return signed
    # 2. The signer is one of an authority of the trust root: what anybody else says is not looked at.
    named = [(one, signer) for one in authorities if (signer := one.signer_of(signed))]
    if not named:
        return UnknownAuthority(Reason.TIME_NOT_PROVEN, "the timestamp is not by an authority of the trust root")
    # 3. What is signed says when this content existed.
    moment = _claimed_time(signed, content)
    if isinstance(moment, Failure):
        return moment
    flaws = []
    for authority, signer in named:
        # 4. The authority is believed and all certificates are valid at that time; the signer's is for timestamps.
        # 5. It signed.
        flaw = authority.flaw_of(signer, moment) or signed.flaw(signer)
        if flaw is None:
            return moment
        flaws.append(flaw)
    return flaws[-1]


def _claimed_time(signed: UntrustedSignedData, content: bytes) -> datetime | Failure:
    if signed.content_type != _TST_INFO:
        return _unproven("the timestamp token's content is not a TSTInfo")
    info = decode(_TstInfo, signed.content, "a timestamp's TSTInfo")
    if info.version != 1:
        return Failure(Reason.UNSUPPORTED, "the timestamp's TSTInfo is not of version 1")
    if any(one.critical for one in info.extensions or ()):
        return Failure(Reason.UNSUPPORTED, "the timestamp has a critical extension; none is supported")
    hashing = hash_of(info.imprint.hash_algorithm)
    if isinstance(hashing, Failure):
        return hashing
    if info.imprint.digest != digest_of(content, hashing):
        return _unproven("the timestamp is of other content (message imprint)")
    return info.time.as_datetime()


def _is_ca(certificate: Certificate) -> bool:
    return any(isinstance(one.value, BasicConstraints) and one.value.ca for one in certificate.extensions)


def _readable(der: bytes) -> Certificate | None:
    try:
        return parse_certificate(der, "a certificate that came with a timestamp")
    except MalformedError:
        return None


def _unproven(detail: str) -> Failure:
    return Failure(Reason.TIME_NOT_PROVEN, detail)
