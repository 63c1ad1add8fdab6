"""How far long work is: bars on standard error where that is a terminal, and nothing where it is not."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from proxy.cli import render
from proxy.oci.digest import Digest

# As much of a digest as people compare.
_DIGEST_SHOWN = 19
_BYTES = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())


@contextmanager
def counting_bytes(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar for so many bytes while the context lasts; what is yielded takes how many more are done.

    None: nobody knows how many there will be.
    """
    with _bars(*_BYTES) as bars:
        task = bars.add_task(what, total=total)
        yield lambda count: bars.advance(task, count)


class Warming:
    """A `proxy.app.warming.Watch`: a bar for the images that are judged, then one for all bytes and one a blob.

    Faults are printed when the bars are gone, each once.
    """

    def __init__(self) -> None:
        self._bars = _bars(MofNCompleteColumn())
        self._all = TaskID(0)
        self._blobs: dict[Digest, TaskID] = {}
        self._came: dict[Digest, int] = {}
        #: What failed on this machine.
        self.faults: list[str] = []

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bars away."""
        self._bars.stop()
        for fault in dict.fromkeys(self.faults):
            render.note(fault)

    def judging(self, images: int) -> None:
        """See `Watch`."""
        self._begin(_bars(MofNCompleteColumn()), "judging images", images)

    def judged(self) -> None:
        """See `Watch`."""
        self._bars.advance(self._all)

    def fetching(self, size: int) -> None:
        """See `Watch`."""
        self._begin(_bars(*_BYTES), "all", size)

    def arrived(self, digest: Digest, count: int, size: int) -> None:
        """See `Watch`."""
        if digest not in self._blobs:
            self._blobs[digest] = self._bars.add_task(str(digest)[:_DIGEST_SHOWN], total=size)
        self._bars.update(self._blobs[digest], completed=count)
        self._bars.advance(self._all, count - self._came.get(digest, 0))
        self._came[digest] = count

    def ended(self, digest: Digest) -> None:
        """See `Watch`."""
        if digest in self._blobs:
            self._bars.remove_task(self._blobs.pop(digest))

    def fault(self, fault: str) -> None:
        """See `Watch`."""
        self.faults.append(fault)

    def _begin(self, bars: Progress, what: str, total: int) -> None:
        self._bars.stop()
        self._bars = bars
        self._all = bars.add_task(what, total=total)
        bars.start()


def _bars(*columns: ProgressColumn) -> Progress:
    terminal = render.Terminal(sys.stderr)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        console=terminal,
        disable=not terminal.is_terminal,
        transient=True,
    )
