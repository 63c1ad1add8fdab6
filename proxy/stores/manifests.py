"""The manifests that were served lately, by repository and digest, so that they need no upstream after a restart.

What lies on disk is not trusted: a manifest is hashed and read again as if an upstream had sent it.
"""

import sqlite3
from datetime import datetime, timedelta
from typing import Protocol

from cachetools import LRUCache

from proxy import __version__
from proxy.oci.digest import Digest
from proxy.oci.errors import RegistryError
from proxy.oci.manifest import Manifest
from proxy.oci.reference import Repository
from proxy.stores.database import Database, digest_bytes, drop_unused_repository, repository_id
from proxy.stores.schema import amount

# In the process, for tests: some thousand usual ones, and some of the largest.
IN_MEMORY_BYTES_MAX = 16 * 1024 * 1024
# A manifest of an image has 2 to 10 KiB, an index seldom more.
ON_DISK_BYTES_MAX = 256 * 1024 * 1024
ON_DISK_MAX = 100_000
# How exactly the disk knows what was used last: so often at most is it written for being used.
USED_EVERY = timedelta(hours=1)
# What one `put` removes at most. The largest manifest takes the room of thousands of small ones: it is kept when those
# before it have made enough.
REMOVED_AT_ONCE = 100


class Manifests(Protocol):
    """Where manifests are kept. Bounded; may forget at any time, those used least lately first; never raises."""

    async def get(self, repository: Repository, digest: Digest, now: datetime) -> Manifest | None:
        """Return the manifest if it is here, whole and right; it is used now."""
        ...

    async def put(self, repository: Repository, manifest: Manifest, now: datetime) -> None:
        """Keep the manifest, or take note that it is used now."""
        ...

    async def is_artifact(self, repository: Repository, digest: Digest) -> bool:
        """Return whether this version of Sealgate found the manifest, which is here, to be an artifact."""
        ...

    async def mark_artifact(self, repository: Repository, digest: Digest) -> None:
        """Remember that the manifest, if it is here, was found to be an artifact."""
        ...


class MemoryManifests:
    """Manifests in the process."""

    def __init__(self, bytes_max: int = IN_MEMORY_BYTES_MAX) -> None:
        self._entries: LRUCache[tuple[Repository, Digest], Manifest] = LRUCache(
            bytes_max, getsizeof=lambda manifest: len(manifest.body)
        )
        self._artifacts: set[tuple[Repository, Digest]] = set()

    async def get(self, repository: Repository, digest: Digest, now: datetime) -> Manifest | None:  # noqa: ARG002 (order)
        """See `Manifests.get`."""
        return self._entries.get((repository, digest))

    async def put(self, repository: Repository, manifest: Manifest, now: datetime) -> None:  # noqa: ARG002 (order)
        """See `Manifests.put`."""
        if len(manifest.body) <= self._entries.maxsize:
            self._entries[repository, manifest.digest] = manifest
        self._artifacts.intersection_update(self._entries)

    async def is_artifact(self, repository: Repository, digest: Digest) -> bool:
        """See `Manifests.is_artifact`."""
        return (repository, digest) in self._artifacts

    async def mark_artifact(self, repository: Repository, digest: Digest) -> None:
        """See `Manifests.mark_artifact`."""
        self._artifacts |= {(repository, digest)} & self._entries.keys()


class SqliteManifests:
    """Manifests that survive a restart, and that all processes share."""

    def __init__(self, database: Database, bytes_max: int = ON_DISK_BYTES_MAX, limit: int = ON_DISK_MAX) -> None:
        self._database = database
        self._bytes_max = bytes_max
        self._limit = limit

    async def get(self, repository: Repository, digest: Digest, now: datetime) -> Manifest | None:
        """See `Manifests.get`. What is wrong is dropped, and is a fault."""
        row = await self._database.read(lambda it: _select(it, repository, digest), None)
        if row is None:
            return None
        number, used, found = row
        if isinstance(found, RegistryError):
            self._database.on_fault(f"a damaged manifest of {repository} is dropped: {found}")
            await self._database.write(lambda it: _delete(it, number), None)
            return None
        if used + USED_EVERY.total_seconds() <= now.timestamp():
            await self._database.write(lambda it: _touch(it, number, now), None)
        return found

    async def put(self, repository: Repository, manifest: Manifest, now: datetime) -> None:
        """See `Manifests.put`."""
        await self._database.write(lambda it: self._insert(it, repository, manifest, now), None)

    async def is_artifact(self, repository: Repository, digest: Digest) -> bool:
        """See `Manifests.is_artifact`."""
        return await self._database.read(lambda it: _artifact(it, repository, digest), None) == __version__

    async def mark_artifact(self, repository: Repository, digest: Digest) -> None:
        """See `Manifests.mark_artifact`."""
        await self._database.write(lambda it: _mark(it, repository, digest), None)

    def _insert(
        self, connection: sqlite3.Connection, repository: Repository, manifest: Manifest, now: datetime
    ) -> None:
        if _use(connection, repository, manifest.digest, now) or not self._has_room(connection, len(manifest.body)):
            return
        connection.execute(
            "INSERT INTO body (repository, digest, media_type, artifact, used, content) VALUES (?, ?, ?, '', ?, ?)",
            (
                repository_id(connection, repository),
                digest_bytes(manifest.digest),
                manifest.media_type,
                now.timestamp(),
                manifest.body,
            ),
        )

    def _has_room(self, connection: sqlite3.Connection, size: int) -> bool:
        """Make room, and say whether it is enough: the limits hold at any time."""
        if size > self._bytes_max:
            return False
        for _ in range(REMOVED_AT_ONCE):
            if (
                amount(connection, "body_bytes") + size <= self._bytes_max
                and amount(connection, "bodies") < self._limit
            ):
                return True
            _delete(connection, *connection.execute("SELECT id FROM body ORDER BY used LIMIT 1").fetchone())
        return False


_WHERE = "repository = (SELECT id FROM repository WHERE name = ?) AND digest = ?"


def _select(
    connection: sqlite3.Connection, repository: Repository, digest: Digest
) -> tuple[int, float, Manifest | RegistryError] | None:
    """Read and check on the store's thread: a large index takes some milliseconds."""
    row = connection.execute(
        f"SELECT id, CAST(used AS REAL), CAST(media_type AS TEXT), CAST(content AS BLOB) FROM body WHERE {_WHERE}",  # noqa: S608
        (str(repository), digest_bytes(digest)),
    ).fetchone()
    if row is None:
        return None
    number, used, media_type, content = row
    try:
        return number, used, Manifest.parse(digest, media_type, content)
    except RegistryError as err:
        return number, used, err


def _use(connection: sqlite3.Connection, repository: Repository, digest: Digest, now: datetime) -> bool:
    """Take note that a manifest is used, and say whether it is here."""
    found = connection.execute(
        f"UPDATE body SET used = ? WHERE {_WHERE}",  # noqa: S608 (no value)
        (now.timestamp(), str(repository), digest_bytes(digest)),
    )
    return found.rowcount > 0


def _touch(connection: sqlite3.Connection, number: int, now: datetime) -> None:
    connection.execute("UPDATE body SET used = ? WHERE id = ?", (now.timestamp(), number))


def _artifact(connection: sqlite3.Connection, repository: Repository, digest: Digest) -> str | None:
    row: tuple[str] | None = connection.execute(
        f"SELECT artifact FROM body WHERE {_WHERE}",  # noqa: S608 (no value)
        (str(repository), digest_bytes(digest)),
    ).fetchone()
    return row[0] if row else None


def _mark(connection: sqlite3.Connection, repository: Repository, digest: Digest) -> None:
    connection.execute(
        f"UPDATE body SET artifact = ? WHERE {_WHERE}",  # noqa: S608 (no value)
        (__version__, str(repository), digest_bytes(digest)),
    )


def _delete(connection: sqlite3.Connection, number: int) -> None:
    row = connection.execute("SELECT repository FROM body WHERE id = ?", (number,)).fetchone()
    if row:
        connection.execute("DELETE FROM body WHERE id = ?", (number,))
        drop_unused_repository(connection, row[0])
