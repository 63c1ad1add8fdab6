"""Asking again: a few times, at random intervals that grow, never past the time limit."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from proxy.upstream.answers import TransientError

T = TypeVar("T")

# Three attempts in all fit into the 15 s of a manifest; more would only add to an outage.
RETRIES_MAX = 2
# "Full jitter" (AWS Architecture Blog, Exponential Backoff and Jitter): any delay up to base * 2^n, in seconds.
_BASE = 0.25
_CAP = 4.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """The clock (monotonic, in seconds) and what is done while time passes."""

    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random

    async def run(self, attempt: Callable[[], Awaitable[T]], seconds: float) -> T:
        """Make the attempt until it succeeds, fails for good, or no other fits into the seconds.

        A server's Retry-After is kept to; where it does not fit, its error is raised at once.
        """
        deadline = self.clock() + seconds
        retries = 0
        while True:
            try:
                return await attempt()
            except TransientError as err:
                delay = err.retry_after
                if delay is None:
                    delay = self.random() * min(_CAP, _BASE * 2**retries)
                if retries == RETRIES_MAX or self.clock() + delay >= deadline:
                    raise
            await self.sleep(delay)
            retries += 1
