"""What the supervisor tells the workers, and what operators see of it."""

from datetime import UTC, datetime

import pytest
from support.ops import make_metrics, sample

from proxy.ops.shared import Shared
from proxy.ops.supervision import Reload, Supervision, SupervisionCollector, publish

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
WELL = Supervision(Reload(NOW), 2)
TOLD = [
    (WELL, None, (0, 1)),
    (Supervision(Reload(NOW, "no such key"), 2), None, (0, 0)),
    (Supervision(Reload(NOW), 3, {1: "disk full"}), "1 of 3 workers cannot be started: disk full", (1, 1)),
    (Supervision(Reload(NOW), 2, {0: "", 1: ""}), "2 of 2 workers cannot be started: it ended at its start", (2, 1)),
]


@pytest.mark.parametrize(("told", "missing", "values"), TOLD)
def test_what_is_told_is_read(tmp_path, told, missing, values):
    publish(tmp_path, told)
    collector = SupervisionCollector(tmp_path, WELL)
    assert collector.read() == told
    assert collector.read().missing == missing
    shown = {one.name: one.samples[0].value for one in collector.collect()}
    assert shown == {
        "sealgate_workers_vacant": values[0],
        "sealgate_config_last_reload_successful": values[1],
        "sealgate_config_last_reload_timestamp_seconds": NOW.timestamp(),
    }


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b"\xff"])
def test_what_cannot_be_read_is_as_at_the_start(tmp_path, content):
    if content is not None:
        (tmp_path / "supervision.json").write_bytes(content)
    assert SupervisionCollector(tmp_path, WELL).read() == WELL


def test_without_a_supervisor_all_is_well():
    metrics = make_metrics(started=NOW)
    assert metrics.supervision().missing is None
    assert sample(metrics, "sealgate_config_last_reload_successful") == 1
    assert sample(metrics, "sealgate_config_last_reload_timestamp_seconds") == NOW.timestamp()


def test_workers_export_it_once(tmp_path, monkeypatch):
    monkeypatch.setattr(Shared, "count_here", lambda self: None)
    publish(tmp_path, TOLD[2][0])
    text = make_metrics(shared=Shared(tmp_path, 0)).render()[0].decode()
    assert text.count("\nsealgate_workers_vacant 1.0\n") == 1
