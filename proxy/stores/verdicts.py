"""Verdicts that need not be found out again before they expire, remembered by digest and by rule.

A verdict is only ever found under what it was judged by: repository, digest, tag and the fingerprint of the rule with
its trust material. A changed key or rule therefore forgets by itself.
"""

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cachetools import LRUCache

from proxy.oci.digest import Digest
from proxy.oci.reference import Repository
from proxy.stores import verdict_json
from proxy.stores.database import Database, digest_bytes, drop_unused_repository, repository_id
from proxy.stores.schema import amount
from proxy.verdict import Accepted, InsecureUnverified, Refused, Subject

# About 2 KiB each: 40 MiB in the process, 250 MiB on disk.
IN_MEMORY_MAX = 20_000
ON_DISK_MAX = 100_000
# A verdict larger than this lists hundreds of rejections; it is found out again rather than kept on disk. What is there
# goes, for it is the last answer no more.
BYTES_MAX = 64 * 1024
# Rows that one `put` removes at most: more than it adds, so the file shrinks, and little enough to cost nothing.
PRUNED_AT_ONCE = 8
NOT_STALE = timedelta(0)


@dataclass(frozen=True, slots=True)
class VerdictKey:
    """What a verdict depends on. `fingerprint` is the rule's; `tag` is None where the rule does not look at it."""

    repository: Repository
    digest: Digest
    tag: str | None
    fingerprint: str

    def covers(self, subject: Subject) -> bool:
        """Say whether a verdict about this subject may stand under this key."""
        return (
            subject.repository == self.repository and subject.digest == self.digest and self.tag in {None, subject.tag}
        )


@dataclass(frozen=True, slots=True)
class Remembered:
    """A verdict, the id under which it was announced, and when it was judged.

    Raises TypeError for an `Undetermined`: it is no knowledge.
    """

    id: str
    verdict: Accepted | Refused | InsecureUnverified
    judged: datetime

    def __post_init__(self) -> None:
        """Refuse what must not be remembered."""
        if not isinstance(self.verdict, Accepted | Refused | InsecureUnverified):
            raise TypeError(f"{type(self.verdict).__name__} is never remembered")


class Verdicts(Protocol):
    """Where verdicts are remembered. Bounded; may forget at any time; never raises for what lies in it."""

    async def get(self, key: VerdictKey, now: datetime, max_stale: timedelta = NOT_STALE) -> Remembered | None:
        """Return the verdict, or None where none is remembered or its `expires` is `max_stale` ago or longer."""
        ...

    async def put(self, key: VerdictKey, remembered: Remembered, max_stale: timedelta = NOT_STALE) -> None:
        """Remember, in place of what was there, for `max_stale` after its `expires`.

        Raises ValueError where the verdict is about another subject.
        """
        ...


class MemoryVerdicts:
    """Verdicts in the process; those used least lately are forgotten first."""

    def __init__(self, limit: int = IN_MEMORY_MAX) -> None:
        self._entries: LRUCache[VerdictKey, tuple[Remembered, timedelta]] = LRUCache(limit)

    async def get(self, key: VerdictKey, now: datetime, max_stale: timedelta = NOT_STALE) -> Remembered | None:
        """See `Verdicts.get`."""
        remembered, kept = self._entries.get(key, (None, NOT_STALE))
        if remembered is not None and remembered.verdict.expires <= now - kept:
            del self._entries[key]
            return None
        return remembered if remembered and now - max_stale < remembered.verdict.expires else None

    async def put(self, key: VerdictKey, remembered: Remembered, max_stale: timedelta = NOT_STALE) -> None:
        """See `Verdicts.put`."""
        _check(key, remembered)
        self._entries[key] = (remembered, max_stale)


class SqliteVerdicts:
    """Verdicts that survive a restart; those that expire first are forgotten first."""

    def __init__(self, database: Database, limit: int = ON_DISK_MAX) -> None:
        self._database = database
        self._limit = limit
        self._now = float("-inf")  # as last told; `put` prunes by it

    async def get(self, key: VerdictKey, now: datetime, max_stale: timedelta = NOT_STALE) -> Remembered | None:
        """See `Verdicts.get`."""
        self._now = now.timestamp()
        row = await self._database.read(lambda it: _select(it, key), None)
        if row is None:
            return None
        number, document = row
        try:
            remembered = Remembered(*verdict_json.loads(document, key.repository, key.digest))
            _check(key, remembered)
        except ValueError as err:
            self._database.on_fault(f"an unreadable verdict about {key.repository}@{key.digest} is dropped: {err}")
            await self._database.write(lambda it: _delete(it, number), None)
            return None
        return remembered if now - max_stale < remembered.verdict.expires else None

    async def put(self, key: VerdictKey, remembered: Remembered, max_stale: timedelta = NOT_STALE) -> None:
        """See `Verdicts.put`."""
        _check(key, remembered)
        document = verdict_json.dumps(remembered.id, remembered.verdict, remembered.judged)
        if len(document) > BYTES_MAX:
            await self._database.write(lambda it: _forget(it, key), None)
            return
        kept_until = remembered.verdict.expires.timestamp() + max_stale.total_seconds()
        await self._database.write(lambda it: self._insert(it, key, kept_until, document), None)

    def _insert(self, connection: sqlite3.Connection, key: VerdictKey, kept_until: float, document: bytes) -> None:
        connection.execute(
            """INSERT INTO verdict (repository, digest, tag, fingerprint, kept_until, remembered)
               VALUES (?, ?, ?, ?, ?, ?)
               ON CONFLICT DO UPDATE SET kept_until = excluded.kept_until, remembered = excluded.remembered""",
            (repository_id(connection, key.repository), *_columns(key), kept_until, document),
        )
        self._prune(connection)

    def _prune(self, connection: sqlite3.Connection) -> None:
        full = amount(connection, "verdicts") > self._limit
        found = connection.execute(
            "SELECT id FROM verdict WHERE kept_until <= ? ORDER BY kept_until LIMIT ?",
            (float("inf") if full else self._now, PRUNED_AT_ONCE),
        )
        for (number,) in found.fetchall():
            _delete(connection, number)


def _check(key: VerdictKey, remembered: Remembered) -> None:
    if not key.covers(remembered.verdict.subject):
        raise ValueError(f"a verdict about {remembered.verdict.subject} put under {key}")


def _columns(key: VerdictKey) -> tuple[bytes, str, str]:
    return digest_bytes(key.digest), key.tag or "", key.fingerprint


def _select(connection: sqlite3.Connection, key: VerdictKey) -> tuple[int, bytes] | None:
    row: tuple[int, bytes] | None = connection.execute(
        """SELECT verdict.id, CAST(remembered AS BLOB) FROM verdict JOIN repository ON repository.id = repository
           WHERE name = ? AND digest = ? AND tag = ? AND fingerprint = ?""",
        (str(key.repository), *_columns(key)),
    ).fetchone()
    return row


def _forget(connection: sqlite3.Connection, key: VerdictKey) -> None:
    row = _select(connection, key)
    if row:
        _delete(connection, row[0])


def _delete(connection: sqlite3.Connection, number: int) -> None:
    row = connection.execute("SELECT repository FROM verdict WHERE id = ?", (number,)).fetchone()
    if row:
        connection.execute("DELETE FROM verdict WHERE id = ?", (number,))
        drop_unused_repository(connection, row[0])
