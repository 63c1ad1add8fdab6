"""One request to a registry: authentication, redirects and repetition around aiohttp.

aiohttp's own redirects, proxies from the environment, cookies and decompression are off: the first would carry the
Authorization along, the last would change the bytes that a digest names.
"""

import ssl
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

from aiohttp import ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, hdrs
from yarl import URL

from proxy.oci.errors import MalformedError, UnavailableError
from proxy.upstream.answers import check_identity, network_errors, read_at_most, status_error
from proxy.upstream.auth import Authenticator
from proxy.upstream.breaker import Breaker
from proxy.upstream.challenge import Challenge, parse_challenges
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.observer import Observer
from proxy.upstream.origins import origin_of, read_origin, redirect_target
from proxy.upstream.retry import Backoff

# Registry, front server, storage: one or two are usual; Go's http.Client gives up after 10.
REDIRECTS_MAX = 5
# Signed storage URLs and tokens pass aiohttp's default of 8190 (measured); 32 KiB is what large front servers allow.
HEADER_BYTES_MAX = 32 * 1024
# Read ahead of a slow client by at most this (and one more) for each blob; measured fastest.
READ_BUFFER_BYTES = 1024 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK, _UNAUTHORIZED = 200, 401
_DRAINED_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A GET or HEAD below `/v2/`. `what` names it in errors, `accepted` are the statuses that its sender reads."""

    method: str
    url: URL
    repository: str
    what: str
    headers: Mapping[str, str] = field(default_factory=dict)
    accepted: frozenset[int] = frozenset({_OK})


def open_session(endpoint: Endpoint, connections: int, connect: float, read: float) -> ClientSession:
    """Open a pool of at most so many connections; a wait for a free one counts as connecting (seconds)."""
    return ClientSession(
        connector=TCPConnector(limit=connections, ssl=_tls(endpoint)),
        timeout=ClientTimeout(total=None, connect=connect, sock_connect=connect, sock_read=read),
        cookie_jar=DummyCookieJar(),
        headers={hdrs.USER_AGENT: "sealgate"},
        auto_decompress=False,
        trust_env=False,
        read_bufsize=READ_BUFFER_BYTES,
        max_line_size=HEADER_BYTES_MAX,
        max_field_size=HEADER_BYTES_MAX,
    )


class Transport:
    """Sends requests to one registry through one pool of connections."""

    def __init__(  # noqa: PLR0913, PLR0917 (one place makes two of these)
        self,
        endpoint: Endpoint,
        session: ClientSession,
        authenticator: Authenticator,
        backoff: Backoff,
        breaker: Breaker,
        observer: Observer,
    ) -> None:
        self._endpoint = endpoint
        self._origin = read_origin(endpoint.url)
        self._session = session
        self._authenticator = authenticator
        self._backoff = backoff
        self._breaker = breaker
        self._observer = observer

    async def fetch(self, request: Request, limit: int, seconds: float) -> tuple[ClientResponse, bytes]:
        """Return the response, closed, and its body, of which at most one read more than `limit` bytes were taken."""

        async def attempt() -> tuple[ClientResponse, bytes]:
            response = await self._send(request)
            with network_errors(self._endpoint.name):
                async with response:
                    return response, await read_at_most(response, limit)

        return await self._backoff.run(attempt, seconds)

    async def open(self, request: Request, seconds: float) -> ClientResponse:
        """Return the response with its body unread; to be closed by the caller."""
        return await self._backoff.run(lambda: self._send(request), seconds)

    async def _send(self, request: Request) -> ClientResponse:
        authorization = await self._authenticator.authorization(request.repository)
        response = await self._follow(request, authorization)
        if response.status == _UNAUTHORIZED and origin_of(response.url) == self._origin:
            challenges = await self._challenges(response)
            authorization = await self._authenticator.renewed(challenges, request.repository, authorization)
            response = await self._follow(request, authorization)
        try:
            self._check(request, response)
        except BaseException:
            response.close()
            raise
        return response

    def _check(self, request: Request, response: ClientResponse) -> None:
        self._observer.headers(self._endpoint.name, response.headers)
        if response.status not in request.accepted:
            raise status_error(self._endpoint.name, response.status, response.headers, request.what)
        check_identity(self._endpoint.name, response.headers)

    async def _challenges(self, response: ClientResponse) -> tuple[Challenge, ...]:
        """Return the challenges of a 401, or, as some registries challenge only there, those of `/v2/`."""
        fields = response.headers.getall(hdrs.WWW_AUTHENTICATE, [])
        await self._drain(response)
        if not fields:
            ping = await self._exchange("GET", self._origin / "v2/", {})
            fields = ping.headers.getall(hdrs.WWW_AUTHENTICATE, [])
            await self._drain(ping)
        try:
            return parse_challenges(fields)
        except MalformedError as err:
            raise UnavailableError(f"{self._endpoint.name} sent a challenge that cannot be read: {err}") from None

    async def _follow(self, request: Request, authorization: str | None) -> ClientResponse:
        url = request.url
        for _ in range(REDIRECTS_MAX + 1):
            headers = dict(request.headers)
            if authorization is not None:
                headers[hdrs.AUTHORIZATION] = authorization
            response = await self._exchange(request.method, url, headers)
            if response.status not in _REDIRECTS:
                return response
            await self._drain(response)
            url = self._redirected(url, response)
            if origin_of(url) != self._origin:
                authorization = None  # and it stays so, should the way lead back
        raise UnavailableError(f"{self._endpoint.name} redirects more than {REDIRECTS_MAX} times")

    def _redirected(self, url: URL, response: ClientResponse) -> URL:
        location = response.headers.get(hdrs.LOCATION, "")
        endpoint = self._endpoint
        return redirect_target(url, location, self._origin, endpoint.redirect_hosts, plain=endpoint.insecure_http)

    async def _exchange(self, method: str, url: URL, headers: Mapping[str, str]) -> ClientResponse:
        # Storage and token services are others' business.
        attempt = self._breaker.attempt() if origin_of(url) == self._origin else nullcontext()
        async with attempt:
            with network_errors(self._endpoint.name):
                return await self._session.request(
                    method, url, headers={hdrs.ACCEPT_ENCODING: "identity", **headers}, allow_redirects=False
                )

    async def _drain(self, response: ClientResponse) -> None:
        """Give a connection back; a small body is read first, for a connection with an unread one is closed."""
        try:
            with network_errors(self._endpoint.name):
                await response.content.read(_DRAINED_BYTES)
        finally:
            response.release()


def _tls(endpoint: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if endpoint.ca_file is not None:
        try:
            context.load_verify_locations(endpoint.ca_file)
        except (OSError, ssl.SSLError) as err:
            raise MalformedError(f"the CA file {endpoint.ca_file} cannot be used: {err}") from None
    return context
