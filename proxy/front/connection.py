"""A connection that knows a request again by its bytes, and answers it without reading it a second time.

Nodes that ask for the same manifest with the same client send the same bytes. What they mean was found out when they
came first, and the answer lies ready (`warm`); parsing them again and making a task costs twice as much as sending it.
"""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from proxy.front.bounded import Bounded

# What is not public of aiohttp, but needed here: where it is missing, every request is read. The first tells that all
# before this request is answered, the last until when a silent connection stays open.
_NEEDED = frozenset({"_waiter", "_messages", "_close", "_force_close", "_next_keepalive_close_time"})
# Of the length that requests have (containerd: 400 bytes, Docker: 700). Each connection keeps its last one.
REQUEST_BYTES_MAX = 2048
_END_OF_HEAD = b"\r\n\r\n"


def can_know_again(handler: type) -> bool:
    """Say whether aiohttp's class for connections has what is needed here."""
    return frozenset(getattr(handler, "__slots__", ())) >= _NEEDED


CAN_KNOW_AGAIN = can_know_again(web.RequestHandler)
Again = Callable[[bytes], bytes | None]


class Connection(Bounded):
    """Gives what `again` returns for a request's bytes as their answer; None lets them be read as ever.

    It is asked only while all that came on this connection were whole requests without a body, each in one piece, and
    all of them are answered and taken by the client: then there is nothing that the bytes could belong to.
    """

    __slots__ = ("_again", "_in_step", "whole")

    def __init__(self, server: web.Server, again: Again, **settings: Any) -> None:  # noqa: ANN401 (aiohttp's own)
        super().__init__(server, **settings)
        self._again = again
        self._in_step = True
        #: The bytes of the request that is being answered, where it is sure that they are all of it.
        self.whole: bytes | None = None

    def data_received(self, data: bytes) -> None:
        """Answer at once, or let it be read."""
        waits = self._waiter is not None and not self._waiter.done() and not self._messages
        waits = waits and not self._close and not self._force_close and len(data) <= REQUEST_BYTES_MAX
        waits = waits and not self._heads and not self._heads.is_over
        if waits and self._in_step and self._answer(data):
            return
        before = len(self._messages)
        super().data_received(data)
        self._in_step = self._in_step and data.endswith(_END_OF_HEAD) and self._is_one_more(before)
        self.whole = data if waits and self._in_step else None

    def _answer(self, data: bytes) -> bool:
        # A client that has not taken its last answer is waited for, which needs a task.
        if self.transport is None or self.transport.get_write_buffer_size():
            return False
        content = self._again(data)
        if content is None:
            return False
        self.transport.write(content)
        self.asked_at = self._loop.time()
        self._next_keepalive_close_time = self._loop.time() + self.keepalive_timeout
        return True

    def _is_one_more(self, before: int) -> bool:
        if len(self._messages) != before + 1:
            return False
        message, payload = self._messages[-1]
        # What could not be read has neither.
        stays = not getattr(message, "should_close", True) and not getattr(message, "upgrade", True)
        return stays and bool(payload.is_eof())


def whole(request: web.BaseRequest) -> bytes | None:
    """Return the bytes that the request came in; None where they may have been more, or less."""
    return request.protocol.whole if isinstance(request.protocol, Connection) else None
