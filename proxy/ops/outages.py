"""Begin and end of outages of registries, each reported once."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

# An outage that begins sooner after the last one is reported when this time is over: a flapping registry fills no log.
QUIET = timedelta(seconds=10)


@dataclass(slots=True)
class _Seen:
    """The begin of the reported outage of a registry, if any, and the end of the last one."""

    since: datetime | None = None
    ended: datetime | None = None


class Outages:
    """The state of each registry."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def failed(self, registry: str) -> bool:
        """Handle a request without an answer; return whether an outage begins with it that is to be reported."""
        seen, now = self._seen.setdefault(registry, _Seen()), self._clock()
        if seen.since is not None or (seen.ended is not None and now - seen.ended < QUIET):
            return False
        seen.since = now
        return True

    def answered(self, registry: str) -> timedelta | None:
        """Handle an answer; return the duration of the outage that ends with it, None where none does."""
        seen, now = self._seen.setdefault(registry, _Seen()), self._clock()
        if seen.since is None:
            return None
        lasted, seen.since, seen.ended = now - seen.since, None, now
        return lasted
