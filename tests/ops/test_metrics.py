"""What is counted, that nobody outside can make a series, and that counting is cheap."""

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.ops import (
    ACCEPTED,
    AWAY,
    DOCKER,
    LET_THROUGH,
    REFUSED,
    UNVERIFIED,
    WARNED,
    decision,
    exercise,
    make_metrics,
    sample,
)
from support.stores import LATER, key, refused

from proxy.front import errors
from proxy.front.errors import Outcome
from proxy.front.refusals import Form
from proxy.front.routes import Kind
from proxy.oci.errors import (
    CorruptError,
    MalformedError,
    NotFoundError,
    UnavailableError,
    UnknownUpstreamError,
    UpstreamDeniedError,
)
from proxy.ops.labels import verdict_name, ways_unverified, why_unverified
from proxy.ops.metrics import RULES_AT_ZERO_MAX
from proxy.policy.model import InsecureAllowUnverified, Mode, OnOutage, Refuse, Rule


def test_requests():
    metrics = make_metrics()
    metrics.begun()
    metrics.begun()
    metrics.answered("manifests", "GET", 200, "served", 0.002)
    assert sample(metrics, "sealgate_requests_in_flight") == 1
    assert (
        sample(metrics, "sealgate_requests_total", kind="manifests", method="GET", status="200", outcome="served") == 1
    )
    assert sample(metrics, "sealgate_request_seconds_bucket", kind="manifests", le="0.001") == 0
    assert sample(metrics, "sealgate_request_seconds_bucket", kind="manifests", le="0.0025") == 1
    metrics.answered("manifests", "GET", 200, "served", 0.002)
    assert (
        sample(metrics, "sealgate_requests_total", kind="manifests", method="GET", status="200", outcome="served") == 2
    )


@pytest.mark.parametrize(
    ("judged", "verdict", "reason"),
    [
        (ACCEPTED, "accepted", ""),
        (REFUSED, "refused", "not_signed"),
        (AWAY, "undetermined", ""),
        (UNVERIFIED, "insecure_unverified", ""),
    ],
)
def test_verdicts(judged, verdict, reason):
    metrics = make_metrics()
    metrics.judged(judged, 0.2)
    assert sample(metrics, "sealgate_verdicts_total", rule="everything", verdict=verdict, reason=reason) == 1
    assert sample(metrics, "sealgate_verification_seconds_sum") == 0.2
    assert verdict_name(judged.verdict) == verdict


@pytest.mark.parametrize(
    ("served", "why"),
    [
        (UNVERIFIED, "insecure_allow_unverified"),
        (WARNED, "warn"),
        (decision(refused(key()), Mode.AUDIT), "audit"),
        (LET_THROUGH, "insecure_allow"),
    ],
)
def test_what_is_served_unverified(served, why):
    metrics = make_metrics()
    metrics.served_unverified(served)
    assert sample(metrics, "sealgate_served_unverified_total", rule="everything", why=why) == 1
    assert why_unverified(served) == why


@pytest.mark.parametrize(
    ("members", "ways"),
    [
        ({}, []),
        ({"mode": Mode.WARN}, ["warn"]),
        ({"mode": Mode.AUDIT, "on_outage": OnOutage.INSECURE_ALLOW}, ["audit"]),
        ({"on_outage": OnOutage.INSECURE_ALLOW}, ["insecure_allow"]),
        ({"require": InsecureAllowUnverified(), "mode": Mode.WARN}, ["insecure_allow_unverified"]),
    ],
)
def test_each_way_to_an_unverified_image_is_counted_from_zero(members, ways):
    rule = Rule(**{"name": "everything", "images": (), "require": Refuse()} | members)
    found = ways_unverified([rule])
    assert found == [("everything", way) for way in ways]
    metrics = make_metrics(unverified=found)
    for way in ways:
        assert sample(metrics, "sealgate_served_unverified_total", rule="everything", why=way) == 0


def test_so_many_rules_begin_at_zero_and_no_more():
    rules = [f"r{n}" for n in range(RULES_AT_ZERO_MAX + 10)]
    metrics = make_metrics(rules=rules, unverified=[(rule, "warn") for rule in rules])
    samples = [one.name for family in metrics._registry.collect() for one in family.samples]
    assert samples.count("sealgate_verdicts_total") == RULES_AT_ZERO_MAX
    assert samples.count("sealgate_served_unverified_total") == RULES_AT_ZERO_MAX


def test_the_rest():
    metrics = exercise(make_metrics(insecure_settings=3))
    metrics.looked_up("verdict", hit=False)
    metrics.sent("blobs", 5)
    assert sample(metrics, "sealgate_insecure_settings") == 3
    assert sample(metrics, "sealgate_sent_bytes_total", kind="blobs") == 15
    assert sample(metrics, "sealgate_cache_requests_total", cache="verdict", result="hit") == 1
    assert sample(metrics, "sealgate_cache_requests_total", cache="verdict", result="miss") == 1
    assert sample(metrics, "sealgate_refusals_total", client="docker", form="hold", reason="not_signed") == 1
    assert sample(metrics, "sealgate_upstream_rate_limit_remaining", registry="ghcr.io") == 20
    assert sample(metrics, "sealgate_upstream_unreachable", registry="ghcr.io") == 1
    assert sample(metrics, "sealgate_trust_root_confirmed_timestamp_seconds", root="public-good") == LATER.timestamp()
    assert sample(metrics, "sealgate_trust_root_refreshes_total", root="public-good", outcome="unchanged") == 1
    assert sample(metrics, "sealgate_transfers_total", outcome="kept") == 1
    assert sample(metrics, "sealgate_content_files") == 3
    assert sample(metrics, "sealgate_content_bytes") == 300
    assert sample(metrics, "sealgate_content_removed_total", why="evicted") == 2
    assert sample(metrics, "sealgate_content_removed_total", why="corrupt") == 1
    for name in ("transfers_cut_total", "store_faults_total", "audit_lines_lost_total", "event_loop_lag_seconds_count"):
        assert sample(metrics, f"sealgate_{name}") == 1


def series(metrics):
    families = text_string_to_metric_families(metrics.render()[0].decode())
    return [one for family in families if family.name.startswith("sealgate_") for one in family.samples]


def test_the_exposition_is_readable_and_says_what_runs():
    metrics = exercise(make_metrics())
    body, content_type = metrics.render()
    assert content_type.startswith("text/plain; version=")
    assert b'sealgate_build_info{python="3.' in body
    assert b"process_resident_memory_bytes" in body
    assert not [one.name for one in series(metrics) if one.name.endswith("_created")]


def test_two_of_them_share_nothing():
    exercise(make_metrics())
    assert sample(make_metrics(), "sealgate_transfers_cut_total") == 0


def test_no_stranger_makes_a_series():
    metrics = exercise(make_metrics())
    strange = decision(refused(key()))
    for n in range(3):
        odd = f"odd{n}"
        object.__setattr__(strange.verdict, "rule", odd)
        metrics.begun()
        metrics.answered(odd, odd, 1000 + n, odd, 0)
        metrics.answered("blobs", f"{odd}", 200, "served", 0)
        metrics.sent(odd, 1)
        metrics.looked_up(odd, hit=True)
        metrics.judged(strange, 0)
        metrics.refused(odd, odd, odd)
        metrics.served_unverified(strange)
        metrics.served_artifact(odd)
        metrics.upstream_request(odd, odd, odd, 0)
        metrics.rate_limit(odd, 1)
        metrics.upstream_unreachable(odd, is_open=False)
        metrics.transfer(odd)
        metrics.trust_root_refresh("public-good", odd)
    assert not [one for one in series(metrics) if any("odd" in value for value in one.labels.values())]
    assert len(metrics._answers) == 1
    assert (
        sample(metrics, "sealgate_requests_total", kind="other", method="other", status="other", outcome="other") == 3
    )


def test_an_image_without_a_rule_has_its_own_name():
    metrics = make_metrics()
    verdict = refused(key())
    object.__setattr__(verdict, "rule", "none")
    metrics.judged(decision(verdict), 0)
    assert sample(metrics, "sealgate_verdicts_total", rule="none", verdict="refused", reason="not_signed") == 1


def test_a_warm_request_makes_nothing_new():
    metrics = exercise(make_metrics())
    before = dict(metrics._answers)

    def warm():
        metrics.begun()
        metrics.answered("manifests", "GET", 200, "served", 0.0001)

    warm()
    assert metrics._answers == before


def test_the_client_is_told_by_its_own_words():
    metrics = make_metrics()
    metrics.refused(DOCKER, "plain", "undetermined")
    assert sample(metrics, "sealgate_refusals_total", client="docker", form="plain", reason="undetermined") == 1


ERRORS = (CorruptError, MalformedError, UnavailableError, UnknownUpstreamError, UpstreamDeniedError)


@pytest.mark.parametrize(
    "refusal",
    [
        *(errors.from_error(kind("x"), "image") for kind in ERRORS),
        errors.from_error(NotFoundError("x"), "image"),
        *(errors.from_decision(it, "image") for it in (REFUSED, AWAY, decision(refused(key(), rejections=())))),
        errors.unknown_blob("image"),
        errors.unusable("image", "no image"),
        errors.bad_request(MalformedError("x")),
        errors.unsupported("PUT"),
        errors.our_mistake(),
    ],
    ids=lambda it: it.label,
)
def test_every_refusal_of_the_front_has_its_own_label(refusal):
    metrics = make_metrics()
    metrics.refused(DOCKER, "hold", refusal.label)
    assert sample(metrics, "sealgate_refusals_total", client="docker", form="hold", reason=refusal.label) == 1


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_request_has_its_own_label(kind):
    metrics = make_metrics()
    metrics.begun()
    metrics.answered(kind, "GET", 200, "served", 0)
    assert (
        sample(metrics, "sealgate_requests_total", kind=kind.value, method="GET", status="200", outcome="served") == 1
    )


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_its_own_label(outcome):
    metrics = make_metrics()
    metrics.begun()
    metrics.answered("blobs", "GET", 403, outcome, 0)
    assert sample(metrics, "sealgate_requests_total", kind="blobs", method="GET", status="403", outcome=outcome.value)


@pytest.mark.parametrize("form", Form)
def test_every_form_has_its_own_label(form):
    metrics = make_metrics()
    metrics.refused("", form, "unavailable")
    assert sample(metrics, "sealgate_refusals_total", client="other", form=form.value, reason="unavailable") == 1


def test_warm_manifests_are_counted_when_the_counters_are_read():
    metrics = make_metrics()
    for method in ("GET", "GET", "HEAD"):
        metrics.warm(method)
    for _ in range(2):
        metrics.render()
        assert (
            sample(metrics, "sealgate_requests_total", kind="manifests", method="GET", status="200", outcome="served")
            == 2
        )
        assert (
            sample(metrics, "sealgate_requests_total", kind="manifests", method="HEAD", status="200", outcome="served")
            == 1
        )
        assert sample(metrics, "sealgate_cache_requests_total", cache="response", result="hit") == 3
