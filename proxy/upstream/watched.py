"""Files that are replaced while we run: passwords, tokens, certificates (Kubernetes secrets, cert-manager, agents)."""

from collections.abc import Callable, Sequence
from pathlib import Path

# How soon a change is noticed, in seconds; looking costs a few microseconds for each file.
LOOK_SECONDS = 1.0

_Signature = tuple[tuple[int, int, int, int] | None, ...]


class Watched:
    """Detects that one of several files was changed.

    A replaced file has another inode, a written one another time or size; for other changes there is `forget`.
    """

    def __init__(self, files: Sequence[Path], clock: Callable[[], float]) -> None:
        self._files = files
        self._clock = clock
        self._looked = clock()
        self._seen: _Signature | None = self._signature()

    def changed(self) -> bool:
        """Return whether a file has changed since this was last true; looks once in LOOK_SECONDS."""
        now = self._clock()
        if not self._files or now - self._looked < LOOK_SECONDS:
            return False
        self._looked = now
        signature = self._signature()
        if signature == self._seen:
            return False
        self._seen = signature
        return True

    def forget(self) -> None:
        """Treat the files as changed: they could not be read, or what was read was refused."""
        self._seen = None

    def _signature(self) -> _Signature:
        return tuple(_stat(file) for file in self._files)


def _stat(file: Path) -> tuple[int, int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
