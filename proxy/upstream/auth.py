"""Authentication to a registry: anonymous, HTTP Basic, or a bearer token from its token service.

Sources: distribution-spec 1.1, Authentication; distribution docs/spec/auth/token.md and oauth.md; RFC 6750, RFC 7617.
Credentials go to the registry itself and to token services that `origins.token_service` allows, nowhere else.
"""

import asyncio
import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from aiohttp import ClientResponse, encode_basic_auth, hdrs
from cachetools import TLRUCache
from yarl import URL

from proxy.oci.errors import MalformedError, RegistryError, UnavailableError, UpstreamDeniedError
from proxy.oci.strict_json import loads_object
from proxy.upstream.answers import network_errors, read_at_most, reason_of, status_error
from proxy.upstream.challenge import Challenge
from proxy.upstream.credentials import IDENTITY_TOKEN_USER, Credentials, CurrentCredentials
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.origins import token_service
from proxy.upstream.pool import Pool

# A token is for one repository; the least recently used are forgotten and asked for again.
TOKENS_MAX = 1000
# Half of what a header may have at us and at common front servers of registries; tokens in use have 1 to 6 KiB.
TOKEN_CHARS_MAX = 16 * 1024
_ANSWER_BYTES_MAX = 64 * 1024
# token.md: without expires_in a token lives 60 s. It is renewed a little before its end, to arrive in time.
_DEFAULT_SECONDS = 60.0
_MARGIN_SECONDS = 10.0
_OK = 200
_BEARER = re.compile(r"[A-Za-z0-9\-._~+/]+=*", re.ASCII)
# We never ask for more than to pull, whatever scope a registry names.
_PULL_SCOPE = re.compile(r"repository:[a-zA-Z0-9._:/-]{1,512}:pull", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    seconds: float


class Authenticator:
    """The authentication that one registry asks for, learnt from its challenges, and the tokens it issued.

    The first challenge is remembered, so that later repositories are asked with a token at once. Concurrent requests
    for one repository share one token request.
    """

    def __init__(self, endpoint: Endpoint, pool: Pool, clock: Callable[[], float]) -> None:
        self._endpoint = endpoint
        self._pool = pool
        self._credentials = CurrentCredentials(endpoint.credentials, clock)
        self._challenge: Challenge | None = None
        self._tokens: TLRUCache[str, _Token] = TLRUCache(TOKENS_MAX, _expiry, timer=clock)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def authorization(self, repository: str) -> str | None:
        """Return the Authorization to send unasked, or None; raises what `renewed` raises."""
        if self._challenge is None:
            return None
        return await self._answer(self._challenge, _scope(repository), None)

    async def renewed(
        self, challenges: Sequence[Challenge], repository: str, refused: str | None, text: str = ""
    ) -> str:
        """Return the Authorization that answers a 401, of which `refused` was the one sent and `text` the reason.

        Raises UpstreamDeniedError where nothing new can be shown or the token service refuses us, and
        UnavailableError where the token service gives no usable answer.
        """
        challenge = self._choose(challenges)
        if refused is not None:
            self._credentials.renew()
        named = challenge.parameters.get("scope", "")
        scope = named if _PULL_SCOPE.fullmatch(named) else _scope(repository)
        authorization = await self._answer(challenge, scope, refused)
        if authorization == refused:
            raise UpstreamDeniedError(f"{self._endpoint.name} refuses our credentials" + (text and f": {text}"))
        self._challenge = challenge
        return authorization

    def _choose(self, challenges: Sequence[Challenge]) -> Challenge:
        for scheme in ("bearer", "basic"):
            for challenge in challenges:
                if challenge.scheme == scheme:
                    return challenge
        schemes = ", ".join(challenge.scheme[:40] for challenge in challenges[:4]) or "no challenge"
        raise UpstreamDeniedError(f"{self._endpoint.name} wants to be shown neither bearer nor basic, but {schemes}")

    async def _answer(self, challenge: Challenge, scope: str, refused: str | None) -> str:
        if challenge.scheme == "bearer":
            return await self._bearer(challenge, scope, refused)
        credentials = self._credentials.now()
        if credentials is None:
            raise UpstreamDeniedError(
                f"{self._endpoint.name} asks for a user name and password, and none is configured"
            )
        return _basic(credentials)

    async def _bearer(self, challenge: Challenge, scope: str, refused: str | None) -> str:
        lock = self._locks.setdefault(scope, asyncio.Lock())
        async with lock:
            token = self._tokens.get(scope)
            if token is None or f"Bearer {token.value}" == refused:
                token = await self._request(challenge, scope)
                self._tokens[scope] = token
        return f"Bearer {token.value}"

    async def _request(self, challenge: Challenge, scope: str) -> _Token:
        try:
            return await self._request_as(self._credentials.now(), challenge, scope)
        except UpstreamDeniedError:
            if not self._credentials.renew():
                raise
        return await self._request_as(self._credentials.now(), challenge, scope)

    async def _request_as(self, credentials: Credentials | None, challenge: Challenge, scope: str) -> _Token:
        endpoint = self._endpoint
        realm = challenge.parameters.get("realm", "")
        registry = endpoint.base.origin
        url = token_service(realm, registry, endpoint.token_realms, plain=endpoint.insecure_http)
        self._pool.guard.lead(registry, url)
        server = f"the token service {url.host}"
        query = {"service": challenge.parameters.get("service", ""), "scope": scope}
        request = _token_request(url, {name: text for name, text in query.items() if text}, credentials)
        with network_errors(server):
            async with await self._pool.request(*request) as response:
                if response.status != _OK:
                    raise await _refusal(server, response, credentials)
                body = await read_at_most(response, _ANSWER_BYTES_MAX)
        if len(body) > _ANSWER_BYTES_MAX:
            raise UnavailableError(f"{server} sent more than {_ANSWER_BYTES_MAX} bytes")
        return _read_token(server, body)


async def _refusal(server: str, response: ClientResponse, credentials: Credentials | None) -> RegistryError:
    known = secrets_in(_basic(credentials), credentials.password) if credentials is not None else ()
    text = await reason_of(response, known)
    if response.status in {400, 404}:  # how several registries refuse unknown repositories or credentials
        return UpstreamDeniedError(f"{server} refuses us a token ({response.status})" + (text and f": {text}"))
    return status_error(server, response.status, response.headers, "token", text)


def secrets_in(authorization: str | None, *more: str) -> tuple[str, ...]:
    """Return what must not be repeated of what we sent: an Authorization, the password in it, and more."""
    if authorization is None:
        return more
    scheme, _, value = authorization.partition(" ")
    if scheme == "Basic":
        return (value, b64decode(value).decode().partition(":")[2], *more)
    return (value, *more)


def _token_request(
    url: URL, query: dict[str, str], credentials: Credentials | None
) -> tuple[str, URL, dict[str, str], dict[str, str] | None]:
    """Return method, URL, headers and form."""
    headers: dict[str, str] = {hdrs.ACCEPT: "application/json"}
    if credentials is None:
        return "GET", url.extend_query(query), headers, None
    if credentials.username != IDENTITY_TOKEN_USER:
        headers[hdrs.AUTHORIZATION] = _basic(credentials)
        return "GET", url.extend_query(query), headers, None
    form = {"grant_type": "refresh_token", "refresh_token": credentials.password, "client_id": "sealgate", **query}
    return "POST", url, headers, form


def _read_token(server: str, body: bytes) -> _Token:
    try:
        answer = loads_object(body, "the answer")
    except MalformedError:
        raise UnavailableError(f"{server} sent an answer that could not be read") from None
    value = answer.get("token") or answer.get("access_token")
    if not isinstance(value, str) or len(value) > TOKEN_CHARS_MAX or not _BEARER.fullmatch(value):
        raise UnavailableError(f"{server} sent no usable token")
    seconds = answer.get("expires_in")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds <= 0:
        seconds = _DEFAULT_SECONDS
    return _Token(value, float(seconds) - min(_MARGIN_SECONDS, seconds / 2))


def _expiry(_scope: str, token: _Token, now: float) -> float:
    return now + token.seconds


def _scope(repository: str) -> str:
    return f"repository:{repository}:pull"


def _basic(credentials: Credentials) -> str:
    return encode_basic_auth(credentials.username, credentials.password)
