"""What goes on beside the requests, for ever: the content store is kept within its limit, and read again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from proxy.stores.content import ContentStore, Stats, StoreError

# How soon an exceeded limit is noticed: some seconds of the fastest network.
BOUNDS_SECONDS = 5.0
# How often all is counted, for what other processes did, and what they left is removed. It takes 0.8 s of CPU for
# 100,000 files. So long, too, is the pause where room cannot be made because everything is being read.
SWEEP_SECONDS = 300.0
# All is counted too when this process has added such a part of the limit: others that share the folder may have done
# the same, and each knows of itself only. So they exceed the limit by no more than this part each.
COUNTED_PART = 1 / 32
# How often everything is read again, and how fast at most: 10 GiB in eleven minutes, with some 1 % of a core.
VERIFY_SECONDS = 24 * 3600.0
VERIFY_BYTES_PER_SECOND = 16 * 1024 * 1024

_Sleep = Callable[[float], Awaitable[None]]


async def keep_in_bounds(
    store: ContentStore, sleep: _Sleep = asyncio.sleep, monotonic: Callable[[], float] = time.monotonic
) -> None:
    """Sweep the store at an interval, and soon after its limit is exceeded or its disk had no room."""
    swept, pause = monotonic(), BOUNDS_SECONDS
    while True:
        await sleep(pause)
        if _is_due(store.stats()) or monotonic() - swept >= SWEEP_SECONDS:
            with suppress(StoreError):  # the store has told its observer
                await store.sweep()
            swept = monotonic()
        pause = min(2 * pause, SWEEP_SECONDS) if store.stats().full else BOUNDS_SECONDS


def _is_due(stats: Stats) -> bool:
    return stats.full or stats.added > stats.bytes_max * COUNTED_PART


async def keep_verified(store: ContentStore, sleep: _Sleep = asyncio.sleep) -> None:
    """Read everything again, slowly; what is wrong is removed and told of by the store."""
    while True:
        waited = 0.0
        with suppress(OSError):  # the folder cannot be listed: the next sweep tells
            for entry in store.entries():
                await store.verify_again(entry.digest)
                pause = entry.size / VERIFY_BYTES_PER_SECOND
                await sleep(pause)
                waited += pause
        await sleep(max(VERIFY_SECONDS - waited, VERIFY_SECONDS / 2))
