"""Single flight: what many ask for at the same time is done once, and goes on when those who asked have left."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Work by key, shared by all who ask while it is under way.

    The work runs in the given TaskGroup, not in the task of the one who asked: a client that gives up cancels nothing.
    """

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._running: dict[K, asyncio.Future[V]] = {}

    async def do(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """Return what `work` returns, or raise what it raises; joins work already under way for this key."""
        future = self._running.get(key)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._running[key] = future
            self._tasks.create_task(self._run(key, work, future))
        return await asyncio.shield(future)

    async def _run(self, key: K, work: Callable[[], Awaitable[V]], future: asyncio.Future[V]) -> None:
        try:
            future.set_result(await work())
        except Exception as err:  # noqa: BLE001 (whatever it is, it belongs to those who asked)
            future.set_exception(err)
            future.exception()  # asked for: nobody may be left to hear it, which is no mistake
        finally:
            future.cancel()  # without effect when it is done; at shutdown those who wait are let go
            del self._running[key]
