"""One event reaches everybody whom it concerns."""

import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs
from support.artifacts import of, parsed, signature
from support.ops import ACCEPTED, DOCKER, REFUSED, STALE, WARNED, make_metrics, sample
from support.stores import NOW, digest

from proxy.ops.audit import Audit
from proxy.ops.observer import Observer
from proxy.ops.status import Tally, render_status

REQUEST = SimpleNamespace(remote="10.0.0.7", headers={"User-Agent": DOCKER})
REFUSAL = SimpleNamespace(message="sealgate: ghcr.io/org/app:v1 refused", label="not_signed", id="q1", rule=None)


@pytest.fixture
def told(tmp_path):
    """Return the observer with all that it tells, and a way to read its audit lines."""
    metrics = make_metrics()
    tally = Tally(version="1", started=NOW, registries=["ghcr.io"], rules={"everything": "enforce"})
    audit = Audit.open(tmp_path / "audit", pytest.fail)

    def lines():
        audit.close()
        return [json.loads(line) for line in (tmp_path / "audit").read_text("ascii").splitlines()]

    yield SimpleNamespace(it=Observer(metrics, audit, tally, lambda: NOW), metrics=metrics, tally=tally, lines=lines)
    if audit._thread.is_alive():
        audit.close()


def test_a_verdict(told):
    told.it.judged(ACCEPTED, "10.0.0.7", 0.5)
    assert sample(told.metrics, "sealgate_verdicts_total", rule="everything", verdict="accepted", reason="") == 1
    assert told.tally.snapshot(NOW).rules[0].verdicts == {"accepted": 1}
    assert [(it["event"], it["client"]) for it in told.lines()] == [("verdict", "10.0.0.7")]


def test_an_acceptance_that_stands_in_is_an_image_that_could_not_be_judged(told):
    told.it.judged(STALE, "10.0.0.7", 0.5)
    assert sample(told.metrics, "sealgate_verdicts_total", rule="everything", verdict="undetermined", reason="") == 1
    assert told.tally.snapshot(NOW).rules[0].verdicts == {"undetermined": 1}
    assert [(it["verdict"], it["served"]) for it in told.lines()] == [("accepted", True)]


@pytest.mark.parametrize("judged", [REFUSED, None])
def test_a_refusal(told, judged):
    with capture_logs() as logged:
        told.it.refused(REQUEST, "ghcr.io/org/app:v1", REFUSAL, "hold", judged)
    assert sample(told.metrics, "sealgate_refusals_total", client="docker", form="hold", reason="not_signed") == 1
    (seen,) = told.tally.snapshot(NOW + timedelta(minutes=1)).refusals
    assert (seen.id, seen.image, seen.reason, seen.client) == (
        "q1",
        "ghcr.io/org/app:v1",
        "not_signed",
        "10.0.0.7",
    )
    (line,) = told.lines()
    assert (line["event"], line["id"], line["user_agent"]) == ("refused_pull", "q1", DOCKER)
    assert [(it["event"], it["id"]) for it in logged] == [("refused", "q1")]


def test_a_client_that_says_nothing(told):
    told.it.refused(SimpleNamespace(remote=None, headers={}), "x", REFUSAL, "plain", None)
    assert sample(told.metrics, "sealgate_refusals_total", client="other", form="plain", reason="not_signed") == 1
    assert [(it["client"], it["user_agent"]) for it in told.lines()] == [("unknown", "")]


def test_what_is_served_unverified_is_warned_of(told):
    with capture_logs() as logged:
        told.it.served_unverified(REQUEST, "ghcr.io/org/app:v1", WARNED)
    assert sample(told.metrics, "sealgate_served_unverified_total", rule="everything", why="warn") == 1
    assert [(it["log_level"], it["mode"], it["id"]) for it in logged] == [("warning", "warn", "k7f3")]


def test_each_artifact_that_is_served_is_counted_and_one_line(told):
    made = parsed(signature(subject=of("a/b", b"image")))
    assert sample(told.metrics, "sealgate_artifacts_served_total", kind="signature") == 0
    told.it.served_artifact(REQUEST, "ghcr.io/org/app:sha256-0.sig", made, "signature")
    assert sample(told.metrics, "sealgate_artifacts_served_total", kind="signature") == 1
    (line,) = told.lines()
    begin = {name: line.pop(name) for name in ("time", "level", "schema", "host", "instance")}
    assert begin["level"] == "info"
    assert line == {
        "event": "served_artifact",
        "id": None,
        "fault": None,
        "image": "ghcr.io/org/app:sha256-0.sig",
        "digest": str(made.digest),
        "kind": "signature",
        "subject": str(made.subject.digest),
        "client": "10.0.0.7",
        "user_agent": DOCKER,
    }


def test_faults(told):
    with capture_logs() as logged:
        told.it.cut("ghcr.io/org/app", ValueError("too short"))
        told.it.store_fault("disk I/O error")
        told.it.failed("/v2/", ZeroDivisionError("a bug"))
    assert sample(told.metrics, "sealgate_transfers_cut_total") == 1
    assert sample(told.metrics, "sealgate_store_faults_total") == 1
    assert [it["log_level"] for it in logged] == ["error"] * 3
    assert isinstance(logged[2]["exc_info"], ZeroDivisionError)


def test_requests_to_registries(told):
    told.it.upstream_request("ghcr.io", "manifest", "denied", 0.1)
    told.it.rate_limit("ghcr.io", 7)
    labels = {"registry": "ghcr.io", "operation": "manifest", "outcome": "denied"}
    assert sample(told.metrics, "sealgate_upstream_request_seconds_count", **labels) == 1
    assert sample(told.metrics, "sealgate_upstream_rate_limit_remaining", registry="ghcr.io") == 7
    assert told.tally.snapshot(NOW).upstreams[0].outcome == "denied"


def test_what_concerns_metrics_only(told):
    told.it.begun()
    told.it.looked_up("tag", hit=True)
    told.it.sent("blobs", 3)
    told.it.answered("blobs", "GET", 200, "served", 0.1)
    assert (
        sample(told.metrics, "sealgate_requests_total", kind="blobs", method="GET", status="200", outcome="served") == 1
    )
    assert sample(told.metrics, "sealgate_sent_bytes_total", kind="blobs") == 3


@pytest.mark.parametrize("at", [NOW, None])
def test_when_a_trust_root_was_confirmed(told, at):
    told.it.trust_root_confirmed("private", NOW - timedelta(days=1))
    told.it.trust_root_confirmed("private", at)
    shown = sample(told.metrics, "sealgate_trust_root_confirmed_timestamp_seconds", root="private")
    assert shown == (at.timestamp() if at else 0)


@pytest.mark.parametrize(
    ("outcome", "level", "event"),
    [("changed", "info", "trust root refreshed"), ("unavailable", "warning", "trust root not refreshed")],
)
def test_a_refresh_of_a_trust_root(told, outcome, level, event):
    with capture_logs() as logged:
        told.it.trust_root_refresh("private", outcome, "why")
    assert sample(told.metrics, "sealgate_trust_root_refreshes_total", root="private", outcome=outcome) == 1
    assert [(it["log_level"], it["event"]) for it in logged] == [(level, event)]
    assert "why" in logged[0].values()


def test_the_content_store(told):
    with capture_logs() as logged:
        told.it.content_held(2, 20)
        told.it.content_stored(10)
        told.it.content_evicted(1)
        told.it.content_corrupt(digest(0))
        told.it.content_fault("OSError: no space left")
    assert "come straight from their registries:</strong> <code>OSError: no space left" in render_status(
        told.tally.snapshot(NOW)
    )
    told.it.content_stored(10)
    assert "OSError" not in render_status(told.tally.snapshot(NOW))
    assert sample(told.metrics, "sealgate_content_bytes") == 20
    assert sample(told.metrics, "sealgate_store_faults_total") == 1
    assert [it["event"] for it in logged] == ["corrupt content removed", "content store fault"]
    assert logged[0]["digest"] == str(digest(0))


def test_a_database_that_was_set_aside(told):
    with capture_logs() as logged:
        told.it.store_set_aside("sealgate.sqlite3.damaged-1", "malformed")
    assert "<code>sealgate.sqlite3.damaged-1: malformed</code>" in render_status(told.tally.snapshot(NOW))
    assert sample(told.metrics, "sealgate_store_set_aside_total") == 1
    assert [(it["log_level"], it["event"], it["cause"]) for it in logged] == [("error", "store set aside", "malformed")]
