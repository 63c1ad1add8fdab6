"""What is kept in one process until it expires; a clock that is set back makes nothing last longer."""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from cachetools import LRUCache

_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[_V]):
    value: _V
    since: datetime
    until: datetime


class Lasting(Generic[_K, _V]):
    """Values by key, each for its time; so many at most, and those used least lately are forgotten first."""

    def __init__(self, limit: int) -> None:
        self._entries: LRUCache[_K, _Entry[_V]] = LRUCache(limit)

    def get(self, key: _K, now: datetime) -> _V | None:
        """Return the value, None where none holds now: it has expired, or was put at a time that is yet to come."""
        entry = self._entries.get(key)
        return entry.value if entry is not None and entry.since <= now < entry.until else None

    def last(self, key: _K) -> _V | None:
        """Return the value, whether it still holds or not."""
        entry = self._entries.get(key)
        return entry.value if entry is not None else None

    def put(self, key: _K, value: _V, now: datetime, until: datetime) -> None:
        """Keep the value from now until then, in place of what was there."""
        self._entries[key] = _Entry(value, now, until)

    def drop(self, key: _K) -> None:
        """Forget the value, if there is one."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
