"""Fetching what strangers may have put there: within limits, and with every problem noted."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from proxy.formats.api import Referrers, Source
from proxy.oci.digest import Digest
from proxy.oci.errors import (
    BusyError,
    CorruptError,
    MalformedError,
    NotFoundError,
    OverLimitError,
    RegistryError,
    TooSlowError,
    UnservableError,
    UpstreamDeniedError,
)
from proxy.oci.manifest import Descriptor, Manifest
from proxy.oci.reference import Reference, Repository
from proxy.verdict import TAKEN_AS_ABSENT, Reason, Rejection

# A bundle with log entry, timestamp and certificates has about 10 kB, a manifest of signatures some kB a signature.
BYTES_MAX = 1024 * 1024
# An attestation that has an SBOM of 3 MiB in it. cosign reads up to 128 MiB; to parse so much takes many seconds.
ATTESTATION_BYTES_MAX = 4 * 1024 * 1024
# Of all manifests that are fetched for one image, and of all payloads, by the sizes that descriptors state
# (CVE-2024-29902, CVE-2024-29903).
TOTAL_BYTES_MAX = 16 * 1024 * 1024
# As many as a browser opens to one host, so that one image does not take all connections to a registry.
FETCHES_AT_ONCE = 8
# Fetched before everything else of its kind, at the same time and with as many bytes together as one may have: what
# many pushed artifacts cannot delay more than one could. Images have a handful of signatures.
FEW = FETCHES_AT_ONCE

_T = TypeVar("_T")
ContentKey = tuple[Digest, int]


def content_key(descriptor: Descriptor) -> ContentKey:
    """Return what two descriptors of the same content share: with the size, so that a wrong one hides no right one."""
    return descriptor.digest, descriptor.size


class Fetcher:
    """Fetches from one repository for one search, and keeps what went wrong.

    Each method returns None (or nothing) where there is nothing to work with. What does not come in time is unreached,
    but of what is asked for as `further`, beyond the first few, it is too much. What is denied is absent where the
    repository gives the `image` that lies in it, and unreached where it does not. `rejections` are things that are
    there and cannot be used; `unreached` are places that could not be asked, `overloaded` whether for a limit of our
    own.
    """

    def __init__(
        self, source: Source, repository: Repository, blob_bytes_max: int = BYTES_MAX, image: Digest | None = None
    ) -> None:
        self.rejections: list[Rejection] = []
        self.unreached: list[str] = []
        self.overloaded = False
        self._source = source
        self._repository = repository
        self._image = image
        self._blob_bytes_max = blob_bytes_max
        self._blobs: dict[ContentKey, bytes] = {}
        self._spent: dict[ContentKey, int] = {}
        self._late = 0
        self._slots = asyncio.Semaphore(FETCHES_AT_ONCE)

    def reject(self, reason: Reason, detail: str, location: str) -> None:
        """Note that what lies there does not count."""
        self.rejections.append(Rejection(reason, detail, signature=location))

    async def tagged(self, tag: str) -> Manifest | None:
        """Fetch the manifest that a tag names; a tag that is not there is no problem."""
        reference = Reference(self._repository, tag=tag)
        return await self._attempt(tag, lambda: self._source.manifest(reference))

    async def referrers(self, image: Digest) -> Sequence[Descriptor]:
        """Ask the referrers API; a registry that has none is no problem, a list that was cut is a rejection."""
        where = f"referrers of {image}"
        listed = await self._attempt(where, lambda: self._source.referrers(self._repository, image)) or Referrers()
        if listed.cut is not None:
            self.reject(listed.cut.reason, listed.cut.detail, where)
        return listed.descriptors

    async def manifests(self, descriptors: Iterable[Descriptor], *, further: bool = False) -> list[Manifest]:
        """Fetch listed manifests, at most TOTAL_BYTES_MAX together."""
        affordable = self._affordable(descriptors, BYTES_MAX, TOTAL_BYTES_MAX)
        found = await asyncio.gather(*(self._listed_manifest(one, further=further) for one in affordable))
        return [manifest for manifest in found if manifest is not None]

    async def blobs(self, descriptors: Iterable[Descriptor], *, further: bool = False) -> dict[ContentKey, bytes]:
        """Return blobs, each fetched once, at most TOTAL_BYTES_MAX together; what cannot be had is left out."""
        descriptors = list(descriptors)
        new = [one for one in descriptors if content_key(one) not in self._spent]
        affordable = self._affordable(new, self._blob_bytes_max, TOTAL_BYTES_MAX - sum(self._spent.values()))
        self._spent |= {content_key(one): one.size for one in affordable}
        found = await asyncio.gather(*(self._listed_blob(one, further=further) for one in affordable))
        self._blobs |= {content_key(one): blob for one, blob in zip(affordable, found, strict=True) if blob is not None}
        return {key: self._blobs[key] for key in map(content_key, descriptors) if key in self._blobs}

    def few(self, descriptors: Iterable[Descriptor]) -> list[Descriptor]:
        """Return the first FEW of different content that have together no more bytes than one blob may have."""
        left, chosen = self._blob_bytes_max, dict[ContentKey, Descriptor]()
        for one in descriptors:
            if len(chosen) < FEW and content_key(one) not in chosen and one.size <= left:
                chosen[content_key(one)] = one
                left -= one.size
        return list(chosen.values())

    def settle(self, location: str) -> None:
        """Note how much of what was asked for as `further` has not come in time."""
        if self._late:
            self.reject(Reason.OVER_LIMIT, f"{self._late} of what lies there did not come in time", location)

    def _affordable(self, descriptors: Iterable[Descriptor], each: int, left: int) -> list[Descriptor]:
        unique = {content_key(one): one for one in descriptors}
        chosen = set()
        # The small ones first: large junk then takes no bytes from genuine signatures, which are small.
        for key, descriptor in sorted(unique.items(), key=lambda item: item[1].size):
            if descriptor.size > min(each, left):
                self.reject(
                    Reason.OVER_LIMIT, f"{descriptor.size} bytes are more than is fetched", str(descriptor.digest)
                )
                continue
            left -= descriptor.size
            chosen.add(key)
        return [descriptor for key, descriptor in unique.items() if key in chosen]

    async def _listed_manifest(self, descriptor: Descriptor, *, further: bool) -> Manifest | None:
        async def fetch() -> Manifest:
            manifest = await self._source.manifest(Reference(self._repository, digest=descriptor.digest))
            descriptor.check(manifest.body)
            return manifest

        return await self._attempt(str(descriptor.digest), fetch, listed=True, further=further)

    async def _listed_blob(self, descriptor: Descriptor, *, further: bool) -> bytes | None:
        async def fetch() -> bytes:
            return await self._source.blob(self._repository, descriptor, self._blob_bytes_max)

        return await self._attempt(str(descriptor.digest), fetch, listed=True, further=further)

    async def _attempt(
        self, where: str, fetch: Callable[[], Awaitable[_T]], *, listed: bool = False, further: bool = False
    ) -> _T | None:
        try:
            async with self._slots:
                return await fetch()
        except NotFoundError:
            # A registry that answers "not here" was reached: what it lists and does not have is nobody's signature.
            if listed:
                self.reject(Reason.CORRUPT, "is listed, but not there", where)
        except CorruptError as err:
            self.reject(Reason.CORRUPT, str(err), where)
        except OverLimitError as err:
            self.reject(Reason.OVER_LIMIT, str(err), where)
        except MalformedError as err:
            self.reject(Reason.MALFORMED, str(err), where)
        except RegistryError as err:
            if further and isinstance(err, TooSlowError):
                self._late += 1
            elif not listed and await self._means_absent(err):
                self.reject(Reason.NOT_SIGNED, f"denied though the image is given, so {TAKEN_AS_ABSENT}: {err}", where)
            elif listed and isinstance(err, UnservableError):
                self.reject(Reason.UNSUPPORTED, str(err), where)
            else:
                self.unreached.append(f"{where}: {err}")
                self.overloaded |= isinstance(err, BusyError)
        return None

    async def _means_absent(self, error: RegistryError) -> bool:
        """Return whether a denial is this registry's way to answer "not found": the same credentials get the image."""
        image = self._image
        if image is None or not isinstance(error, UpstreamDeniedError) or not error.may_be_absence:
            return False
        try:
            await self._source.manifest(Reference(self._repository, digest=image))
        except RegistryError:
            return False
        return True
