"""The TaskGroup that everything under way lives in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _Stop(Exception):  # noqa: N818 (no error: the way a TaskGroup is told that its work is over)
    pass


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Run a TaskGroup whose tasks are cancelled when the body ends."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
            raise _Stop
    except BaseExceptionGroup as group:
        _, failures = group.split(_Stop)
        if failures is not None:
            # One failure is raised as what it is, so that an address that is taken is an OSError to whoever asks.
            raise failures.exceptions[0] if len(failures.exceptions) == 1 else failures from None
