"""What one listener bears: how many connections, for how long without a request, and how long a head."""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from proxy.front.connection import CAN_KNOW_AGAIN, Again, Connection
from proxy.front.sending import CLIENT_STALL_SECONDS

# More than the nodes of a large cluster open together. An idle one takes some 20 KiB.
CONNECTIONS_MAX = 10_000
# How long a connection may stay without a whole request on it, from its beginning and from the last answer on. Go's
# clients keep theirs for 90 s: none of their requests is to meet a connection that is being closed.
IDLE_SECONDS = 100.0
# Google's registry redirects with 16 KiB of query, and a client's token may be as long (measured: 8190 is too little).
HEADER_BYTES_MAX = 32 * 1024
# How long who has just connected may take to ask, where a listener drains: some handshakes over a bad line.
BEGIN_SECONDS = 3.0
# How often a listener that drains looks whether all have left.
DRAIN_INTERVAL_SECONDS = 0.1


class Listener(web.Server):
    """Gives requests to a handler; a connection that is one too many is closed at once.

    What `again` answers never gets to the handler (`connection`).
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        connections_max: int,
        again: Again | None = None,
    ) -> None:
        super().__init__(
            handler,
            access_log=None,
            keepalive_timeout=IDLE_SECONDS,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
        )
        self._connections_max = connections_max
        self._again = again

    def __call__(self) -> RequestHandler:
        """Make a connection."""
        if self._again is None or not CAN_KNOW_AGAIN:
            return super().__call__()
        return Connection(self, self._again, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Count a connection in."""
        super().connection_made(handler, transport)
        _limit_stalls(transport)
        if len(self.connections) > self._connections_max:
            transport.abort()

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
