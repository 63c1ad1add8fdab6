"""A registry that cannot be reached is left alone for a while, and who asks is told so at once."""

from collections.abc import Callable
from typing import Protocol

from proxy.oci.errors import UnavailableError

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

    def check(self) -> None:
        """Raise UnavailableError while the registry is left alone; one request in OPEN_SECONDS may try."""
        if self._failures < FAILURES_MAX:
            return
        now = self._clock()
        if now < self._next:
            raise UnavailableError(f"{self._name} cannot be reached; it is tried again within {OPEN_SECONDS:g} s")
        self._next = now + OPEN_SECONDS

    def failed(self) -> None:
        """Take note that no connection could be made."""
        self._failures += 1
        if self._failures == FAILURES_MAX:
            self._next = self._clock() + OPEN_SECONDS
            self._changed(is_open=True)

    def answered(self) -> None:
        """Take note of an answer, whatever it is."""
        if self._failures >= FAILURES_MAX:
            self._changed(is_open=False)
        self._failures = 0
