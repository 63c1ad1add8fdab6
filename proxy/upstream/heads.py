"""Whether a registry answers HEAD as it answers GET: what was found out, for a while."""

from collections.abc import Callable

# Long enough to save most of the requests in vain, short enough that a proxy that was repaired is noticed.
AVOIDED_SECONDS = 600.0
# What some registries, and the storage that they redirect to with a URL that is signed for GET, answer to a HEAD though
# a GET works. Not 429: that counts both.
NOT_MEANT = frozenset({400, 401, 403, 404, 500, 502, 503, 504})
# What is said about the method alone.
NOT_OFFERED = frozenset({405, 501})


class Heads:
    """The HEAD requests of one registry, by what they are for, that are left out because a GET works in their place."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def work(self, what: str) -> bool:
        """Say whether a HEAD is worth a request."""
        return self._clock() >= self._until.get(what, float("-inf"))

    def avoid(self, what: str) -> None:
        """Leave HEAD out for AVOIDED_SECONDS."""
        self._until[what] = self._clock() + AVOIDED_SECONDS
