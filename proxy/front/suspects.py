"""Blobs that are not begun again for a while, and files that are read again before they are given out."""

from collections.abc import Callable

from cachetools import TTLCache

from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError, RegistryError, UnavailableError
from proxy.oci.reference import Repository
from proxy.stores.tallies import Tallies

# How long, how many, and from which weight on a blob is suspect: Docker tries a layer five times, and each try may be
# silent for as long as the upstream client bears it.
SUSPECT_SECONDS = 600.0
SUSPECTS_MAX = 10_000
SUSPECT_WEIGHT = 3
# How many answers are remembered, to know who asks for the same again: as many as make up 500 pulls.
ANSWERS_MAX = 10_000


class Suspects:
    """Blobs whose transfers broke off lately, and which are therefore not begun again for a while.

    Docker's classic store tries a layer that was cut five times and then pulls the whole image from the next registry,
    whatever its tag means there; an answer that it can read stops it (`refusals`). Wrong bytes are wrong the next time
    too; a cut may pass, so that the third within SUSPECT_SECONDS counts. Its tries may come to different workers, who
    count them together in `shared`.

    A file that a client asks for again may have rotted: who finds other bytes than the digest says tries once more.
    """

    def __init__(self, monotonic: Callable[[], float], shared: Tallies | None = None) -> None:
        self._shared = shared
        self._weights: TTLCache[tuple[Repository, Digest], int] = TTLCache(SUSPECTS_MAX, SUSPECT_SECONDS, monotonic)
        self._answers: TTLCache[tuple[str | None, Digest], bool] = TTLCache(ANSWERS_MAX, SUSPECT_SECONDS, monotonic)
        self._doubted: TTLCache[Digest, bool] = TTLCache(ANSWERS_MAX, SUSPECT_SECONDS, monotonic)

    def check(self, repository: Repository, digest: Digest) -> None:
        """Raise UnavailableError for a blob that is suspect."""
        weight = self._weights.get((repository, digest), 0)
        if self._shared is not None:
            weight = max(weight, self._shared.count(_name(repository, digest)))
        if weight >= SUSPECT_WEIGHT:
            raise UnavailableError("the upstream's transfers of this blob break off or bring wrong bytes")

    def cut(self, repository: Repository, digest: Digest, error: RegistryError) -> None:
        """Take note of a transfer that broke off."""
        weight = SUSPECT_WEIGHT if isinstance(error, CorruptError) else 1
        self._weights[repository, digest] = self._weights.get((repository, digest), 0) + weight
        if self._shared is not None:
            self._shared.add(_name(repository, digest), weight)

    def asked_again(self, client: str | None, digest: Digest) -> bool:
        """Say whether a file is to be read again before this client gets it: at most once within SUSPECT_SECONDS."""
        again = (client, digest) in self._answers and digest not in self._doubted
        self._answers[client, digest] = True
        if again:
            self._doubted[digest] = True
        return again


def _name(repository: Repository, digest: Digest) -> str:
    return f"{repository}@{digest}"
