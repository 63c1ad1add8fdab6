"""What was just served, ready to be served again: a warm pull costs one look-up here and nothing behind it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from aiohttp import web
from cachetools import LRUCache
from multidict import CIMultiDict

# Bodies kept in memory, in bytes. They are the gate's own objects, so that what is in both caches is there once.
WARM_BYTES = 64 * 1024 * 1024
# What an entry costs beside its body: headers, key, dictionary slots (measured with tracemalloc, rounded up).
_ENTRY_BYTES = 2048


@dataclass(frozen=True, slots=True)
class _Entry:
    expires: datetime
    headers: CIMultiDict[str]
    body: bytes = field(repr=False)


class Warm:
    """Manifest responses by request line, each until the tag or the verdict behind it expires."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._entries: LRUCache[str, _Entry] = LRUCache(WARM_BYTES, getsizeof=lambda one: len(one.body) + _ENTRY_BYTES)

    def get(self, request: web.BaseRequest) -> web.Response | None:
        """Return a new response for this request line, if one is remembered that still holds."""
        entry = self._entries.get(request.method + request.raw_path)
        if entry is None or entry.expires <= self._clock():
            return None
        return web.Response(headers=entry.headers, body=entry.body)

    def put(self, request: web.BaseRequest, response: web.Response, body: bytes, expires: datetime) -> None:
        """Remember a response that was served in full; a body larger than the cache is not kept."""
        entry = _Entry(expires, CIMultiDict(response.headers), body)
        if len(body) < WARM_BYTES // 16:
            self._entries[request.method + request.raw_path] = entry
