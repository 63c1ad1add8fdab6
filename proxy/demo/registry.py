"""A read-only OCI registry in memory, served on loopback (distribution-spec 1.1, Pull and Content Discovery).

It holds what it is given, even what is no valid manifest, so that a verifier can be shown anything.
"""

import base64
import json
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import hdrs, web

from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_INDEX

# The clients' own limit on a header; a bearer token may be several KiB.
HEADER_BYTES_MAX = 32 * 1024
_TOKEN_SECONDS = 300

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class _Stored:
    media_type: str
    body: bytes


@dataclass(slots=True)
class _Repository:
    manifests: dict[str, _Stored] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class Registry:
    """What the registry holds, how it answers, and what it was asked.

    `referrers_api=False` answers 404 as registries before 1.1 do. `credentials` are the user name and password that
    are needed; with `token_auth` they are shown to the token service (anonymous tokens where there are none), without
    it as HTTP Basic. `page_size` bounds a page of tags or referrers. `requests` has the method and path of every
    request, in the order of their arrival.
    """

    def __init__(
        self,
        *,
        referrers_api: bool = True,
        token_auth: bool = False,
        credentials: tuple[str, str] | None = None,
        page_size: int | None = None,
    ) -> None:
        self.requests: list[tuple[str, str]] = []
        self._repositories: defaultdict[str, _Repository] = defaultdict(_Repository)
        self._referrers_api = referrers_api
        self._token_auth = token_auth
        self._credentials = credentials
        self._page_size = page_size
        self._tokens: dict[str, str] = {}

    def add_manifest(self, repository: str, media_type: str, body: bytes, tag: str | None = None) -> Digest:
        """Keep a manifest or index under its sha256 digest and, if given, under a tag."""
        digest = Digest.of(body)
        self._repositories[repository].manifests[str(digest)] = _Stored(media_type, body)
        if tag is not None:
            self._repositories[repository].tags[tag] = str(digest)
        return digest

    def add_blob(self, repository: str, body: bytes) -> Digest:
        """Keep a blob under its sha256 digest."""
        digest = Digest.of(body)
        self._repositories[repository].blobs[str(digest)] = body
        return digest

    def application(self) -> web.Application:
        """Return the web application that answers for this registry."""
        app = web.Application(middlewares=[self._record, self._authorize])
        app.router.add_get("/token", self._token)
        app.router.add_get("/v2/", self._version)
        app.router.add_get("/v2/{name:.+}/manifests/{reference}", self._manifest)
        app.router.add_get("/v2/{name:.+}/blobs/{digest}", self._blob)
        app.router.add_get("/v2/{name:.+}/tags/list", self._tags)
        if self._referrers_api:
            app.router.add_get("/v2/{name:.+}/referrers/{digest}", self._referrers)
        return app

    @web.middleware
    async def _record(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        return await handler(request)

    @web.middleware
    async def _authorize(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        authorization = request.headers.get(hdrs.AUTHORIZATION, "")
        if self._token_auth and request.path != "/token":
            name = request.match_info.get("name")
            allowed = self._token_allows(authorization.removeprefix("Bearer "), name)
            scope = f',scope="repository:{name}:pull"' if name else ""
            challenge = f'Bearer realm="{request.url.origin()}/token",service="demo"{scope}'
        else:
            allowed = self._credentials is None or authorization == _basic(*self._credentials)
            challenge = 'Basic realm="registry"'
        if allowed:
            return await handler(request)
        return _error(401, "UNAUTHORIZED", "authentication required", {hdrs.WWW_AUTHENTICATE: challenge})

    def _token_allows(self, token: str, name: str | None) -> bool:
        return token in self._tokens and (name is None or self._tokens[token] == f"repository:{name}:pull")

    async def _token(self, request: web.Request) -> web.Response:
        token = secrets.token_urlsafe(24)
        self._tokens[token] = request.query.get("scope", "")
        return web.json_response({"token": token, "expires_in": _TOKEN_SECONDS})

    async def _version(self, _request: web.Request) -> web.Response:
        return _answer(b"{}", "application/json")

    async def _manifest(self, request: web.Request) -> web.Response:
        name, reference = request.match_info["name"], request.match_info["reference"]
        repository = self._repositories.get(name, _Repository())
        digest = repository.tags.get(reference, reference)
        stored = repository.manifests.get(digest)
        if stored is None:
            return _error(404, "MANIFEST_UNKNOWN", f"{name} has no manifest {reference}")
        return _answer(stored.body, stored.media_type, {"Docker-Content-Digest": digest, hdrs.ETAG: f'"{digest}"'})

    async def _blob(self, request: web.Request) -> web.Response:
        name, digest = request.match_info["name"], request.match_info["digest"]
        body = self._repositories.get(name, _Repository()).blobs.get(digest)
        if body is None:
            return _error(404, "BLOB_UNKNOWN", f"{name} has no blob {digest}")
        headers = {"Docker-Content-Digest": digest, hdrs.ETAG: f'"{digest}"', hdrs.ACCEPT_RANGES: "bytes"}
        if hdrs.RANGE not in request.headers:
            return _answer(body, "application/octet-stream", headers)
        return _part(request, body, headers)

    async def _tags(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._repositories:
            return _error(404, "NAME_UNKNOWN", f"there is no repository {name}")
        last = request.query.get("last", "")
        rest = sorted(tag for tag in self._repositories[name].tags if tag > last)
        most = self._page_size or len(rest)
        size = min(_number(request.query.get("n"), most), most)
        page = rest[:size]
        headers = _next_link(request, {"n": str(size), "last": page[-1]}) if page and len(rest) > size else {}
        return _answer(json.dumps({"name": name, "tags": page}).encode(), "application/json", headers)

    async def _referrers(self, request: web.Request) -> web.Response:
        repository = self._repositories.get(request.match_info["name"], _Repository())
        found = list(_referrers_of(repository, request.match_info["digest"]))
        headers = {}
        if kind := request.query.get("artifactType"):
            found = [descriptor for descriptor in found if descriptor.get("artifactType") == kind]
            headers["OCI-Filters-Applied"] = "artifactType"
        start = _number(request.query.get("from"), 0)
        size = self._page_size or len(found)
        if len(found) > start + size:
            headers |= _next_link(request, {**request.query, "from": str(start + size)})
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found[start : start + size]}
        return _answer(json.dumps(index).encode(), OCI_INDEX, headers)


@asynccontextmanager
async def serve(registry: Registry, port: int = 0) -> AsyncIterator[str]:
    """Serve the registry on 127.0.0.1 and yield its URL, `http://127.0.0.1:<port>`; port 0 takes a free one."""
    runner = web.AppRunner(
        registry.application(),
        access_log=None,
        max_line_size=HEADER_BYTES_MAX,
        max_field_size=HEADER_BYTES_MAX,
        shutdown_timeout=0.1,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _answer(body: bytes, media_type: str, headers: dict[str, str] | None = None, status: int = 200) -> web.Response:
    common = {"Docker-Distribution-Api-Version": "registry/2.0", hdrs.CONTENT_TYPE: media_type}
    return web.Response(body=body, status=status, headers=common | (headers or {}))


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return _answer(body, "application/json", headers, status)


def _part(request: web.Request, body: bytes, headers: dict[str, str]) -> web.Response:
    try:
        first, stop, _ = request.http_range.indices(len(body))
    except ValueError:
        first = stop = len(body)
    if first >= stop:
        headers = {hdrs.CONTENT_RANGE: f"bytes */{len(body)}"}
        return _error(416, "RANGE_INVALID", "the range lies outside the blob", headers)
    headers = headers | {hdrs.CONTENT_RANGE: f"bytes {first}-{stop - 1}/{len(body)}"}
    return _answer(body[first:stop], "application/octet-stream", headers, 206)


def _referrers_of(repository: _Repository, subject: str) -> Iterator[dict[str, Any]]:
    for digest, stored in repository.manifests.items():
        document = _document(stored.body)
        if _member(document, "subject").get("digest") != subject:
            continue
        descriptor = {"mediaType": stored.media_type, "digest": digest, "size": len(stored.body)}
        # distribution-spec, Listing Referrers: an image manifest without artifactType lists its config's media type.
        kind = document.get("artifactType") or _member(document, "config").get("mediaType")
        yield descriptor | {
            name: value
            for name, value in (("artifactType", kind), ("annotations", document.get("annotations")))
            if value is not None
        }


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _member(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _next_link(request: web.Request, query: dict[str, str]) -> dict[str, str]:
    return {hdrs.LINK: f'<{request.path}?{urlencode(query)}>; rel="next"'}


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() else default


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
