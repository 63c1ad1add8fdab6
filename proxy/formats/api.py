"""What a signature format is to the rest: something to look for, and a check of what was found.

Looking (`Discovery`) does I/O through a `Source` and decides nothing. Checking (`Requirement.verify`) takes bytes and a
time and returns a `Finding`; it does no I/O and raises nothing but bugs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from proxy.oci.digest import Digest
from proxy.oci.manifest import Descriptor, Manifest
from proxy.oci.reference import Reference, Repository
from proxy.verdict import Failure, Finding, Rejection, Subject


@dataclass(frozen=True, slots=True)
class Referrers:
    """What a registry lists as referring to a manifest, in its order.

    `cut` says why the list was read in part only: whoever may push can make it longer than anyone reads, or such that
    nobody can read it. That is no outage, and what was read counts.
    """

    descriptors: tuple[Descriptor, ...] = ()
    cut: Failure | None = None


class Source(Protocol):
    """Where a format reads from: a registry, whose answers are checked against their digests and nothing else.

    All methods raise `proxy.oci.errors`: NotFoundError, UpstreamDeniedError, CorruptError, MalformedError,
    UnavailableError.
    """

    async def manifest(self, reference: Reference) -> Manifest:
        """Return a manifest by tag or digest, at most MANIFEST_BYTES_MAX long, its digest checked."""
        ...

    async def blob(self, repository: Repository, descriptor: Descriptor, limit: int) -> bytes:
        """Return a whole blob, its size and digest checked; CorruptError where it is larger than `limit` bytes."""
        ...

    async def referrers(self, repository: Repository, digest: Digest) -> Referrers:
        """Return what the referrers API lists, all pages, unfiltered; NotFoundError where there is no such API."""
        ...


@dataclass(frozen=True, slots=True)
class UntrustedSignature:
    """One candidate as it was found. Nothing in it is proven.

    `location` says for people where it lies (a tag or a digest); `kind` is the format's own name for its shape.
    """

    kind: str
    location: str
    payload: bytes = field(repr=False)
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)


@dataclass(frozen=True, slots=True)
class Discovered:
    """What one discovery found.

    `rejections` are candidates that could not even be read (corrupt, over a limit). `unreached` names the places that
    could not be asked: where it is not empty, not having found a signature proves nothing. `overloaded` says that some
    of them were not asked for a limit of our own.
    """

    signatures: tuple[UntrustedSignature, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    unreached: tuple[str, ...] = ()
    overloaded: bool = False


class Discovery(Protocol):
    """How to look for the signatures of a subject.

    Hashable and equal by value, so that signers that look in the same places share one search.
    """

    async def __call__(self, subject: Subject, source: Source) -> Discovered:
        """Look everywhere this format keeps signatures. Raises nothing of `proxy.oci.errors`."""
        ...


class Requirement(Protocol):
    """A named signer of the policy: where to look for its signatures, and what makes one count."""

    @property
    def name(self) -> str:
        """The signer's name in the policy."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever anything changes that `verify` or `discovery` depends on: trust material, conditions."""
        ...

    @property
    def binds_tag(self) -> bool:
        """Say whether what is signed depends on the tag, so that the verdict for one tag says nothing of another."""
        ...

    @property
    def ends(self) -> bool:
        """Say whether what `verify` proves now may be proven no more later: a time of use, an age, depend on now."""
        ...

    @property
    def discovery(self) -> Discovery:
        """Where to look."""
        ...

    def verify(self, subject: Subject, signature: UntrustedSignature, now: datetime) -> Finding:
        """Check one candidate. Pure: the same arguments give the same finding. Raises nothing."""
        ...
