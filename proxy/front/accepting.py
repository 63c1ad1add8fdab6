"""Accepts connections for a `Listener`: counted from accept, within its limit, with a time for the TLS handshake.

asyncio's own servers count nothing before a handshake has ended, and log a traceback for each connection that finds no
open file left. States of a connection: waiting in the kernel's queue; `opening`, from accept to the end of the
handshake, in HANDSHAKE_SECONDS at most; a connection of the listener. Invariants: `opening` and the listener's
connections together are no more than its limit; a full listener first closes connections that await no answer, and
where there is none lets newcomers wait in the kernel's queue: a client that is sent away asks another registry.
"""

import asyncio
import gc
import heapq
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from operator import itemgetter
from socket import socket

from proxy.front.bounded import Bounded, Observer, Unobserved
from proxy.front.listener import Listener

# From accept to the end of the TLS handshake: some round trips over a bad line.
HANDSHAKE_SECONDS = 10.0
# How long a client may take to answer our close_notify at the end of a TLS connection.
GOODBYE_SECONDS = 2.0
# The part of those that may be closed that a full listener closes at a time: looking through all costs milliseconds.
RECLAIMED_PART = 100
# Accepted in one turn of the event loop, so that requests under way have theirs.
ACCEPTED_A_TURN = 64
# Handshakes that failed, after which their memory is collected: each is a cycle of objects that holds 256 KiB, and the
# collector, which counts objects, comes too late (measured: 410 MB after 6,000, with 190 connections).
COLLECTED_AFTER = 200
# The pause in accepting where no connection can be closed, or no more files can be opened.
PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Opening:
    """A connection from accept on, until its handshake has ended; `begun` is by the loop's clock."""

    task: asyncio.Task[bool]
    begun: float
    connection: Bounded


class Acceptor:
    """Accepts on these sockets, which it closes with `stop`; with a context connections speak TLS."""

    def __init__(
        self,
        listener: Listener,
        sockets: Sequence[socket],
        tasks: asyncio.TaskGroup,
        *,
        tls: ssl.SSLContext | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._listener = listener
        self._sockets = sockets
        self._tasks = tasks
        self._tls = tls
        self._observer = observer or Unobserved()
        self._failed = 0
        self._pauses: dict[socket, asyncio.TimerHandle] = {}
        #: Connections between accept and the end of their handshake, with when it began, oldest first.
        self.opening: dict[socket, Opening] = {}

    def start(self, backlog: int) -> None:
        """Listen. Raises OSError where an address cannot be listened on."""
        for one in self._sockets:
            one.settimeout(0)
            one.listen(backlog)
            asyncio.get_running_loop().add_reader(one, self._accept, one)

    def stop(self) -> None:
        """Close the sockets. What was accepted goes on."""
        for pause in self._pauses.values():
            pause.cancel()
        for one in self._sockets:
            if one.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(one)
                one.close()

    def _accept(self, listening: socket) -> None:
        room = self._listener.connections_max - len(self.opening) - len(self._listener.connections)
        if room <= 0:  # those that are closing do not count, and those that have just been opened count once
            opening = sum(not one.connection.opened_at for one in self.opening.values())
            room = self._listener.connections_max - opening - self._listener.count_open()
        room = room if room > 0 else self._make_room()
        if room <= 0:
            self._pause(listening, "full")
        for _ in range(min(room, ACCEPTED_A_TURN)):
            try:
                connected, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no file or no memory is left (accept(2): EMFILE, ENFILE, ENOBUFS, ENOMEM)
                self._make_room()
                self._pause(listening, "files")
                return
            connected.settimeout(0)
            self._open(connected)

    def _make_room(self) -> int:
        """Close connections that wait for no answer; return how many.

        First the oldest that never asked, in a handshake or after it, so that a flood of them displaces itself; then
        those whose last request was longest ago.
        """
        idle = self._listener.idle()
        silent = [(one.opened_at, one.abort) for one in idle if not one.asked_at]
        handshakes = self.opening.items() if self._tls is not None else ()
        silent += [(one.begun, partial(self._end, it)) for it, one in handshakes if not one.connection.opened_at]
        some = silent or [(one.asked_at, one.abort) for one in idle]
        some = heapq.nsmallest(ceil(len(some) / RECLAIMED_PART), some, key=itemgetter(0))
        for _, close in some:
            close()
            self._observer.dropped("limit")
        return len(some)

    def _end(self, connected: socket) -> None:
        """End a handshake."""
        self.opening.pop(connected).task.cancel()

    def _pause(self, listening: socket, why: str) -> None:
        self._observer.dropped(why)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        self._pauses[listening] = loop.call_later(PAUSE_SECONDS, loop.add_reader, listening, self._accept, listening)

    def _open(self, connected: socket) -> None:
        connection = self._listener()
        task = self._tasks.create_task(self._connect(connected, connection))
        self.opening[connected] = Opening(task, asyncio.get_running_loop().time(), connection)
        task.add_done_callback(lambda _: self._opened(task, connected))

    async def _connect(self, connected: socket, connection: Bounded) -> bool:
        """Make a connection of the listener; return whether it is one."""
        tls = self._tls
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                connected,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if tls is not None else None,
                ssl_shutdown_timeout=GOODBYE_SECONDS if tls is not None else None,
            )
        except OSError:
            self._observer.dropped("handshake")
            return False
        except Exception as err:  # noqa: BLE001 (one connection must not end all of them)
            self._observer.failed("", err)
            return False
        return True

    def _opened(self, task: asyncio.Task[bool], connected: socket) -> None:
        self.opening.pop(connected, None)
        if task.cancelled() or task.exception() is not None or not task.result():
            connected.close()
            self._failed += self._tls is not None
            if self._failed >= COLLECTED_AFTER:
                self._failed = 0
                gc.collect()
