"""A blob as it comes from the upstream: counted by the upstream, hashed by nobody yet."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import ClientResponse, hdrs

from proxy.oci.errors import UnavailableError
from proxy.upstream.answers import network_errors
from proxy.upstream.patience import Patience

OK, PARTIAL, RANGE_NOT_SATISFIABLE = 200, 206, 416
_CONTENT_RANGE = re.compile(r"bytes [0-9]{1,19}-[0-9]{1,19}/(?:[0-9]{1,19}|\*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class BlobStream:
    """An open blob.

    `status` is 200 (the whole blob, also where the upstream ignores a range), 206 (`content_range` says which part) or
    416 (no chunks; `content_range`, if any, says how long the blob is). `size` is the number of bytes to come, None
    where the upstream does not say. A cut or stalled body raises UnavailableError while it is read.
    """

    status: int
    size: int | None
    content_range: str | None
    content_type: str | None
    chunks: AsyncIterator[bytes] = field(repr=False)


def blob_stream(response: ClientResponse, registry: str, stall: float) -> BlobStream:
    """Return the stream of a response, which may be silent for `stall` seconds.

    UnavailableError for a part that does not say which (RFC 9110, section 14.4).
    """
    content_range = response.headers.get(hdrs.CONTENT_RANGE)
    if response.status == PARTIAL and not _CONTENT_RANGE.fullmatch(content_range or ""):
        raise UnavailableError(f"{registry} sent part of a blob and does not say which")
    content_type = response.headers.get(hdrs.CONTENT_TYPE)
    if response.status == OK:
        content_range = None
    size = 0 if response.status == RANGE_NOT_SATISFIABLE else response.content_length
    return BlobStream(response.status, size, content_range, content_type, _chunks(response, registry, stall))


async def _chunks(response: ClientResponse, registry: str, stall: float) -> AsyncIterator[bytes]:
    if response.status == RANGE_NOT_SATISFIABLE:
        return  # what follows is an error for people, no part of the blob
    with network_errors(registry):
        # aiohttp has this limit too, and drops it when a body stops being HTTP, of which it does not tell a waiting
        # reader.
        async with Patience(stall) as limited:
            while True:
                with limited:
                    chunk = await response.content.readany()
                if not chunk:
                    return
                yield chunk
