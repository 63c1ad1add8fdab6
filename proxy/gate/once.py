"""One judgement asks each thing once, however many signers look in the same place."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from proxy.formats.api import Referrers, Source
from proxy.oci.digest import Digest
from proxy.oci.errors import UnavailableError
from proxy.oci.manifest import Descriptor, Manifest
from proxy.oci.reference import Reference, Repository

_T = TypeVar("_T")


class Once:
    """A `Source` that remembers every answer, errors too, for as long as it lives: one judgement, within its limits."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._answers: dict[Hashable, asyncio.Future[Any]] = {}

    async def manifest(self, reference: Reference) -> Manifest:
        """Return a manifest, as the source does."""
        return await self._ask(reference, lambda: self._source.manifest(reference))

    async def blob(self, repository: Repository, descriptor: Descriptor, limit: int) -> bytes:
        """Return a blob, as the source does."""
        # Signatures and attestations have other limits, and lie in the same bundles.
        key = (repository, descriptor.digest, descriptor.size, descriptor.size > limit)
        return await self._ask(key, lambda: self._source.blob(repository, descriptor, limit))

    async def referrers(self, repository: Repository, digest: Digest) -> Referrers:
        """Return what refers to this digest, as the source does."""
        return await self._ask((repository, digest), lambda: self._source.referrers(repository, digest))

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[_T]]) -> _T:
        known = self._answers.get(key)
        if known is not None:
            answer: _T = await asyncio.shield(known)
            return answer
        future = self._answers[key] = asyncio.get_running_loop().create_future()
        try:
            answer = await ask()
        except BaseException as err:
            # Whoever else waits was not cancelled; for them it is an answer that did not come in time.
            left = UnavailableError("the question was given up") if isinstance(err, asyncio.CancelledError) else err
            future.set_exception(left)
            future.exception()  # asked for: nobody else may be waiting, which is no mistake
            raise
        future.set_result(answer)
        return answer
