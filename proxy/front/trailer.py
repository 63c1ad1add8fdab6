"""A response whose chunked body ends with lines that are no trailer fields (RFC 9112, section 7.1.2).

aiohttp writes none such, so the bytes go to the transport as they are, as those of `front/warm` do.
"""

from collections.abc import Mapping, Sequence

from aiohttp import web


class BrokenTrailer(web.StreamResponse):
    """Status 200, no content, and the lines. It closes the connection, as clients cannot tell where it ends."""

    def __init__(self, headers: Mapping[str, str], lines: Sequence[str]) -> None:
        super().__init__()
        fields = {**headers, "Transfer-Encoding": "chunked", "Connection": "close"}
        head = "\r\n".join(["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in fields.items())])
        trailer = "\r\n".join(lines)
        self._content = f"{head}\r\n\r\n0\r\n{trailer}\r\n\r\n".encode("ascii")

    @property
    def keep_alive(self) -> bool:
        """Never: what follows would be read as part of this response."""
        return False

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send all of it: less than any transport's buffer."""
        if request.transport is not None:
            request.transport.write(self._content)

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: it was sent in one piece."""
