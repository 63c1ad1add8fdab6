"""The registry client: what Sealgate reads from a registry, every answer bounded, and checked by its digest.

Source: distribution-spec 1.1, Pull and Content Discovery.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Self, TypeVar

from aiohttp import ClientResponse, hdrs

from proxy.formats.api import Referrers
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError, MalformedError, UnavailableError, UpstreamDeniedError
from proxy.oci.manifest import (
    INDEX_TYPES,
    MANIFEST_BYTES_MAX,
    MANIFEST_TYPES,
    OCI_INDEX,
    SCHEMA1_TYPES,
    Descriptor,
    Manifest,
)
from proxy.oci.reference import Reference, Repository
from proxy.upstream.admission import BLOBS_MAX, PULLS_MAX, Admission, Use
from proxy.upstream.answers import (
    GENERIC_TYPES,
    TransientError,
    UnreachableError,
    is_encoded,
    manifest_type,
    media_type,
    off_the_loop,
)
from proxy.upstream.auth import Authenticator
from proxy.upstream.blobs import OK, PARTIAL, RANGE_NOT_SATISFIABLE, BlobStream, blob_stream
from proxy.upstream.breaker import Breaker
from proxy.upstream.dialling import Guard
from proxy.upstream.endpoint import Endpoint, Limits
from proxy.upstream.heads import NOT_MEANT, NOT_OFFERED, Heads
from proxy.upstream.links import Continuation, next_query, with_query
from proxy.upstream.listing import TAGS_BYTES_MAX, all_referrers, read_tags
from proxy.upstream.observer import Observer
from proxy.upstream.pool import Pool
from proxy.upstream.retry import Backoff
from proxy.upstream.tls import Contexts
from proxy.upstream.transport import Request, Transport

T = TypeVar("T")

# Asked with every manifest request, whatever the client sent: the digest must not depend on who asks. Schema 1 is in
# it to be refused by name; a registry that has nothing else would answer 404.
ACCEPT = ", ".join([*sorted(INDEX_TYPES), *sorted(MANIFEST_TYPES), *sorted(SCHEMA1_TYPES)])
SHORT_CONNECTIONS_MAX = PULLS_MAX
BLOB_CONNECTIONS_MAX = BLOBS_MAX
# aiohttp counts a wait for a connection as connecting; `admission` bounds them instead.
_UNLIMITED = 0
# What registries without the referrers API answer (go-containerregistry, pkg/v1/remote/referrers.go; and 405).
_NO_REFERRERS_API = frozenset({400, 404, 405, 406})
_DIGEST_HEADER = "Docker-Content-Digest"


class Upstream:
    """One registry, with its connections and tokens: an async context manager, and a `formats.api.Source`.

    All methods raise `proxy.oci.errors`. Time is limited by `Limits`, repetition by `Backoff`.
    """

    def __init__(
        self, endpoint: Endpoint, backoff: Backoff, limits: Limits | None = None, observer: Observer | None = None
    ) -> None:
        self._endpoint = endpoint
        self._name = endpoint.name
        self._base = endpoint.base
        self._backoff = backoff
        self._limits = limits or Limits()
        self._observer = observer or Observer()
        self._heads = Heads(backoff.clock)
        self._stack = AsyncExitStack()
        self._admission: Admission
        self._short: Transport
        self._blobs: Transport

    async def __aenter__(self) -> Self:
        """Open the pools; raises MalformedError where a file of the endpoint cannot be used."""
        limits, guard, tls = self._limits, Guard(self._endpoint), Contexts(self._endpoint, self._backoff.clock)
        self._admission = Admission(self._name, SHORT_CONNECTIONS_MAX, BLOB_CONNECTIONS_MAX)
        short = Pool(guard, tls, _UNLIMITED, limits.connect, limits.read)
        blobs = Pool(guard, tls, _UNLIMITED, limits.connect, limits.blob_stall)
        for pool in (short, blobs):
            await self._stack.enter_async_context(pool)
        authenticator = Authenticator(self._endpoint, short, self._backoff.clock)
        breaker = Breaker(self._name, self._backoff.clock, self._left_alone)
        self._short = Transport(self._endpoint, short, authenticator, self._backoff, breaker, self._observer)
        self._blobs = Transport(self._endpoint, blobs, authenticator, self._backoff, breaker, self._observer)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        await self._stack.aclose()

    async def manifest(self, reference: Reference, use: Use = Use.PULL) -> Manifest:
        """Return a manifest by digest, where the reference has one, else by tag.

        CorruptError where the bytes lack that digest, or the one that the upstream's Docker-Content-Digest names.
        """
        with self._observed("manifest"):
            return await self._get_manifest(reference, use)

    async def _get_manifest(self, reference: Reference, use: Use) -> Manifest:
        request = self._manifest_request("GET", reference)
        response, body = await self._fetch(use, reference.repository, request, MANIFEST_BYTES_MAX)
        if len(body) > MANIFEST_BYTES_MAX:
            raise MalformedError(f"the {request.what} is larger than {MANIFEST_BYTES_MAX} bytes")
        # An empty header says nothing; of several all must be true.
        named = [one for one in response.headers.getall(_DIGEST_HEADER, []) if one.strip()]

        def check(body: bytes) -> Manifest:
            if not all(Digest.parse(one).matches(body) for one in named):
                raise CorruptError(f"{self._name} served a {request.what} that lacks the digest it is sent with")
            return Manifest.parse(reference.digest or Digest.of(body), manifest_type(response, body), body)

        return await off_the_loop(check, body)

    async def resolve(self, reference: Reference) -> Digest | None:
        """Return the tag's current digest according to a HEAD, None where it names none: use `manifest` then.

        Docker Hub does not count a HEAD as a pull. The digest is a claim, good to find out whether a remembered one is
        still current and for nothing else. Where the HEAD fails a GET decides; if that works, no HEAD is sent for a
        while.
        """
        with self._observed("resolve"):
            if not self._heads.work("manifests"):
                return None
            response = await self._head(reference.repository, self._manifest_request("HEAD", reference))
            if response is None:
                manifest = await self._get_manifest(reference, Use.PULL)
                self._heads.avoid("manifests")
                return manifest.digest
            if response.status in NOT_OFFERED:
                self._heads.avoid("manifests")
            if response.status != OK or media_type(response) not in INDEX_TYPES | MANIFEST_TYPES | GENERIC_TYPES:
                return None
            try:
                return Digest.parse(response.headers.get(_DIGEST_HEADER, ""))
            except MalformedError:
                return None

    async def blob(self, repository: Repository, descriptor: Descriptor, limit: int, use: Use = Use.PULL) -> bytes:
        """Return a whole blob, its size and digest checked; CorruptError where it is larger than `limit` bytes."""
        with self._observed("blob"):
            if descriptor.size > limit:
                raise CorruptError(f"blob {descriptor.digest} has {descriptor.size} bytes, more than {limit}")
            request = self._blob_request("GET", repository, descriptor.digest)
            _, body = await self._fetch(use, repository, request, descriptor.size)
            return await off_the_loop(descriptor.check, body)

    async def head_blob(self, repository: Repository, digest: Digest) -> int:
        """Return the size of a blob in bytes, as the upstream says it."""
        with self._observed("head_blob"):
            response = None
            if self._heads.work("blobs"):
                response = await self._head(repository, self._blob_request("HEAD", repository, digest))
            if response is None or response.status in NOT_OFFERED:
                response, _ = await self._fetch(Use.PULL, repository, self._blob_request("GET", repository, digest), 0)
                self._heads.avoid("blobs")
            if response.content_length is None:
                raise UnavailableError(f"{self._name} does not say how large blob {digest} is")
            return response.content_length

    @asynccontextmanager
    async def open_blob(
        self, repository: Repository, digest: Digest, *, range_header: str | None = None
    ) -> AsyncIterator[BlobStream]:
        """Open a blob, or the part of it that a Range header asks for; its digest is for the reader to check.

        The reader sets the pace: at most about 2 MiB are read ahead of it.
        """
        async with AsyncExitStack() as stack:
            with self._observed("blob"):
                await stack.enter_async_context(self._admission.admit(Use.BLOB, repository))
                request = self._blob_request("GET", repository, digest, range_header)
                seconds = self._limits.blob_open
                response = await self._within(seconds, self._blobs.open(request, seconds))
                await stack.enter_async_context(response)
            yield blob_stream(response, self._name, self._limits.blob_stall)

    async def referrers(self, repository: Repository, digest: Digest, use: Use = Use.PULL) -> Referrers:
        """Return what the referrers API lists, all pages, unfiltered; NotFoundError where there is no such API.

        What is over a limit of `listing`, or cannot be read, is cut off, and the answer says so.
        """
        with self._observed("referrers"):
            what = f"list of referrers of {repository.path}@{digest}"
            url, path = self._base.url(repository, f"referrers/{digest}"), self._base.path(repository)
            request = Request("GET", url, path, what, {hdrs.ACCEPT: OCI_INDEX}, _NO_REFERRERS_API | {OK})
            seconds = self._limits.total
            async with self._admission.admit(use, repository):
                return await self._within(seconds, all_referrers(self._short, request, self._name, seconds))

    async def tags(
        self, repository: Repository, n: int | None = None, last: str | Continuation | None = None
    ) -> tuple[list[str], str | Continuation | None]:
        """Return one page of at most `n` tags after `last`, and the `last` that asks for the next page, if any.

        Where the registry pages by something else, that is a Continuation, which goes before `n`.
        """
        with self._observed("tags"):
            url = self._base.url(repository, "tags/list")
            if isinstance(last, Continuation):
                url = with_query(url, last.query)
            else:
                url = url.with_query(
                    {name: str(value) for name, value in (("n", n), ("last", last)) if value is not None}
                )
            what = f"list of tags of {repository.path}"
            request = Request("GET", url, self._base.path(repository), what)
            response, body = await self._fetch(Use.LIST, repository, request, TAGS_BYTES_MAX)
            tags = await off_the_loop(read_tags, self._whole_listing(body))
            following = next_query(response, self._name, url)
            return tags, (following.last or following) if following is not None else None

    def _manifest_request(self, method: str, reference: Reference) -> Request:
        repository = reference.repository
        name, what = (f"{reference.tag}", f"{repository.path}:{reference.tag}")
        if reference.digest is not None:
            name, what = (f"{reference.digest}", f"{repository.path}@{reference.digest}")
        url, path = self._base.url(repository, f"manifests/{name}"), self._base.path(repository)
        return Request(method, url, path, f"manifest {what}", {hdrs.ACCEPT: ACCEPT})

    def _blob_request(
        self, method: str, repository: Repository, digest: Digest, range_header: str | None = None
    ) -> Request:
        url, path = self._base.url(repository, f"blobs/{digest}"), self._base.path(repository)
        what = f"blob {repository.path}@{digest}"
        if range_header is None:
            return Request(method, url, path, what)
        accepted = frozenset({OK, PARTIAL, RANGE_NOT_SATISFIABLE})
        return Request(method, url, path, what, {hdrs.RANGE: range_header}, accepted)

    async def _head(self, repository: Repository, request: Request) -> ClientResponse | None:
        """Send a HEAD; None where it fails and a GET may succeed."""
        request = replace(request, accepted=request.accepted | NOT_MEANT | NOT_OFFERED)
        try:
            response, _ = await self._fetch(Use.PULL, repository, request, 0)
        except UpstreamDeniedError:  # a 401 that names no challenge that we can answer
            return None
        except UnreachableError:
            raise
        except TransientError as err:
            if err.rate_limited:
                raise
            return None  # cut, or closed without an answer
        # A front server that encodes for a HEAD, which has nothing to encode, states another length.
        return None if response.status in NOT_MEANT or is_encoded(response.headers) else response

    async def _fetch(
        self, use: Use, repository: Repository, request: Request, limit: int
    ) -> tuple[ClientResponse, bytes]:
        seconds = self._limits.total
        async with self._admission.admit(use, repository):
            return await self._within(seconds, self._short.fetch(request, limit, seconds))

    async def _within(self, seconds: float, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await work
        except TimeoutError:
            raise UnavailableError(f"{self._name} did not answer within {seconds:g} s") from None
        except UpstreamDeniedError as err:
            raise UpstreamDeniedError(str(err), may_be_absence=self._endpoint.denied_is_absent) from None

    def _whole_listing(self, body: bytes) -> bytes:
        if len(body) > TAGS_BYTES_MAX:
            raise UnavailableError(f"{self._name} sent a list longer than {TAGS_BYTES_MAX} bytes")
        return body

    def _left_alone(self, *, is_open: bool) -> None:
        self._observer.on_breaker(self._name, is_open=is_open)

    def _observed(self, operation: str) -> AbstractContextManager[None]:
        return self._observer.operation(self._name, operation, self._backoff.clock)
