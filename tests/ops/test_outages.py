"""When it is told that a registry answers no more, and that it does again."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs
from support.ops import make_metrics, sample
from support.stores import NOW

from proxy.ops.observer import Observer
from proxy.ops.outages import QUIET, Outages
from proxy.ops.status import Tally

AWAY, BACK = ("a.test", "manifest", "unavailable"), ("a.test", "resolve", "ok")
BEGINS, ENDS, NOTHING = "begins", "ends", ""


@pytest.fixture
def time():
    return SimpleNamespace(now=NOW)


def told(outages, request):
    """Return what is told of a request."""
    if outages.begins(*request):
        return BEGINS
    return ENDS if outages.ends(*request) is not None else NOTHING


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ([AWAY], [BEGINS]),
        ([AWAY, AWAY, AWAY, BACK, BACK], [BEGINS, NOTHING, NOTHING, ENDS, NOTHING]),
        ([BACK], [NOTHING]),
        ([AWAY, ("b.test", "manifest", "ok"), ("b.test", "manifest", "unavailable")], [BEGINS, NOTHING, BEGINS]),
        *(([AWAY, ("a.test", "manifest", one)], [BEGINS, ENDS]) for one in ("not_found", "denied", "corrupt")),
        *(([AWAY, ("a.test", "manifest", one)], [BEGINS, NOTHING]) for one in ("cancelled", "busy")),
        *(([("a.test", one, "unavailable")], [NOTHING]) for one in ("blob", "head_blob", "tags", "referrers")),
        *(([AWAY, ("a.test", one, "ok")], [BEGINS, NOTHING]) for one in ("blob", "tags")),
        *(([("a.test", "manifest", one)], [NOTHING]) for one in ("cancelled", "busy", "denied")),
    ],
)
def test_what_is_told(time, requests, expected):
    outages = Outages(lambda: time.now)
    assert [told(outages, request) for request in requests] == expected


def test_a_registry_that_is_up_and_down_fills_no_log(time):
    outages = Outages(lambda: time.now)
    lines = []
    for _ in range(100):
        lines += [told(outages, AWAY), told(outages, BACK)]
        time.now += timedelta(seconds=1)
    assert 0 < len([line for line in lines if line]) <= 2 * (100 / QUIET.total_seconds() + 1)


def test_an_outage_that_comes_again_soon_and_lasts_is_told_of(time):
    outages = Outages(lambda: time.now)
    assert [told(outages, one) for one in (AWAY, BACK, AWAY)] == [BEGINS, ENDS, NOTHING]
    time.now += QUIET
    assert told(outages, AWAY) == BEGINS


def test_the_log_names_registry_cause_and_length(time):
    metrics = make_metrics()
    tally = Tally(version="1", started=NOW, registries=["ghcr.io"], rules={})
    it = Observer(metrics, None, tally, lambda: time.now)
    with capture_logs() as logged:
        for _ in range(3):
            it.upstream_failed("ghcr.io", "ghcr.io could not be reached: Connection refused")
            it.upstream_request("ghcr.io", "manifest", "unavailable", 0.1)
            time.now += timedelta(seconds=20)
        it.upstream_request("ghcr.io", "resolve", "ok", 0.1)
    assert logged == [
        {
            "event": "registry outage begins",
            "log_level": "warning",
            "registry": "ghcr.io",
            "cause": "ghcr.io could not be reached: Connection refused",
        },
        {"event": "registry outage ends", "log_level": "warning", "registry": "ghcr.io", "seconds": 60.0},
    ]
    name = "sealgate_upstream_request_seconds_count"
    assert sample(metrics, name, registry="ghcr.io", operation="manifest", outcome="unavailable") == 3
