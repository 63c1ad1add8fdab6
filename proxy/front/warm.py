"""What was just served, ready to be served again: a warm pull costs one look-up here and nothing behind it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime

from aiohttp import HttpVersion11, web
from cachetools import LRUCache

# Bodies kept in memory, in bytes.
WARM_BYTES = 64 * 1024 * 1024
# What an entry costs beside its body: key, head, dictionary slots (rounded up).
_ENTRY_BYTES = 2048
# Larger ones are served from the gate's memory, through aiohttp's own writer, which waits for slow readers.
_BODY_BYTES_MAX = 64 * 1024


class _Ready(web.StreamResponse):
    """A response whose bytes are there already: a head and, unless it answers a HEAD, a body of a few kilobytes.

    It goes to the transport as it is: aiohttp would make the same bytes anew from header objects for every request,
    which is two thirds of what a warm pull costs (bench/RESULTS.md).
    """

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._content = content

    @property
    def keep_alive(self) -> bool:
        """Only requests that leave the connection open are answered so."""
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send all of it."""
        if request.transport is not None:
            request.transport.write(self._content)

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: it was sent in one piece."""


@dataclass(slots=True)
class _Entry:
    expires: datetime
    head: bytes
    body: bytes = field(repr=False)
    second: datetime | None = None
    content: bytes = field(default=b"", repr=False)


class Warm:
    """Manifest responses by request line, each until the tag or the verdict behind it expires."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._entries: LRUCache[tuple[str, str], _Entry] = LRUCache(
            WARM_BYTES, getsizeof=lambda entry: 2 * len(entry.body) + _ENTRY_BYTES
        )

    def get(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Return a response for this request line, if one is remembered that still holds."""
        entry = self._entries.get((request.method, request.raw_path))
        if entry is None:
            return None
        now = self._clock()
        if entry.expires <= now or request.version != HttpVersion11 or not request.keep_alive:
            return None
        second = now.replace(microsecond=0)
        if entry.second != second:
            # RFC 9110, 6.6.1: who has a clock says when.
            date = format_datetime(second, usegmt=True).encode()
            entry.second, entry.content = second, b"%b\r\nDate: %b\r\n\r\n%b" % (entry.head, date, entry.body)
        return _Ready(entry.content)

    def put(self, request: web.BaseRequest, response: web.Response, expires: datetime) -> None:
        """Remember a response of status 200 that has all its headers; a large one is not kept."""
        body = response.body if isinstance(response.body, bytes) else b""
        if len(body) > _BODY_BYTES_MAX:
            return
        head = "\r\n".join(["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in response.headers.items())])
        sent = b"" if request.method == "HEAD" else body
        self._entries[request.method, request.raw_path] = _Entry(expires, head.encode("ascii"), sent)
