"""Priorities for systemd's journal, and for nothing else."""

import io
import json
import logging
import os

import pytest
import structlog
from support.ops import AWAY, REFUSED
from support.stores import NOW

from proxy.ops import log
from proxy.ops.audit import Audit
from proxy.ops.journal import is_journal, priority


@pytest.fixture
def stream(tmp_path):
    with (tmp_path / "stream").open("w+", encoding="utf-8") as file:
        yield file
    structlog.reset_defaults()
    logging.basicConfig(handlers=[], force=True)


def lines(stream):
    stream.flush()
    stream.seek(0)
    return stream.read().splitlines()


def name_of(stream, *, device=0, inode=0):
    status = os.fstat(stream.fileno())
    return f"{status.st_dev + device}:{status.st_ino + inode}"


def test_the_journal_is_known_by_device_and_inode(stream, monkeypatch):
    monkeypatch.setenv("JOURNAL_STREAM", name_of(stream))
    assert is_journal(stream)
    assert not is_journal(None)
    assert not is_journal(io.StringIO())
    for other in ("", "8", "8:", ":8", "a:b", "-1:2", name_of(stream, inode=1), name_of(stream, device=1)):
        monkeypatch.setenv("JOURNAL_STREAM", other)
        assert not is_journal(stream)
    monkeypatch.delenv("JOURNAL_STREAM")
    assert not is_journal(stream)


@pytest.mark.parametrize(
    ("level", "expected"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2), (1, 7)],
)
def test_priorities(level, expected):
    assert priority(level) == f"<{expected}>"


@pytest.mark.parametrize("journal", [True, False])
def test_the_log_has_them_under_systemd(stream, monkeypatch, journal):
    monkeypatch.setenv("JOURNAL_STREAM", name_of(stream) if journal else "1:1")
    log.configure("debug", stream)
    for level in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger("x"), level)("two\nlines")
    logging.getLogger("library").error("not ours")
    found = lines(stream)
    begins = ["<7>", "<6>", "<4>", "<3>", "<3>"] if journal else [""] * 5
    assert [line[: line.index("{")] for line in found] == begins
    assert all(json.loads(line[line.index("{") :])["event"] for line in found)


@pytest.mark.parametrize("journal", [True, False])
def test_audit_lines_have_them_under_systemd(stream, monkeypatch, journal):
    monkeypatch.setenv("JOURNAL_STREAM", name_of(stream) if journal else "")
    monkeypatch.setattr("sys.stderr", stream)
    audit = Audit.open(None, pytest.fail)
    for one in (REFUSED, AWAY):
        audit.verdict(one, time=NOW, client="")
    audit.close()
    for line in lines(stream):  # each says that something did not go well
        assert line.startswith("<4>{" if journal else "{")


@pytest.mark.parametrize("journal", [True, False])
def test_a_file_never_has_them(tmp_path, stream, monkeypatch, journal):
    path = tmp_path / "audit.jsonl"
    path.touch()
    status = path.stat()
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}" if journal else "")
    audit = Audit.open(path, pytest.fail)
    audit.verdict(REFUSED, time=NOW, client="")
    audit.close()
    assert path.read_text().startswith("{")
