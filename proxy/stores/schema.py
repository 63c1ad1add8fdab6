"""The tables of the one SQLite file, and the file made anew.

A digest is its bytes: 32 are sha256, 64 sha512. A tag is '' where there is none, as no tag is empty. Times are seconds
since 1970. Manifest ids grow, so the greatest is the one that was asked for last.
"""

import sqlite3
from contextlib import closing

# "SGAT": tells our file from any other program's (sqlite.org/fileformat.html, Application ID).
APPLICATION_ID = 0x53474154
SCHEMA_VERSION = 3

_TABLES = (
    "CREATE TABLE repository (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    """CREATE TABLE verdict (id INTEGER PRIMARY KEY, repository INTEGER NOT NULL, digest BLOB NOT NULL,
       tag TEXT NOT NULL, fingerprint TEXT NOT NULL, kept_until REAL NOT NULL, remembered BLOB NOT NULL,
       UNIQUE (repository, digest, tag, fingerprint))""",
    "CREATE INDEX verdict_kept_until ON verdict (kept_until)",
    """CREATE TABLE manifest (id INTEGER PRIMARY KEY, repository INTEGER NOT NULL, digest BLOB NOT NULL,
       tag TEXT NOT NULL, rank INTEGER NOT NULL, UNIQUE (repository, digest))""",
    "CREATE INDEX manifest_newest ON manifest (repository, id)",
    "CREATE INDEX manifest_first_to_go ON manifest (rank DESC, id)",
    # `size` and `media_type` have no type on purpose: see `grants`. The key is the order in which parents are wanted.
    """CREATE TABLE membership (repository INTEGER NOT NULL, digest BLOB NOT NULL, rank INTEGER NOT NULL,
       manifest INTEGER NOT NULL, size NOT NULL, media_type NOT NULL,
       PRIMARY KEY (repository, digest, rank, manifest DESC)) WITHOUT ROWID""",
    "CREATE INDEX membership_manifest ON membership (manifest)",
    """CREATE TABLE body (id INTEGER PRIMARY KEY, repository INTEGER NOT NULL, digest BLOB NOT NULL,
       media_type TEXT NOT NULL, artifact TEXT NOT NULL, used REAL NOT NULL, content BLOB NOT NULL,
       UNIQUE (repository, digest))""",
    "CREATE INDEX body_used ON body (used)",
    """CREATE TABLE tag (id INTEGER PRIMARY KEY, repository INTEGER NOT NULL, name TEXT NOT NULL,
       digest BLOB NOT NULL, confirmed REAL NOT NULL, UNIQUE (repository, name))""",
    "CREATE INDEX tag_confirmed ON tag (confirmed)",
    "CREATE INDEX tag_recent ON tag (repository, confirmed)",
    "CREATE TABLE amount (what TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
)
# What is counted, of which table, and what a row of it counts. Triggers count for every process that writes, exactly
# and at once; a REPLACE would not fire them (sqlite.org/lang_conflict.html).
_COUNTED = (
    ("verdicts", "verdict", "1"),
    ("memberships", "membership", "1"),
    ("bodies", "body", "1"),
    ("body_bytes", "body", "length({row}.content)"),
    ("tags", "tag", "1"),
)


def create(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file, or in place of an older Sealgate's; within the caller's transaction."""
    older = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    for (name,) in older.fetchall():
        connection.execute(f'DROP TABLE "{name}"')
    for statement in _TABLES:
        connection.execute(statement)
    for what, table, worth in _COUNTED:
        _count(connection, what, table, worth)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def is_whole(connection: sqlite3.Connection) -> bool:
    """Return whether the file has exactly the tables, indexes and triggers that `create` makes."""
    with closing(sqlite3.connect(":memory:")) as made:
        create(made)
        return _schema(connection) == _schema(made)


def _schema(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    return set(connection.execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%'"))


def amount(connection: sqlite3.Connection, what: str) -> int:
    """Return how much there is of what is counted, over all processes."""
    row: tuple[int] = connection.execute("SELECT CAST(value AS INTEGER) FROM amount WHERE what = ?", (what,)).fetchone()
    return row[0]


def _count(connection: sqlite3.Connection, what: str, table: str, worth: str) -> None:
    connection.execute("INSERT INTO amount VALUES (?, 0)", (what,))
    for event, row, sign in (("INSERT", "NEW", "+"), ("DELETE", "OLD", "-")):
        connection.execute(
            f"""CREATE TRIGGER {what}_{event.lower()} AFTER {event} ON {table} BEGIN
                UPDATE amount SET value = value {sign} {worth.format(row=row)} WHERE what = '{what}'; END"""  # noqa: S608
        )
