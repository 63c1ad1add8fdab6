"""HEAD requests that a registry does not answer as it answers GET, remembered for a while."""

from collections.abc import Callable

# Long enough to save most of the requests in vain, short enough that a proxy that was repaired is noticed.
AVOIDED_SECONDS = 600.0
# Statuses that are about the method alone.
NOT_OFFERED = frozenset({405, 501})
# Statuses with which some registries, what stands before them, and storage behind a URL that is signed for GET answer a
# HEAD though a GET works: any failure (Cloudflare has its own, 520 to 530). Not 429, which applies to both.
NOT_MEANT = frozenset(range(400, 600)) - NOT_OFFERED - {429}


class Heads:
    """The HEAD requests of one registry, by what they are for, that are left out because a GET works in their place."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def work(self, what: str) -> bool:
        """Return whether a HEAD should be tried."""
        return self._clock() >= self._until.get(what, float("-inf"))

    def avoid(self, what: str) -> None:
        """Leave HEAD out for AVOIDED_SECONDS."""
        self._until[what] = self._clock() + AVOIDED_SECONDS
