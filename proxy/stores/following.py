"""A file that another process receives, read behind it: what it has written by now, until it has its name or is left.

Nothing is believed: what is read has not been proven by anybody here, and the end of it is given out only when the file
has the name of its digest. A writer that dies or gives up loses its lock (flock); one that is silent for too long is
left as well.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from enum import Enum
from io import FileIO
from typing import BinaryIO

from proxy.oci.digest import Digest
from proxy.stores.content_folder import ContentFolder, identity_of, is_unlocked
from proxy.stores.database import StoreError
from proxy.stores.growing import Progress

# How often is looked: at a gigabyte a second 5 MB come in between, and where nothing comes it costs little.
LOOK_SECONDS = 0.005
LOOK_SECONDS_MAX = 0.05
# A writer that brings nothing for so long may be held for ever. It is less than clients wait for the first byte.
SILENT_SECONDS = 10.0
# A writer changes its lock before it gives the file its name, and holds none in between.
_LOOKS_UNLOCKED = 3


class Left(Enum):
    """Why following ended without the whole."""

    GONE = "its writer is gone or has given up"
    SILENT = "its writer brings nothing"


class Following(Progress):
    """A file that somebody else writes. `ContentStore.begin` makes it; one task runs `follow`, then closes it."""

    def __init__(self, folder: ContentFolder, digest: Digest, size: int, file: FileIO) -> None:
        super().__init__()
        self.size = size
        self.identity = identity_of(file.fileno())
        self._folder = folder
        self._digest = digest
        self._file = file

    async def follow(
        self, begun: Callable[[], None], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> Left | None:
        """Tell those who wait what has come, until the whole has its name (None) or no more will come.

        `begun` is called when there is something to read. Whoever waits then still waits: `give_up` tells them.
        """
        clock = asyncio.get_running_loop().time
        pause, unlocked, last = LOOK_SECONDS, 0, clock()
        while True:
            there = min(os.fstat(self._file.fileno()).st_size, self.size)
            if there > self.received:
                self._grown(there)
                begun()
                pause, last = LOOK_SECONDS, clock()
            elif self._folder.is_named(self._digest, self.identity, self.size):
                self._grown(self.size)
                self._proven()
                begun()
                return None
            else:
                unlocked = unlocked + 1 if is_unlocked(self._file.fileno()) else 0
                if unlocked == _LOOKS_UNLOCKED:
                    return Left.GONE
                if clock() - last > SILENT_SECONDS:
                    return Left.SILENT
                pause = min(pause * 2, LOOK_SECONDS_MAX)
            await sleep(pause)

    def give_up(self, why: Left) -> None:
        """Tell those who wait that nothing more comes from here; nothing where all has come. Closes the file."""
        if not self.verified:
            self._failed(StoreError(why.value))
        self._file.close()

    def recent(self, at: int) -> memoryview | None:  # noqa: ARG002 (what `Growing` is asked)
        """Return None: another process has it in its memory."""
        return None

    def reader(self) -> BinaryIO:
        """See `Growing`."""
        try:
            return FileIO(os.dup(self._file.fileno()))
        except (OSError, ValueError) as err:  # ValueError: it is closed
            raise StoreError(f"cannot read what is being received: {err}") from err
