"""Recognize artifacts (`oci.artifacts`): each blob is fetched and read before anything is served.

Signatures are for everybody to read. Documents and lists of referrers are served for as long as the image that they
refer to is accepted in the same repository.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from cachetools import LRUCache

from proxy.gate.contents import Registry
from proxy.gate.memory import Memory
from proxy.oci.artifacts import (
    ARTIFACT_BLOB_BYTES_MAX,
    EMPTY,
    EMPTY_CONTENT,
    ArtifactKind,
    document_subject,
    is_inert_blob,
    listed_subject,
    looks_like_referrers_list,
    looks_like_signature_artifact,
)
from proxy.oci.digest import Digest
from proxy.oci.errors import RegistryError, UnavailableError
from proxy.oci.manifest import Descriptor, Manifest
from proxy.oci.reference import Repository
from proxy.policy.model import Decision
from proxy.verdict import Accepted, Subject

# Artifacts known in memory, some 300 bytes each; the store knows of all whose manifests it has.
CHECKED_MAX = 5_000


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact: its kind, the tag under which it is known, and the decision about the image that it refers to.

    `decision` is None for a signature, which is data whatever became of the image.
    """

    kind: ArtifactKind
    subject: Subject
    decision: Decision | None = None


class Artifacts:
    """Distinguishes artifacts from images. Results are remembered: content does not change under its digest."""

    def __init__(
        self, registry: Registry, memory: Memory, decide: Callable[[Subject, str], Awaitable[Decision]]
    ) -> None:
        self._registry = registry
        self._memory = memory
        self._decide = decide
        self._read: LRUCache[tuple[Repository, Digest], bool] = LRUCache(CHECKED_MAX)

    async def find(self, subject: Subject, manifest: Manifest, client: str) -> Artifact | None:
        """Return as what this manifest may be served; None for an image, which is judged by itself.

        UnavailableError where the blobs cannot be read now.
        """
        if looks_like_signature_artifact(manifest):
            is_read = await self._is_read(subject.repository, manifest)
            return Artifact(ArtifactKind.SIGNATURE, subject) if is_read else None
        if (image := document_subject(manifest)) is not None:
            decision = await self._accepted(subject.repository, image, client)
            if decision is not None and await self._is_read(subject.repository, manifest):
                return Artifact(ArtifactKind.REFERRER, subject, decision)
        if looks_like_referrers_list(manifest):
            return await self._list(subject, manifest, client)
        return None

    async def _list(self, subject: Subject, manifest: Manifest, client: str) -> Artifact | None:
        tag = subject.tag or await self._known_tag(subject, manifest)
        image = listed_subject(tag) if tag else None
        decision = await self._accepted(subject.repository, image, client) if image is not None else None
        if decision is None:
            return None
        return Artifact(ArtifactKind.REFERRERS_TAG, replace(subject, tag=tag), decision)

    async def _known_tag(self, subject: Subject, manifest: Manifest) -> str | None:
        """Return by which tag an index was asked for before: clients resolve the tag, and then ask by digest."""
        for child in manifest.children[:1]:
            for parent in await self._memory.memberships.parents(subject.repository, child.digest):
                if parent.digest == manifest.digest:
                    return parent.tag
        return None

    async def _accepted(self, repository: Repository, image: Digest, client: str) -> Decision | None:
        """Return the decision about an image that is accepted; not for one that is served for another reason."""
        decision = await self._decide(Subject(repository, image), client)
        return decision if isinstance(decision.verdict, Accepted) else None

    async def _is_read(self, repository: Repository, manifest: Manifest) -> bool:
        key = (repository, manifest.digest)
        if key in self._read:
            return True
        if not await self._memory.manifests.is_artifact(*key):
            for blob in manifest.blobs:
                if not await self._is_inert(repository, manifest, blob):
                    return False
            await self._memory.manifests.mark_artifact(*key)
        self._read[key] = True
        return True

    async def _is_inert(self, repository: Repository, manifest: Manifest, blob: Descriptor) -> bool:
        """Check the content: its type is a claim of the pusher, and clients unpack whatever they can."""
        if (blob.digest, blob.size) == (EMPTY, len(EMPTY_CONTENT)):
            return True
        try:
            content = await self._registry.blob(repository, blob, ARTIFACT_BLOB_BYTES_MAX)
        except UnavailableError:
            raise
        except RegistryError:
            return False
        return await asyncio.to_thread(is_inert_blob, content, blob, manifest)
