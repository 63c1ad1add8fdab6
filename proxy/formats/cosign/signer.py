"""A signer of the policy: cosign with a public key."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from proxy.crypto.keys import PublicKey
from proxy.formats.api import UntrustedSignature
from proxy.formats.cosign.discover import CosignDiscovery
from proxy.formats.cosign.verify import Failure, check
from proxy.oci.reference import Repository
from proxy.verdict import Evidence, Finding, Rejection, Subject

# Hex digits of a key's fingerprint in evidence: 64 bits, enough to tell the keys of a policy apart.
SHOWN_FINGERPRINT = 16


@dataclass(frozen=True, slots=True)
class CosignKeySigner:
    """Whoever holds this key, signing with `cosign sign --key` (a `Requirement`).

    `annotations` must all be among the signed ones. `signature_repository` is where the signatures are, if not in the
    repository of the image (cosign: COSIGN_REPOSITORY). No log entry and no timestamp are asked for.
    """

    name: str
    key: PublicKey
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    signature_repository: Repository | None = None

    @property
    def fingerprint(self) -> str:
        """The hex SHA-256 of everything that a finding depends on."""
        parts = [
            "cosign-key",
            self.name,
            self.key.fingerprint,
            sorted(self.annotations.items()),
            str(self.signature_repository or ""),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def binds_tag(self) -> bool:
        """Neither form of payload has a tag in it that cosign would check."""
        return False

    @property
    def discovery(self) -> CosignDiscovery:
        """Where cosign keeps signatures."""
        return CosignDiscovery(self.signature_repository)

    def verify(self, subject: Subject, signature: UntrustedSignature, now: datetime) -> Finding:  # noqa: ARG002
        """Check one candidate. The time does not matter: a key is good for as long as the policy names it."""
        outcome = check(self.key, subject.digest, self.annotations, signature)
        if isinstance(outcome, Failure):
            return Rejection(outcome.reason, outcome.detail, self.name, signature.location)
        return Evidence(
            "cosign",
            self.name,
            signature.location,
            trust=f"key sha256:{self.key.fingerprint[:SHOWN_FINGERPRINT]}",
            claims=tuple(sorted(outcome.items())),
        )
