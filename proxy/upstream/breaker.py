"""A registry that cannot be reached is left alone for a while, and who asks is told so at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from proxy.oci.errors import UnavailableError
from proxy.upstream.answers import UnreachableError

# In a row, with no answer of any kind in between. One request makes three attempts (`retry`).
FAILURES_MAX = 6
# Long enough to save what pulls would wait for, short enough that nobody waits for a registry that is back.
OPEN_SECONDS = 10.0


class Changed(Protocol):
    """Who is told whether a registry is left alone."""

    def __call__(self, *, is_open: bool) -> None:
        """Take note that it is, or no longer."""
        ...


class Breaker:
    """Counts failures to connect, of everybody who asks one registry.

    Only that nothing is there counts. An answer, be it an error, shows that the registry is up: whoever pushes can make
    it give bad answers, and must not be able to have it left alone.
    """

    def __init__(self, name: str, clock: Callable[[], float], changed: Changed) -> None:
        self._name = name
        self._clock = clock
        self._changed = changed
        self._failures = 0
        self._next = 0.0
        self._trial: asyncio.Event | None = None

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """Count what is done inside: UnreachableError is a failure, its end an answer; anything else is neither.

        While the registry is left alone UnavailableError is raised instead; one in OPEN_SECONDS may try, and who comes
        while it does waits for what it finds, for one pull asks several things at the same time.
        """
        while self._trial is not None:
            await self._trial.wait()
        trial = self._begin_trial() if self._failures >= FAILURES_MAX else None
        try:
            yield
        except UnreachableError:
            self._failed()
            raise
        except asyncio.CancelledError:
            if trial is not None:
                self._next = self._clock()  # nothing was found out
            raise
        else:
            self._answered()
        finally:
            if trial is not None:
                self._trial = None
                trial.set()

    def _begin_trial(self) -> asyncio.Event:
        now = self._clock()
        if now < self._next:
            raise UnavailableError(f"{self._name} cannot be reached; it is tried again within {OPEN_SECONDS:g} s")
        self._next = now + OPEN_SECONDS
        self._trial = asyncio.Event()
        return self._trial

    def _failed(self) -> None:
        self._failures += 1
        if self._failures == FAILURES_MAX:
            self._next = self._clock() + OPEN_SECONDS
            self._changed(is_open=True)

    def _answered(self) -> None:
        if self._failures >= FAILURES_MAX:
            self._changed(is_open=False)
        self._failures = 0
