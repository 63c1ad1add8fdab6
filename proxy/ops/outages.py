"""When a registry ceases to answer and when it answers again, told once each, however many ask it meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

# An outage that begins again sooner is told of when it has lasted as long: a registry that is up and down fills no log.
QUIET = timedelta(seconds=10)


@dataclass(slots=True)
class _Seen:
    """Since when an outage of a registry lasts that is told of, and when the last one of these ended."""

    since: datetime | None = None
    ended: datetime | None = None


class Outages:
    """Which registries do not answer."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def failed(self, registry: str) -> bool:
        """Take note of a request without an answer; say whether an outage begins with it that is to be told of."""
        seen, now = self._seen.setdefault(registry, _Seen()), self._clock()
        if seen.since is not None or (seen.ended is not None and now - seen.ended < QUIET):
            return False
        seen.since = now
        return True

    def answered(self, registry: str) -> timedelta | None:
        """Take note of an answer; return how long the outage was that ends with it, None where none does."""
        seen, now = self._seen.setdefault(registry, _Seen()), self._clock()
        if seen.since is None:
            return None
        lasted, seen.since, seen.ended = now - seen.since, None, now
        return lasted
