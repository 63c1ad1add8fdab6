"""The closed table of upstreams: what is not in it is never dialled."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from typing import Self

from proxy.formats.api import Referrers, Source
from proxy.oci.digest import Digest
from proxy.oci.errors import UnknownUpstreamError
from proxy.oci.manifest import Descriptor, Manifest
from proxy.oci.reference import Reference, Repository
from proxy.upstream.admission import Use
from proxy.upstream.blobs import BlobStream
from proxy.upstream.canonical import Canonical
from proxy.upstream.client import Upstream
from proxy.upstream.endpoint import Endpoint, Limits
from proxy.upstream.links import Continuation
from proxy.upstream.observer import Observer
from proxy.upstream.retry import Backoff


class Upstreams:
    """All configured registries as one `formats.api.Source`: an async context manager that holds their connections.

    Every method asks the registry that the repository names, and raises UnknownUpstreamError where it is not in the
    table; otherwise it is what `Upstream` has under the same name.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        backoff: Backoff,
        limits: Limits | None = None,
        observer: Observer | None = None,
    ) -> None:
        endpoints = tuple(endpoints)
        self._table = {one.name: Upstream(one, backoff, limits, observer) for one in endpoints}
        canonical = replace(observer or Observer(), is_canonical=True)
        self._canonical = {
            one.name: Upstream(one.signatures, backoff, limits, canonical)
            for one in endpoints
            if one.signatures is not None
        }
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open all pools; nothing is dialled yet. Raises MalformedError where a CA file cannot be used."""
        async with AsyncExitStack() as stack:
            for upstream in (*self._table.values(), *self._canonical.values()):
                await stack.enter_async_context(upstream)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        await self._stack.aclose()

    @property
    def names(self) -> Sequence[str]:
        """The canonical names of the configured registries, in the order of the configuration."""
        return tuple(self._table)

    @property
    def canonical(self) -> Canonical | None:
        """Where to look for signatures besides; None where no upstream is a mirror that loses them."""
        return Canonical(self._canonical) if self._canonical else None

    def used_for(self, use: Use) -> Source:
        """Return the same registries, asked through the places that are kept for this use."""
        return _Used(self, use)

    async def manifest(self, reference: Reference, use: Use = Use.PULL) -> Manifest:
        """See `Upstream.manifest`."""
        return await self._at(reference.repository).manifest(reference, use)

    async def resolve(self, reference: Reference) -> Digest | None:
        """See `Upstream.resolve`."""
        return await self._at(reference.repository).resolve(reference)

    async def blob(self, repository: Repository, descriptor: Descriptor, limit: int, use: Use = Use.PULL) -> bytes:
        """See `Upstream.blob`."""
        return await self._at(repository).blob(repository, descriptor, limit, use)

    async def head_blob(self, repository: Repository, digest: Digest) -> int:
        """See `Upstream.head_blob`."""
        return await self._at(repository).head_blob(repository, digest)

    def open_blob(
        self, repository: Repository, digest: Digest, *, range_header: str | None = None
    ) -> AbstractAsyncContextManager[BlobStream]:
        """See `Upstream.open_blob`."""
        return self._at(repository).open_blob(repository, digest, range_header=range_header)

    async def referrers(self, repository: Repository, digest: Digest, use: Use = Use.PULL) -> Referrers:
        """See `Upstream.referrers`."""
        return await self._at(repository).referrers(repository, digest, use)

    async def tags(
        self, repository: Repository, n: int | None = None, last: str | Continuation | None = None
    ) -> tuple[list[str], str | Continuation | None]:
        """See `Upstream.tags`."""
        return await self._at(repository).tags(repository, n, last)

    def _at(self, repository: Repository) -> Upstream:
        upstream = self._table.get(repository.registry)
        if upstream is None:
            raise UnknownUpstreamError(f"{repository.registry} is not one of the configured upstreams")
        return upstream


class _Used:
    """The table for one use: what `Source` has."""

    def __init__(self, upstreams: Upstreams, use: Use) -> None:
        self._upstreams = upstreams
        self._use = use

    async def manifest(self, reference: Reference) -> Manifest:
        return await self._upstreams.manifest(reference, self._use)

    async def blob(self, repository: Repository, descriptor: Descriptor, limit: int) -> bytes:
        return await self._upstreams.blob(repository, descriptor, limit, self._use)

    async def referrers(self, repository: Repository, digest: Digest) -> Referrers:
        return await self._upstreams.referrers(repository, digest, self._use)
