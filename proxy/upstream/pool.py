"""A pool of connections to a registry and to the hosts that it leads to.

aiohttp's own redirects, proxies and passwords from the environment (`.netrc`), cookies and decompression are off: the
first would carry the Authorization along, the last would change the bytes that a digest names.
"""

from collections.abc import Mapping
from typing import Self

from aiohttp import ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, hdrs
from yarl import URL

from proxy.upstream.dialling import Guard, GuardedConnector
from proxy.upstream.tls import Contexts

# Signed storage URLs and tokens pass aiohttp's default of 8190 (measured); 32 KiB is what large front servers allow.
HEADER_BYTES_MAX = 32 * 1024
# Read ahead of a slow client by at most this (and one more) for each blob; measured fastest.
READ_BUFFER_BYTES = 1024 * 1024


class Pool:
    """An async context manager; `guard` says which addresses may be dialled."""

    def __init__(self, guard: Guard, tls: Contexts, connections: int, connect: float, read: float) -> None:
        """Allow so many connections (0: any number); a wait for a free one counts as connecting. Times are in seconds.

        For use on a running event loop.
        """
        self.guard = guard
        self._proxies = guard.endpoint.proxies
        self._tls = tls
        self._session = ClientSession(
            connector=GuardedConnector(guard, connections),
            timeout=ClientTimeout(total=None, connect=connect, sock_connect=connect, sock_read=read),
            cookie_jar=DummyCookieJar(),
            headers={hdrs.USER_AGENT: "sealgate"},
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BUFFER_BYTES,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
        )

    async def __aenter__(self) -> Self:
        """Do nothing: connections are made when they are needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        await self._session.close()

    async def request(
        self, method: str, url: URL, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> ClientResponse:
        """Send one request and return the answer to it, whatever it is; raises what aiohttp raises."""
        sent = {hdrs.ACCEPT_ENCODING: "identity", **headers}
        proxy = self._proxies.for_url(url)
        shown = {hdrs.PROXY_AUTHORIZATION: proxy.authorization} if proxy is not None and proxy.authorization else {}
        return await self._session.request(
            method,
            url,
            # https goes through a tunnel, and CONNECT carries the proxy's header; a request for http goes to the proxy.
            headers=sent | shown if url.scheme == "http" else sent,
            proxy_headers=shown,
            proxy=proxy.url if proxy is not None else None,
            data=form,
            ssl=self._tls.of(url),
            allow_redirects=False,
        )
