"""Decisions to report, and the metrics of a small configuration."""

from dataclasses import replace

from support.stores import APP, LATER, accepted, digest, evidence, key, refused, unverified

from proxy.ops.metrics import Metrics
from proxy.policy.model import Decision, Mode, OnOutage, Stale
from proxy.verdict import Subject, Undetermined

SUBJECT = Subject(APP, digest(0), "v1")
DOCKER = "docker/20.10.24+dfsg1 go/go1.19.8 UpstreamClient(Docker-Client/20.10.24)"


def decision(verdict, mode=Mode.ENFORCE, on_outage=OnOutage.REFUSE):
    return Decision("k7f3", verdict, mode, on_outage)


ACCEPTED = decision(accepted(key(), LATER, evidence(claims=(("team", "a"),))))
REFUSED = decision(refused(key()))
WARNED = decision(refused(key()), Mode.WARN)
AWAY = decision(Undetermined(SUBJECT, "everything", "ghcr.io: connection refused"))
LET_THROUGH = decision(
    Undetermined(SUBJECT, "everything", "ghcr.io: connection refused"), on_outage=OnOutage.INSECURE_ALLOW
)
STALE = replace(ACCEPTED, stale=Stale("ghcr.io: connection refused", LATER))
UNVERIFIED = decision(unverified(key()))


def make_metrics(**changes):
    return Metrics(**{"version": "1.2.3", "registries": ["ghcr.io"], "rules": ["everything"]} | changes)


def sample(metrics, name, **labels):
    """Return the value of one series, None where there is none."""
    metrics.flush()
    return metrics._registry.get_sample_value(name, labels)


def exercise(metrics):
    """Call everything once, so that every series exists."""
    metrics.begun()
    metrics.answered("manifests", "GET", 200, "served", 0.001)
    metrics.sent("blobs", 10)
    metrics.looked_up("verdict", hit=True)
    metrics.judged(REFUSED, 0.1)
    metrics.refused(DOCKER, "hold", "not_signed")
    metrics.served_unverified(WARNED)
    metrics.served_artifact("signature")
    metrics.cut()
    metrics.connection_dropped("limit")
    metrics.upstream_request("ghcr.io", "manifest", "ok", 0.1)
    metrics.rate_limit("ghcr.io", 20)
    metrics.upstream_unreachable("ghcr.io", is_open=True)
    metrics.event_loop_lag(0.001)
    metrics.store_fault()
    metrics.store_set_aside()
    metrics.transfer("kept")
    metrics.content_held(3, 300)
    metrics.content_evicted(2)
    metrics.content_corrupt()
    metrics.audit_lost()
    metrics.worker_restarted()
    metrics.certificate_expiry("tls", "server", LATER)
    metrics.trust_root_confirmed("public-good", LATER)
    metrics.trust_root_refresh("public-good", "unchanged")
    return metrics
