"""What a process may hold on to: looked at while it is at rest, and while it works."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression

from aiohttp import ClientSession
from support.whole import Serving

MIB = 2**20
_BUCKET = re.compile(r'sealgate_event_loop_lag_seconds_bucket\{le="([^"]+)"\} ([0-9.e+]+)')


@dataclass(frozen=True)
class Limit:
    """How far a figure may grow from one rest to the next: by a part of it, and by so much."""

    unit: str
    part: float
    more: float

    def bound(self, before: float) -> float:
        return before * (1 + self.part) + self.more


# Memory that was used and freed stays with the process in part, and so do threads and SQLite's files, each up to a size
# that is reached in the warm-up; what is held for each request or image would grow on.
LIMITS = {
    "memory (Pss)": Limit("MiB", 0.10, 8),
    "objects": Limit("", 0.05, 2000),
    "tasks": Limit("", 0, 4),
    "threads": Limit("", 0, 8),
    "open files": Limit("", 0, 8),
    "files in incoming": Limit("", 0, 0),
    "database": Limit("MiB", 0.10, 1),
    "its log (WAL)": Limit("MiB", 0.10, 4),
}


async def at_rest(served: Serving, state: Path) -> dict[str, float]:
    """Measure everything that has a limit."""
    seen = await served.seen()
    return {
        "memory (Pss)": served.memory(),
        "objects": seen["objects"],
        "tasks": seen["tasks"],
        "threads": served.threads(),
        "open files": served.open_files(),
        "files in incoming": len(list((state / "content" / "incoming").iterdir())),
        "database": _size(state, "*.sqlite3"),
        "its log (WAL)": _size(state, "*.sqlite3-wal"),
    }


def broken(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """Name what has grown beyond its limit."""
    return [name for name, limit in LIMITS.items() if after[name] > limit.bound(before[name])]


def held(state: Path) -> float:
    """Return how much content is kept, in MiB."""
    return _size(state / "content", "sha*/*/*")


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Return the growth per minute of values at seconds."""
    return 60 * linear_regression(*zip(*samples, strict=True)).slope if len(samples) > 1 else 0.0


async def lags(client: ClientSession, admin: str) -> dict[float, float]:
    """Return how often the event loop woke up at most so many seconds late; inf is always."""
    async with client.get(f"{admin}/metrics") as response:
        found = _BUCKET.findall(await response.text())
    return {float(late): float(count) for late, count in found}


def late(before: dict[float, float], after: dict[float, float], part: float) -> float:
    """Return how late at most this part of all times between the two, as the next bound of the histogram."""
    counts = {bound: count - before.get(bound, 0.0) for bound, count in after.items()}
    total = max(counts.values(), default=0.0)
    return min((bound for bound, count in counts.items() if count >= total * part), default=0.0)


def _size(folder: Path, pattern: str) -> float:
    total = 0
    for file in folder.glob(pattern):
        try:
            total += file.stat().st_size
        except FileNotFoundError:  # evicted since
            continue
    return total / MIB
