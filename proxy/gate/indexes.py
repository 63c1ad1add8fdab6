"""The indexes that list a manifest: a child that is asked for by itself may be served by the decision about one."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

from proxy.gate.contents import Contents
from proxy.gate.memory import Memory
from proxy.oci.digest import Digest
from proxy.oci.errors import RegistryError
from proxy.oci.manifest import INDEX_TYPES, MANIFEST_TYPES
from proxy.oci.reference import Reference, Repository
from proxy.verdict import Subject

# The newest of the accepted ones come first, and one that is accepted is enough.
INDEXES_TRIED_MAX = 16
# Each costs the registry one request in a tag's lifetime, for a refused digest that no known index lists.
INDEX_TAGS_TRIED_MAX = 4
_CHILD_TYPES = MANIFEST_TYPES | INDEX_TYPES


class Indexes:
    """Finds indexes in the stores and at recent tags. `max_stale` is how stale the digest of a tag may be, by rule."""

    def __init__(self, contents: Contents, memory: Memory, max_stale: Callable[[Repository], timedelta]) -> None:
        self._contents = contents
        self._memory = memory
        self._max_stale = max_stale

    async def known(self, child: Subject) -> Sequence[Subject]:
        """Return the indexes of this repository that are known to list the child."""
        parents = await self._memory.memberships.parents(child.repository, child.digest)
        return [
            Subject(child.repository, parent.digest, parent.tag)
            for parent in parents[:INDEXES_TRIED_MAX]
            if parent.member.media_type in _CHILD_TYPES
        ]

    async def by_tag(self, child: Subject) -> Sequence[Subject]:
        """Return the indexes at recent tags that list a child which was asked for by its digest alone.

        For those that no store knows any more, or not yet: a tag may have moved. They are judged as if they were asked
        for by the tag, and count only if they are served.
        """
        if child.tag is not None:
            return ()
        tags = await self._memory.tags.recent(child.repository, INDEX_TAGS_TRIED_MAX)
        named = await asyncio.gather(*(self._at(Reference(child.repository, tag), child.digest) for tag in tags))
        return [one for one in named if one is not None]

    async def _at(self, tag: Reference, child: Digest) -> Subject | None:
        try:
            index, _ = await self._contents.fetch(tag, self._max_stale(tag.repository))
        except RegistryError:
            return None  # it proves nothing about the child, which has a decision of its own
        if not any(one.digest == child and one.media_type in _CHILD_TYPES for one in index.children):
            return None
        return Subject(tag.repository, index.digest, tag.tag)
