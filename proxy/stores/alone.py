"""Work that one process does for all that share a folder."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

# How soon another process goes on where one has ended.
WAIT_SECONDS = 60.0


@asynccontextmanager
async def alone(path: Path, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> AsyncIterator[None]:
    """Wait until no other process holds the lock on this file, and hold it while the context lasts.

    It ends with its process, however that ends. Raises OSError where the file cannot be made.
    """
    with path.open("ab") as file:
        while not _locked(file.fileno()):
            await sleep(WAIT_SECONDS)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
