"""A source with a deadline: an answer that is late is TooSlowError, which is an outage and no refusal.

The amount to fetch is under the control of those who push; so a format counts, and late answers beyond the usual number
are too much content to it (`formats.cosign.discover`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from proxy.formats.api import Referrers, Source
from proxy.oci.digest import Digest
from proxy.oci.errors import TooSlowError
from proxy.oci.manifest import Descriptor, Manifest
from proxy.oci.reference import Reference, Repository

T = TypeVar("T")

# The deadline, as a part of the time of a search; the rest is for evaluating what has arrived.
_ANSWERED = 0.9


class TimedSource:
    """A `Source` for one search of so many seconds, which begin now; TooSlowError for answers that are later."""

    def __init__(self, source: Source, seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        self._source = source
        self._seconds = seconds
        self._wait_until = now + seconds * _ANSWERED

    async def manifest(self, reference: Reference) -> Manifest:
        """See `Source.manifest`."""
        return await self._in_time(lambda: self._source.manifest(reference))

    async def blob(self, repository: Repository, descriptor: Descriptor, limit: int) -> bytes:
        """See `Source.blob`."""
        return await self._in_time(lambda: self._source.blob(repository, descriptor, limit))

    async def referrers(self, repository: Repository, digest: Digest) -> Referrers:
        """See `Source.referrers`."""
        return await self._in_time(lambda: self._source.referrers(repository, digest))

    async def _in_time(self, ask: Callable[[], Awaitable[T]]) -> T:
        late = TooSlowError(f"no answer within {self._seconds * _ANSWERED:g} s")
        if asyncio.get_running_loop().time() >= self._wait_until:
            raise late
        try:
            async with asyncio.timeout_at(self._wait_until):
                return await ask()
        except TimeoutError:
            raise late from None
