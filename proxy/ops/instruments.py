"""The definitions of the metrics: name, help text, labels and buckets of each (prometheus.io/docs/practices/naming)."""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from proxy.ops.labels import ARTIFACTS, DROPPED

# From a warm manifest to the limit of 20 s that a client waits, and to a large blob.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60, 300)
_LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
# How the values of several workers are combined in a gauge; a live one ends with its worker.
_Together = Literal["livesum", "livemax", "livemostrecent"]

# One more series for each counter and histogram, with the time of its creation.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Instruments:
    """All metrics, registered with one registry. Those with few values of their label have a series from the start."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._make_requests()
        self._make_verdicts()
        self._make_sources()

    def _make_requests(self) -> None:
        self.requests = self._counter("requests", "Answered requests", "kind", "method", "status", "outcome")
        self.request_seconds = self._histogram(
            "request_seconds", "Time until the answer was complete or broke off", _SECONDS, "kind"
        )
        self.in_flight_shown = self.gauge("requests_in_flight", "Requests being answered", together="livesum")
        self.sent_bytes = self._counter("sent_bytes", "Bytes of bodies sent to clients", "kind")
        self.refusals = self._counter("refusals", "Requests refused, by client and form", "client", "form", "reason")
        self.dropped = self._counter(
            "connections_dropped", "Connections closed to make room, for a fault, or made to wait", "why"
        )
        for why in sorted(DROPPED):
            self.dropped.labels(why)
        self.cut = self._counter("transfers_cut", "Transfers broken off: the upstream's bytes were wrong or too few")
        self.restarts = self._counter("worker_restarts", "Workers that replaced one that had died")
        self.lag = self._histogram("event_loop_lag_seconds", "How late the event loop wakes up", _LAG_SECONDS)

    def _make_verdicts(self) -> None:
        self.verdicts = self._counter("verdicts", "New verdicts", "rule", "verdict", "reason")
        self.verification_seconds = self._histogram(
            "verification_seconds", "Time to a new verdict, looking for signatures included", _SECONDS
        )
        self.unverified = self._counter(
            "served_unverified", "Manifests served without being accepted, by the relaxation", "rule", "why"
        )
        self.artifacts = self._counter(
            "artifacts_served", "Manifests of signatures and other artifacts served without a verdict", "kind"
        )
        for kind in ARTIFACTS:
            self.artifacts.labels(kind)
        self.audit_lost = self._counter("audit_lines_lost", "Audit lines that could not be written")

    def _make_sources(self) -> None:
        self.upstream_seconds = self._histogram(
            "upstream_request_seconds",
            "Time of requests to registries, a blob's to its head",
            _SECONDS,
            "registry",
            "operation",
            "outcome",
        )
        self.rate_limit = self.gauge(
            "upstream_rate_limit_remaining", "Pulls that the registry says are left", "registry"
        )
        self.unreachable = self.gauge(
            "upstream_unreachable", "1 while a registry cannot be reached and its circuit breaker is open", "registry"
        )
        self.cache = self._counter("cache_requests", "Lookups in caches", "cache", "result")
        self.store_faults = self._counter("store_faults", "Failures of the store on disk")
        self.set_aside = self._counter("store_set_aside", "Databases that were damaged, and set aside")
        self.transfers = self._counter("transfers", "Blobs fetched into the content store, by outcome", "outcome")
        self.content_files = self.gauge("content_files", "Files in the content store")
        self.content_bytes = self.gauge("content_bytes", "Bytes in the content store")
        self.content_removed = self._counter("content_removed", "Files removed from the content store", "why")
        self.trust_root_confirmed = self.gauge(
            "trust_root_confirmed_timestamp_seconds",
            "When a trust root was last confirmed to be the newest; 0: not yet",
            "root",
            together="livemax",
        )
        self.certificate_expiry = self.gauge(
            "certificate_expiry_timestamp_seconds",
            "Expiry of the server's certificate, a signer's key or a trust root, where it has one",
            "kind",
            "name",
        )
        self.trust_root_refreshes = self._counter(
            "trust_root_refreshes", "Refreshes of trust roots, by how they ended", "root", "outcome"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"sealgate_{name}", text, labels, registry=self._registry)

    def gauge(self, name: str, text: str, *labels: str, together: _Together = "livemostrecent") -> Gauge:
        """Make a gauge of this registry; `together` says how the values of several workers are combined."""
        return Gauge(f"sealgate_{name}", text, labels, registry=self._registry, multiprocess_mode=together)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"sealgate_{name}", text, labels, registry=self._registry, buckets=buckets)
