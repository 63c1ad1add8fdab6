"""From a reference to bytes: what a tag means for its lifetime, and the manifests that were asked for lately.

Both are kept in memory, and behind that in the stores that survive a restart and that the workers of a machine share.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cachetools import LRUCache

from proxy.formats.api import Source
from proxy.gate.memory import Memory
from proxy.oci.digest import Digest
from proxy.oci.errors import NotFoundError, RegistryError, UnavailableError
from proxy.oci.manifest import Manifest
from proxy.oci.reference import Reference, Repository
from proxy.stores.manifests import USED_EVERY
from proxy.stores.tags import Tagged

# Manifests kept in memory, in bytes: some two thousand usual ones, and at least one of the largest. The store has more.
MANIFEST_CACHE_BYTES = 32 * 1024 * 1024
# What a parsed manifest holds in memory for each byte of its body (measured with tracemalloc: 4, at worst 7.3).
_MEMORY_PER_BYTE = 8
# Tags kept in memory, 350 bytes each; the store has more.
TAGS_MAX = 10_000
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


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What a tag meant last, and until when it need not be asked for again."""

    digest: Digest
    until: datetime


@dataclass(slots=True)
class _Held:
    """A manifest, and when the store was last told that it is used."""

    manifest: Manifest
    told: datetime


class Contents:
    """Manifests by reference; asks upstream only for what is not known, or known for too long.

    A tag past its lifetime may be answered with its last digest while it is asked for again, in the TaskGroup.
    """

    def __init__(
        self,
        registry: Registry,
        clock: Callable[[], datetime],
        memory: Memory,
        looked_up: LookedUp,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._tag_lifetime = memory.tag_lifetime
        self._stored_tags = memory.tags
        self._stored_manifests = memory.manifests
        self._looked_up = looked_up
        self._tasks = tasks
        self._tags: LRUCache[tuple[Repository, str], _Meaning] = LRUCache(TAGS_MAX)
        # When each of the tags that are answered late was asked for last: an upstream that is down is not asked by all.
        self._asked: LRUCache[Reference, datetime] = LRUCache(TAGS_MAX)
        self._manifests: LRUCache[tuple[Repository, Digest], _Held] = LRUCache(
            MANIFEST_CACHE_BYTES, getsizeof=lambda held: _MEMORY_PER_BYTE * len(held.manifest.body)
        )

    async def fetch(self, reference: Reference, max_stale: timedelta = timedelta(0)) -> tuple[Manifest, datetime]:
        """Return the manifest, and until when this reference means it.

        For `max_stale` after a tag's lifetime its last digest is returned at once, until now, and asked for again.
        """
        if reference.digest is not None:
            # Content has its digest for ever; the year is only to have a date.
            until = self._clock() + timedelta(days=365)
            return await self._by_digest(reference.repository, reference.digest), until
        known = self._known(reference)
        if known is None or known.until <= self._clock():
            known = await self._known_to_all(reference)
        now = self._clock()
        fresh = known is not None and known.until > now
        self._looked_up("tag", hit=fresh)
        if known is not None and fresh:
            return await self._by_digest(reference.repository, known.digest), known.until
        if known is not None and now < known.until + max_stale:
            self._looked_up("stale_tag", hit=True)
            self._ask_again(reference, now)
            return await self._by_digest(reference.repository, known.digest), now
        return await self._ask(reference, known)

    def _known(self, reference: Reference) -> _Meaning | None:
        """Return what this process knows. A time in the future is no knowledge: the clock was set back since."""
        known = self._tags.get(_name(reference))
        return known if known is not None and known.until <= self._clock() + self._tag_lifetime else None

    async def _known_to_all(self, reference: Reference) -> _Meaning | None:
        """Return what this tag meant last, whichever worker asked for it, before a restart or since."""
        stored = await self._stored_tags.get(*_name(reference))
        usable = stored is not None and stored.confirmed <= self._clock()
        self._looked_up("stored_tag", hit=usable)
        known = self._known(reference)
        if stored is None or not usable:
            return known
        until = stored.confirmed + self._tag_lifetime
        if known is not None and until <= known.until:
            return known
        if stored.digest is None:
            self._tags.pop(_name(reference), None)
            return None
        self._tags[_name(reference)] = meaning = _Meaning(stored.digest, until)
        return meaning

    def _ask_again(self, reference: Reference, now: datetime) -> None:
        """Ask in the background, and not again before the tag's lifetime is over, whatever the answer."""
        if now < self._asked.get(reference, now):
            return
        self._asked[reference] = now + self._tag_lifetime
        self._tasks.create_task(self._refresh(reference))

    async def _refresh(self, reference: Reference) -> None:
        known = await self._known_to_all(reference)
        if known is None or known.until <= self._clock():
            # What goes wrong will be told to the first who asks when the tag may no longer be stale.
            with suppress(RegistryError):
                await self._ask(reference, known)

    async def _ask(self, reference: Reference, known: _Meaning | None) -> tuple[Manifest, datetime]:
        now = self._clock()
        try:
            manifest = await self._by_tag(reference, known.digest if known else None)
        except NotFoundError:
            await self._forget(reference)
            raise
        except UnavailableError as err:
            if known is None or not err.rate_limited or now >= known.until + RATE_LIMITED_TAG_MAX:
                raise
            # The upstream is well; it only counts what we ask. What the tag meant last is still judged, as always.
            return await self._by_digest(reference.repository, known.digest), now + self._tag_lifetime
        confirmed = self._clock()
        until = confirmed + self._tag_lifetime
        self._tags[_name(reference)] = _Meaning(manifest.digest, until)
        await self._stored_tags.put(*_name(reference), Tagged(manifest.digest, confirmed))
        return manifest, until

    async def _forget(self, reference: Reference) -> None:
        """Forget a tag that its upstream has no more: it means nothing from now on, stale or not, to all workers."""
        self._tags.pop(_name(reference), None)
        await self._stored_tags.end(*_name(reference), self._clock())

    async def _by_digest(self, repository: Repository, digest: Digest) -> Manifest:
        manifest = await self._here(repository, digest)
        if manifest is None:
            manifest = await self._registry.manifest(Reference(repository, digest=digest))
            await self._keep(repository, manifest)
        return manifest

    async def _here(self, repository: Repository, digest: Digest) -> Manifest | None:
        """Return the manifest from memory or from the store, where it is; and let the store know what is used."""
        now = self._clock()
        held = self._manifests.get((repository, digest))
        self._looked_up("manifest", hit=held is not None)
        if held is None:
            manifest = await self._stored_manifests.get(repository, digest, now)
            self._looked_up("stored_manifest", hit=manifest is not None)
            if manifest is not None:
                self._manifests[repository, digest] = _Held(manifest, now)
            return manifest
        if held.told + USED_EVERY <= now:
            held.told = now
            await self._stored_manifests.put(repository, held.manifest, now)
        return held.manifest

    async def _by_tag(self, reference: Reference, last: Digest | None) -> Manifest:
        """Ask for the digest alone where the bytes may still be here: Docker Hub counts a GET as a pull, a HEAD not."""
        repository = reference.repository
        if last is not None and await self._here(repository, last) is not None:
            digest = await self._registry.resolve(reference)
            if digest is not None:
                return await self._by_digest(repository, digest)
        manifest = await self._registry.manifest(reference)
        await self._keep(repository, manifest)
        return manifest

    async def _keep(self, repository: Repository, manifest: Manifest) -> None:
        now = self._clock()
        self._manifests[repository, manifest.digest] = _Held(manifest, now)
        await self._stored_manifests.put(repository, manifest, now)


def _name(reference: Reference) -> tuple[Repository, str]:
    return reference.repository, reference.tag or ""
