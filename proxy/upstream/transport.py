"""One request to a registry: authentication, redirects and repetition around a pool of connections."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

from aiohttp import ClientResponse, hdrs
from yarl import URL

from proxy.oci.errors import MalformedError, UnavailableError
from proxy.upstream.answers import is_encoded, network_errors, read_at_most, reason_of, status_error
from proxy.upstream.auth import Authenticator, secrets_in
from proxy.upstream.breaker import Breaker
from proxy.upstream.challenge import Challenge, parse_challenges
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.observer import Observer
from proxy.upstream.origins import origin_of, redirect_target
from proxy.upstream.pool import Pool
from proxy.upstream.retry import Backoff

# Registry, front server, storage: one or two are usual; Go's http.Client gives up after 10.
REDIRECTS_MAX = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK, _REDIRECTION, _UNAUTHORIZED = 200, 300, 401
_DRAINED_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A GET or HEAD below `/v2/`. `what` names it in errors, `accepted` are the statuses that its sender reads.

    `repository` is what the repository is called there, which tokens are for (`base_url`).
    """

    method: str
    url: URL
    repository: str
    what: str
    headers: Mapping[str, str] = field(default_factory=dict)
    accepted: frozenset[int] = frozenset({_OK})


class Transport:
    """Sends requests to one registry through one pool of connections."""

    def __init__(  # noqa: PLR0913, PLR0917 (one place makes two of these)
        self,
        endpoint: Endpoint,
        pool: Pool,
        authenticator: Authenticator,
        backoff: Backoff,
        breaker: Breaker,
        observer: Observer,
    ) -> None:
        self._endpoint = endpoint
        self._origin, self._api = endpoint.base.origin, endpoint.base.api
        self._pool = pool
        self._authenticator = authenticator
        self._backoff = backoff
        self._breaker = breaker
        self._observer = observer

    async def fetch(self, request: Request, limit: int, seconds: float) -> tuple[ClientResponse, bytes]:
        """Return the response, closed, and its body, of which at most one read more than `limit` bytes were taken."""

        async def attempt() -> tuple[ClientResponse, bytes]:
            response = await self._send(request)
            with network_errors(self._named(response.url)):
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
            text = await reason_of(response, secrets_in(authorization))
            challenges = await self._challenges(response)
            authorization = await self._authenticator.renewed(challenges, request.repository, authorization, text)
            response = await self._follow(request, authorization)
        try:
            await self._check(request, response, authorization)
        except BaseException:
            response.close()
            raise
        return response

    async def _check(self, request: Request, response: ClientResponse, authorization: str | None) -> None:
        server = self._named(response.url)
        self._observer.headers(self._endpoint.name, response.headers)
        if response.status not in request.accepted:
            text = await reason_of(response, secrets_in(authorization))
            raise status_error(server, response.status, response.headers, request.what, text)
        # Of an error that is accepted only the status is used, and a HEAD has no body.
        if response.status < _REDIRECTION and request.method != hdrs.METH_HEAD and is_encoded(response.headers):
            raise UnavailableError(f"{server} encodes the content though it was asked not to")

    async def _challenges(self, response: ClientResponse) -> tuple[Challenge, ...]:
        """Return the challenges of a 401, or, as some registries challenge only there, those of `/v2/`."""
        fields = response.headers.getall(hdrs.WWW_AUTHENTICATE, [])
        await self._drain(response)
        if not fields:
            ping = await self._exchange("GET", self._api / "", {})
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
                authorization = None  # for all further redirects, also back to the registry
        raise UnavailableError(f"{self._endpoint.name} redirects more than {REDIRECTS_MAX} times")

    def _redirected(self, url: URL, response: ClientResponse) -> URL:
        location, endpoint, guard = response.headers.get(hdrs.LOCATION, ""), self._endpoint, self._pool.guard
        target = redirect_target(
            url,
            location,
            self._origin,
            endpoint.redirect_hosts,
            plain=endpoint.insecure_http,
            place=guard.place(url),
        )
        guard.lead(url, target)
        return target

    async def _exchange(self, method: str, url: URL, headers: Mapping[str, str]) -> ClientResponse:
        # The breaker is for the registry alone, not for its storage and token services.
        attempt = self._breaker.attempt() if origin_of(url) == self._origin else nullcontext()
        async with attempt:
            with network_errors(self._named(url), plain=url.scheme == "http"):
                return await self._pool.request(method, url, headers)

    def _named(self, url: URL) -> str:
        """Return the name of the server at a URL, for messages: the registry, or a host that it redirects to."""
        name = self._endpoint.name
        return name if url.host == self._origin.host else f"{url.host}, to which {name} redirects,"

    async def _drain(self, response: ClientResponse) -> None:
        """Give a connection back; a small body is read first, for a connection with an unread one is closed."""
        try:
            with network_errors(self._named(response.url)):
                await response.content.read(_DRAINED_BYTES)
        finally:
            response.release()
