"""Lines of the log and of the audit log begin alike, and say whose fault it was."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from proxy.ops.labels import REFUSALS
from proxy.ops.lines import SCHEMA, Fault, Lines, fault_of
from proxy.policy import plain
from proxy.verdict import Reason

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LINES = Lines("node-1", "127.0.0.1:5001")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (NOON, "2026-11-21T12:00:00Z"),
        (NOON.replace(microsecond=5), "2026-11-21T12:00:00.000005Z"),
        (NOON.astimezone(timezone(timedelta(hours=-5, minutes=-30))), "2026-11-21T12:00:00Z"),
    ],
)
def test_times_are_those_of_rfc_3339_in_utc(at, text):
    assert plain.moment(at) == text
    assert LINES.line(at, "info", "x", {})["time"] == text
    assert datetime.fromisoformat(text) == at


def test_every_line_begins_with_the_same_members_in_their_order():
    line = LINES.line(NOON, "info", "started", {"port": 5000})
    assert list(line) == ["time", "level", "schema", "host", "instance", "event", "port"]
    assert (line["schema"], line["host"], line["instance"]) == (SCHEMA, "node-1", "127.0.0.1:5001")


@pytest.mark.parametrize(
    ("level", "fields", "fault"),
    [
        ("error", {}, "sealgate"),
        ("warning", {}, "sealgate"),
        ("info", {}, None),
        ("error", {"fault": Fault.UPSTREAM}, "upstream"),
        ("info", {"fault": None}, None),
    ],
)
def test_trouble_is_our_own_unless_it_is_said_to_be_anothers(level, fields, fault):
    assert LINES.line(NOON, level, "x", fields).get("fault") == fault


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        ("not_found", "client"),
        ("name_invalid", "client"),
        ("undetermined", "upstream"),
        ("corrupt", "upstream"),
        ("internal_error", "sealgate"),
        ("not_signed", "image"),
    ],
)
def test_whose_fault_a_refusal_is(reason, fault):
    assert fault_of(reason) == fault


def test_the_policys_own_reasons_are_the_images_but_for_wrong_bytes():
    assert {fault_of(one.value) for one in Reason if one is not Reason.CORRUPT} == {Fault.IMAGE}
    assert {fault_of(one) for one in REFUSALS} == set(Fault)
