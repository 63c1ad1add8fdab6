"""When it is told that a registry answers no more, and that it does again."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs
from support.ops import make_metrics
from support.stores import NOW

from proxy.ops.observer import Observer
from proxy.ops.outages import QUIET, Outages
from proxy.ops.status import Tally

AWAY, BACK = ("a.test", "away"), ("a.test", None)
BEGINS, ENDS, NOTHING = "begins", "ends", ""


@pytest.fixture
def time():
    return SimpleNamespace(now=NOW)


def told(outages, what):
    """Return what is told of a request."""
    registry, cause = what
    if cause is not None:
        return BEGINS if outages.failed(registry) else NOTHING
    return ENDS if outages.answered(registry) is not None else NOTHING


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ([AWAY], [BEGINS]),
        ([AWAY, AWAY, AWAY, BACK, BACK], [BEGINS, NOTHING, NOTHING, ENDS, NOTHING]),
        ([BACK], [NOTHING]),
        ([AWAY, ("b.test", None), ("b.test", "away"), BACK], [BEGINS, NOTHING, BEGINS, ENDS]),
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
    tally = Tally(version="1", started=NOW, registries=["ghcr.io"], rules={})
    it = Observer(make_metrics(), None, tally, lambda: time.now)
    with capture_logs() as logged:
        for _ in range(3):
            it.upstream_health("ghcr.io", "ghcr.io could not be reached: Connection refused")
            time.now += timedelta(seconds=20)
        it.upstream_health("ghcr.io", None)
        it.upstream_health("ghcr.io", None)
    assert logged == [
        {
            "event": "registry outage begins",
            "log_level": "warning",
            "registry": "ghcr.io",
            "cause": "ghcr.io could not be reached: Connection refused",
        },
        {"event": "registry outage ends", "log_level": "warning", "registry": "ghcr.io", "seconds": 60.0},
    ]
