"""One process that serves: its signals and its limits."""

import asyncio
import gc
import resource
import signal
from collections.abc import Callable
from contextlib import suppress

import structlog

from proxy import __version__
from proxy.app.composition import SHUTDOWN_SECONDS, Addresses, connections_max, running
from proxy.config import Settings
from proxy.front.listener import CONNECTIONS_MAX
from proxy.ops import log


async def serve(settings: Settings, *, ready: Callable[[Addresses], None] | None = None) -> None:
    """Run until SIGTERM or SIGINT, or until cancelled. Raises as `running` does."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.configure(settings.server.log_level)
    logger = structlog.get_logger("proxy.app")
    for relaxation in settings.relaxations:
        logger.warning("insecure setting", setting=relaxation)
    for warning in settings.warnings:
        logger.warning("configuration", warning=warning)
    _raise_file_limit()
    if connections_max() < CONNECTIONS_MAX:
        logger.warning("few files may be open (ulimit -n)", connections_max=connections_max())
    async with running(settings) as addresses:
        # What is there now stays: the collector need not look through it again (31 ms for 83,000 objects, measured).
        gc.freeze()
        logger.info("ready", version=__version__, registry=addresses.registry, admin=addresses.admin)
        if ready is not None:
            ready(addresses)
        await stop.wait()
        logger.info("stopping", seconds=SHUTDOWN_SECONDS)


def _raise_file_limit() -> None:
    """Take as many open files as the system gives, as programs in Go do: many systems begin with 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems name a limit that they do not give
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
