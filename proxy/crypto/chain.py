"""Certificates: one X.509 path at one time, up to an authority of a trust root (RFC 5280; Sigstore client spec).

A path is what the trust root says it is: certificates that come with a signature are neither links nor anchors. Names
of subjects are not looked at here, so a CA that constrains names cannot be used.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.x509 import (
    AuthorityKeyIdentifier,
    BasicConstraints,
    Certificate,
    DuplicateExtension,
    ExtendedKeyUsage,
    ExtensionType,
    InvalidVersion,
    KeyUsage,
    Name,
    NameConstraints,
    ObjectIdentifier,
    SubjectKeyIdentifier,
    UnsupportedGeneralNameType,
    load_der_x509_certificate,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, SignatureAlgorithmOID

from proxy.crypto.keys import PublicKey
from proxy.crypto.window import Window
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.verdict import Failure, Reason

CODE_SIGNING = ExtendedKeyUsageOID.CODE_SIGNING
TIME_STAMPING = ExtendedKeyUsageOID.TIME_STAMPING
_PURPOSES: Mapping[ObjectIdentifier, str] = {CODE_SIGNING: "code signing", TIME_STAMPING: "time stamping"}

# Fulcio's certificates with all claims have about 3 kB; names without end are an attack (CVE-2023-25656).
CERTIFICATE_BYTES_MAX = 32 * 1024
# Sigstore's authorities have one or two certificates, the web's up to four.
CHAIN_LENGTH_MAX = 10
_NAME_LENGTH_MAX = 80
# Those of a trust root's own chains are some dozens; of signers' certificates each is asked about within a millisecond.
LINKS_REMEMBERED_MAX = 256

_LEAF_CRITICAL = frozenset(
    {
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.BASIC_CONSTRAINTS,
    }
)
_CA_CRITICAL = _LEAF_CRITICAL - {ExtensionOID.SUBJECT_ALTERNATIVE_NAME}
_SIGNATURES = frozenset(
    {
        SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        SignatureAlgorithmOID.ECDSA_WITH_SHA512,
        SignatureAlgorithmOID.RSA_WITH_SHA256,
        SignatureAlgorithmOID.RSA_WITH_SHA384,
        SignatureAlgorithmOID.RSA_WITH_SHA512,
        SignatureAlgorithmOID.RSASSA_PSS,
        SignatureAlgorithmOID.ED25519,
    }
)
# The name of RSASSA-PSS says nothing of its hash; Ed25519 has none to choose.
_HASHES = (SHA256, SHA384, SHA512, type(None))

# All that the library raises while it reads, and what it warns of, where warnings are errors.
_UNREADABLE = (
    ValueError,
    TypeError,
    InvalidVersion,
    DuplicateExtension,
    UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
    UserWarning,
)

_Extension = TypeVar("_Extension", bound=ExtensionType)


def parse_certificate(der: bytes, what: str) -> Certificate:
    """Read one certificate in DER, with nothing behind it; `what` names it in errors.

    All that the checks look at is read here, so that none of them meets bytes that it cannot read. Raises
    MalformedError, and OverLimitError for more than CERTIFICATE_BYTES_MAX bytes.
    """
    if len(der) > CERTIFICATE_BYTES_MAX:
        raise OverLimitError(f"{what} is longer than the {CERTIFICATE_BYTES_MAX} bytes that are read of a certificate")
    try:
        certificate = load_der_x509_certificate(der)
        _ = (
            certificate.extensions,
            certificate.public_key(),
            certificate.issuer.rfc4514_string(),
            certificate.subject.rfc4514_string(),
            certificate.signature_hash_algorithm,
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
        )
    except _UNREADABLE:
        raise MalformedError(f"{what} is not a readable X.509 certificate in DER, or of a kind not known") from None
    # RFC 5280, 4.1.2.2: a serial number is positive.
    # The library does not look at how many bits of the signature, which ends the certificate, are said to be unused.
    if certificate.serial_number <= 0 or not der.endswith(b"\x00" + certificate.signature):
        raise MalformedError(
            f"{what} is not a readable X.509 certificate in DER: its serial number or signature is off"
        )
    return certificate


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority of a trust root: the issuing CA's certificate first, the anchor last, and its window.

    Any certificate of the chain may issue, as in Go's crypto/x509: the signing CA of GitHub's own instance is the
    second one. `parts` are the authority itself and what is left of it without its first certificate, without its first
    two, and so on, by whom else a certificate may be issued. `flaw` is what makes the chain unusable whatever the time
    (RFC 5280, 6.1.4), or None; checked once, here. The anchor is trusted because the trust root says so: its own
    signature is not looked at. Raises MalformedError for an empty chain, and OverLimitError for more than
    CHAIN_LENGTH_MAX certificates.
    """

    chain: tuple[Certificate, ...]
    window: Window
    flaw: str | None = field(init=False, compare=False)
    parts: tuple["Authority", ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.chain:
            raise MalformedError("an authority without a certificate")
        if len(self.chain) > CHAIN_LENGTH_MAX:
            raise OverLimitError(f"an authority with more than {CHAIN_LENGTH_MAX} certificates")
        object.__setattr__(self, "flaw", _chain_flaw(self.chain))
        rest = Authority(self.chain[1:], self.window).parts if len(self.chain) > 1 else ()
        object.__setattr__(self, "parts", (self, *rest))


def issuer_at(
    leaf: Certificate, authorities: Sequence[Authority], moment: datetime, purpose: ObjectIdentifier
) -> Certificate | Failure:
    """Find the CA certificate that issued this one, by an authority that may do so, all of it valid at this moment.

    The hybrid model of the Sigstore client spec: every certificate of the path and the authority's window must cover
    the moment, ends included; of the authority's own, those from the issuer up to the anchor are of the path. `purpose`
    is CODE_SIGNING or TIME_STAMPING. Where several authorities have the issuer's name, the failure is that of the one
    that came furthest.
    """
    named = [part for one in authorities for part in one.parts if part.chain[0].subject == leaf.issuer]
    if not named:
        return _untrusted(f"the certificate is issued by {_quoted(leaf.issuer)}, which is not in the trust root")
    reached = [(one.chain[0], _first(_path_flaws(leaf, one, moment, purpose))) for one in named]
    issuer = next((issuer for issuer, flaw in reached if flaw is None), None)
    if issuer is None:
        return _untrusted(max((flaw for _, flaw in reached if flaw), key=lambda flaw: flaw[0])[1])
    flaw = _first(_leaf_flaws(leaf, moment, purpose))
    return _untrusted(f"the certificate {flaw[1]}") if flaw else issuer


def with_links(authorities: Sequence[Authority], leaf: Certificate, links: Sequence[Certificate]) -> list[Authority]:
    """Return the authorities, and each with those links below it that lead from the leaf to it by their names.

    `links` are CA certificates that came with the leaf, its issuer first, each the next one's child. They are links
    and never anchors: a path ends in an authority's own certificates, is valid as a whole, and obeys their constraints.
    Raises MalformedError for a self-issued one, which could only be meant as anchor, or which is that of no CA.
    """
    if any(_unfit_as_link(one) for one in links):
        raise MalformedError("a certificate that came with the signer's is self-issued or not that of a CA")
    extended = list(authorities)
    for count, (child, issuer) in enumerate(pairwise((leaf, *links)), start=1):
        if child.issuer != issuer.subject:
            break
        parts = [part for one in authorities for part in one.parts if part.chain[0].subject == issuer.issuer]
        extended += [Authority((*links[:count], *part.chain), part.window) for part in parts]
    return extended


def _unfit_as_link(certificate: Certificate) -> bool:
    constraints = _extension(certificate, BasicConstraints)
    return certificate.subject == certificate.issuer or not (constraints and constraints.ca)


def _path_flaws(
    leaf: Certificate, authority: Authority, moment: datetime, purpose: ObjectIdentifier
) -> Iterator[str | None]:
    issuer = authority.chain[0]
    # 1. The certificate is this authority's.
    yield _link_flaw(leaf, issuer, "the certificate")
    # 2. The authority's own chain holds.
    yield authority.flaw
    # 3. The trust root believes the authority at this moment.
    covered = authority.window.covers(moment)
    yield None if covered else f"the trust root does not believe the authority of {_ca(issuer)} at {_utc(moment)}"
    # 4. The certificates of its CAs are valid at this moment (CVE-2026-24122).
    yield _flaw_among(authority.chain, lambda ca: _time_flaw(ca, moment))
    # 5. None of them is for other purposes only; the anchor too, as in Go's crypto/x509.
    yield _flaw_among(authority.chain, lambda ca: _purpose_flaw(ca, purpose))


def _leaf_flaws(leaf: Certificate, moment: datetime, purpose: ObjectIdentifier) -> Iterator[str | None]:
    yield _time_flaw(leaf, moment)
    constraints = _extension(leaf, BasicConstraints)
    yield "is that of a CA" if constraints and constraints.ca else None
    yield _critical_flaw(leaf, _LEAF_CRITICAL)
    yield _usage_flaw(leaf, purpose)
    yield _purpose_flaw(leaf, purpose) if _extension(leaf, ExtendedKeyUsage) else "has no extended key usage"
    yield _key_flaw(leaf)


def _chain_flaw(chain: Sequence[Certificate]) -> str | None:
    for below, ca in enumerate(chain):
        if first := _first(_ca_flaws(ca, below)):
            return f"{_ca(ca)} {first[1]}"
    return next((flaw for child, issuer in pairwise(chain) if (flaw := _link_flaw(child, issuer, _ca(child)))), None)


def _ca_flaws(ca: Certificate, below: int) -> Iterator[str | None]:
    constraints = _extension(ca, BasicConstraints)
    yield None if constraints and constraints.ca else "is not that of a CA"
    # Every CA below counts, self-issued ones too, as in Go's crypto/x509; RFC 5280 would not count those.
    longest = constraints.path_length if constraints else None
    yield None if longest is None or below <= longest else f"allows {longest} CAs below it, there are {below}"
    usage = _extension(ca, KeyUsage)
    yield None if usage is None or usage.key_cert_sign else "is not for signing certificates (key usage)"
    yield "constrains names, which is not supported" if _extension(ca, NameConstraints) else None
    yield _critical_flaw(ca, _CA_CRITICAL)
    yield _key_flaw(ca)


def _link_flaw(child: Certificate, issuer: Certificate, what: str) -> str | None:
    if child.issuer != issuer.subject:
        return f"{what} is not issued by {_ca(issuer)} but by {_quoted(child.issuer)}"
    wanted, there = _extension(child, AuthorityKeyIdentifier), _extension(issuer, SubjectKeyIdentifier)
    if wanted and wanted.key_identifier and there and wanted.key_identifier != there.digest:
        return f"{what} is issued by another key than that of {_ca(issuer)} (key identifier)"
    if child.signature_algorithm_oid not in _SIGNATURES or not isinstance(child.signature_hash_algorithm, _HASHES):
        return f"{what} is signed with an algorithm that is not accepted"
    return None if _is_signed_by(child, issuer) else f"{what} is not signed by {_ca(issuer)}"


@lru_cache(LINKS_REMEMBERED_MAX)
def _is_signed_by(child: Certificate, issuer: Certificate) -> bool:
    # The dearest step of a path, and the same one at every time and for every timestamp of an authority.
    try:
        child.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def _time_flaw(certificate: Certificate, moment: datetime) -> str | None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if start <= moment <= end:
        return None
    return f"is valid from {_utc(start)} to {_utc(end)}, not at {_utc(moment)}"


def _purpose_flaw(certificate: Certificate, purpose: ObjectIdentifier) -> str | None:
    # anyExtendedKeyUsage is no substitute (RFC 5280, 4.2.1.12: an application may ask for the particular purpose).
    purposes = _extension(certificate, ExtendedKeyUsage)
    return None if purposes is None or purpose in purposes else f"is not for {_PURPOSES[purpose]} (extended key usage)"


def _usage_flaw(leaf: Certificate, purpose: ObjectIdentifier) -> str | None:
    # Fulcio's profile has digitalSignature; RFC 5280, 4.2.1.12, allows a TSA contentCommitment too, or neither named.
    usage = _extension(leaf, KeyUsage)
    if usage is None:
        fits = purpose == TIME_STAMPING
    else:
        fits = usage.digital_signature or (purpose == TIME_STAMPING and usage.content_commitment)
    return None if fits else "is not for digital signatures (key usage)"


def _critical_flaw(certificate: Certificate, known: frozenset[ObjectIdentifier]) -> str | None:
    unknown = next((one.oid for one in certificate.extensions if one.critical and one.oid not in known), None)
    return f"has a critical extension that is not supported, {unknown.dotted_string:.80}" if unknown else None


def _key_flaw(certificate: Certificate) -> str | None:
    try:
        PublicKey.of(certificate.public_key())
    except MalformedError as err:
        return f"has a key that is not accepted: {err}"
    return None


def _extension(certificate: Certificate, kind: type[_Extension]) -> _Extension | None:
    return next((one.value for one in certificate.extensions if isinstance(one.value, kind)), None)


def _flaw_among(chain: Sequence[Certificate], flaw_of: Callable[[Certificate], str | None]) -> str | None:
    return next((f"{_ca(ca)} {flaw}" for ca in chain if (flaw := flaw_of(ca))), None)


def _first(flaws: Iterator[str | None]) -> tuple[int, str] | None:
    return next(((step, flaw) for step, flaw in enumerate(flaws) if flaw), None)


def _untrusted(detail: str) -> Failure:
    return Failure(Reason.UNTRUSTED_CERTIFICATE, detail)


def _ca(certificate: Certificate) -> str:
    return f"CA certificate {_quoted(certificate.subject)}"


def _quoted(name: Name) -> str:
    return f"{name.rfc4514_string()[:_NAME_LENGTH_MAX]!a}"


def _utc(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
