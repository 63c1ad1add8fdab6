"""Image configs for Docker's classic store, which goes on to Docker Hub after any other answer (docs/decisions/0012).

So a manifest is answered only when its config is here, and a config that is not here yet is waited for.
"""

import asyncio
from contextlib import closing, suppress

from cachetools import LRUCache

from proxy.front.agents import Docker
from proxy.front.usable import Config, read_config, why_unusable, why_unusable_config
from proxy.gate.transfers import Transfers
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError, UnavailableError
from proxy.oci.manifest import Descriptor, Manifest
from proxy.oci.reference import Repository
from proxy.upstream.table import Upstreams

# Larger ones are served, but not looked at: containers/image reads no larger ones (internal/iolimits).
CONFIG_BYTES_MAX = 4 * 1024 * 1024
# For configs that no store keeps.
MEMORY_BYTES = 16 * 1024 * 1024
# Pauses between the attempts to get a config that a manifest waits for; the client does not ask for it again.
RETRY_SECONDS = (0.2, 0.5, 1.0)
# Configs whose relevant part is remembered, some 300 bytes each.
_READ_MAX = 10_000
# Configs have some hundred values. They are read on a thread, this many in half a second.
_TOKENS_MAX = 100_000


class Configs:
    """Configs of images that are served, in the store or else in memory, and what was read of them."""

    def __init__(self, upstreams: Upstreams, transfers: Transfers) -> None:
        self._upstreams = upstreams
        self._transfers = transfers
        self._memory: LRUCache[Digest, bytes] = LRUCache(MEMORY_BYTES, getsizeof=len)
        self._read: LRUCache[Digest, Config | str | None] = LRUCache(_READ_MAX)

    def are_here(self, manifest: Manifest) -> bool:
        """Return whether the config of the manifest is here, if it has one; does not block."""
        return manifest.config is None or self._is_here(manifest.config.digest, manifest.config.size)

    def _is_here(self, digest: Digest, size: int) -> bool:
        return len(self._memory.get(digest, b"")) == size or self._transfers.has(digest, size)

    async def why_unusable(self, repository: Repository, manifest: Manifest, docker: Docker) -> str | None:
        """Return why this Docker cannot use the manifest, None where nothing is known against it.

        Its config, if it has one, is here then. Raises oci.errors where it cannot be had.
        """
        why = why_unusable(manifest, docker)
        if why is not None or manifest.config is None:
            return why
        found = await self._known(repository, manifest.config)
        if not docker.named:  # what else it may be needs no config that Docker can read
            return None
        if isinstance(found, Config):
            return why_unusable_config(manifest, found, docker)
        return found

    async def _known(self, repository: Repository, config: Descriptor) -> Config | str | None:
        """Return what was read of the config, or why it cannot be read; None for one that is too large to be read."""
        if config.digest not in self._read or not self._is_here(config.digest, config.size):
            content = await self._sought(repository, config)
            self._read[config.digest] = await asyncio.to_thread(_read, content) if content is not None else None
        return self._read[config.digest]

    async def _sought(self, repository: Repository, config: Descriptor) -> bytes | None:
        """Return what `content` does, after some tries where the upstream is away for a moment."""
        for seconds in RETRY_SECONDS:
            with suppress(UnavailableError):
                return await self.content(repository, config.digest, config.size)
            await asyncio.sleep(seconds)
        return await self.content(repository, config.digest, config.size)

    async def content(self, repository: Repository, digest: Digest, size: int) -> bytes | None:
        """Return a config, whole and right; None for a large one, which lies in the store and was verified there.

        Raises oci.errors where it cannot be had or, if it is large, not be kept.
        """
        if await self._transfers.keep(repository, digest, size, lambda _: None):
            return await self._stored(digest, size)
        content = self._memory.get(digest)
        if content is None or len(content) != size:
            if size > CONFIG_BYTES_MAX:
                raise UnavailableError(f"no room for a config of {size} bytes in the content store")
            descriptor = Descriptor("", digest, size)
            content = self._memory[digest] = await self._upstreams.blob(repository, descriptor, CONFIG_BYTES_MAX)
        return content

    async def _stored(self, digest: Digest, size: int) -> bytes | None:
        if size > CONFIG_BYTES_MAX:
            await self._transfers.verify(digest)
        stored = self._transfers.stored(digest, size)
        if stored is None:
            raise UnavailableError("the config was in the content store, and is there no more")
        with closing(stored):
            if size > CONFIG_BYTES_MAX:
                return None
            content = b""
            with suppress(OSError):
                content = await asyncio.to_thread(stored.file.read, size)
        if not digest.matches(content):
            await self._transfers.verify(digest)
            raise UnavailableError("the config in the content store has changed, and is removed")
        return content


def _read(content: bytes) -> Config | str:
    try:
        return read_config(content, _TOKENS_MAX)
    except MalformedError as err:
        return str(err)
