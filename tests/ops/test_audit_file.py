"""The audit log's file: its mode, who makes it, and lines that are whole."""

import errno
import logging
import os
import stat

import pytest

from proxy.ops import audit_file as module
from proxy.ops.audit_file import AuditFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def opened(path):
    made = []

    def make(where=path):
        made.append(AuditFile(where))
        made[-1].failed = []
        made[-1].handleError = made[-1].failed.append
        return made[-1]

    yield make
    for one in made:
        one.close()
        one.close()


def write(handler, text):
    handler.handle(logging.makeLogRecord({"msg": text}))


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_is_for_a_group_whatever_the_umask(path, opened, umask):
    opened()
    assert mode(path) == 0o640


def test_the_next_file_is_as_the_one_before(path, opened, umask):
    handler = opened()
    for wanted in (0o640, 0o600, 0o644, 0o660):
        path.chmod(wanted)
        path.rename(path.with_suffix(".old"))
        write(handler, "x")
        assert mode(path) == wanted
    path.chmod(0o666)
    path.rename(path.with_suffix(".old"))
    write(handler, "x")
    assert mode(path) == 0o664
    assert handler.failed == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to a group that it is not in")
def test_the_next_file_is_of_the_same_group(path, opened):
    handler = opened()
    os.chown(path, -1, 987_001)
    path.rename(path.with_suffix(".old"))
    write(handler, "x")
    assert path.stat().st_gid == 987_001


def test_a_file_that_another_program_makes_keeps_its_mode(path, opened, umask):
    handler = opened()
    path.rename(path.with_suffix(".old"))
    path.touch()
    path.chmod(0o600)
    write(handler, "x")
    assert (mode(path), path.read_text()) == (0o600, "x\n")


def test_workers_append_to_one_file(path, opened):
    one, other = opened(), opened()
    for number in range(3):
        write(one, f"a{number}")
        write(other, f"b{number}")
        if number == 1:
            path.rename(path.with_suffix(".old"))
    assert path.with_suffix(".old").read_text() == "a0\nb0\na1\nb1\n"
    assert path.read_text() == "a2\nb2\n"


def test_a_link_leads_to_a_file_that_is_not_there_yet(path, opened, tmp_path):
    path.symlink_to(tmp_path / "elsewhere")
    write(opened(), "x")
    assert (tmp_path / "elsewhere").read_text() == "x\n"


def test_where_none_can_be_made_the_line_is_lost_and_the_next_is_not(path, opened, tmp_path):
    (tmp_path / "logs").mkdir()
    handler = opened(tmp_path / "logs" / "audit.jsonl")
    (tmp_path / "logs").rename(tmp_path / "gone")
    write(handler, "x")
    assert len(handler.failed) == 1
    (tmp_path / "gone").rename(tmp_path / "logs")
    write(handler, "y")
    assert (tmp_path / "logs" / "audit.jsonl").read_text() == "y\n"


def test_a_disk_that_fills_amid_a_line_spoils_no_other(path, opened, monkeypatch):
    handler, room, real = opened(), [3], os.write

    def limited(file, content):
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = real(file, content[: room[0]])
        room[0] -= count
        return count

    monkeypatch.setattr(module.os, "write", limited)
    write(handler, "first line")
    write(handler, "second line")
    assert len(handler.failed) == 2
    room[0] = 1000
    write(handler, "third line")
    assert path.read_text() == "fir\nthird line\n"
