"""Who a Fulcio certificate names, and whom a policy wants (fulcio, docs/oid-info.md; facts in the certificate itself).

Everything read here is a claim of the certificate; it counts once the certificate's path is proven.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import ObjectIdentifier

from proxy.formats.cosign.patterns import Wording
from proxy.oci.errors import MalformedError
from proxy.verdict import Failure, Reason

_ARC = "1.3.6.1.4.1.57264.1"
OTHER_NAME = ObjectIdentifier(f"{_ARC}.7")
_ISSUER_V1, _ISSUER_V2 = ObjectIdentifier(f"{_ARC}.1"), ObjectIdentifier(f"{_ARC}.8")
# .2 to .6 are texts as they are, .9 to .24 are DER UTF8Strings.
_RAW_CLAIMS = {
    2: "github_workflow_trigger",
    3: "github_workflow_sha",
    4: "github_workflow_name",
    5: "github_workflow_repository",
    6: "github_workflow_ref",
}
_CLAIMS = {
    9: "build_signer_uri",
    10: "build_signer_digest",
    11: "runner_environment",
    12: "source_repository_uri",
    13: "source_repository_digest",
    14: "source_repository_ref",
    15: "source_repository_identifier",
    16: "source_repository_owner_uri",
    17: "source_repository_owner_identifier",
    18: "build_config_uri",
    19: "build_config_digest",
    20: "build_trigger",
    21: "run_invocation_uri",
    22: "source_repository_visibility_at_signing",
    23: "deployment_environment",
    24: "token_subject",
}
CLAIM_NAMES = frozenset(_RAW_CLAIMS.values()) | frozenset(_CLAIMS.values())
# More than any of these has: a workflow's URI with a branch of the greatest length that git hosts allow.
CLAIM_BYTES_MAX = 2048


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a certificate names: `subject` as one text, whatever its type; `issuer` is the OIDC provider's URL."""

    subject: str
    issuer: str
    claims: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def read(cls, certificate: x509.Certificate) -> Self:
        """Read what the certificate names; raises MalformedError where that is missing, doubled or ambiguous."""
        texts = {
            name: _text(certificate, ObjectIdentifier(f"{_ARC}.{number}"), der=names is _CLAIMS)
            for names in (_RAW_CLAIMS, _CLAIMS)
            for number, name in names.items()
        }
        claims = {name: text for name, text in texts.items() if text is not None}
        return cls(_subject(certificate), _issuer(certificate), claims)


@dataclass(frozen=True, slots=True)
class WantedIdentity:
    """The identity that a policy wants: issuer and subject always, and these claims."""

    issuer: Wording
    subject: Wording
    claims: tuple[tuple[str, Wording], ...] = ()

    def check(self, identity: Identity) -> Failure | None:
        """Compare, the issuer first: a subject means nothing without the one who vouches for it."""
        if not self.issuer.matches(identity.issuer):
            return _unwanted("issuer", identity.issuer)
        if not self.subject.matches(identity.subject):
            return _unwanted("subject", identity.subject)
        for name, wanted in self.claims:
            claim = identity.claims.get(name)
            if claim is None or not wanted.matches(claim):
                return _unwanted(name, claim)
        return None


def _unwanted(name: str, found: str | None) -> Failure:
    shown = "is missing" if found is None else f"is {found!a:.120}"
    return Failure(Reason.UNTRUSTED_SIGNER, f"the certificate's {name} {shown}, which is not the one that is wanted")


def _issuer(certificate: x509.Certificate) -> str:
    older = _text(certificate, _ISSUER_V1, der=False)
    newer = _text(certificate, _ISSUER_V2, der=True)
    issuer = newer or older
    if not issuer:
        raise MalformedError("the certificate names no issuer of the identity")
    if older is not None and newer is not None and older != newer:
        raise MalformedError(f"the certificate names two issuers, {older!a:.80} and {newer!a:.80}")
    return _plain(issuer, "issuer")


def _subject(certificate: x509.Certificate) -> str:
    try:
        names = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        names = []
    if len(names) != 1:
        raise MalformedError(f"the certificate has {len(names)} subject alternative names, not one")
    # Each text can be of one type only, so that none is taken for another, whatever a policy's text looks like.
    match names[0]:
        case x509.UniformResourceIdentifier(value=text):
            fits = ":" in text
        case x509.RFC822Name(value=text):
            fits = "@" in text and ":" not in text and "/" not in text
        case x509.OtherName(type_id=kind, value=value) if kind == OTHER_NAME:
            # A user's name and the domain that gave it; Fulcio refuses names with an @ (pkg/identity/username).
            text = _utf8(value, "subject")
            fits = "!" in text and "@" not in text and ":" not in text
        case other:
            raise MalformedError(f"the certificate's subject is of type {type(other).__name__}")
    if not fits:
        raise MalformedError(f"the certificate's subject {text!a:.80} is not of the type that it says")
    return _plain(text, "subject")


def _text(certificate: x509.Certificate, oid: ObjectIdentifier, *, der: bool) -> str | None:
    try:
        extension = certificate.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return None
    what = f"extension {oid.dotted_string}"
    content = extension.public_bytes()
    if len(content) > CLAIM_BYTES_MAX:
        raise MalformedError(f"the certificate's {what} is longer than {CLAIM_BYTES_MAX} bytes")
    if der:
        return _utf8(content, what)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise MalformedError(f"the certificate's {what} is not UTF-8") from None


def _utf8(content: bytes, what: str) -> str:
    try:
        return asn1.decode_der(str, content)
    except ValueError:
        raise MalformedError(f"the certificate's {what} is not a DER UTF8String") from None


def _plain(text: str, what: str) -> str:
    """Refuse what people cannot see and two readers might read differently: control characters, NUL."""
    if not text.isprintable():
        raise MalformedError(f"the certificate's {what} has characters that cannot be shown")
    return text
