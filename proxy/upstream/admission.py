"""Limits on our own concurrent requests to one registry, by their use, so that no use starves another.

A wait for a place here is our own affair: it says nothing about the registry, and no circuit breaker counts it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum

from proxy.oci.errors import BusyError
from proxy.oci.reference import Repository
from proxy.upstream.slots import FairSlots

# Manifests that clients ask for: short answers, as many at once as a large deployment pulls images.
PULLS_MAX = 96
# Lists of tags and of referrers that clients ask for. Nothing that runs waits for them, and each may be megabytes long.
LISTS_MAX = 8
BLOBS_MAX = 512
# One namespace of a registry gets at most this part of a pool; the rest is left to the others.
_NAMESPACE_PART = 0.75
# Of the 15 s of a request; what has no place by then is told to ask again.
WAIT_SECONDS = 5.0


class Use(StrEnum):
    """The purpose of a request."""

    PULL = "pull"
    LIST = "list"
    BLOB = "blob"
    #: Reserved: no pool. `gate.judge` bounds how many images are judged at once, a search how much it asks at once.
    JUDGE = "judge"


class Admission:
    """Admits our requests to one registry."""

    def __init__(self, registry: str, pulls: int = PULLS_MAX, blobs: int = BLOBS_MAX) -> None:
        self._registry = registry
        limits = {Use.PULL: pulls, Use.LIST: LISTS_MAX, Use.BLOB: blobs}
        self._slots = {use: FairSlots[str](most, max(1, int(most * _NAMESPACE_PART))) for use, most in limits.items()}

    @asynccontextmanager
    async def admit(self, use: Use, repository: Repository) -> AsyncIterator[None]:
        """Hold a place for one request; raises BusyError where there is none within WAIT_SECONDS."""
        slots = self._slots.get(use)
        if slots is None:
            yield
            return
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await stack.enter_async_context(slots.hold(namespace(repository)))
            except TimeoutError:
                raise BusyError(f"too many requests to {self._registry} are under way; ask again") from None
            yield


def namespace(repository: Repository) -> str:
    """Return the namespace of a repository: the first part of its path."""
    return repository.path.partition("/")[0]
