"""The lines, and what becomes of them when the disk is full, slow or gone."""

import json
import logging
import os
import socket
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.ops import ACCEPTED, AWAY, DOCKER, LET_THROUGH, REFUSED, STALE, UNVERIFIED, decision
from support.stores import KEYLESS, LATER, NOW, PROVEN, accepted, digest, evidence, key, refused

from proxy.ops import audit as module
from proxy.ops.audit import CLAIMS_MAX, TEXT_MAX, Audit, is_written
from proxy.ops.lines import SCHEMA
from proxy.policy import plain
from proxy.verdict import Reason, Rejection

ORIGIN = {"schema": SCHEMA, "host": socket.gethostname(), "instance": "127.0.0.1:5001"}
COMMON = ORIGIN | {
    "time": "2026-11-21T12:00:00Z",
    "level": "info",
    "fault": None,
    "event": "verdict",
    "id": "k7f3",
    "image": "ghcr.io/org/app",
    "tag": "v1",
    "digest": str(digest(0)),
    "rule": "everything",
    "mode": "enforce",
    "on_outage": "refuse",
    "client": "10.0.0.7",
}
LINES = [
    (
        ACCEPTED,
        {
            "verdict": "accepted",
            "served": True,
            "reason": None,
            "explanation": "signed by release",
            "evidence": [
                {
                    "signer": "release",
                    "format": "cosign",
                    "trust": "sha256:00",
                    "signature": "sha256-0.sig",
                    "subject": None,
                    "issuer": None,
                    "signed_at": None,
                    "time_source": None,
                    "log_index": None,
                    "claims": [["team", "a"]],
                }
            ],
        },
    ),
    (
        REFUSED,
        {
            "level": "warning",
            "fault": "image",
            "verdict": "refused",
            "served": False,
            "reason": "not_signed",
            "explanation": "not signed",
            "rejections": [
                {"reason": "not_signed", "detail": "no signature", "signer": None, "signature": None, "proven": []}
            ],
        },
    ),
    (
        AWAY,
        {
            "level": "warning",
            "fault": "upstream",
            "verdict": "undetermined",
            "served": False,
            "reason": None,
            "explanation": "could not be verified now: ghcr.io: connection refused",
            "cause": "ghcr.io: connection refused",
        },
    ),
    (
        UNVERIFIED,
        {
            "verdict": "insecure_unverified",
            "served": True,
            "reason": None,
            "explanation": "not verified: the rule asks for no signature",
        },
    ),
]


def written(path):
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.mark.parametrize(("judged", "fields"), LINES, ids=["accepted", "refused", "undetermined", "unverified"])
def test_a_verdict_is_one_line(path, judged, fields):
    audit = Audit.open(path, pytest.fail, "127.0.0.1:5001")
    audit.verdict(judged, time=NOW, client="10.0.0.7")
    audit.close()
    assert written(path) == [COMMON | fields]


def test_who_signed_and_when_if_that_is_proven(path):
    audit = Audit.open(path, pytest.fail, "127.0.0.1:5001")
    audit.verdict(decision(accepted(key(), LATER, KEYLESS)), time=NOW, client="")
    audit.close()
    assert written(path)[0]["evidence"] == [
        {
            "signer": "release",
            "format": "cosign",
            "trust": "sha256:00",
            "signature": "sha256-0.sig",
            "subject": "someone@example.com",
            "issuer": "https://issuer.example",
            "signed_at": "2026-11-21T12:00:00Z",
            "time_source": "log rekor.example",
            "log_index": 7,
            "claims": [["source_repository_ref", "refs/heads/main"], ["team", "a"]],
        }
    ]


def test_whose_signature_did_not_count_if_that_is_proven(path):
    audit = Audit.open(path, pytest.fail, "127.0.0.1:5001")
    audit.verdict(decision(refused(key(), rejections=[PROVEN])), time=NOW, client="")
    audit.close()
    (rejected,) = written(path)[0]["rejections"]
    assert rejected["proven"] == [["subject", "someone@example.com"], ["issuer", "https://issuer.example"]]


def test_evidence_is_bounded_and_on_one_line_whatever_it_cites(path):
    long = "a\n\r\x1b\u2028\ud800" + "x" * 9999
    hostile = evidence(subject=long, issuer=long, time_source=long, claims=((long, long),) * 999)
    audit = Audit.open(path, pytest.fail, "127.0.0.1:5001")
    audit.verdict(decision(accepted(key(), proof=hostile)), time=NOW, client="")
    audit.close()
    ((signer,),) = (line["evidence"] for line in written(path))
    assert len(signer["claims"]) == CLAIMS_MAX
    texts = [signer["subject"], signer["issuer"], signer["time_source"], *signer["claims"][0]]
    assert {len(text) for text in texts} == {TEXT_MAX}


def test_an_outage_that_is_let_through_is_seen(path):
    audit = Audit.open(path, pytest.fail, "127.0.0.1:5001")
    audit.verdict(LET_THROUGH, time=NOW, client="")
    audit.close()
    assert (written(path)[0]["served"], written(path)[0]["on_outage"]) == (True, "insecure_allow")


def test_an_acceptance_that_stands_in_says_so(path):
    audit = Audit.open(path, pytest.fail, "127.0.0.1:5001")
    for one in (ACCEPTED, STALE):
        audit.verdict(one, time=NOW, client="")
    audit.close()
    accepted, stale = written(path)
    assert (
        stale["explanation"]
        == "accepted before, signed by release; cannot be verified again: ghcr.io: connection refused"
    )
    added = {
        "level": "warning",
        "fault": "upstream",
        "cause": "ghcr.io: connection refused",
        "stale_until": plain.moment(LATER),
    }
    assert stale == accepted | added | {"explanation": stale["explanation"]}


def test_every_reason_on_one_line_whatever_it_cites(path):
    hostile = [Rejection(it, "a\n\r\x1b\u2028\ud800" + "x" * 9999, proven=(("subject", "y" * 9999),)) for it in Reason]
    audit = Audit.open(path, pytest.fail, "127.0.0.1:5001")
    audit.verdict(decision(refused(key(), rejections=hostile)), time=NOW, client="")
    audit.close()
    (line,) = written(path)
    assert [it["reason"] for it in line["rejections"]] == [it.value for it in Reason]
    assert {len(it["detail"]) for it in line["rejections"]} == {TEXT_MAX}
    assert {len(it["proven"][0][1]) for it in line["rejections"]} == {TEXT_MAX}


@pytest.mark.parametrize(
    ("judged", "fields"),
    [
        (None, {}),
        (
            REFUSED,
            {
                "digest": str(digest(0)),
                "rule": "everything",
                "verdict": "refused",
                "mode": "enforce",
            },
        ),
    ],
)
def test_a_refused_pull_is_one_line(path, judged, fields):
    audit = Audit.open(path, pytest.fail, "127.0.0.1:5001")
    audit.refused_pull(
        judged,
        identifier="q1",
        time=NOW,
        image="ghcr.io/org/app:v1",
        reason="x",
        form="hold",
        client="10.0.0.7",
        user_agent=DOCKER + "\n",
    )
    audit.close()
    assert written(path) == [
        ORIGIN
        | {
            "time": "2026-11-21T12:00:00Z",
            "level": "warning",
            "event": "refused_pull",
            "id": "q1",
            "fault": "image",
            "image": "ghcr.io/org/app:v1",
            "reason": "x",
            "form": "hold",
            "client": "10.0.0.7",
            "user_agent": DOCKER + "?",
        }
        | fields
    ]


def test_a_pull_that_a_rule_refused_without_an_image_names_the_rule(path):
    audit = Audit.open(path, pytest.fail, "127.0.0.1:5001")
    audit.refused_pull(
        None, identifier="q1", time=NOW, image="x", reason="no_rule", rule="none", form="hold", client="", user_agent=""
    )
    audit.close()
    (line,) = written(path)
    assert (line["rule"], line["verdict"], line["mode"]) == ("none", "refused", "enforce")


def test_appends_and_follows_a_file_that_is_moved_away(path):
    for number in range(2):
        audit = Audit.open(path, pytest.fail, "127.0.0.1:5001")
        audit.verdict(ACCEPTED, time=NOW + timedelta(seconds=number), client="")
        audit.close()
    assert len(written(path)) == 2
    path.rename(path.with_suffix(".1"))
    audit = Audit.open(path, pytest.fail, "127.0.0.1:5001")
    path.rename(path.with_suffix(".2"))
    audit.verdict(ACCEPTED, time=NOW, client="")
    audit.close()
    assert len(written(path)) == 1


def test_without_a_path_to_standard_error(capsys):
    audit = Audit.open(None, pytest.fail)
    audit.verdict(REFUSED, time=NOW, client="")
    audit.close()
    assert json.loads(capsys.readouterr().err)["verdict"] == "refused"


def test_a_file_that_cannot_be_written_is_found_at_the_start(tmp_path):
    with pytest.raises(IsADirectoryError):
        Audit.open(tmp_path, pytest.fail)


class Handler(logging.Handler):
    """Waits until it may write, and then fails."""

    def __init__(self):
        super().__init__()
        self.go_on = threading.Event()
        self.full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 (closed in `close`)

    def emit(self, record):
        self.go_on.wait()
        try:
            os.write(self.full.fileno(), b"x")
        except OSError:
            self.handleError(record)

    def close(self):
        self.full.close()
        super().close()


def test_a_full_disk_is_counted_and_logged_and_stops_nothing():
    lost, handler = [], Handler()
    handler.go_on.set()
    with capture_logs() as logged:
        audit = Audit(handler, lambda: lost.append(1))
        audit.verdict(REFUSED, time=NOW, client="")
        audit.verdict(REFUSED, time=NOW, client="")
        audit.close()
    assert len(lost) == 2
    assert [(it["event"], "No space left" in it["cause"]) for it in logged] == [("audit line lost", True)] * 2


def test_a_slow_disk_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(module, "WAITING_MAX", 3)
    lost, handler = [], Handler()
    with capture_logs():
        audit = Audit(handler, lambda: lost.append(1))
        for _ in range(10):
            audit.verdict(REFUSED, time=NOW, client="")
        assert len(lost) >= 6
        handler.go_on.set()
        audit.close()
    assert len(lost) == 10


class Lines(logging.Handler):
    """Keeps what it is given."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(json.loads(record.getMessage()))


def test_a_line_that_is_lost_is_on_standard_error(capsys):
    """All of them; of the fault that lost them one line a second is logged."""
    lost, number = [], 20
    with capture_logs() as logged:
        audit = Audit.open(Path("/dev/full"), lambda: lost.append(1))
        written = [audit.verdict(one, time=NOW, client="10.0.0.7") for one in [ACCEPTED, REFUSED] * number]
        audit.close()
    assert [one.result() for one in written] == [False] * 2 * number
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["verdict"] for line in lines] == ["accepted", "refused"] * number
    assert len(lost) == 2 * number
    assert 1 <= len(logged) < number
    assert (logged[0]["event"], "No space left" in logged[0]["cause"]) == ("audit line lost", True)


async def test_whether_a_line_is_written_can_be_waited_for(path, monkeypatch):
    audit = Audit.open(path, pytest.fail)
    assert await is_written(audit.verdict(ACCEPTED, time=NOW, client=""))
    assert len(written(path)) == 1
    audit.close()
    with capture_logs():
        full, handler = Audit.open(Path("/dev/full"), lambda: None), Handler()
        assert not await is_written(full.verdict(ACCEPTED, time=NOW, client=""))
        full.close()
        monkeypatch.setattr(module, "RECORD_SECONDS", 0.01)
        slow = Audit(handler, lambda: None)
        line = slow.verdict(ACCEPTED, time=NOW, client="")
        assert not await is_written(line)
        handler.go_on.set()
        slow.close()


async def test_a_line_that_finds_no_place_is_not_written(monkeypatch):
    monkeypatch.setattr(module, "WAITING_MAX", 1)
    handler, spare = Handler(), Lines()
    with capture_logs():
        audit = Audit(handler, lambda: None, spare=spare)
        lines = [audit.verdict(REFUSED, time=NOW, client="") for _ in range(10)]
        assert not await is_written(lines[-1])
        handler.go_on.set()
        audit.close()
    assert len(spare.lines) == 10
