"""One signature before one signer: what is drafted with the tests' own Sigstore, and judged by its trust root."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache

from support.sigstore.authority import IDENTITY, ISSUER, Request
from support.sigstore.draft import Shape, attestation_of, signature_of
from support.sigstore.private import Sigstore
from support.snapshot import REGISTRY
from support.tsa import Tsa

from proxy.demo.signing import SigningKey
from proxy.formats.api import UntrustedSignature
from proxy.formats.cosign.identity import WantedIdentity
from proxy.formats.cosign.patterns import Exact
from proxy.formats.cosign.proof import Demands
from proxy.formats.cosign.shapes import Kind
from proxy.formats.cosign.signer import CosignSigner
from proxy.formats.cosign.trust_root import TrustRoot
from proxy.formats.cosign.verify import Wanted, WantedKey
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_MANIFEST, Descriptor
from proxy.oci.reference import Repository
from proxy.verdict import Reason, Rejection, Subject

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOW = AT + timedelta(days=3)
KEY = SigningKey.generate()
STRANGER = SigningKey.generate()
REQUEST = Request(key=KEY, at=AT)
SIGSTORE = Sigstore.create(tsa=Tsa.create())
# Another whole instance, of which the trust root knows nothing. It has the same names.
ELSEWHERE = Sigstore.create(tsa=Tsa.create(name="tsa elsewhere"))
IMAGE, OTHER = (
    Descriptor(OCI_MANIFEST, Digest.of(body), len(body)) for body in (b"the manifest of the image", b"another one")
)
SUBJECT = Subject(Repository.of(REGISTRY, "team/app"), IMAGE.digest)
SOMEBODY = WantedIdentity(Exact(ISSUER), Exact(IDENTITY))
LOG, STAMP, BOTH, EITHER = Demands(), Demands(log=False, timestamp=True), Demands(timestamp=True), Demands(log=False)
PROVENANCE = "https://slsa.dev/provenance/v1"


@cache
def _parsed(document):
    return TrustRoot.parse(document)


def root_of(sigstore=SIGSTORE, version="0.1", **sections):
    """Return the trust root of an instance, with other sections where they are given."""
    return _parsed(json.dumps(sigstore.trusted_root(version, **sections)).encode())


def by_key(key=KEY, window=None):
    return WantedKey(key.public, window)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A candidate, and whom the policy wants; `demands` is what must be proven besides."""

    signature: UntrustedSignature
    who: object = SOMEBODY
    root: TrustRoot
    demands: Demands = LOG
    annotations: tuple = ()
    attestation: object = None

    def finding(self, subject=SUBJECT, now=NOW):
        """Judge it."""
        wanted = Wanted(self.who, self.root, self.demands, self.annotations, self.attestation)
        return CosignSigner("release", wanted).verify(subject, self.signature, now)

    def reason(self, **given):
        """Return why it is refused and in which words, or None twice."""
        finding = self.finding(**given)
        return (finding.reason, finding.detail) if isinstance(finding, Rejection) else (None, None)


def trial(draft, **changes):
    """Put a draft, or a candidate, before a signer."""
    signature = draft if isinstance(draft, UntrustedSignature) else candidate(draft)
    return Trial(**{"signature": signature, "root": root_of()} | changes)


def candidate(draft):
    """Return a draft as discovery would, without a registry."""
    kinds = {Shape.BUNDLE: Kind.BUNDLE, Shape.ATT: Kind.ATTESTATION, Shape.ATT_REFERRER: Kind.ATTESTATION}
    layer, content = draft.layer()
    return UntrustedSignature(kinds.get(draft.shape, Kind.CLASSIC), "here", content, layer.get("annotations", {}))


def bundle_with(draft, change):
    """Return a bundle as a candidate, its JSON changed in place by a function."""
    document = draft.bundle()
    change(document)
    return UntrustedSignature(Kind.BUNDLE, "here", json.dumps(document).encode())


def noted(draft, **annotations):
    """Return a classic signature as a candidate, with other annotations of its layer; None leaves one out."""
    found = candidate(draft)
    names = {"certificate", "chain", "bundle", "rfc3161timestamp"}
    given = {f"dev.sigstore.cosign/{name}" if name in names else name: value for name, value in annotations.items()}
    merged = {name: value for name, value in (found.annotations | given).items() if value is not None}
    return replace(found, annotations=merged)


def begun(shape=Shape.BUNDLE, image=IMAGE):
    """Begin what cosign puts into this shape: a signature, or where there is none, an attestation."""
    if shape in {Shape.ATT, Shape.ATT_REFERRER}:
        return attestation_of(image, PROVENANCE, {}, shape)
    return signature_of(image, shape)


def made(shape=Shape.BUNDLE, signer=REQUEST, *, image=IMAGE, logs=("rekor1",), stamped=False):
    """Sign, log and stamp at AT."""
    return SIGSTORE.sign(begun(shape, image), signer, AT, logs=logs, stamped=stamped)


@dataclass(frozen=True)
class Attack:
    """One attack of docs/threats.md: why it is refused, in which words, and its twin, which nothing speaks against.

    `bad` and `good` make the trials, so that nothing is signed before a test runs.
    """

    number: str
    what: str
    reason: Reason
    says: str
    bad: object
    good: object

    def __str__(self):
        """Name it as tests do."""
        return f"{self.number}-{self.what}"

    def check(self):
        """Judge both."""
        assert self.good().reason() == (None, None)
        reason, detail = self.bad().reason()
        assert (reason, self.says in detail) == (self.reason, True), detail
