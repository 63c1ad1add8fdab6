"""Images are judged, and brought into the content store, before anybody pulls them. Safe beside a running Sealgate."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from proxy.app.clock import clock
from proxy.app.content import open_content
from proxy.app.judging import make_gate, open_state
from proxy.app.tasks import task_group
from proxy.app.trust import trust_ages
from proxy.config import Settings
from proxy.gate import Gate, Pulled
from proxy.gate.transfers import Transfers
from proxy.oci.digest import Digest
from proxy.oci.errors import RegistryError, UnknownUpstreamError
from proxy.oci.manifest import DESCRIPTORS_MAX, Manifest
from proxy.oci.platforms import Platform, platforms
from proxy.oci.reference import Reference, Repository
from proxy.ops.audit import Audit, is_written
from proxy.policy.model import Decision
from proxy.stores.content import ContentStore
from proxy.stores.content_upkeep import keep_in_bounds
from proxy.stores.database import StoreError
from proxy.upstream.retry import Backoff
from proxy.upstream.table import Upstreams

# As many as skopeo and containerd fetch of one image; a registry that limits how much one address asks bears them.
BLOBS_AT_ONCE = 4
IMAGES_AT_ONCE = 4
# Who asked, in the audit log.
CLIENT = "sealgate cache warm"
# Of a blob that came and had to go, for others came after it.
NO_ROOM = "there was no room for it to stay"

_T = TypeVar("_T")
_R = TypeVar("_R")
_Blob = tuple[Digest, int]


class Watch(Protocol):
    """Who is told how far it is. Called on the event loop."""

    def judging(self, images: int) -> None:
        """Take note of how many images there are to be judged."""
        ...

    def judged(self) -> None:
        """Take note that one more image is judged, whatever came of it."""
        ...

    def fetching(self, size: int) -> None:
        """Take note of how many bytes are to come."""
        ...

    def arrived(self, digest: Digest, count: int, size: int) -> None:
        """Take note that `count` bytes of `size` are there; the last of a blob when `count` is `size`."""
        ...

    def ended(self, digest: Digest) -> None:
        """Take note that no more of a blob will come, whether it is there or not."""
        ...

    def fault(self, fault: str) -> None:
        """Take note of a failure on this machine that does not end the work. May be called from any thread."""
        ...


class NoRoomError(StoreError):
    """The images are larger than what can be kept: by the setting, or by the disk of `folder`. Both in bytes."""

    def __init__(self, needed: int, room: int, folder: Path | None) -> None:
        super().__init__(f"the images take {needed} bytes, there is room for {room}")
        self.needed = needed
        self.room = room
        self.folder = folder


@dataclass(slots=True)
class Warmed:
    """What came of one image.

    `pulled` is what a pull would have been answered, None where `error` says why there is no answer. Of an image that
    is served, `blobs` are to be in the store, `came` is those that were not there before, and `missing` says why what
    is not there now is not. `platforms` are those of an index that were chosen, as far as it names them.
    """

    reference: Reference
    pulled: Pulled | None = None
    error: RegistryError | None = None
    platforms: tuple[str, ...] = ()
    blobs: frozenset[_Blob] = frozenset()
    came: frozenset[_Blob] = frozenset()
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def decision(self) -> Decision | None:
        """What was decided, if it was."""
        return self.pulled.decision if self.pulled is not None else None

    @property
    def served(self) -> bool:
        """Say whether a pull would have got the image."""
        return self.pulled is not None and (self.pulled.decision is None or self.pulled.decision.served)


async def warm(
    settings: Settings, references: Sequence[Reference], wanted: Sequence[Platform], watch: Watch
) -> Sequence[Warmed]:
    """Judge the images as pulls would be, and let the blobs of those that are served come into the store.

    Of an index that is for the platforms that `wanted` names; where it names none, of all. What is found out is
    remembered for who serves, and new verdicts go to the audit log if it is a file.

    Raises NoRoomError before anything comes in, StoreError where the store cannot be used, UnknownUpstreamError before
    anything is asked, OSError where the audit log cannot be written. Everything else is said in what is returned.
    """
    for reference in references:
        if reference.repository.registry not in settings.upstreams:
            raise UnknownUpstreamError(f"{reference.repository.registry} is not one of the configured upstreams")
    async with _warming(settings, watch) as warming:
        return await warming.run(references, wanted)


@asynccontextmanager
async def _warming(settings: Settings, watch: Watch) -> AsyncIterator["_Warming"]:
    async with AsyncExitStack() as stack:
        records_first = settings.server.audit_failure == "refuse"
        observer = _Observer(_audit(settings, watch, stack), watch, records_first=records_first)
        record = observer.recorded if records_first else None
        database = open_state(
            settings, watch.fault, lambda name, why: watch.fault(f"the store was damaged, is now {name}: {why}")
        )
        stack.callback(database.close)
        upstreams = await stack.enter_async_context(Upstreams(settings.upstreams.values(), Backoff(time.monotonic)))
        content = stack.enter_context(open_content(settings, observer))
        tasks = await stack.enter_async_context(task_group())
        gate = make_gate(settings, upstreams, database, trust_ages(settings), observer, tasks, record)
        transfers = Transfers(source=upstreams, store=content, tasks=tasks, observer=observer, on_cut=lambda *_: None)
        tasks.create_task(keep_in_bounds(content))
        yield _Warming(gate, transfers, content, settings, watch)


def _audit(settings: Settings, watch: Watch, stack: AsyncExitStack) -> Audit | None:
    if settings.server.audit_log is None and settings.server.audit_failure == "serve":
        return None
    audit = Audit.open(settings.server.audit_log, lambda: watch.fault("a line of the audit log could not be written"))
    stack.callback(audit.close)
    return audit


class _Observer:
    """What the gate, the transfers and the store tell: verdicts for the audit log, faults for who watches."""

    def __init__(self, audit: Audit | None, watch: Watch, *, records_first: bool) -> None:
        self._audit = audit
        self._records_first = records_first
        self.content_fault = watch.fault

    async def recorded(self, decision: Decision, client: str) -> bool:
        """Write the audit line of what would be served, before it counts."""
        return self._audit is not None and await is_written(self._audit.verdict(decision, time=clock(), client=client))

    def judged(self, decision: Decision, client: str, seconds: float) -> None:  # noqa: ARG002 (nobody measures here)
        if self._audit is not None and not (self._records_first and decision.served):
            self._audit.verdict(decision, time=clock(), client=client)

    def looked_up(self, cache: str, *, hit: bool) -> None: ...

    def transfer(self, outcome: str) -> None: ...

    def content_held(self, files: int, size: int) -> None: ...

    def content_stored(self, size: int) -> None: ...

    def content_evicted(self, files: int) -> None: ...

    def content_corrupt(self, digest: Digest) -> None: ...


class _Warming:
    def __init__(
        self, gate: Gate, transfers: Transfers, content: ContentStore, settings: Settings, watch: Watch
    ) -> None:
        self._gate = gate
        self._transfers = transfers
        self._content = content
        self._settings = settings
        self._watch = watch

    async def run(self, references: Sequence[Reference], wanted: Sequence[Platform]) -> Sequence[Warmed]:
        self._watch.judging(len(references))
        images = await _at_once(IMAGES_AT_ONCE, references, lambda one: self._judge(one, wanted))
        sources = _sources(images)
        absent = [blob for blob in sources if not self._content.has(*blob)]
        self._check_room(sum(size for _, size in sources), sum(size for _, size in absent))
        self._watch.fetching(sum(size for _, size in absent))
        causes = dict(await _at_once(BLOBS_AT_ONCE, list(sources), lambda one: self._fetch(one, sources[one])))
        if self._content.stats().full:
            await self._content.sweep()
        for image in images:
            image.came = image.blobs & set(absent)
            image.missing |= {
                str(blob[0]): causes[blob] or NO_ROOM for blob in image.blobs if not self._content.has(*blob)
            }
        return images

    # What is to be there

    async def _judge(self, reference: Reference, wanted: Sequence[Platform]) -> Warmed:
        image = Warmed(reference)
        try:
            image.pulled = await self._gate.pull(reference, CLIENT)
            if image.served:
                await self._choose(image, image.pulled.manifest, wanted)
        except RegistryError as err:
            image.error = err
        finally:
            self._watch.judged()
        return image

    async def _choose(self, image: Warmed, manifest: Manifest, wanted: Sequence[Platform]) -> None:
        """Find the blobs of the image, and of an index those of the children that are wanted."""
        found, waiting, asked = set[_Blob](), [manifest], 0
        while waiting:
            one = waiting.pop()
            found.update((blob.digest, blob.size) for blob in one.blobs)
            for child in self._wanted_of(image, one, wanted):
                asked += 1
                if asked > DESCRIPTORS_MAX:
                    image.missing[str(child)] = f"there are more than {DESCRIPTORS_MAX} manifests in it"
                    break
                waiting += await self._child(image, child)
        image.blobs = frozenset(found)

    def _wanted_of(self, image: Warmed, manifest: Manifest, wanted: Sequence[Platform]) -> Sequence[Digest]:
        """Return the children that are wanted; one that names no platform may be for any."""
        named = list(zip(manifest.children, platforms(manifest), strict=True))
        chosen = [
            (child.digest, platform)
            for child, platform in named
            if not wanted or platform is None or any(one.covers(platform) for one in wanted)
        ]
        names = dict.fromkeys(str(platform) for _, platform in chosen if platform is not None)
        image.platforms = tuple(dict.fromkeys((*image.platforms, *names)))
        if named and not chosen:
            has = ", ".join(dict.fromkeys(str(platform) for _, platform in named))
            image.missing[" or ".join(map(str, wanted))] = f"the index has {has}"
        return [digest for digest, _ in chosen]

    async def _child(self, image: Warmed, digest: Digest) -> list[Manifest]:
        """Ask for a child as clients do, so that what it names is remembered to be its own."""
        try:
            pulled = await self._gate.pull(Reference(image.reference.repository, digest=digest), CLIENT)
        except RegistryError as err:
            image.missing[str(digest)] = str(err)
            return []
        if pulled.decision is not None and not pulled.decision.served:
            image.missing[str(digest)] = "is refused by itself"
            return []
        return [pulled.manifest]

    def _check_room(self, needed: int, absent: int) -> None:
        """Refuse to begin what would only drive out its own beginning."""
        limit = self._settings.cache.size
        if needed > limit:
            raise NoRoomError(needed, limit, None)
        folder = self._settings.server.state_dir
        room = shutil.disk_usage(folder).free + self._content.stats().bytes
        if absent > room:
            raise NoRoomError(absent, room, folder)

    # What comes

    async def _fetch(self, blob: _Blob, repositories: Iterable[Repository]) -> tuple[_Blob, str]:
        """Let a blob come in from the first repository that has it; return why it did not, if it did not."""
        digest, size = blob
        cause = ""
        try:
            for repository in repositories:
                try:
                    if await self._kept(repository, digest, size):
                        return blob, ""
                    cause = self._content.stats().fault or cause
                except RegistryError as err:
                    cause = str(err)
        finally:
            self._watch.ended(digest)
        return blob, cause

    async def _kept(self, repository: Repository, digest: Digest, size: int) -> bool:
        def arrived(count: int) -> None:
            self._watch.arrived(digest, count, size)

        if await self._transfers.keep(repository, digest, size, arrived):
            return True
        # The disk is full: what was not used for longest goes, as it does while Sealgate serves.
        await self._content.sweep()
        return await self._transfers.keep(repository, digest, size, arrived)


def _sources(images: Iterable[Warmed]) -> dict[_Blob, list[Repository]]:
    """Return every blob once, with the repositories that name it."""
    sources: dict[_Blob, list[Repository]] = {}
    for image in images:
        for blob in sorted(image.blobs, key=str):
            named = sources.setdefault(blob, [])
            if image.reference.repository not in named:
                named.append(image.reference.repository)
    return sources


async def _at_once(most: int, items: Sequence[_T], work: Callable[[_T], Awaitable[_R]]) -> list[_R]:
    """Do the work for all items, so many at once; return what came of them in their order."""
    slots = asyncio.Semaphore(most)

    async def one(item: _T) -> _R:
        async with slots:
            return await work(item)

    async with asyncio.TaskGroup() as tasks:
        doing = [tasks.create_task(one(item)) for item in items]
    return [task.result() for task in doing]
