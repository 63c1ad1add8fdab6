"""Background refresh of trust roots; the judge learns when each was confirmed."""

import asyncio
from datetime import datetime

from proxy.app.clock import clock
from proxy.config import Settings
from proxy.config.expiries import TRUST_ROOT, root_end
from proxy.formats.cosign.trust_root import TrustRoot
from proxy.front.warm import Warm
from proxy.gate import Gate, TrustAges
from proxy.ops.observer import Observer
from proxy.stores.trust import TRUST_ROOTS, TrustStore
from proxy.stores.trust_refresh import keep_fresh


def trust_ages(settings: Settings) -> TrustAges:
    """Return how old the trust roots are that the signers of these settings rely on."""
    stored = {name: known.stored for name, known in settings.trust_roots.items()}
    return TrustAges(settings.relying, {name: one.confirmed_at if one else None for name, one in stored.items()})


def keep_trust_roots_fresh(  # noqa: PLR0913, PLR0917 (the parts that depend on a root or on its age)
    settings: Settings, gate: Gate, warm: Warm, trust: TrustAges, observer: Observer, tasks: asyncio.TaskGroup
) -> None:
    """Refresh what is refreshed, beside the requests; another root makes other rules, at once and for all."""
    trusting = settings

    def changed(name: str, root: TrustRoot) -> None:
        nonlocal trusting
        trusting = trusting.trusting(name, root)
        gate.use(trusting.rules)
        end = root_end(root)
        if end is not None:
            observer.certificate_expiry(TRUST_ROOT, name, end)
        warm.clear()

    store = TrustStore(settings.server.state_dir / TRUST_ROOTS, observer.store_fault)
    told = _Told(trust, observer)
    for name, known in settings.trust_roots.items():
        stored = known.stored
        observer.trust_root_confirmed(name, stored.confirmed_at if stored else None)
        if known.repository is None:
            continue
        newer = store.newer(known.repository, stored.confirmed_at if stored else None)
        if newer is not None:  # since the settings were read, which a replaced worker shares with the first
            stored = newer
            changed(name, newer.root)
            told.trust_root_confirmed(name, newer.confirmed_at)
        tasks.create_task(keep_fresh(known.repository, store, stored, changed=changed, observer=told, clock=clock))


class _Told:
    """Passes events to the judge, and then to operators."""

    def __init__(self, trust: TrustAges, observer: Observer) -> None:
        self._trust = trust
        self._observer = observer
        self.trust_root_refresh = observer.trust_root_refresh

    def trust_root_confirmed(self, root: str, at: datetime) -> None:
        self._trust.confirm(root, at)
        self._observer.trust_root_confirmed(root, at)
