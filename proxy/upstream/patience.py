"""How long one task waits each time: a limit that costs next to nothing where the waits are many and short."""

import asyncio
from types import TracebackType
from typing import Self


class Patience:
    """A limit of so many seconds for each of many waits of one task.

    `async with Patience(60) as limited:` around all, `with limited:` around each wait: one that takes longer raises
    TimeoutError from the `async with`. An `asyncio.timeout` around each does the same for some 6 us a wait, a tenth of
    what a piece of a blob costs.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(None)
        self._since: float | None = None
        self._timer: asyncio.TimerHandle

    async def __aenter__(self) -> Self:
        """Begin to watch the task that enters."""
        await self._limit.__aenter__()
        self._timer = self._loop.call_later(self._seconds, self._look)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; TimeoutError where a wait took too long."""
        self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def __enter__(self) -> None:
        """Begin to wait."""
        self._since = self._loop.time()

    def __exit__(self, *_: object) -> None:
        """Have waited."""
        self._since = None

    def _look(self) -> None:
        now = self._loop.time()
        due = (now if self._since is None else self._since) + self._seconds
        if self._since is not None and due <= now:
            self._limit.reschedule(now)
        else:
            self._timer = self._loop.call_at(due, self._look)
