"""The Prometheus metrics, named as in prometheus.io/docs/practices/naming.

Every label has a bounded set of values (`labels`): names of the configuration, members of our own enumerations, or
`other`. A client cannot make a new series.
"""

import platform
from collections.abc import Collection
from datetime import UTC, datetime
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from proxy.ops.clients import KINDS as CLIENT_KINDS
from proxy.ops.clients import client_kind
from proxy.ops.instruments import Instruments
from proxy.ops.labels import (
    ANSWERS,
    ARTIFACTS,
    CACHES,
    DROPPED,
    FORMS,
    KINDS,
    METHODS,
    OPERATIONS,
    OUTCOMES,
    REFRESHES,
    REFUSALS,
    TRANSFERS,
    VERDICTS,
    found_name,
    one_of,
    why_unverified,
)
from proxy.ops.shared import Shared
from proxy.ops.supervision import Reload, Supervision, SupervisionCollector
from proxy.policy.evaluate import NO_RULE
from proxy.policy.model import Decision
from proxy.verdict import Undetermined

# How many rules have series with the value 0 from the start: for ten thousand rules these would be ten megabytes.
RULES_AT_ZERO_MAX = 1000
_NEVER = datetime.fromtimestamp(0, UTC)


class Metrics:
    """The metrics of one Sealgate, in a registry of their own; with `shared`, of all its workers together.

    `registries` and `rules` are the configured names; `insecure_settings` is the number of configured relaxations,
    `unverified` are those by which an image can be served (`ways_unverified`), `started` is when the configuration was
    read, where there is no supervisor. Series that alerts use exist from the start, with the value 0: Prometheus sees
    no increase where a series begins with 1.
    """

    def __init__(  # noqa: PLR0913 (one composition root calls this, with names)
        self,
        *,
        version: str,
        registries: Collection[str],
        rules: Collection[str],
        insecure_settings: int = 0,
        unverified: Collection[tuple[str, str]] = (),
        shared: Shared | None = None,
        started: datetime = _NEVER,
    ) -> None:
        self._shared = shared
        if shared is not None:
            shared.count_here()
        self._registries = frozenset(registries)
        self._rules = frozenset(rules) | {NO_RULE}
        self._in_flight = 0
        self._warm: dict[str, int] = {}
        self._answers: dict[tuple[str, str, int, str], tuple[Counter, Histogram]] = {}
        self._bytes: dict[str, Counter] = {}
        self._lookups: dict[tuple[str, bool], Counter] = {}
        self._supervised = SupervisionCollector(shared.folder if shared else None, Supervision(Reload(started)))
        self._registry = CollectorRegistry()
        if shared is None:
            PlatformCollector(self._registry)
            ProcessCollector(registry=self._registry)
            self._registry.register(self._supervised)
        self._instruments = Instruments(self._registry)
        self._instruments.gauge(
            "build_info", "Always 1; version and Python are in the labels", "version", "python"
        ).labels(version, platform.python_version()).set(1)
        self._instruments.gauge("insecure_settings", "Configured relaxations whose name begins with insecure_").set(
            insecure_settings
        )
        self._begin_at_zero(unverified)

    def _begin_at_zero(self, unverified: Collection[tuple[str, str]]) -> None:
        for rule, why in list(unverified)[:RULES_AT_ZERO_MAX]:
            self._instruments.unverified.labels(rule, why)
        for rule in sorted(self._rules)[:RULES_AT_ZERO_MAX]:
            self._instruments.verdicts.labels(rule, VERDICTS[Undetermined], "")
        for labels in product(CLIENT_KINDS, sorted(FORMS), sorted(REFUSALS)):
            self._instruments.refusals.labels(*labels)

    # On the path of every request: the children of labelled metrics are kept.

    def begun(self) -> None:
        """Count a request in."""
        self._in_flight += 1

    def answered(self, kind: str, method: str, status: int, outcome: str, seconds: float) -> None:
        """Count a request out. A refusal counts with its own status, whatever form the answer had."""
        self._in_flight -= 1
        key = (kind, method, status, outcome)
        children = self._answers.get(key)
        if children is None:
            children = self._answer_children(kind, method, status, outcome)
            if status in range(100, 600) and kind in KINDS and method in METHODS and outcome in ANSWERS:
                self._answers[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def _answer_children(self, kind: str, method: str, status: int, outcome: str) -> tuple[Counter, Histogram]:
        kind = one_of(KINDS, kind)
        status_label = str(status) if status in range(100, 600) else "other"
        labels = (kind, one_of(METHODS, method), status_label, one_of(ANSWERS, outcome))
        return self._instruments.requests.labels(*labels), self._instruments.request_seconds.labels(kind)

    def warm(self, method: str) -> None:
        """Count a manifest that was answered from memory; into the counters only when they are read.

        Its time is in no histogram: it would drown the others, and it is the same every time (bench/RESULTS.md).
        """
        self._warm[method] = self._warm.get(method, 0) + 1

    def sent(self, kind: str, size: int) -> None:
        """Count bytes of a body that went out."""
        kind = one_of(KINDS, kind)
        child = self._bytes.get(kind)
        if child is None:
            child = self._bytes[kind] = self._instruments.sent_bytes.labels(kind)
        child.inc(size)

    def looked_up(self, cache: str, *, hit: bool) -> None:
        """Count a question to what is remembered: verdict, tag, manifest, grant or content."""
        key = (one_of(CACHES, cache), hit)
        child = self._lookups.get(key)
        if child is None:
            child = self._lookups[key] = self._instruments.cache.labels(key[0], "hit" if hit else "miss")
        child.inc()

    # What happens less often

    def judged(self, decision: Decision, seconds: float) -> None:
        """Count a new verdict and how long it took."""
        verdict = decision.verdict
        reason = decision.reason.value if decision.reason and decision.stale is None else ""
        self._instruments.verdicts.labels(self._rule(verdict.rule), found_name(decision), reason).inc()
        self._instruments.verification_seconds.observe(seconds)

    def refused(self, user_agent: str, form: str, reason: str) -> None:
        """Count a refused request. `reason` is the label of a `front` refusal."""
        self._instruments.refusals.labels(client_kind(user_agent), one_of(FORMS, form), one_of(REFUSALS, reason)).inc()

    def served_unverified(self, decision: Decision) -> None:
        """Count an image that was served without being accepted."""
        self._instruments.unverified.labels(self._rule(decision.verdict.rule), why_unverified(decision)).inc()

    def connection_dropped(self, why: str) -> None:
        """Count a connection that was closed or has to wait."""
        self._instruments.dropped.labels(one_of(DROPPED, why)).inc()

    def served_artifact(self, kind: str) -> None:
        """Count an artifact that was served without a verdict."""
        self._instruments.artifacts.labels(one_of(ARTIFACTS, kind)).inc()

    def cut(self) -> None:
        """Count a transfer that was broken off."""
        self._instruments.cut.inc()

    def transfer(self, outcome: str) -> None:
        """Count what became of a blob on its way into the content store."""
        self._instruments.transfers.labels(one_of(TRANSFERS, outcome)).inc()

    def content_held(self, files: int, size: int) -> None:
        """Say how much the content store holds."""
        self._instruments.content_files.set(files)
        self._instruments.content_bytes.set(size)

    def content_evicted(self, files: int) -> None:
        """Count files that had to make room."""
        self._instruments.content_removed.labels("evicted").inc(files)

    def content_corrupt(self) -> None:
        """Count a file whose bytes had changed."""
        self._instruments.content_removed.labels("corrupt").inc()

    def upstream_request(self, registry: str, operation: str, outcome: str, seconds: float) -> None:
        """Count and time a request to a registry."""
        self._instruments.upstream_seconds.labels(
            one_of(self._registries, registry), one_of(OPERATIONS, operation), one_of(OUTCOMES, outcome)
        ).observe(seconds)

    def rate_limit(self, registry: str, remaining: int) -> None:
        """Set the number of pulls that a registry says are left."""
        self._instruments.rate_limit.labels(one_of(self._registries, registry)).set(remaining)

    def upstream_unreachable(self, registry: str, *, is_open: bool) -> None:
        """Set whether the circuit breaker of a registry is open."""
        self._instruments.unreachable.labels(one_of(self._registries, registry)).set(int(is_open))

    def worker_restarted(self) -> None:
        """Count this worker as one that took a dead one's place."""
        self._instruments.restarts.inc()

    def event_loop_lag(self, seconds: float) -> None:
        """Observe how late the event loop woke up."""
        self._instruments.lag.observe(seconds)

    def store_fault(self) -> None:
        """Count a failure of the store on disk."""
        self._instruments.store_faults.inc()

    def store_set_aside(self) -> None:
        """Count a database that was damaged and set aside."""
        self._instruments.set_aside.inc()

    def certificate_expiry(self, kind: str, name: str, at: datetime) -> None:
        """Set when something of the configuration ends; kind and name are its own."""
        self._instruments.certificate_expiry.labels(kind, name).set(at.timestamp())

    def trust_root_confirmed(self, root: str, at: datetime | None) -> None:
        """Set when a configured trust root was last confirmed to be the newest; None: there has been none yet."""
        self._instruments.trust_root_confirmed.labels(root).set(at.timestamp() if at is not None else 0)

    def trust_root_refresh(self, root: str, outcome: str) -> None:
        """Count a refresh of a configured trust root."""
        self._instruments.trust_root_refreshes.labels(root, one_of(REFRESHES, outcome)).inc()

    def audit_lost(self) -> None:
        """Count an audit line that could not be written."""
        self._instruments.audit_lost.inc()

    def render(self) -> tuple[bytes, str]:
        """Return the text exposition and its content type; what other workers count by hand may be a moment old."""
        self.flush()
        return generate_latest(self._collected()), CONTENT_TYPE_LATEST

    def supervision(self) -> Supervision:
        """Return what the supervisor published last."""
        return self._supervised.read()

    def _collected(self) -> CollectorRegistry:
        if self._shared is None:
            return self._registry
        registry = CollectorRegistry()
        registry.register(self._shared.counts())
        registry.register(self._supervised)
        PlatformCollector(registry)
        registry.register(self._shared.processes())
        return registry

    def flush(self) -> None:
        """Add what the path of every request counts by hand to the metrics."""
        self._instruments.in_flight_shown.set(self._in_flight)
        warm, self._warm = self._warm, {}
        for method, number in warm.items():
            self._instruments.requests.labels("manifests", one_of(METHODS, method), "200", "served").inc(number)
            self._instruments.cache.labels("response", "hit").inc(number)

    def _rule(self, name: str) -> str:
        return one_of(self._rules, name)
