"""What is done to the content in the background: counted, evicted by last use, cleaned.

Nothing is kept in memory between two sweeps, and little during one: how many files there are does not matter.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from proxy.stores.content_folder import ContentFolder, Entry

# Evicted down to this part of the limit, so that not each new file costs a walk through the folder.
_KEPT = 0.9
# Files that are looked for in one walk; about 400 bytes each.
_EVICTED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep left (`files`, `bytes`) and what it removed."""

    files: int
    bytes: int
    evicted: int
    orphans: int
    strays: int


def tell_nobody(_size: int) -> None:
    """Take a size, and do nothing."""


def sweep(
    folder: ContentFolder, bytes_max: int, wanted: int = 0, evicted_one: Callable[[int], None] = tell_nobody
) -> Swept:
    """Clean the folder, and evict what was not used for longest where it holds more than so many bytes.

    On a disk that has no room for `wanted` bytes more the limit is lower, whoever fills it. What somebody reads stays,
    so that more may be left. One process after the other: each would make all of the room. `evicted_one` is told the
    bytes of each file that is evicted. Raises OSError.
    """
    with folder.sweeping():
        return _sweep(folder, bytes_max, wanted, evicted_one)


def _sweep(folder: ContentFolder, bytes_max: int, wanted: int, evicted_one: Callable[[int], None]) -> Swept:
    orphans, strays = folder.remove_orphans(), folder.remove_strays()
    files, size = count(folder)
    evicted = 0
    limit = min(bytes_max, size + folder.room() - wanted)
    if size > limit:
        goal = int(limit * _KEPT)
        while size > max(goal, 0) and (removed := _evict(folder, size - goal, evicted_one)):
            evicted += removed
            files, size = count(folder)
    return Swept(files, size, evicted, orphans, strays)


def count(folder: ContentFolder) -> tuple[int, int]:
    """Return the number of files and their bytes. Raises OSError."""
    files = size = 0
    for entry in folder.entries():
        files += 1
        size += entry.size
    return files, size


def _evict(folder: ContentFolder, excess: int, evicted_one: Callable[[int], None]) -> int:
    removed = 0
    for entry in heapq.nsmallest(_EVICTED_AT_ONCE, folder.entries(), key=_last_use):
        if excess <= 0:
            break
        if folder.remove_unread(entry):
            removed += 1
            excess -= entry.size
            evicted_one(entry.size)
    return removed


def _last_use(entry: Entry) -> float:
    return entry.used
