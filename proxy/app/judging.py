"""An image is judged as a pull would judge it, by what serves and by the command line."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from proxy.app.clock import clock
from proxy.app.trust import trust_ages
from proxy.config import Settings
from proxy.front.external import fetched_elsewhere, refuses
from proxy.gate import Examination, Gate, Judge, Memory, Observer, Record, TrustAges
from proxy.oci.reference import Reference
from proxy.policy.model import Mode
from proxy.stores.database import DATABASE, Database, open_database
from proxy.stores.grants import SqliteMemberships
from proxy.stores.manifests import SqliteManifests
from proxy.stores.near import NearMemberships
from proxy.stores.state import prepare_state_dir
from proxy.stores.tags import SqliteTags
from proxy.stores.verdicts import SqliteVerdicts
from proxy.upstream.admission import Use
from proxy.upstream.retry import Backoff
from proxy.upstream.table import Upstreams
from proxy.verdict import Subject


def new_id() -> str:
    """Return a new id for people to quote: eight hex digits, which no day's refusals exhaust."""
    return secrets.token_hex(4)


async def verify(settings: Settings, reference: Reference) -> Examination:
    """Judge an image as a pull would, without listening, remembering or telling anybody.

    Raises oci.errors as `Gate.pull` does.
    """
    async with Upstreams(settings.upstreams.values(), Backoff(time.monotonic)) as upstreams:
        manifest = await upstreams.manifest(reference)
        rule = settings.rules.match(reference.repository)
        subject = Subject(reference.repository, manifest.digest, reference.tag)
        seen = await make_judge(settings, upstreams, trust_ages(settings)).examine(rule, subject)
        is_refused = refuses(settings.server.external_urls, rule.mode if rule is not None else Mode.ENFORCE)
        return replace(seen, withheld=fetched_elsewhere(manifest) if is_refused else None)


def make_judge(settings: Settings, upstreams: Upstreams, trust: TrustAges) -> Judge:
    """Make the judge that these settings ask for."""
    limits = settings.limits
    seconds = limits.verification_time.total_seconds()
    most = limits.verifications_at_once
    return Judge(
        upstreams.used_for(Use.JUDGE),
        clock,
        settings.lifetimes,
        seconds=seconds,
        at_once=most,
        canonical=upstreams.canonical,
        trust=trust,
    )


def open_state(
    settings: Settings, on_fault: Callable[[str], None], on_set_aside: Callable[[str, str], None]
) -> Database:
    """Open what is remembered across restarts; raises StoreError or OSError where that is not ours to use.

    `on_set_aside` is called with the new name of each file that was damaged, and the cause.
    """
    folder = settings.server.state_dir
    prepare_state_dir(folder)
    return open_database(folder / DATABASE, on_fault, on_set_aside)


def make_gate(  # noqa: PLR0913, PLR0917 (what the composition root makes)
    settings: Settings,
    upstreams: Upstreams,
    database: Database,
    trust: TrustAges,
    observer: Observer,
    tasks: asyncio.TaskGroup,
    record: Record | None = None,
) -> Gate:
    """Make the gate that these settings ask for, with what the database remembers. `record`: see `Gate`."""
    return Gate(
        rules=settings.rules,
        registry=upstreams,
        judge=make_judge(settings, upstreams, trust),
        memory=Memory(
            SqliteVerdicts(database),
            NearMemberships(SqliteMemberships(database)),
            settings.tag_lifetime,
            SqliteManifests(database),
            SqliteTags(database),
        ),
        clock=clock,
        new_id=new_id,
        observer=observer,
        tasks=tasks,
        record=record,
    )
