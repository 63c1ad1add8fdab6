"""A connection whose request heads are bounded in size and time, and whose errors are answered by us.

aiohttp is given whole heads only (`heads`). In place of an unreadable one it is given STAND_IN, so that the answer to
it keeps its place behind the answers to requests before it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from proxy.front.errors import COMMON_HEADERS
from proxy.front.heads import Heads, Unreadable

# From the first byte of a head to its last: some round trips over a bad line. It bounds what slow senders hold.
HEAD_SECONDS = 10.0
# How long the bytes of a body are received and dropped after the answer: a client that still sends must see it.
LINGER_SECONDS = 2.0
STAND_IN = b"GET / HTTP/1.1\r\nHost: sealgate\r\nConnection: close\r\n\r\n"

TOO_SLOW = f"the request head did not end within {HEAD_SECONDS:g} s"
LINE_TOO_LONG = "a line of the request head is too long"
CANNOT_BE_READ = "the request cannot be read"

Reject = Callable[[Unreadable, str], web.StreamResponse]


class Observer(Protocol):
    """Receiver of what happens on connections."""

    def dropped(self, why: str) -> None:
        """Count a connection that was closed, or not accepted yet: `limit`, `full`, `files`, `handshake` or `head`."""
        ...

    def failed(self, path: str, error: Exception) -> None:
        """Log a mistake in this program."""
        ...


class Unobserved:
    """An observer that keeps nothing."""

    def dropped(self, why: str) -> None:
        """Do nothing."""

    def failed(self, path: str, error: Exception) -> None:
        """Do nothing."""


def plain_rejection(unreadable: Unreadable, client: str) -> web.StreamResponse:  # noqa: ARG001 (a `Reject`)
    """Return an answer in plain text."""
    return web.Response(status=unreadable.status, text=f"{unreadable.reason}\n", headers=COMMON_HEADERS)


class Bounded(web.RequestHandler):
    """A connection of a `Listener`. `reject` makes the answer to what cannot be read, for the client's address."""

    __slots__ = (
        "_deadline",
        "_heads",
        "_last",
        "_observer",
        "_reject",
        "_unreadable",
        "asked_at",
        "opened_at",
        "pending",
    )

    def __init__(
        self,
        server: web.Server,
        *,
        reject: Reject = plain_rejection,
        observer: Observer | None = None,
        **settings: Any,  # noqa: ANN401 (aiohttp's own)
    ) -> None:
        super().__init__(server, lingering_time=LINGER_SECONDS, **settings)
        self._reject = reject
        self._observer = observer or Unobserved()
        self._heads = Heads()
        self._deadline: asyncio.TimerHandle | None = None
        self._last = b""
        self._unreadable: Unreadable | None = None
        #: Requests that have come and are not answered.
        self.pending = 0
        #: When the last request came, by the loop's clock; 0 before the first.
        self.asked_at = 0.0
        #: When it was made, after a TLS handshake, by the same clock.
        self.opened_at = 0.0

    @property
    def is_closing(self) -> bool:
        """Return whether the connection is at its end."""
        return self.transport is None or self.transport.is_closing()

    @property
    def is_idle(self) -> bool:
        """Return whether it waits for a request, or for the rest of one, with nothing more to send."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        return not self.pending and not transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close the connection at once, and wait for no goodbye of the client."""
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.opened_at = asyncio.get_running_loop().time()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass on the heads that are complete."""
        if not data:  # aiohttp itself, to go on with what it has not read for its queue was full
            super().data_received(data)
            return
        heads, unreadable = self._heads.feed(data)
        for head in heads:  # one by one: aiohttp drops what it was given together with a head that it cannot read
            self._last = head
            self._pass_on(head)
        if unreadable is not None:
            self._pass_on_unreadable(unreadable)
        self._watch(is_new=bool(heads))

    def _pass_on(self, content: bytes) -> None:
        self.pending += 1
        self.asked_at = asyncio.get_running_loop().time()
        super().data_received(content)

    def _pass_on_unreadable(self, unreadable: Unreadable) -> None:
        self._unreadable = unreadable
        self._pass_on(STAND_IN)

    def _watch(self, *, is_new: bool) -> None:
        """Begin or end the time that a head has."""
        if self._deadline is not None and (is_new or not self._heads):
            self._deadline.cancel()
            self._deadline = None
        if self._heads and self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._expire)

    def _expire(self) -> None:
        self._deadline = None
        if self.transport is not None:
            self._pass_on_unreadable(self._heads.give_up(408, TOO_SLOW))

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget what came of a head."""
        super().connection_lost(exc)
        if self._deadline is not None:
            self._deadline.cancel()
        self._heads = Heads()

    async def answer(
        self, request: web.BaseRequest, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Return the handler's answer, or the one to what could not be read; the last ends the connection."""
        is_last = self._heads.is_over and self.pending <= 1
        try:
            if self._unreadable is not None and is_last:
                return self._rejected(self._unreadable, request.remote)
            return await handler(request)
        finally:
            self.pending = max(0, self.pending - 1)
            if is_last:
                self.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 (it cites the request)
    ) -> web.StreamResponse:
        """Answer what aiohttp could not read, or a handler that failed; raises ConnectionError in mid-answer."""
        if not isinstance(exc, HttpProcessingError):
            self._observer.failed(request.raw_path, exc if isinstance(exc, Exception) else RuntimeError("no answer"))
            if request.writer.output_size > 0:
                raise ConnectionError("the answer has begun")
        reason = LINE_TOO_LONG if isinstance(exc, LineTooLong) else CANNOT_BE_READ
        return self._rejected(Unreadable(status, reason, self._last), request.remote)

    def log_exception(self, *args: object, **kw: object) -> None:
        """Log that an answer could not be sent, within the limits of our log."""
        error = kw.get("exc_info")
        self._observer.failed("", error if isinstance(error, Exception) else RuntimeError(*args))

    def _rejected(self, unreadable: Unreadable, client: str | None) -> web.StreamResponse:
        self._observer.dropped("head")
        response = self._reject(unreadable, client or "unknown")
        response.force_close()
        return response
