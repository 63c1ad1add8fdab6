"""Which manifests are artifacts (`oci.artifacts`): each blob is fetched and read before anything is served."""

import asyncio

from cachetools import LRUCache

from proxy.gate.contents import Registry
from proxy.oci.artifacts import (
    ARTIFACT_BLOB_BYTES_MAX,
    EMPTY,
    EMPTY_CONTENT,
    is_inert_config,
    is_signature_content,
    looks_like_signature_artifact,
)
from proxy.oci.digest import Digest
from proxy.oci.errors import RegistryError, UnavailableError
from proxy.oci.manifest import Descriptor, Manifest
from proxy.oci.reference import Repository
from proxy.stores.manifests import Manifests

# Artifacts known in memory, some 300 bytes each; the store knows of all whose manifests it has.
CHECKED_MAX = 5_000


class Artifacts:
    """Tells artifacts from images. What was found is remembered: content does not change under its digest."""

    def __init__(self, registry: Registry, manifests: Manifests) -> None:
        self._registry = registry
        self._manifests = manifests
        self._checked: LRUCache[tuple[Repository, Digest], bool] = LRUCache(CHECKED_MAX)

    async def is_signature(self, repository: Repository, manifest: Manifest) -> bool:
        """Return whether this is a signature artifact; UnavailableError where its blobs cannot be read now."""
        return looks_like_signature_artifact(manifest) and await self._is_checked(repository, manifest)

    async def _is_checked(self, repository: Repository, manifest: Manifest) -> bool:
        key = (repository, manifest.digest)
        if key in self._checked:
            return True
        if not await self._manifests.is_artifact(*key):
            for blob in manifest.blobs:
                if not await self._is_inert(repository, manifest, blob):
                    return False
            await self._manifests.mark_artifact(*key)
        self._checked[key] = True
        return True

    async def _is_inert(self, repository: Repository, manifest: Manifest, blob: Descriptor) -> bool:
        """Look at the content: types are a claim of whoever pushed it, and clients unpack what they can."""
        try:
            content = await self._content(repository, blob)
        except UnavailableError:
            raise
        except RegistryError:
            return False
        if blob is manifest.config:
            return await asyncio.to_thread(is_inert_config, content, manifest)
        return await asyncio.to_thread(is_signature_content, content)

    async def _content(self, repository: Repository, blob: Descriptor) -> bytes:
        if (blob.digest, blob.size) == (EMPTY, len(EMPTY_CONTENT)):
            return EMPTY_CONTENT
        return await self._registry.blob(repository, blob, ARTIFACT_BLOB_BYTES_MAX)
