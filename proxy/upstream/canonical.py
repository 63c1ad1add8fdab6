"""Where mirrors' signatures are: pull-through mirrors copy images, and often neither `.sig` tags nor referrers."""

from collections.abc import Mapping

from proxy.formats.api import Referrers
from proxy.oci.digest import Digest
from proxy.oci.errors import NotFoundError
from proxy.oci.manifest import Descriptor, Manifest
from proxy.oci.reference import Reference, Repository
from proxy.upstream.admission import Use
from proxy.upstream.client import Upstream


class Canonical:
    """The registries that mirrors stand for, as one `formats.api.Source` to look for signatures in.

    Of a registry that has none configured, nothing is there: NotFoundError, without a request.
    """

    def __init__(self, table: Mapping[str, Upstream]) -> None:
        self._table = table

    async def manifest(self, reference: Reference) -> Manifest:
        """See `Upstream.manifest`."""
        return await self._at(reference.repository).manifest(reference, Use.JUDGE)

    async def blob(self, repository: Repository, descriptor: Descriptor, limit: int) -> bytes:
        """See `Upstream.blob`."""
        return await self._at(repository).blob(repository, descriptor, limit, Use.JUDGE)

    async def referrers(self, repository: Repository, digest: Digest) -> Referrers:
        """See `Upstream.referrers`."""
        return await self._at(repository).referrers(repository, digest, Use.JUDGE)

    def _at(self, repository: Repository) -> Upstream:
        upstream = self._table.get(repository.registry)
        if upstream is None:
            raise NotFoundError(f"{repository.registry} has its signatures in no second place")
        return upstream
