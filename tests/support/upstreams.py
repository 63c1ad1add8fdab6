"""An upstream client whose time is made, not waited for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.oci.reference import Repository
from proxy.upstream.client import Upstream
from proxy.upstream.endpoint import Endpoint, Limits
from proxy.upstream.observer import Observer
from proxy.upstream.retry import Backoff

REGISTRY = "registry.test"
REPOSITORY = Repository(REGISTRY, "team/app")


class MadeTime:
    """A clock that only sleep moves; every sleep is kept."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def backoff(self) -> Backoff:
        return Backoff(self.clock, self.sleep, lambda: 0.5)


@asynccontextmanager
async def upstream_at(
    url: str, time: MadeTime | None = None, limits: Limits | None = None, observer: Observer | None = None, **members
) -> AsyncIterator[Upstream]:
    """Open an Upstream for `registry.test` at this URL; `members` are those of Endpoint."""
    endpoint = Endpoint(REGISTRY, url, **members)
    async with Upstream(endpoint, (time or MadeTime()).backoff(), limits, observer) as upstream:
        yield upstream
