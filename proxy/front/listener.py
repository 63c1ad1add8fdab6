"""The HTTP server of one address: its connections, their limits, and its end."""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import web

from proxy.front.bounded import Bounded, Observer, Reject, Unobserved, plain_rejection
from proxy.front.connection import CAN_KNOW_AGAIN, Again, Connection
from proxy.front.sending import CLIENT_STALL_SECONDS

# More than the nodes of a large cluster open together. An idle one takes some 20 KiB.
CONNECTIONS_MAX = 10_000
# A connection with TLS takes some 300 KiB: asyncio keeps a buffer of 256 KiB for each (sslproto, max_size).
TLS_CONNECTIONS_MAX = 1_000
# Of the admin listener: browsers, Prometheus and health checks. Nothing that happens to the other takes these.
ADMIN_CONNECTIONS_MAX = 100
# How long a connection may stay without a whole request on it, from its beginning and from the last answer on. Go's
# clients keep theirs for 90 s: none of their requests is to meet a connection that is being closed.
IDLE_SECONDS = 100.0
# The same with TLS, where each costs memory. Clients open another where theirs was closed.
TLS_IDLE_SECONDS = 20.0
# Google's registry redirects with 16 KiB of query, and a client's token may be as long (measured: 8190 is too little).
HEADER_BYTES_MAX = 32 * 1024
# Lines of a head. Clients send up to 12 of their own, and proxies before us add some.
HEADERS_MAX = 100
# How long who has just connected may take to ask, where a listener drains: some handshakes over a bad line.
BEGIN_SECONDS = 3.0
# How often a listener that drains looks whether all have left.
DRAIN_INTERVAL_SECONDS = 0.1


class Listener(web.Server):
    """Passes requests to a handler; connections over the limit are closed at once (`accepting` makes room before).

    What `again` answers does not reach the handler (`connection`), nor what cannot be read, which `reject` answers.
    """

    def __init__(  # noqa: PLR0913 (one composition root calls this, with names)
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        connections_max: int,
        again: Again | None = None,
        *,
        reject: Reject = plain_rejection,
        observer: Observer | None = None,
        idle_seconds: float | None = None,
    ) -> None:
        super().__init__(self._answer)
        self._handle = handler
        self.connections_max = connections_max
        self._again = again
        self._settings: dict[str, Any] = {
            "reject": reject,
            "observer": observer or Unobserved(),
            "access_log": None,
            "keepalive_timeout": IDLE_SECONDS if idle_seconds is None else idle_seconds,
            "max_line_size": HEADER_BYTES_MAX,
            "max_field_size": HEADER_BYTES_MAX,
            "max_headers": HEADERS_MAX,
        }

    def __call__(self) -> Bounded:
        """Make a connection."""
        loop = asyncio.get_running_loop()
        if self._again is None or not CAN_KNOW_AGAIN:
            return Bounded(self, loop=loop, **self._settings)
        return Connection(self, self._again, loop=loop, **self._settings)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        if not isinstance(connection, Bounded):
            raise TypeError("a connection that this listener did not make")
        return await connection.answer(request, self._handle)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Count a connection in."""
        super().connection_made(handler, transport)
        _limit_stalls(transport)
        # Those that are closing do not count.
        if len(self.connections) > self.connections_max < self.count_open():
            transport.abort()

    def count_open(self) -> int:
        """Return how many connections there are that are not closing."""
        return sum(not one.is_closing for one in self._bounded())

    def idle(self) -> list[Bounded]:
        """Return the connections on which nothing is asked or sent."""
        return [one for one in self._bounded() if one.is_idle]

    def _bounded(self) -> list[Bounded]:
        return [one for one in self.connections if isinstance(one, Bounded)]

    async def drain(self, seconds: float, *, begin: float = BEGIN_SECONDS) -> None:
        """Close connections, each after its request, and wait until what was sent has left; so long at most.

        Who has just connected has `begin` seconds to ask, and is answered.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.sleep(begin)
                while self.connections:  # again for those whose TLS handshake has only now ended
                    # Of aiohttp's two ways to close, the first ends the wait for a request but not the connection, and
                    # the second does not end the wait.
                    self.pre_shutdown()
                    await asyncio.gather(*(one.shutdown(None) for one in self.connections))
                    await asyncio.sleep(DRAIN_INTERVAL_SECONDS)


def _limit_stalls(transport: asyncio.Transport) -> None:
    """Let the kernel end a connection whose client takes nothing of what was sent, and be it closed by us already.

    A client that keeps its window shut and acknowledges our probes would hold it for ever (RFC 9293, 3.8.6.1).
    """
    connected = transport.get_extra_info("socket")
    if sys.platform == "linux" and connected is not None:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(CLIENT_STALL_SECONDS * 1000))
