"""A past for Sealgate: images that were judged, what they name, and blobs that are kept, as many as asked for."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar, cast

from proxy.app.clock import clock
from proxy.app.judging import DATABASE, open_state
from proxy.config import Settings
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_MANIFEST
from proxy.oci.reference import Repository
from proxy.policy.rules import Rules
from proxy.stores.content import CONTENT
from proxy.stores.content_folder import ContentFolder
from proxy.stores.database import Database
from proxy.stores.grants import Member, SqliteMemberships
from proxy.stores.verdicts import Remembered, SqliteVerdicts, VerdictKey
from proxy.verdict import Accepted, Evidence, Subject

T = TypeVar("T")

# Of an image: its config, layers that it shares with the other images of its repository, and layers of its own.
GRANTS = 10
_SHARED = 4
# The first images: they make room for what is pulled besides, where as much is remembered as can be.
OUSTED = 100
# Images of one repository.
_TAGS = 20
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_SIGNED_AT = datetime(2026, 11, 1, tzinfo=UTC)


def repository(number: int) -> Repository:
    """Name the repository of an image."""
    group = number // _TAGS
    return Repository.of("docker.io", f"team-{group % 50}/service-{group}")


def _blobs(number: int) -> list[tuple[Digest, int, str]]:
    group = number // _TAGS
    names = [f"config {number}", *(f"base {group} {n}" for n in range(_SHARED))]
    names += [f"layer {number} {n}" for n in range(GRANTS - len(names))]
    return [(Digest.of(name.encode()), 1000 + n, _LAYER if n else _CONFIG) for n, name in enumerate(names)]


def own_layer(number: int) -> Digest:
    """Name the last layer of an image, which no other image has."""
    return _blobs(number)[-1][0]


def body(number: int) -> bytes:
    """Make the manifest of an image."""
    blobs = [{"mediaType": it, "digest": str(digest), "size": size} for digest, size, it in _blobs(number)]
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": blobs[0], "layers": blobs[1:]}
    return json.dumps(document).encode()


def blob(number: int) -> bytes:
    """Make a small blob that is kept."""
    return f"blob {number}".encode()


class _AtOnce:
    """What `Database` is to the stores, but on this thread and in one transaction, as nobody else is there."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def read(self, work: Callable[[sqlite3.Connection], T], _otherwise: T) -> T:
        return work(self._connection)

    write = read

    def on_fault(self, fault: str) -> None:
        raise RuntimeError(fault)


def fill(settings: Settings, images: int) -> None:
    """Let it be as if so many images had been pulled that a keyless signature was found for."""
    open_state(settings, _fail).close()
    with closing(sqlite3.connect(settings.server.state_dir / DATABASE, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        asyncio.run(_judge(cast("Database", _AtOnce(connection)), settings.rules, images))
        connection.execute("COMMIT")


async def _judge(database: Database, rules: Rules, images: int) -> None:
    verdicts, memberships = SqliteVerdicts(database), SqliteMemberships(database)
    judged = clock()
    for number in range(images):
        name, digest = repository(number), Digest.of(body(number))
        rule = rules.match(name)
        if rule is None:
            raise ValueError(f"no rule for {name}")
        verdict = Accepted(Subject(name, digest), rule.name, (_evidence(number, digest),), judged + timedelta(hours=12))
        remembered = Remembered(f"{number:08x}", verdict, judged)
        await verdicts.put(VerdictKey(name, digest, None, rule.fingerprint), remembered)
        await memberships.add(name, digest, str(number), [Member(*one) for one in _blobs(number)])


def _evidence(number: int, digest: Digest) -> Evidence:
    workflow = f"https://github.com/team/service-{number // _TAGS}/.github/workflows/release.yml"
    return Evidence(
        format="cosign",
        signer="release",
        signature=f"{repository(number)}:sha256-{digest.hex}.sig",
        trust="public-good",
        signed_at=_SIGNED_AT,
        claims=(("source_repository", f"team/service-{number // _TAGS}"), ("ref", f"refs/tags/v{number}")),
        subject=f"{workflow}@refs/tags/v{number}",
        issuer="https://token.actions.githubusercontent.com",
        time_source="rekor",
        log_index=1_000_000_000 + number,
    )


def keep(settings: Settings, blobs: int) -> None:
    """Put so many blobs where the content store keeps them."""
    folder = ContentFolder(settings.server.state_dir / CONTENT)
    folder.prepare()
    for content in map(blob, range(blobs)):
        path = Path(folder.path(Digest.of(content)))
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(content)


def _fail(fault: str) -> None:
    raise RuntimeError(fault)
