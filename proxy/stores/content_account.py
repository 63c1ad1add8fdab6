"""How much content there is and what became of it: kept for who asks, and told to an observer."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from proxy.oci.digest import Digest

# A full disk fails each blob that nobody has had; an operator who is told so six times a minute has been told.
FAULT_SECONDS = 10.0


class ContentObserver(Protocol):
    """Who is told what becomes of the content. Called from any thread; no method may raise or wait."""

    def content_held(self, files: int, size: int) -> None:
        """Take note of how much there is, in files and bytes, by the last count and what came and went since."""
        ...

    def content_stored(self, size: int) -> None:
        """Take note of a file that was kept."""
        ...

    def content_evicted(self, files: int) -> None:
        """Take note of files removed because the limit was exceeded."""
        ...

    def content_corrupt(self, digest: Digest) -> None:
        """Take note of a file whose bytes had changed, and that was removed."""
        ...

    def content_fault(self, fault: str) -> None:
        """Take note that the disk failed, in one line; it may have failed more often."""
        ...


@dataclass(frozen=True, slots=True)
class Stats:
    """How much there is, whether a sweep is due to make room, and what failed last (None: the last write succeeded).

    `added` are the bytes that this process has kept since the last count; what others have is not known.
    """

    files: int
    bytes: int
    bytes_max: int
    added: int
    full: bool
    fault: str | None


class Account:
    """What there is by the last count, what came and went since, and what failed; from any thread."""

    def __init__(self, observer: ContentObserver, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.observer = observer
        self._monotonic = monotonic
        # By errno: when it was told last, and how often it came since.
        self._faults: dict[int | None, tuple[float, int]] = {}
        self._lock = threading.Lock()
        self._files = self._bytes = self._added = 0
        #: Bytes that the disk had no room for, the largest of what was to begin since the last sweep.
        self.wanted = 0
        self._fault: str | None = None

    def stats(self, bytes_max: int) -> Stats:
        """Return what there is, against the limit."""
        with self._lock:
            full = self._bytes > bytes_max or self.wanted > 0
            return Stats(self._files, self._bytes, bytes_max, self._added, full, self._fault)

    def counted(self, files: int, size: int) -> None:
        """Take the result of a count."""
        with self._lock:
            self._files, self._bytes, self._added = files, size, 0
        self.observer.content_held(files, size)

    def kept(self, size: int, *, new: bool) -> None:
        """Take note of a file that was kept; `new` where it replaced none."""
        self._fault = None
        if new:
            self._changed(1, size)
        self.observer.content_stored(size)

    def corrupt(self, digest: Digest, size: int) -> None:
        """Take note of a file that was wrong and is removed."""
        self._changed(-1, -size)
        self.observer.content_corrupt(digest)

    def fault(self, error: OSError) -> None:
        """Take note that the disk failed; of the same failure the observer hears once in FAULT_SECONDS."""
        self._fault = str(error)
        now = self._monotonic()
        with self._lock:
            told, untold = self._faults.get(error.errno, (-FAULT_SECONDS, 0))
            if now - told < FAULT_SECONDS:
                self._faults[error.errno] = told, untold + 1
                return
            self._faults[error.errno] = now, 0
        more = f" (and {untold} times before, untold)" if untold else ""
        self.observer.content_fault(f"{type(error).__name__}: {error}{more}")

    def _changed(self, files: int, size: int) -> None:
        with self._lock:
            self._files += files
            self._bytes += size
            self._added += max(size, 0)
            held = self._files, self._bytes
        self.observer.content_held(*held)
