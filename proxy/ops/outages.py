"""When a registry ceases to answer and when it answers again, told once each, however many ask it meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

# An outage that begins again sooner is told of when it has lasted as long: a registry that is up and down fills no log.
QUIET = timedelta(seconds=10)
# What a pull begins with; blobs and lists may fail for reasons of their own.
_OPERATIONS = frozenset({"manifest", "resolve"})
# These say nothing about the registry: the client left, or a limit of our own was reached.
_NOTHING = frozenset({"cancelled", "busy"})


@dataclass(slots=True)
class _Seen:
    """Whether the outage of a registry is told of, and when the last one that was told of ended."""

    since: datetime | None = None
    ended: datetime | None = None


class Outages:
    """Which registries do not answer, by the requests with which tags and manifests are asked for."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def begins(self, registry: str, operation: str, outcome: str) -> bool:
        """Take note of a request; say whether an outage begins with it that is to be told of."""
        seen, now = self._seen.setdefault(registry, _Seen()), self._clock()
        if operation not in _OPERATIONS or outcome != "unavailable" or seen.since is not None:
            return False
        if seen.ended is not None and now - seen.ended < QUIET:
            return False
        seen.since = now
        return True

    def ends(self, registry: str, operation: str, outcome: str) -> timedelta | None:
        """Take note of a request; return how long the outage was that ends with it, None where none does."""
        seen, now = self._seen.setdefault(registry, _Seen()), self._clock()
        if operation not in _OPERATIONS or outcome in _NOTHING | {"unavailable"} or seen.since is None:
            return None
        lasted, seen.since, seen.ended = now - seen.since, None, now
        return lasted
