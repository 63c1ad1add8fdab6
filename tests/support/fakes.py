"""Small stand-ins for what the gate and the front are given: registries in memory, signers, a clock that is set."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from proxy.formats.api import Discovered, Referrers, Source, UntrustedSignature
from proxy.oci.digest import Digest
from proxy.oci.errors import NotFoundError
from proxy.oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest
from proxy.oci.reference import Reference, Repository
from proxy.policy.model import Decision
from proxy.verdict import Evidence, Finding, Reason, Rejection, Subject

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def entry(body: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(body)), "size": len(body)}


def image_body(name: str, layer_type: str = LAYER, layers: Sequence[bytes] | None = None) -> bytes:
    """A manifest with a config and two layers that are named after it."""
    blobs = layers if layers is not None else [f"{name} layer {n}".encode() for n in range(2)]
    config = json.dumps({"architecture": "amd64", "rootfs": {}, "name": name}).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": entry(config, CONFIG),
        "layers": [entry(blob, layer_type) for blob in blobs],
    }
    return json.dumps(document).encode()


def index_body(*children: bytes) -> bytes:
    manifests = [entry(child, OCI_MANIFEST) for child in children]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()


@dataclass
class FakeRegistry:
    """Manifests in memory; `fault` is raised instead of any answer while it is set."""

    manifests: dict[tuple[Repository, str], bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    fault: Exception | None = None
    resolves: bool = True
    blobs: dict[Digest, bytes] = field(default_factory=dict)

    def add(self, repository: Repository, body: bytes, tag: str | None = None) -> Digest:
        digest = Digest.of(body)
        self.manifests[repository, str(digest)] = body
        if tag is not None:
            self.manifests[repository, tag] = body
        return digest

    def _body(self, how: str, reference: Reference) -> bytes:
        name = str(reference.digest or reference.tag)
        self.asked.append(f"{how} {reference.repository.path} {name[:14]}")
        if self.fault is not None:
            raise self.fault
        body = self.manifests.get((reference.repository, name))
        if body is None:
            raise NotFoundError(f"{reference} is not there")
        return body

    async def manifest(self, reference: Reference) -> Manifest:
        body = self._body("GET", reference)
        return Manifest.parse(Digest.of(body), json.loads(body)["mediaType"], body)

    async def resolve(self, reference: Reference) -> Digest | None:
        body = self._body("HEAD", reference)
        return Digest.of(body) if self.resolves else None

    async def blob(self, repository: Repository, descriptor: Descriptor, limit: int) -> bytes:
        if self.fault is not None:
            raise self.fault
        self.asked.append(f"BLOB {repository.path} {str(descriptor.digest)[:14]}")
        if descriptor.digest not in self.blobs:
            raise NotFoundError(f"{descriptor.digest} is not there")
        return self.blobs[descriptor.digest]

    async def head_blob(self, repository: Repository, digest: Digest) -> int:
        self.asked.append(f"HEAD-BLOB {repository.path} {str(digest)[:14]}")
        if digest not in self.blobs:
            raise NotFoundError(f"{digest} is not there")
        return len(self.blobs[digest])

    async def referrers(self, repository: Repository, digest: Digest) -> Referrers:
        raise NotImplementedError


@dataclass(frozen=True)
class FakeDiscovery:
    """Finds one signature for each signer that `signed` names, in a notebook that tests write in."""

    book: "Notebook" = field(hash=False, compare=False)

    async def __call__(self, subject: Subject, source: Source) -> Discovered:
        self.book.looked.append(str(subject.digest))
        if self.book.wait is not None:
            await self.book.wait()
        signers = self.book.signed.get(subject.digest, ())
        found = tuple(UntrustedSignature("fake", signer, signer.encode()) for signer in signers)
        return Discovered(found, unreached=tuple(self.book.unreached), overloaded=self.book.overloaded)


@dataclass
class Notebook:
    """What the fake signers find: who signed what, and what cannot be reached."""

    signed: dict[Digest, tuple[str, ...]] = field(default_factory=dict)
    unreached: list[str] = field(default_factory=list)
    overloaded: bool = False
    looked: list[str] = field(default_factory=list)
    wait: Any = None


@dataclass(frozen=True)
class FakeSigner:
    """Accepts candidates that carry its own name."""

    name: str
    book: Notebook = field(hash=False, compare=False)
    binds_tag: bool = False
    ends: bool = False

    @property
    def fingerprint(self) -> str:
        return f"fake {self.name}"

    @property
    def discovery(self) -> FakeDiscovery:
        return FakeDiscovery(self.book)

    def verify(self, subject: Subject, signature: UntrustedSignature, now: datetime) -> Finding:
        if signature.payload.decode() == self.name:
            return Evidence("fake", self.name, signature.location, "fake key")
        return Rejection(Reason.UNTRUSTED_SIGNER, "another signer", self.name, signature.location)


@dataclass
class Watcher:
    """Writes down what the gate tells its observer."""

    judged_: list[Decision] = field(default_factory=list)
    lookups: list[tuple[str, bool]] = field(default_factory=list)

    def judged(self, decision: Decision, client: str, seconds: float) -> None:
        self.judged_.append(decision)

    def looked_up(self, cache: str, *, hit: bool) -> None:
        self.lookups.append((cache, hit))
