"""Splits what a connection sends into whole request heads, each within a limit (RFC 9112, 2.1).

The HTTP parser is given whole heads only. Its own limits are for one line and for the number of lines, and together
they allow some megabytes for a head that never ends. No request of this API has a body, so bodies are dropped: a
request that announces one is the last on its connection.
"""

import re
from dataclasses import dataclass, field

# Google's registry redirects with 16 KiB of query, and a client's token may be as long (measured); with room for both.
HEAD_BYTES_MAX = 64 * 1024
_END = b"\r\n\r\n"
# Transfer-Encoding whatever it says, and any Content-Length but zero (RFC 9112, 6.3).
_BODY = re.compile(rb"\r\n(?:transfer-encoding[ \t]*:|content-length[ \t]*:(?![ \t]*0+[ \t]*\r\n))", re.IGNORECASE)
# A method is a token in upper case (RFC 9110, 9.1). What begins otherwise is answered at once and not waited for: a
# TLS handshake (0x16), with which Docker tries a registry before it falls back to plain http.
_BEGINNING = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A head that is not read, as a status and the reason; `head` is the part that arrived, at most HEAD_BYTES_MAX."""

    status: int
    reason: str
    head: bytes = field(default=b"", repr=False)


TOO_LARGE = f"the request head is larger than {HEAD_BYTES_MAX} bytes"
NOT_HTTP = "this is no HTTP request"


class Heads:
    """The heads of one connection, in the order of their bytes."""

    __slots__ = ("_unfinished", "is_over")

    def __init__(self) -> None:
        self._unfinished = bytearray()
        #: Whether the last head that is read has come; all bytes from then on are dropped.
        self.is_over = False

    def __bool__(self) -> bool:
        """Return whether a head has begun and not ended."""
        return bool(self._unfinished)

    def feed(self, data: bytes) -> tuple[list[bytes], Unreadable | None]:
        """Return the heads that these bytes complete, each with its empty line, and what follows them unreadable."""
        heads: list[bytes] = []
        if self.is_over:
            return heads, None
        begin = max(0, len(self._unfinished) - len(_END) + 1)
        self._unfinished += data
        while not self.is_over:
            self._skip_empty_lines()
            found = self._unfinished.find(_END, begin)
            size = len(self._unfinished) if found < 0 else found + len(_END)
            if size > HEAD_BYTES_MAX:
                return heads, self.give_up(431, TOO_LARGE)
            if self._unfinished and self._unfinished[0] not in _BEGINNING:
                return heads, self.give_up(400, NOT_HTTP)
            if found < 0:
                return heads, None
            head = bytes(self._unfinished[:size])
            del self._unfinished[:size]
            begin, self.is_over = 0, _BODY.search(head) is not None
            heads.append(head)
        self._unfinished.clear()
        return heads, None

    def give_up(self, status: int, reason: str) -> Unreadable:
        """Return the part of a head that has arrived, and read nothing more on this connection."""
        head = bytes(self._unfinished[:HEAD_BYTES_MAX])
        self._unfinished.clear()
        self.is_over = True
        return Unreadable(status, reason, head)

    def _skip_empty_lines(self) -> None:
        """Leave out empty lines before a head, as parsers do (RFC 9112, 2.2)."""
        if self._unfinished.startswith((b"\r", b"\n")):
            self._unfinished = self._unfinished.lstrip(b"\r\n")
