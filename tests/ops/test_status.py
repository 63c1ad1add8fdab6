"""The page shows what there is, escapes what comes from outside, and needs nothing else."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from proxy.ops.status import REFUSALS_MAX, Recent, RefusalSeen, Snapshot, Tally, _length, render_status

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def refusal(number, image="ghcr.io/org/app:v1"):
    return RefusalSeen(NOW - timedelta(minutes=number), f"id{number}", image, "not_signed", "10.0.0.7")


def make_tally(**changes):
    arguments = {
        "version": "1.2.3",
        "started": NOW - timedelta(hours=3, minutes=5),
        "registries": ["docker.io", "ghcr.io"],
        "rules": {"ours": "enforce", "rest": "warn"},
    }
    return Tally(**arguments | changes)


class Text(HTMLParser):
    """Collects the text, and fails at elements that were not closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text = [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag not in {"script", "img", "iframe"}
        if tag not in {"meta", "!doctype"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def text_of(page):
    return " ".join(" ".join(Text(page).text).split())


def test_a_fresh_start():
    text = text_of(render_status(make_tally(started=NOW).snapshot(NOW)))
    for words in ("version 1.2.3", "up 0 s", "2026-11-21 12:00:00 UTC", "Nothing was refused", "not asked yet"):
        assert words in text
    assert "insecure" not in text


def test_a_busy_day():
    tally = make_tally(insecure=["upstreams.lab.insecure_http", "rules[2].require"])
    for verdict in ("accepted", "accepted", "refused", "undetermined"):
        tally.judged("ours", verdict)
    tally.judged("rest", "insecure_unverified")
    tally.judged("unknown", "accepted")
    tally.upstream_request("ghcr.io", "manifest", "unavailable", NOW - timedelta(seconds=61))
    tally.upstream_request("evil.example", "manifest", "ok", NOW)
    for number in range(30, 0, -1):
        tally.recent.add(refusal(number))
    snapshot = tally.snapshot(NOW)
    assert snapshot.rules[0].verdicts == {"accepted": 2, "refused": 1, "undetermined": 1}
    page = render_status(snapshot)
    text = text_of(page)
    for words in (
        "up 3 h 5 min",
        "2 insecure settings: each gives up a protection.",
        "ours enforce 2 1 1 0",
        "rest warn 0 0 0 1",
        "ghcr.io manifest unavailable 1 min 1 s ago",
        "1 min 0 s ago id1 ghcr.io/org/app:v1 not signed 10.0.0.7",
    ):
        assert words in text
    assert "<strong><code>upstreams.lab.insecure_http</code></strong>" in page
    assert text.count("not signed") == REFUSALS_MAX
    assert "evil.example" not in text


def test_what_comes_from_outside_is_escaped():
    page = render_status(Snapshot("1", NOW, NOW, refusals=[refusal(0, '<script>alert("1")</script>')]))
    assert "<script" not in page
    assert '<script>alert("1")</script>' in text_of(page)


def test_loads_nothing_and_follows_the_readers_colours():
    page = render_status(make_tally().snapshot(NOW))
    assert not re.search(r"(?:src|https?:|url\(|@import|\son\w+=)", page)
    assert "prefers-color-scheme: dark" in page


def test_a_snapshot_does_not_change():
    tally = make_tally()
    snapshot = tally.snapshot(NOW)
    tally.judged("ours", "accepted")
    tally.recent.add(refusal(1))
    assert (snapshot.rules[0].verdicts, snapshot.refusals) == ({}, ())


def test_recent_keeps_the_newest_first():
    recent = Recent(2)
    for number in range(4):
        recent.add(refusal(number))
    assert [it.id for it in recent.entries()] == ["id3", "id2"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3600, "1 h 0 min"), (86400 * 9 + 7200, "9 d 2 h")],
)
def test_lengths(seconds, words):
    assert _length(timedelta(seconds=seconds)) == words
