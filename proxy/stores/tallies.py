"""Small counts that the workers of one machine share and that are over after a while, such as of transfers cut short.

Each is a file whose length is the count and whose time is that of the last addition, so that adding needs no lock. A
disk that fails costs what it counted: each process has its own count beside it.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

# Each is an empty block of the folder. Whoever makes so many registries fail has no need to hide one more.
TALLIES_MAX = 10_000


class Tallies:
    """Counts by name, in a folder of their own. A count is over `lifetime` after its last addition."""

    def __init__(self, folder: Path, lifetime: timedelta, clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._lifetime = lifetime.total_seconds()
        self._clock = clock

    def count(self, name: str) -> int:
        """Return how much was added; for the event loop: it looks at one file."""
        try:
            status = self._path(name).stat()
        except OSError:
            return 0
        return status.st_size if self._is_alive(status) else 0

    def add(self, name: str, number: int) -> None:
        """Add to a count."""
        path = self._path(name)
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            over = not self.count(name)
            if over and not self._has_room():
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | (os.O_TRUNC if over else 0)
            with os.fdopen(os.open(path, flags, 0o600), "ab") as file:
                file.write(bytes(number))

    def _has_room(self) -> bool:
        """Say whether one more may be made; where there are too many, those that are over make room."""
        found = list(self._folder.iterdir())
        if len(found) < TALLIES_MAX:
            return True
        for path in found:
            with suppress(OSError):  # another process removes it too
                if not self._is_alive(path.stat()):
                    path.unlink()
        return len(list(self._folder.iterdir())) < TALLIES_MAX

    def _is_alive(self, status: os.stat_result) -> bool:
        return abs(self._clock().timestamp() - status.st_mtime) < self._lifetime

    def _path(self, name: str) -> Path:
        return self._folder / sha256(name.encode()).hexdigest()
