"""The contract between the supervisor and the workers that it forks: what each gets, and what a crew implements."""

from dataclasses import dataclass
from typing import Protocol

# A worker writes this to its pulse when it serves, and again with each beat; anything else it writes is the reason why
# it does not.
SERVES = b"\0"


@dataclass(frozen=True, slots=True)
class Post:
    """The identity and the pipes of one worker.

    `number` is unique among all live workers, `place` is the worker's index among those that serve together. It writes
    SERVES to `pulse` when it is ready and every BEAT_SECONDS from then on; `lifeline` becomes readable when the
    supervisor has ended.
    """

    number: int
    place: int
    is_replacement: bool
    pulse: int
    lifeline: int


class Crew(Protocol):
    """Workers that serve together, by the same settings."""

    @property
    def size(self) -> int:
        """Return the number of workers."""
        ...

    def work(self, post: Post) -> int:
        """Run one of the workers, in a process of its own; return its exit code."""
        ...

    def vacant(self, place: int, why: str, *, alone: bool) -> None:
        """Handle a place that stays empty for now, so that no connection waits for its worker.

        `alone`: no other worker serves either.
        """
        ...

    def filled(self, place: int) -> None:
        """Handle a worker that serves in a place that was empty."""
        ...
