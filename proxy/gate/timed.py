"""A source whose time is limited: how much there is to fetch is up to those who push, whether it comes is not."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from proxy.formats.api import Referrers, Source
from proxy.oci.digest import Digest
from proxy.oci.errors import OverLimitError, UnavailableError
from proxy.oci.manifest import Descriptor, Manifest
from proxy.oci.reference import Reference, Repository

T = TypeVar("T")

# Nothing is begun after half of the time, so that each thing that is asked for has long enough to be missed.
_ASKED = 0.5
# What has not come by then is unreached, and there is time left to say so, and to keep what has come.
_ANSWERED = 0.9


class TimedSource:
    """A `Source` for one search of so many seconds, which begin now.

    Raises OverLimitError for what is asked for too late, which many slow decoys can bring about and which is therefore
    no outage, and UnavailableError for what was asked for in time and did not come.
    """

    def __init__(self, source: Source, seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        self._source = source
        self._seconds = seconds
        self._ask_until = now + seconds * _ASKED
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
        if asyncio.get_running_loop().time() > self._ask_until:
            raise OverLimitError(f"not fetched, for what comes before it took {self._seconds * _ASKED:g} s")
        try:
            async with asyncio.timeout_at(self._wait_until):
                return await ask()
        except TimeoutError:
            raise UnavailableError(f"no answer within {self._seconds * _ANSWERED:g} s") from None
