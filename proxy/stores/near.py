"""Memberships in the process, in front of those that survive a restart.

What was added lately is known whatever becomes of the disk: full, read-only or gone, it costs what was remembered
before and no pull that is under way.
"""

from collections.abc import Sequence

from proxy.oci.digest import Digest
from proxy.oci.reference import Repository
from proxy.stores.grants import PARENTS_MAX, Member, Memberships, MemoryMemberships, Parent

# About 20 MiB; a thousand images of the usual twenty members, which is more than are pulled at a time.
NEAR_MAX = 20_000


class NearMemberships:
    """What was added lately, and behind it what another store still knows."""

    def __init__(self, far: Memberships, limit: int = NEAR_MAX) -> None:
        self._near = MemoryMemberships(limit)
        self._far = far

    async def add(self, repository: Repository, parent: Digest, tag: str | None, members: Sequence[Member]) -> None:
        """See `Memberships.add`."""
        await self._near.add(repository, parent, tag, members)
        await self._far.add(repository, parent, tag, members)

    async def parents(self, repository: Repository, member: Digest) -> Sequence[Parent]:
        """See `Memberships.parents`."""
        near = await self._near.parents(repository, member)
        known = {parent.digest for parent in near}
        far = await self._far.parents(repository, member)
        return (*near, *(parent for parent in far if parent.digest not in known))[:PARENTS_MAX]
