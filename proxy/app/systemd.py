"""What systemd is told of a service (sd_notify(3)); without systemd nothing is."""

import os
import socket
import time
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"
# Sent more often than `WatchdogSec=` asks for, while a worker serves.
WATCHDOG = "WATCHDOG=1"


def reloading() -> str:
    """Return the message that a reload begins now: `Type=notify-reload` compares the time with that of its signal."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def notify(message: str) -> None:
    """Send a message of lines NAME=VALUE to the service manager; one that is not there is no error."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if where.startswith(("/", "@")):
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            # "@" stands for the abstract namespace, whose names begin with a zero byte.
            manager.sendto(message.encode(), where.replace("@", "\0", 1))
