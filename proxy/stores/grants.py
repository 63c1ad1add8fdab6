"""Which manifest a piece of content belongs to, whether that manifest was accepted or refused.

A membership grants nothing. It says whose verdict decides about a blob or a child manifest, and it counts in its own
repository only: what one repository may give out proves nothing about another. Its rank is what was decided about the
manifest last. It only orders: accepted manifests come before any limit, however many others name the same blob.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from itertools import chain, islice
from typing import Any, Protocol

from proxy.oci.digest import Digest
from proxy.oci.reference import Repository
from proxy.stores.database import Database, digest_bytes, digest_of_bytes, drop_unused_repository, repository_id
from proxy.stores.schema import amount

# Members over all manifests, the oldest manifests forgotten first. About 1 KiB each in the process.
IN_MEMORY_MAX = 100_000
# About 130 bytes each on disk: 130 MiB.
ON_DISK_MAX = 1_000_000
# The newest manifests of a repository that are not written again when they are added again: an index and some children.
NEWEST_MAX = 8
# A base layer belongs to every tag built on it; the newest of those that are served are those that are being pulled.
PARENTS_MAX = 100
# RFC 6838, 4.2: 127 characters each side of the slash. A longer name is no media type and is kept as unknown content.
MEDIA_TYPE_MAX = 255
UNKNOWN_CONTENT = "application/octet-stream"
# SQLite's widest integer; a manifest can claim a larger size, which is then kept as text.
_INTEGER_MAX = 2**63 - 1
# On disk, a known media type is its place in this list: append only.
_MEDIA_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.oci.empty.v1+json",
    UNKNOWN_CONTENT,
)
_FIRST_TO_GO = "SELECT id, repository FROM manifest ORDER BY rank DESC, id LIMIT 1"
_MEDIA_TYPE_NUMBERS = {name: number for number, name in enumerate(_MEDIA_TYPES)}


class Rank(IntEnum):
    """The precedence of a manifest among those that name the same content, the best first. On disk: never renumber."""

    ACCEPTED = 0
    SERVED = 1
    ARTIFACT = 2
    REFUSED = 3


@dataclass(frozen=True, slots=True)
class Member:
    """A blob or a child manifest, as its parent describes it. `size` is in bytes."""

    digest: Digest
    size: int
    media_type: str

    def __post_init__(self) -> None:
        """Keep the media type within its limit."""
        if len(self.media_type) > MEDIA_TYPE_MAX:
            object.__setattr__(self, "media_type", UNKNOWN_CONTENT)


@dataclass(frozen=True, slots=True)
class Parent:
    """A manifest that names the member, and the tag by which it was last asked for (None: by digest).

    `rank` is what was decided about it last, which may hold no more.
    """

    digest: Digest
    member: Member
    tag: str | None
    rank: Rank = Rank.REFUSED


class Memberships(Protocol):
    """Store of the content that each manifest names.

    Bounded; may forget at any time, the lowest rank first, and of one rank the oldest manifests.
    """

    async def add(
        self,
        repository: Repository,
        parent: Digest,
        tag: str | None,
        members: Sequence[Member],
        rank: Rank = Rank.REFUSED,
    ) -> None:
        """Remember what this manifest names, by which tag it was asked for, and what was decided about it.

        It is among the newest of its rank from now on, and of no other rank.
        """
        ...

    async def parents(self, repository: Repository, member: Digest) -> Sequence[Parent]:
        """Return the manifests of this repository that name the member, at most PARENTS_MAX.

        The best rank comes first, and of one rank the newest.
        """
        ...


class MemoryMemberships:
    """Memberships in the process."""

    def __init__(self, limit: int = IN_MEMORY_MAX) -> None:
        self._limit = limit
        self._rows = 0
        self._manifests: dict[Rank, OrderedDict[tuple[Repository, Digest], tuple[Digest, ...]]] = {
            rank: OrderedDict() for rank in Rank
        }
        self._parents: dict[tuple[Repository, Digest, Rank], dict[Digest, Parent]] = {}

    async def add(
        self,
        repository: Repository,
        parent: Digest,
        tag: str | None,
        members: Sequence[Member],
        rank: Rank = Rank.REFUSED,
    ) -> None:
        """See `Memberships.add`."""
        if not members:
            return
        for one in Rank:
            self._drop(repository, parent, one)
        once = _once(members)
        self._manifests[rank][repository, parent] = tuple(once)
        for digest, member in once.items():
            self._parents.setdefault((repository, digest, rank), {})[parent] = Parent(parent, member, tag, rank)
        self._rows += len(once)
        while self._rows > self._limit:
            worst = max(one for one in Rank if self._manifests[one])
            self._drop(*next(iter(self._manifests[worst])), worst)

    async def parents(self, repository: Repository, member: Digest) -> Sequence[Parent]:
        """See `Memberships.parents`."""
        by_rank = (reversed(self._parents.get((repository, member, rank), {}).values()) for rank in Rank)
        return tuple(islice(chain.from_iterable(by_rank), PARENTS_MAX))

    def _drop(self, repository: Repository, parent: Digest, rank: Rank) -> None:
        members = self._manifests[rank].pop((repository, parent), ())
        self._rows -= len(members)
        for digest in members:
            found = self._parents[repository, digest, rank]
            del found[parent]
            if not found:
                del self._parents[repository, digest, rank]


class SqliteMemberships:
    """Memberships that survive a restart, and that all processes share: nothing is kept here, the file is asked."""

    def __init__(self, database: Database, limit: int = ON_DISK_MAX) -> None:
        self._database = database
        self._limit = limit

    async def add(
        self,
        repository: Repository,
        parent: Digest,
        tag: str | None,
        members: Sequence[Member],
        rank: Rank = Rank.REFUSED,
    ) -> None:
        """See `Memberships.add`."""
        # Every pull adds; what is among the newest already is not written again. Reading waits for no other process.
        one = _Manifest(repository, parent, tag, rank)
        if members and not await self._database.read(lambda it: _is_newest(it, one), None):
            await self._database.write(lambda it: self._replace(it, one, members), None)

    async def parents(self, repository: Repository, member: Digest) -> Sequence[Parent]:
        """See `Memberships.parents`."""
        nothing: list[tuple[Any, ...]] = []
        found = []
        for manifest, *columns in await self._database.read(lambda it: _select(it, repository, member), nothing):
            try:
                found.append(_read(member, *columns))
            except (ValueError, TypeError, IndexError, AttributeError, OverflowError):
                self._database.on_fault(
                    f"what is remembered of a manifest in {repository} is unreadable and is dropped"
                )
                await self._database.write(partial(_delete, manifest=manifest), None)
        return tuple(found)

    def _replace(self, connection: sqlite3.Connection, one: "_Manifest", members: Sequence[Member]) -> None:
        """Write, and forget what is too much."""
        number = repository_id(connection, one.repository)
        old = connection.execute(
            "SELECT id FROM manifest WHERE repository = ? AND digest = ?", (number, digest_bytes(one.digest))
        ).fetchone()
        if old:
            _delete(connection, *old)
        _insert(connection, number, one, tuple(_once(members).values()))
        while amount(connection, "memberships") > self._limit and (
            first := connection.execute(_FIRST_TO_GO).fetchone()
        ):
            manifest, number = first
            _delete(connection, manifest)
            drop_unused_repository(connection, number)


@dataclass(frozen=True, slots=True)
class _Manifest:
    """A row of the table of manifests."""

    repository: Repository
    digest: Digest
    tag: str | None
    rank: Rank


def _once(members: Sequence[Member]) -> dict[Digest, Member]:
    """Keep the first of members with the same digest; manifests do name one empty layer several times."""
    return {member.digest: member for member in reversed(members)}


def _insert(connection: sqlite3.Connection, repository: int, one: _Manifest, members: Sequence[Member]) -> None:
    manifest = connection.execute(
        "INSERT INTO manifest (repository, digest, tag, rank) VALUES (?, ?, ?, ?)",
        (repository, digest_bytes(one.digest), one.tag or "", one.rank),
    ).lastrowid
    rows = [
        (
            repository,
            digest_bytes(member.digest),
            one.rank,
            manifest,
            member.size if member.size <= _INTEGER_MAX else str(member.size),
            _MEDIA_TYPE_NUMBERS.get(member.media_type, member.media_type),
        )
        for member in members
    ]
    connection.executemany("INSERT INTO membership VALUES (?, ?, ?, ?, ?, ?)", rows)


def _delete(connection: sqlite3.Connection, manifest: int) -> None:
    connection.execute("DELETE FROM manifest WHERE id = ?", (manifest,))
    connection.execute("DELETE FROM membership WHERE manifest = ?", (manifest,))


def _is_newest(connection: sqlite3.Connection, one: _Manifest) -> bool:
    newest = connection.execute(
        """SELECT digest, tag, rank FROM manifest WHERE repository = (SELECT id FROM repository WHERE name = ?)
           ORDER BY id DESC LIMIT ?""",
        (str(one.repository), NEWEST_MAX),
    )
    return (digest_bytes(one.digest), one.tag or "", one.rank) in newest


def _select(connection: sqlite3.Connection, repository: Repository, member: Digest) -> list[tuple[Any, ...]]:
    return connection.execute(
        """SELECT manifest.id, manifest.digest, manifest.tag, manifest.rank, size, media_type
           FROM membership JOIN repository ON repository.id = membership.repository
           JOIN manifest ON manifest.id = membership.manifest
           WHERE repository.name = ? AND membership.digest = ?
           ORDER BY membership.rank, membership.manifest DESC LIMIT ?""",
        (str(repository), digest_bytes(member), PARENTS_MAX),
    ).fetchall()


def _read(  # noqa: PLR0913, PLR0917 (the columns of a row)
    member: Digest, parent: bytes, tag: str, rank: int, size: int | str, media_type: int | str
) -> Parent:
    name = media_type if isinstance(media_type, str) else _MEDIA_TYPES[media_type]
    return Parent(digest_of_bytes(parent), Member(member, int(size), name), tag or None, Rank(rank))
