"""At most one log line a second of a kind, so that no fault and no client fills the log."""

import time
from collections.abc import Callable

# Long enough that a flood costs nothing, short enough that its beginning and its end are seen.
INTERVAL_SECONDS = 1.0


class Limited:
    """A rate limit for log lines by kind. Kinds are a bounded set, names of our own."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._written: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def admit(self, kind: str) -> dict[str, int] | None:
        """Return None where a line of this kind is left out, else fields for it: how many were left out before it."""
        now, last = self._monotonic(), self._written.get(kind)
        if last is not None and now - last < INTERVAL_SECONDS:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return None
        self._written[kind] = now
        before = self._left_out.pop(kind, 0)
        return {"left_out": before} if before else {}
