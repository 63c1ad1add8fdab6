"""What tags meant last, and when their upstream said so: after a restart, and for all processes of a machine."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import nlargest
from typing import Protocol

from cachetools import LRUCache

from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
from proxy.oci.reference import Repository
from proxy.stores.database import (
    Database,
    digest_bytes,
    digest_of_bytes,
    drop_unused_repository,
    repository_id,
)
from proxy.stores.schema import amount

# About 150 bytes each on disk; more than one machine's neighbours run.
TAGS_MAX = 100_000
# In place of a digest, on disk.
_ENDED = b""


@dataclass(frozen=True, slots=True)
class Tagged:
    """The digest that a tag meant, None where there was no such tag any more, and when its upstream said so."""

    digest: Digest | None
    confirmed: datetime


class Tags(Protocol):
    """Where it is remembered what tags meant. Bounded; may forget at any time, the oldest first; never raises."""

    async def get(self, repository: Repository, tag: str) -> Tagged | None:
        """Return what the tag meant last, however long ago that was."""
        ...

    async def put(self, repository: Repository, tag: str, tagged: Tagged) -> None:
        """Remember what the tag means, in place of what it meant before."""
        ...

    async def end(self, repository: Repository, tag: str, confirmed: datetime) -> None:
        """Remember that its upstream has the tag no more; nothing of tags that are not known, for they are many."""
        ...

    async def recent(self, repository: Repository, limit: int) -> Sequence[str]:
        """Return the tags of this repository that its upstream confirmed last, the latest first."""
        ...


class MemoryTags:
    """Tags in the process."""

    def __init__(self, limit: int = TAGS_MAX) -> None:
        self._entries: LRUCache[tuple[Repository, str], Tagged] = LRUCache(limit)

    async def get(self, repository: Repository, tag: str) -> Tagged | None:
        """See `Tags.get`."""
        return self._entries.get((repository, tag))

    async def put(self, repository: Repository, tag: str, tagged: Tagged) -> None:
        """See `Tags.put`."""
        self._entries[repository, tag] = tagged

    async def end(self, repository: Repository, tag: str, confirmed: datetime) -> None:
        """See `Tags.end`."""
        if (repository, tag) in self._entries:
            self._entries[repository, tag] = Tagged(None, confirmed)

    async def recent(self, repository: Repository, limit: int) -> Sequence[str]:
        """See `Tags.recent`."""
        there = [
            (tagged.confirmed, tag)
            for (of, tag), tagged in self._entries.items()
            if of == repository and tagged.digest is not None
        ]
        return [tag for _, tag in nlargest(limit, there)]


class SqliteTags:
    """Tags that survive a restart, and that all processes share."""

    def __init__(self, database: Database, limit: int = TAGS_MAX) -> None:
        self._database = database
        self._limit = limit

    async def get(self, repository: Repository, tag: str) -> Tagged | None:
        """See `Tags.get`. What cannot be read is dropped, and is a fault."""
        row = await self._database.read(lambda it: _select(it, repository, tag), None)
        if row is None:
            return None
        try:
            return Tagged(digest_of_bytes(row[0]) if row[0] != _ENDED else None, datetime.fromtimestamp(row[1], UTC))
        except (MalformedError, ValueError, OverflowError, OSError, TypeError, AttributeError):
            self._database.on_fault(f"what is remembered of a tag in {repository} is unreadable and is dropped")
            await self._database.write(lambda it: _drop(it, repository, tag), None)
            return None

    async def put(self, repository: Repository, tag: str, tagged: Tagged) -> None:
        """See `Tags.put`."""
        await self._database.write(lambda it: self._insert(it, repository, tag, tagged), None)

    async def end(self, repository: Repository, tag: str, confirmed: datetime) -> None:
        """See `Tags.end`."""
        # Reading waits for no other process, and most tags that are asked for in vain never were there.
        if await self._database.read(lambda it: _select(it, repository, tag), None) is not None:
            await self._database.write(lambda it: _end(it, repository, tag, confirmed), None)

    async def recent(self, repository: Repository, limit: int) -> Sequence[str]:
        """See `Tags.recent`."""
        nothing: list[str] = []
        return await self._database.read(lambda it: _recent(it, repository, limit), nothing)

    def _insert(self, connection: sqlite3.Connection, repository: Repository, tag: str, tagged: Tagged) -> None:
        connection.execute(
            """INSERT INTO tag (repository, name, digest, confirmed) VALUES (?, ?, ?, ?)
               ON CONFLICT DO UPDATE SET digest = excluded.digest, confirmed = excluded.confirmed""",
            (repository_id(connection, repository), tag, _bytes(tagged.digest), tagged.confirmed.timestamp()),
        )
        if amount(connection, "tags") > self._limit:
            number, owner = connection.execute("SELECT id, repository FROM tag ORDER BY confirmed LIMIT 1").fetchone()
            _delete(connection, number, owner)


def _bytes(digest: Digest | None) -> bytes:
    return digest_bytes(digest) if digest is not None else _ENDED


def _select(connection: sqlite3.Connection, repository: Repository, tag: str) -> tuple[bytes, float] | None:
    row: tuple[bytes, float] | None = connection.execute(
        """SELECT digest, confirmed FROM tag JOIN repository ON repository.id = repository
           WHERE repository.name = ? AND tag.name = ?""",
        (str(repository), tag),
    ).fetchone()
    return row


def _recent(connection: sqlite3.Connection, repository: Repository, limit: int) -> list[str]:
    # The tag is CAST, as a damaged file may hold a value of any type there.
    rows = connection.execute(
        """SELECT CAST(name AS TEXT) FROM tag WHERE repository = (SELECT id FROM repository WHERE name = ?)
           AND digest != ? ORDER BY confirmed DESC LIMIT ?""",
        (str(repository), _ENDED, limit),
    )
    return [name for (name,) in rows]


def _end(connection: sqlite3.Connection, repository: Repository, tag: str, confirmed: datetime) -> None:
    connection.execute(
        """UPDATE tag SET digest = ?, confirmed = ?
           WHERE name = ? AND repository = (SELECT id FROM repository WHERE name = ?)""",
        (_ENDED, confirmed.timestamp(), tag, str(repository)),
    )


def _drop(connection: sqlite3.Connection, repository: Repository, tag: str) -> None:
    row = connection.execute(
        """SELECT tag.id, repository.id FROM tag JOIN repository ON repository.id = repository
           WHERE repository.name = ? AND tag.name = ?""",
        (str(repository), tag),
    ).fetchone()
    if row:
        _delete(connection, *row)


def _delete(connection: sqlite3.Connection, number: int, repository: int) -> None:
    connection.execute("DELETE FROM tag WHERE id = ?", (number,))
    drop_unused_repository(connection, repository)
