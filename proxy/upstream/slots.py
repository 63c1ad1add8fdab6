"""A fair semaphore: no group can take all slots, and groups that wait take turns."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class FairSlots(Generic[K]):
    """At most `total` at once, and at most `each` of one group; a group that has fewer than `reserved` never waits.

    So at most `total` and `reserved` for each group beyond it are held. Those who wait are served one of each group in
    turn, and within a group in order.
    """

    def __init__(self, total: int, each: int, reserved: int = 0) -> None:
        self._total = total
        self._each = each
        self._reserved = reserved
        self._held: Counter[K] = Counter()
        self._waiting: OrderedDict[K, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def hold(self, group: K) -> AsyncIterator[None]:
        """Wait for a slot, as long as it takes, and hold it while the context lasts."""
        await self._acquire(group)
        try:
            yield
        finally:
            self._release(group)

    async def _acquire(self, group: K) -> None:
        if group not in self._waiting and self._is_free(group):
            self._held[group] += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(group, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._withdraw(group, turn)
            else:  # given in the same moment
                self._release(group)
            raise

    def _is_free(self, group: K) -> bool:
        held = self._held[group]
        return held < self._reserved or (held < self._each and self._held.total() < self._total)

    def _withdraw(self, group: K, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(group, deque())
        if turn in queue:  # else its turn came after it was cancelled, and `_give` has left it out
            queue.remove(turn)
            if not queue:
                del self._waiting[group]

    def _release(self, group: K) -> None:
        self._held[group] -= 1
        if not self._held[group]:
            del self._held[group]
        for waiting in list(self._waiting):
            if self._is_free(waiting):
                self._give(waiting)

    def _give(self, group: K) -> None:
        queue = self._waiting[group]
        turn = queue.popleft()
        while turn.cancelled() and queue:
            turn = queue.popleft()
        if not turn.cancelled():
            self._held[group] += 1
            turn.set_result(None)
        if queue:
            self._waiting.move_to_end(group)
        else:
            del self._waiting[group]
