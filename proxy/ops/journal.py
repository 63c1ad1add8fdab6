"""Priorities for the journal of systemd: a line that begins with `<3>` is an error there (sd-daemon(3))."""

import logging
import os
from typing import TextIO

# syslog(3): 3 error, 4 warning, 6 informational, 7 debug; what is fatal is 2, critical.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7


def is_journal(stream: TextIO | None) -> bool:
    """Return whether this stream goes to the journal: JOURNAL_STREAM has its device and inode (systemd.exec(5)).

    A program that was started by a service, with its environment but another standard error, is not connected to it.
    """
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    if stream is None or not (device.isdecimal() and inode.isdecimal()):
        return False
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # no file: a test's, or closed
        return False
    return (status.st_dev, status.st_ino) == (int(device), int(inode))


def priority(level: int) -> str:
    """Return what a line with this level of `logging` begins with."""
    return f"<{next((number for least, number in _PRIORITIES if level >= least), _DEBUG)}>"


class PriorityFormatter(logging.Formatter):
    """Puts the priority before what another formatter makes of a record."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        return priority(record.levelno) + self._inner.format(record)


def prioritized(stream: TextIO | None, formatter: logging.Formatter) -> logging.Formatter:
    """Return the formatter for lines to this stream: with priorities, where it is the journal."""
    return PriorityFormatter(formatter) if is_journal(stream) else formatter
