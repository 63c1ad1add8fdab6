"""Memberships in the process, beside those that survive a restart and that other processes add to.

The latest entries are known whatever happens to the disk: where it is full, read-only or gone, older entries are lost
but no pull under way fails.
"""

from collections.abc import Sequence
from itertools import chain, zip_longest

from proxy.oci.digest import Digest
from proxy.oci.reference import Repository
from proxy.stores.grants import PARENTS_MAX, Member, Memberships, MemoryMemberships, Parent, Rank

# About 5 MiB; 250 images of the usual twenty members, which is more than are pulled at a time.
NEAR_MAX = 5_000


class NearMemberships:
    """The latest entries, and those of another store.

    A manifest may be there twice, with two tags or ranks.
    """

    def __init__(self, far: Memberships, limit: int = NEAR_MAX) -> None:
        self._near = MemoryMemberships(limit)
        self._far = far

    async def add(
        self,
        repository: Repository,
        parent: Digest,
        tag: str | None,
        members: Sequence[Member],
        rank: Rank = Rank.REFUSED,
    ) -> None:
        """See `Memberships.add`."""
        await self._near.add(repository, parent, tag, members, rank)
        await self._far.add(repository, parent, tag, members, rank)

    async def parents(self, repository: Repository, member: Digest) -> Sequence[Parent]:
        """See `Memberships.parents`."""
        far = await self._far.parents(repository, member)
        shared = {(parent.digest, parent.tag, parent.rank) for parent in far}
        here = await self._near.parents(repository, member)
        near = [parent for parent in here if (parent.digest, parent.tag, parent.rank) not in shared]
        # What only this process knows, and what all know, in turn: neither hides the other from who asks the first few.
        in_turn = [one for one in chain.from_iterable(zip_longest(near, far)) if one is not None]
        return tuple(sorted(in_turn, key=lambda parent: parent.rank)[:PARENTS_MAX])
