"""Errors that the event loop reports outside of requests, as log lines: at most one a second of each kind."""

import asyncio
from typing import Any

import structlog

from proxy.ops.limited import Limited


class LoopErrors:
    """An exception handler of an event loop (asyncio, `loop.set_exception_handler`)."""

    def __init__(self, limited: Limited) -> None:
        self._limited = limited
        self._log = structlog.get_logger("proxy.app")

    def __call__(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log the message; with the traceback, unless it is the system or a client that failed."""
        error = context.get("exception")
        more = self._limited.admit(type(error).__name__)
        if more is not None:
            shown = {} if error is None or isinstance(error, OSError) else {"exc_info": error}
            cause = repr(error) if isinstance(error, OSError) else None
            self._log.error("event loop error", what=context.get("message"), cause=cause, **shown, **more)
