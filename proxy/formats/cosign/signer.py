"""A signer of the policy: a key or an identity, for signatures or for attestations of one kind."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from proxy.formats.api import UntrustedSignature
from proxy.formats.cosign.discover import CosignDiscovery
from proxy.formats.cosign.identity import WantedIdentity
from proxy.formats.cosign.proof import Proven
from proxy.formats.cosign.verify import Wanted, WantedKey, check
from proxy.verdict import Evidence, Failure, Finding, Rejection, Subject

# Hex digits of a fingerprint in evidence: 64 bits, enough to tell the keys and trust roots of a policy apart.
SHOWN_FINGERPRINT = 16


@dataclass(frozen=True, slots=True)
class CosignSigner:
    """Whoever is wanted, signing or attesting with cosign or another client of Sigstore (a `Requirement`)."""

    name: str
    wanted: Wanted
    discovery: CosignDiscovery = field(default_factory=CosignDiscovery)

    @property
    def fingerprint(self) -> str:
        """The hex SHA-256 of everything that a finding depends on.

        It is taken of the representation, in which every field stands, so that none can be forgotten.
        """
        return hashlib.sha256(repr(self).encode()).hexdigest()

    @property
    def binds_tag(self) -> bool:
        """No shape has a tag in it that cosign would check."""
        return False

    @property
    def ends(self) -> bool:
        """A key may be in use for a time, an attestation grow too old; an identity signed at a time that is proven."""
        return isinstance(self.wanted.who, WantedKey) or self.wanted.attestation is not None

    def verify(self, subject: Subject, signature: UntrustedSignature, now: datetime) -> Finding:
        """Check one candidate. The time of now matters only to a key whose signature has no proven time of its own."""
        proven = Proven()
        outcome = check(self.wanted, subject.digest, signature, now, proven)
        if isinstance(outcome, Failure):
            return Rejection(outcome.reason, outcome.detail, self.name, signature.location, proven.facts())
        first = min(proven.times, key=lambda one: one.moment, default=None)
        identity = proven.identity
        return Evidence(
            "cosign",
            self.name,
            signature.location,
            trust=_trust(self.wanted),
            signed_at=first.moment if first else None,
            claims=(*_used(self.wanted.who, proven), *outcome),
            subject=identity.subject if identity else None,
            issuer=identity.issuer if identity else None,
            time_source=first.source if first else None,
            log_index=next(iter(proven.log_indexes), None),
            signed=hashlib.sha256(proven.signature).hexdigest(),
            proven=proven.facts(),
        )


def _trust(wanted: Wanted) -> str:
    if isinstance(wanted.who, WantedKey):
        return f"key sha256:{wanted.who.key.fingerprint[:SHOWN_FINGERPRINT]}"
    return f"trust root sha256:{wanted.root.fingerprint[:SHOWN_FINGERPRINT]}"


def _used(who: WantedKey | WantedIdentity, proven: Proven) -> tuple[tuple[str, str], ...]:
    """Return the claims of the certificate that the policy asked for."""
    if isinstance(who, WantedKey) or proven.identity is None:
        return ()
    return tuple((name, proven.identity.claims[name]) for name, _ in who.claims)
