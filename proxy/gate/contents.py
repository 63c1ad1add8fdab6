"""From a reference to bytes: what a tag means for its lifetime, and the manifests that were asked for lately."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

from cachetools import LRUCache

from proxy.formats.api import Source
from proxy.oci.digest import Digest
from proxy.oci.errors import RegistryError, UnavailableError
from proxy.oci.manifest import Manifest
from proxy.oci.reference import Reference, Repository

# Manifests kept in memory, in bytes: some four thousand usual ones, and at least two of the largest.
MANIFEST_CACHE_BYTES = 64 * 1024 * 1024
# What a parsed manifest holds in memory for each byte of its body (measured with tracemalloc: 4, at worst 7.3).
_MEMORY_PER_BYTE = 8
# Tags kept in memory: more than one machine's neighbours run.
TAGS_MAX = 100_000
# How long a tag keeps its last digest while the upstream answers 429: Docker Hub's window is six hours.
RATE_LIMITED_TAG_MAX = timedelta(hours=6)


class Registry(Source, Protocol):
    """The upstreams, as the gate needs them."""

    async def resolve(self, reference: Reference) -> Digest | None:
        """Return a tag's digest by the cheapest request there is, None where the upstream does not say it."""
        ...

    async def head_blob(self, repository: Repository, digest: Digest) -> int:
        """Return the size of a blob in bytes, as the upstream says it."""
        ...


class LookedUp(Protocol):
    """Who is told of what was remembered, and what was not."""

    def __call__(self, cache: str, *, hit: bool) -> None:
        """Take note of one look-up."""
        ...


class Contents:
    """Manifests by reference; asks upstream only for what is not known, or known for too long.

    A tag past its lifetime may be answered with its last digest while it is asked for again, in the TaskGroup.
    """

    def __init__(
        self,
        registry: Registry,
        clock: Callable[[], datetime],
        tag_lifetime: timedelta,
        looked_up: LookedUp,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._tag_lifetime = tag_lifetime
        self._looked_up = looked_up
        self._tasks = tasks
        self._tags: LRUCache[tuple[Repository, str], tuple[Digest, datetime]] = LRUCache(TAGS_MAX)
        # When each of the tags that are answered late was asked for last: an upstream that is down is not asked by all.
        self._asked: LRUCache[Reference, datetime] = LRUCache(TAGS_MAX)
        self._manifests: LRUCache[tuple[Repository, Digest], Manifest] = LRUCache(
            MANIFEST_CACHE_BYTES, getsizeof=lambda manifest: _MEMORY_PER_BYTE * len(manifest.body)
        )

    async def fetch(self, reference: Reference, max_stale: timedelta = timedelta(0)) -> tuple[Manifest, datetime]:
        """Return the manifest, and until when this reference means it.

        For `max_stale` after a tag's lifetime its last digest is returned at once, until now, and asked for again.
        """
        now = self._clock()
        if reference.digest is not None:
            # Content has its digest for ever; the year is only to have a date.
            return await self._by_digest(reference.repository, reference.digest), now + timedelta(days=365)
        known = self._tags.get((reference.repository, reference.tag or ""))
        fresh = known is not None and known[1] > now
        self._looked_up("tag", hit=fresh)
        if known is not None and fresh:
            return await self._by_digest(reference.repository, known[0]), known[1]
        if known is not None and now < known[1] + max_stale:
            self._looked_up("stale_tag", hit=True)
            self._ask_again(reference, now)
            return await self._by_digest(reference.repository, known[0]), now
        return await self._ask(reference, known, now)

    def _ask_again(self, reference: Reference, now: datetime) -> None:
        """Ask in the background, and not again before the tag's lifetime is over, whatever the answer."""
        if now < self._asked.get(reference, now):
            return
        self._asked[reference] = now + self._tag_lifetime
        self._tasks.create_task(self._refresh(reference, now))

    async def _refresh(self, reference: Reference, now: datetime) -> None:
        # What goes wrong will be told to the first who asks when the tag may no longer be stale.
        with suppress(RegistryError):
            await self._ask(reference, self._tags.get((reference.repository, reference.tag or "")), now)

    async def _ask(
        self, reference: Reference, known: tuple[Digest, datetime] | None, now: datetime
    ) -> tuple[Manifest, datetime]:
        try:
            manifest = await self._by_tag(reference, known[0] if known else None)
        except UnavailableError as err:
            if known is None or not err.rate_limited or now >= known[1] + RATE_LIMITED_TAG_MAX:
                raise
            # The upstream is well; it only counts what we ask. What the tag meant last is still judged, as always.
            return await self._by_digest(reference.repository, known[0]), now + self._tag_lifetime
        until = self._clock() + self._tag_lifetime
        self._tags[reference.repository, reference.tag or ""] = (manifest.digest, until)
        return manifest, until

    async def _by_digest(self, repository: Repository, digest: Digest) -> Manifest:
        manifest = self._manifests.get((repository, digest))
        self._looked_up("manifest", hit=manifest is not None)
        if manifest is None:
            manifest = await self._registry.manifest(Reference(repository, digest=digest))
            self._keep(repository, manifest)
        return manifest

    async def _by_tag(self, reference: Reference, last: Digest | None) -> Manifest:
        """Ask for the digest alone where the bytes may still be here: Docker Hub counts a GET as a pull, a HEAD not."""
        repository = reference.repository
        if last is not None and (repository, last) in self._manifests:
            digest = await self._registry.resolve(reference)
            if digest is not None:
                return await self._by_digest(repository, digest)
        manifest = await self._registry.manifest(reference)
        self._keep(repository, manifest)
        return manifest

    def _keep(self, repository: Repository, manifest: Manifest) -> None:
        self._manifests[repository, manifest.digest] = manifest
