"""What was just served, ready to be served again: a warm pull costs one look-up here and nothing behind it."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime

from aiohttp import HttpVersion11, web
from cachetools import LRUCache

from proxy.front.connection import whole
from proxy.front.routes import CONTAINERS_IMAGE_HEADER

# Bodies kept in memory, in bytes: some two thousand usual manifests. For others the gate is asked.
WARM_BYTES = 16 * 1024 * 1024
# What an entry costs beside its body: key, head, dictionary slots (rounded up).
_ENTRY_BYTES = 3072
# A path is part of the key, and a client may make it as long as a header. No name, reference and `ns=` together need
# more (distribution-spec: 255, 128 or a digest of sha512, and a host name).
_PATH_MAX = 1024
# Requests known by their bytes: as many as clients of different kinds ask for different things within a verdict's
# lifetime. 8 MiB at most, with their keys.
_REQUESTS_MAX = 2048
# RFC 9110, 11.6.2 and 11.7.2; RFC 6265, 4.2.
_CREDENTIALS = re.compile(rb"authorization:|cookie:", re.IGNORECASE)
# Larger ones are served from the gate's memory, through aiohttp's own writer, which waits for slow readers.
_BODY_BYTES_MAX = 64 * 1024


class _Ready(web.StreamResponse):
    """A response whose bytes are there already: a head and, unless it answers a HEAD, a body of a few kilobytes.

    It goes to the transport as it is: aiohttp would make the same bytes anew from header objects for every request.
    Nothing of a request stays in it, so that one serves all who ask within a second.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = content

    @property
    def keep_alive(self) -> bool:
        """Only requests that leave the connection open are answered so."""
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send all of it; waits where the client has not taken what was sent before."""
        if request.transport is not None:
            request.transport.write(self.content)
            if request.transport.get_write_buffer_size():
                await request.writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: it was sent in one piece."""


@dataclass(slots=True)
class _Entry:
    """`response` is the one for the time until `stale`: it has a date, and nothing else that changes."""

    since: datetime
    expires: datetime
    head: bytes
    body: bytes = field(repr=False)
    stale: datetime
    response: _Ready
    holds: Callable[[], bool]


# The part of a User-Agent that the key of an answer holds, in characters.
_AGENT_MAX = 512
_NS = re.compile(r"[?&]ns=", re.ASCII)


def _key_of(request: web.BaseRequest) -> tuple[str, str, str]:
    """Return what decides on an answer: method and path, and but for containerd the client's name.

    What Docker's classic store cannot use is refused to it, and to others it is served.
    """
    if not request.raw_path.isascii() or _NS.search(request.raw_path) is not None:
        return request.method, request.raw_path, ""
    marked = CONTAINERS_IMAGE_HEADER in request.headers
    return request.method, request.raw_path, f"{marked:d} {request.headers.get('User-Agent', '')}"


def always() -> bool:
    """Return True, for answers that are valid until they expire."""
    return True


class Warm:
    """Manifest responses by request line and client, each until the tag or the verdict behind it expires.

    Nothing but method, path and two headers decides which response it is, so that the same bytes of a request bring the
    same one.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._entries: LRUCache[tuple[str, str, str], _Entry] = LRUCache(
            WARM_BYTES, getsizeof=lambda entry: 2 * len(entry.body) + _ENTRY_BYTES
        )
        self._requests: LRUCache[bytes, tuple[str, str, str]] = LRUCache(_REQUESTS_MAX)

    def get(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Return a response for this request line, if one is remembered that still holds."""
        key = _key_of(request)
        response = self._current(key)
        if response is None or request.version != HttpVersion11 or not request.keep_alive:
            return None
        self._know(whole(request), key)
        return response

    def again(self, content: bytes) -> tuple[str, bytes] | None:
        """Return the method and the response of a request that `get` has answered when it came in these bytes."""
        key = self._requests.get(content)
        response = self._current(key) if key is not None else None
        return (key[0], response.content) if key is not None and response is not None else None

    def _current(self, key: tuple[str, str, str]) -> _Ready | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = self._clock()
        if not entry.since <= now < entry.expires:  # a clock that is set back makes nothing last longer
            return None
        if not entry.holds():
            del self._entries[key]
            return None
        if entry.stale <= now:
            entry.stale, entry.response = _dated(now, entry.head, entry.body)
        return entry.response

    def _know(self, content: bytes | None, key: tuple[str, str, str]) -> None:
        """Know a request again, but none with credentials: they are not kept."""
        if content is None or _CREDENTIALS.search(content) is not None:
            return
        if content.startswith(" ".join([*key[:2], "HTTP/1.1\r\n"]).encode("ascii")):
            self._requests[content] = key

    def clear(self) -> None:
        """Forget everything: other rules hold."""
        self._entries.clear()

    def put(
        self,
        request: web.BaseRequest,
        response: web.Response,
        expires: datetime,
        holds: Callable[[], bool] = always,
    ) -> None:
        """Remember a response of status 200 that has all its headers, until it expires or `holds` says no.

        A large one is not kept, nor a long path or name. Nor is one that is no ASCII: no name is, and which bytes it
        came in cannot be told.
        """
        body = response.body if isinstance(response.body, bytes) else b""
        key = _key_of(request)
        if len(body) > _BODY_BYTES_MAX or len(key[1]) > _PATH_MAX or len(key[2]) > _AGENT_MAX or not key[1].isascii():
            return
        head = "\r\n".join(["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in response.headers.items())])
        sent = b"" if request.method == "HEAD" else body
        now = self._clock()
        dated = _dated(now, head.encode("ascii"), sent)
        self._entries[key] = _Entry(now, expires, head.encode("ascii"), sent, *dated, holds)


def _dated(now: datetime, head: bytes, body: bytes) -> tuple[datetime, _Ready]:
    """Return a response with the time in it (RFC 9110, 6.6.1), and until when that is the time."""
    second = now.replace(microsecond=0)
    date = format_datetime(second, usegmt=True).encode()
    return second + timedelta(seconds=1), _Ready(b"%b\r\nDate: %b\r\n\r\n%b" % (head, date, body))
