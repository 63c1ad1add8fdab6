"""The registry snapshots of ../shared/vectors/cosign (format in its README), as cases and as a source to read from."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from support.vectors import VECTORS

from proxy.crypto.keys import PublicKey
from proxy.formats.api import Referrers
from proxy.formats.cosign.conditions import WantedPredicate
from proxy.formats.cosign.discover import CosignDiscovery
from proxy.formats.cosign.identity import WantedIdentity
from proxy.formats.cosign.patterns import Exact, Pattern
from proxy.formats.cosign.proof import Demands
from proxy.formats.cosign.signer import CosignSigner
from proxy.formats.cosign.trust_root import NO_TRUST_ROOT, TrustRoot
from proxy.formats.cosign.verify import Wanted, WantedKey
from proxy.oci.digest import Digest
from proxy.oci.errors import NotFoundError
from proxy.oci.manifest import OCI_INDEX, Descriptor, Manifest
from proxy.oci.reference import Reference, Repository
from proxy.verdict import Failure, Reason

SNAPSHOTS = VECTORS / "cosign"
REGISTRY = "registry.private.test"


@dataclass(frozen=True)
class OfType:
    """An attestation of one predicate type, whatever it says (a `WantedAttestation`)."""

    predicate_type: str

    def check(self, statement, now):
        """Compare the types."""
        if statement.predicate_type == self.predicate_type:
            return (("predicate_type", self.predicate_type),)
        return Failure(Reason.CONDITION_NOT_MET, f"an attestation of type {statement.predicate_type!a:.80}")


@dataclass(frozen=True)
class Case:
    """One folder: what is asked for, under which policy, and what must come of it."""

    path: Path
    expect: MappingProxyType[str, Any]

    @property
    def name(self):
        """The name of the folder."""
        return self.path.name

    @property
    def repository(self):
        """The repository of the image."""
        return Repository.of(REGISTRY, self.expect["image"].partition("@")[0])

    @property
    def digest(self):
        """The digest of the image."""
        return Digest.parse(self.expect["image"].partition("@")[2])

    @property
    def policy(self):
        """The policy, as the README describes it."""
        return self.expect["policy"]

    @property
    def accept(self):
        """The verdict of a correct verifier."""
        return self.expect["accept"]

    @property
    def tolerated(self):
        """Whether the opposite verdict is defensible too."""
        return "tolerated" in self.expect

    def signer(self):
        """Make the signer of the policy."""
        policy = self.policy
        demands = Demands(policy["tlog"] == "required", policy["tsa"] == "required", policy["type"] == "keyless")
        annotations = tuple(sorted(policy.get("annotations", {}).items()))
        attestation = WantedPredicate(policy["attestation"]["predicateType"]) if "attestation" in policy else None
        wanted = Wanted(self._who(), self._root(), demands, annotations, attestation)
        discovery = CosignDiscovery(self._signature_repository(), attestations=attestation is not None)
        return CosignSigner("release", wanted, discovery)

    def _who(self):
        policy = self.policy
        if policy["type"] == "key":
            return WantedKey(PublicKey.parse((self.path / policy["key"]).read_bytes()))
        subject = Exact(policy["subject"]) if "subject" in policy else Pattern.parse(policy["subject_regex"])
        return WantedIdentity(Exact(policy["issuer"]), subject)

    def _root(self):
        name = self.policy.get("trusted_root")
        return TrustRoot.parse((self.path / name).read_bytes()) if name else NO_TRUST_ROOT

    def _signature_repository(self):
        path = self.policy.get("signature_repository")
        return Repository.of(REGISTRY, path) if path else None

    def source(self, *, referrers_api):
        """Make the registry to read from."""
        return SnapshotSource(load_registry(self.path / "registry.json"), referrers_api=referrers_api)


def all_cases():
    """Every case, in order of names."""
    return [
        Case(path.parent, MappingProxyType(json.loads(path.read_bytes())))
        for path in sorted(SNAPSHOTS.glob("*/expect.json"))
    ]


def load_registry(path):
    """Read registry.json: {repository: {"tags", "manifests": {digest: (type, body)}, "blobs"}}, crowds written out."""
    return {name: _load_repository(raw) for name, raw in json.loads(path.read_bytes()).items()}


def _load_repository(raw):
    decode = base64.b64decode
    repository = {
        "tags": dict(raw["tags"]),
        "manifests": {digest: (one["mediaType"], decode(one["body"])) for digest, one in raw["manifests"].items()},
        "blobs": {digest: decode(body) for digest, body in raw["blobs"].items()},
    }
    for crowd in raw.get("generated", ()):
        _write_out(repository, crowd)
    for tag, digest in raw.get("generated_index_digest", {}).items():
        assert repository["tags"][tag] == digest
    return repository


def _write_out(repository, crowd):
    media_type, tag = crowd["manifest"]["mediaType"], crowd["index_tag"]
    template = base64.b64decode(crowd["manifest"]["template"])
    new = []
    for number in range(crowd["count"]):
        body = template.replace(b"{n}", str(number).encode())
        digest = str(Digest.of(body))
        repository["manifests"][digest] = (media_type, body)
        new.append(
            {"mediaType": media_type, "digest": digest, "size": len(body), "artifactType": crowd["artifactType"]}
        )
    index = json.loads(repository["manifests"].pop(repository["tags"][tag])[1])
    old = index["manifests"]
    index["manifests"] = new + old if crowd["position"] == "before" else old + new
    body = json.dumps(index, separators=(",", ":")).encode()
    repository["tags"][tag] = str(Digest.of(body))
    repository["manifests"][repository["tags"][tag]] = (OCI_INDEX, body)


class SnapshotSource:
    """A `Source` over what `load_registry` returns, with the referrers API or answering 404 for it.

    `failures` are errors to raise: {what: error}, where `what` is a tag, a digest or "referrers".
    """

    def __init__(self, registry, *, referrers_api, failures=None):
        self.registry = registry
        self.failures = failures or {}
        self.asked = []
        self.cut = None
        self._referrers_api = referrers_api

    async def manifest(self, reference: Reference) -> Manifest:
        """Serve a manifest."""
        repository = self._repository(reference.repository, str(reference.digest or reference.tag))
        digest = str(reference.digest) if reference.digest else repository["tags"].get(reference.tag)
        if digest not in repository["manifests"]:
            raise NotFoundError(f"{reference} is not there")
        media_type, body = repository["manifests"][digest]
        return Manifest.parse(Digest.parse(digest), media_type, body)

    async def blob(self, repository: Repository, descriptor: Descriptor, limit: int) -> bytes:
        """Serve a blob."""
        blobs = self._repository(repository, str(descriptor.digest))["blobs"]
        if str(descriptor.digest) not in blobs:
            raise NotFoundError(f"{descriptor.digest} is not there")
        assert descriptor.size <= limit
        return descriptor.check(blobs[str(descriptor.digest)])

    async def referrers(self, repository: Repository, digest: Digest) -> Referrers:
        """Compute what the referrers API lists, in the order of the snapshot."""
        there = self._repository(repository, "referrers")
        if not self._referrers_api:
            raise NotFoundError("no referrers API")
        found = (
            _descriptor(name, media_type, body)
            for name, (media_type, body) in there["manifests"].items()
            if b'"subject"' in body and _subject(body) == str(digest)
        )
        return Referrers(tuple(found), self.cut)

    def _repository(self, repository, what):
        self.asked.append(what)
        if what in self.failures:
            raise self.failures[what]
        if repository.path not in self.registry:
            raise NotFoundError(f"{repository} is not there")
        return self.registry[repository.path]


def _subject(body):
    return (json.loads(body).get("subject") or {}).get("digest")


def _descriptor(digest, media_type, body):
    manifest = json.loads(body)
    artifact_type = manifest.get("artifactType") or manifest["config"]["mediaType"]
    return Descriptor(media_type, Digest.parse(digest), len(body), artifact_type, manifest.get("annotations", {}))
