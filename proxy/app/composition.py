"""Every part put together from the settings, with one TaskGroup."""

import asyncio
import resource
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from socket import socket

from proxy import __version__
from proxy.app.clock import clock
from proxy.app.content import open_content
from proxy.app.judging import make_gate, new_id, open_state
from proxy.app.sockets import BACKLOG, Listening, open_sockets, url
from proxy.app.tasks import task_group
from proxy.app.trust import keep_trust_roots_fresh, trust_ages
from proxy.config import Settings
from proxy.front.accepting import Acceptor
from proxy.front.admin import Admin
from proxy.front.blobs import Blobs
from proxy.front.listener import (
    ADMIN_CONNECTIONS_MAX,
    BEGIN_SECONDS,
    CONNECTIONS_MAX,
    TLS_CONNECTIONS_MAX,
    TLS_IDLE_SECONDS,
    Listener,
)
from proxy.front.routes import Namespaces
from proxy.front.server import Front
from proxy.front.suspects import SUSPECT_SECONDS, Suspects
from proxy.front.warm import Warm
from proxy.gate.transfers import Transfers
from proxy.ops.audit import Audit
from proxy.ops.labels import ways_unverified
from proxy.ops.metrics import Metrics
from proxy.ops.observer import Observer
from proxy.ops.shared import Shared
from proxy.ops.status import Tally, merged, render_status
from proxy.stores.alone import alone
from proxy.stores.content import ContentStore
from proxy.stores.content_upkeep import keep_in_bounds, keep_verified
from proxy.stores.database import StoreError
from proxy.stores.state import VERIFYING
from proxy.stores.tallies import Tallies
from proxy.upstream.observer import Observer as UpstreamObserver
from proxy.upstream.retry import Backoff
from proxy.upstream.table import Upstreams

# How long transfers under way may go on after SIGTERM: below the 30 s that Kubernetes waits before it kills.
SHUTDOWN_SECONDS = 20.0
LAG_INTERVAL_SECONDS = 0.5
# How long connections that have not ended by then may take to close.
CUT_SECONDS = 0.1
# In the folder that the workers share: counts of transfers that broke off.
CUTS = "cuts"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running Sealgate listens, as URLs."""

    registry: str
    admin: str


@dataclass(frozen=True, slots=True)
class Running(Addresses):
    """A Sealgate that serves."""

    _served: Mapping[Listener, Acceptor]

    async def drain(self, seconds: float, *, begin: float = BEGIN_SECONDS) -> None:
        """Stop accepting, and wait until all requests under way are answered, `seconds` at most."""
        for acceptor in self._served.values():
            acceptor.stop()
        await asyncio.sleep(0)  # an accepted socket becomes a connection of the listener one turn later
        await asyncio.gather(*(listener.drain(seconds, begin=begin) for listener in self._served))


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place among the others: its sockets, its shared state, and whether it replaces a dead worker."""

    listening: Listening
    shared: Shared | None = None
    is_replacement: bool = False


def addresses(settings: Settings, listening: Listening) -> Addresses:
    """Return where these sockets are found."""
    is_tls = settings.server.tls_certificate is not None
    return Addresses(url(listening.registry, tls=is_tls), url(listening.admin, tls=False))


@asynccontextmanager
async def running(settings: Settings, place: Place | None = None) -> AsyncIterator[Running]:
    """Run Sealgate while the context lasts; it is ready when it is entered. Without a place it is the only worker.

    Raises StoreError where the state cannot be used, OSError where an address is taken or the state_dir or the audit
    log is not writable, MalformedError where a CA file cannot be read.
    """
    async with AsyncExitStack() as stack:
        if place is None:
            sockets = open_sockets(settings.server.listen, settings.server.admin_listen)
            stack.callback(sockets.close)
            place = Place(sockets.of(0, 1))
        shared = place.shared
        observer, metrics, tally = _observers(settings, shared, stack)
        if place.is_replacement:
            metrics.worker_restarted()
        database = open_state(settings, observer.store_fault, observer.store_set_aside)
        stack.callback(database.close)
        upstreams = await stack.enter_async_context(_upstreams(settings, observer))
        content = _content(settings, observer, stack)
        tasks = await stack.enter_async_context(task_group())
        trust, warm = trust_ages(settings), Warm(clock)
        record = observer.recorded if settings.server.audit_failure == "refuse" else None
        gate = make_gate(settings, upstreams, database, trust, observer, tasks, record)
        keep_trust_roots_fresh(settings, gate, warm, trust, observer, tasks)
        front = Front(
            gate=gate,
            upstreams=upstreams,
            blobs=_blobs(settings, upstreams, content, shared, observer, tasks),
            namespaces=Namespaces(frozenset(settings.upstreams), settings.server.default_upstream),
            form=settings.server.refusal,
            external_urls=settings.server.external_urls,
            warm=warm,
            observer=observer,
            monotonic=time.monotonic,
            new_id=new_id,
            tasks=tasks,
        )
        tasks.create_task(_watch_loop(metrics, tally, shared))
        parts = _Parts(front, _admin(metrics, tally, shared), observer, tasks)
        it = _serve(stack, settings, place.listening, parts)
        try:
            yield it
        finally:
            await it.drain(SHUTDOWN_SECONDS, begin=0)


def connections_max(most: int = CONNECTIONS_MAX) -> int:
    """Return how many clients may be connected: the rest of the open files is for upstreams and the store."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if files == resource.RLIM_INFINITY else min(most, files * 3 // 4)


def _observers(settings: Settings, shared: Shared | None, stack: AsyncExitStack) -> tuple[Observer, Metrics, Tally]:
    rules = {rule.name: rule.mode.value for rule in settings.rules}
    metrics = Metrics(
        version=__version__,
        registries=settings.upstreams.keys(),
        rules=rules.keys(),
        insecure_settings=len(settings.relaxations),
        unverified=ways_unverified(settings.rules),
        shared=shared,
        started=clock(),
    )
    for one in settings.expiries:
        metrics.certificate_expiry(one.kind, one.name, one.at)
    tally = Tally(
        version=__version__,
        started=clock(),
        registries=list(settings.upstreams),
        rules=rules,
        insecure=settings.relaxations,
    )

    def lost() -> None:
        metrics.audit_lost()
        tally.lost_audit_lines += 1

    audit = Audit.open(settings.server.audit_log, lost, str(settings.server.admin_listen))
    stack.callback(audit.close)
    records_first = settings.server.audit_failure == "refuse"
    return Observer(metrics, audit, tally, clock, records_first=records_first), metrics, tally


def _upstreams(settings: Settings, observer: Observer) -> Upstreams:
    told = UpstreamObserver(
        observer.upstream_request, observer.rate_limit, observer.upstream_unreachable, observer.upstream_health
    )
    return Upstreams(settings.upstreams.values(), Backoff(time.monotonic), observer=told)


def _admin(metrics: Metrics, tally: Tally, shared: Shared | None) -> Admin:
    return Admin(
        metrics=metrics.render,
        status=partial(_status_page, tally, shared, metrics),
        ready=lambda: metrics.supervision().missing,
    )


def _content(settings: Settings, observer: Observer, stack: AsyncExitStack) -> ContentStore | None:
    """Open the content store; where that fails, which is logged and counted, blobs come straight from the upstream.

    It is closed after the tasks that write into it have ended.
    """
    if not settings.cache.size:
        return None
    try:
        return stack.enter_context(open_content(settings, observer))
    except StoreError as err:
        observer.content_fault(str(err))
        return None


def _blobs(  # noqa: PLR0913, PLR0917 (the parts that blobs are made of)
    settings: Settings,
    upstreams: Upstreams,
    content: ContentStore | None,
    shared: Shared | None,
    observer: Observer,
    tasks: asyncio.TaskGroup,
) -> Blobs:
    if content is not None:
        tasks.create_task(keep_in_bounds(content))
        tasks.create_task(_verify_alone(content, settings.server.state_dir / VERIFYING))
    cuts = Tallies(shared.folder / CUTS, timedelta(seconds=SUSPECT_SECONDS), clock) if shared is not None else None
    suspects = Suspects(time.monotonic, cuts)
    transfers = Transfers(source=upstreams, store=content, tasks=tasks, observer=observer, on_cut=suspects.cut)
    return Blobs(upstreams, transfers, suspects, observer, prefetch_layers=settings.cache.prefetch_layers)


async def _verify_alone(content: ContentStore, lock: Path) -> None:
    with suppress(OSError):  # a state directory that cannot be written is reported by the stores
        async with alone(lock):
            await keep_verified(content)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    certificate, key = settings.server.tls_certificate, settings.server.tls_key
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # HTTP/2 has no reason phrase, which is where containerd 1.x shows a refusal.
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key)
    return context


@dataclass(frozen=True, slots=True)
class _Parts:
    """The two handlers, and what their listeners need."""

    front: Front
    admin: Admin
    observer: Observer
    tasks: asyncio.TaskGroup


def _serve(stack: AsyncExitStack, settings: Settings, listening: Listening, parts: _Parts) -> Running:
    tls, front = _tls(settings), parts.front
    listener = Listener(
        front.handle,
        connections_max(CONNECTIONS_MAX if tls is None else TLS_CONNECTIONS_MAX),
        front.again,
        reject=front.reject,
        observer=parts.observer,
        idle_seconds=None if tls is None else TLS_IDLE_SECONDS,
    )
    admin_listener = Listener(parts.admin.handle, connections_max(ADMIN_CONNECTIONS_MAX), observer=parts.observer)
    served = {
        listener: _listen(stack, listener, listening.registry, parts, tls),
        admin_listener: _listen(stack, admin_listener, listening.admin, parts, None),
    }
    at = addresses(settings, listening)
    return Running(at.registry, at.admin, served)


def _listen(
    stack: AsyncExitStack, listener: Listener, sockets: Sequence[socket], parts: _Parts, tls: ssl.SSLContext | None
) -> Acceptor:
    """Serve on these sockets while the stack lasts."""
    acceptor = Acceptor(listener, sockets, parts.tasks, tls=tls, observer=parts.observer)
    stack.push_async_callback(listener.shutdown, CUT_SECONDS)
    stack.callback(listener.pre_shutdown)
    stack.callback(acceptor.stop)
    acceptor.start(BACKLOG)
    return acceptor


def _status_page(tally: Tally, shared: Shared | None, metrics: Metrics) -> str:
    others = shared.others() if shared is not None else ()
    seen = merged([tally.snapshot(clock()), *(other.snapshot for other in others)])
    told = metrics.supervision()
    return render_status(replace(seen, not_reloaded=told.reload.cause, missing=told.missing))


async def _watch_loop(metrics: Metrics, tally: Tally, shared: Shared | None) -> None:
    """Measure how late the event loop wakes up, as what blocks it blocks every request; publish what was seen."""
    published = None
    while True:
        begun = time.monotonic()
        await asyncio.sleep(LAG_INTERVAL_SECONDS)
        metrics.event_loop_lag(max(0.0, time.monotonic() - begun - LAG_INTERVAL_SECONDS))
        metrics.flush()
        seen = tally.snapshot(clock())
        if shared is not None and published != (published := replace(seen, now=seen.started)):
            with suppress(OSError):  # a full disk is reported by the stores
                await asyncio.to_thread(shared.publish, seen)
