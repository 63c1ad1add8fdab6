"""`client-config --write`: what a node has is kept, each file is written in one step, one failure stops no other."""

import json
import os
from pathlib import Path

import pytest

from proxy.cli import main as cli
from proxy.cli.clients import Client, Endpoint, setups
from proxy.cli.install import BACKUP_SUFFIX, write

ENDPOINT = Endpoint.parse("http://127.0.0.1:5000")
MIRRORS = {"registry-mirrors": ["http://127.0.0.1:5000"]}
HOSTS = "etc/docker/certs.d/_default/hosts.toml"


@pytest.fixture
def node(tmp_path):
    (tmp_path / "etc/docker").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def daemon_json(node):
    return node / "etc/docker/daemon.json"


def install(node, client=Client.DOCKER):
    return write(node, [file for setup in setups(client, ENDPOINT, ("docker.io",)) for file in setup.files])


def backups(node):
    return sorted(path for path in node.rglob("*") if BACKUP_SUFFIX in path.name)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, MIRRORS),
        ({"log-driver": "journald"}, {"log-driver": "journald"} | MIRRORS),
        ({"registry-mirrors": ["https://mirror.example"], "debug": True}, MIRRORS | {"debug": True}),
        ({"features": {"containerd-snapshotter": True}, "dns": ["192.0.2.1"]}, None),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_the_other_keys_of_a_daemon_json_stay(node, daemon_json, before, after, encoding):
    daemon_json.write_text(json.dumps(before), encoding=encoding)
    old = daemon_json.read_bytes()
    _, failed = install(node)
    assert failed == []
    assert json.loads(daemon_json.read_text()) == (after or before | MIRRORS)
    assert [path.read_bytes() for path in backups(node)] == [old]


def test_an_empty_daemon_json_is_none(node, daemon_json):
    daemon_json.write_text("\n")
    assert install(node)[1] == []
    assert json.loads(daemon_json.read_text()) == MIRRORS


def test_a_daemon_json_that_says_so_already_stays_to_the_letter(node, daemon_json):
    text = '{"registry-mirrors":["http://127.0.0.1:5000"],\t"debug": true}'
    daemon_json.write_text(text)
    assert install(node)[1] == []
    assert daemon_json.read_text() == text
    assert backups(node) == []


@pytest.mark.parametrize("text", ["not json", "[]", '{"debug": true, "debug": false}', '{"debug": true} {}'])
def test_a_daemon_json_that_cannot_be_merged_stays_and_the_sealed_files_are_written(node, daemon_json, text):
    daemon_json.write_text(text)
    written, failed = install(node)
    assert daemon_json.read_text() == text
    assert node / HOSTS in [one.path for one in written]
    assert (node / HOSTS).is_file()
    (error,) = failed
    assert str(daemon_json) in str(error)
    assert error.hint.startswith("put this into it by hand:\n")
    assert json.loads(error.hint.partition("\n")[2]) == MIRRORS


def test_a_symbolic_link_is_left_to_its_owner(node, daemon_json, tmp_path):
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text("{}")
    daemon_json.symlink_to(elsewhere)
    _, failed = install(node)
    assert "is a symbolic link" in str(failed[0])
    assert elsewhere.read_text() == "{}"


def test_a_folder_in_the_place_of_a_file_is_an_error_of_that_file(node, daemon_json):
    daemon_json.mkdir()
    written, failed = install(node)
    assert written
    assert "daemon.json was not written: is a directory" in str(failed[0])


def test_each_content_that_was_replaced_is_kept(node):
    hosts = node / HOSTS
    install(node)
    for text in ("one", "two"):
        hosts.write_text(text)
        written, _ = install(node)
        (replaced,) = (one for one in written if one.backup)
        assert (replaced.path, replaced.backup.read_text()) == (hosts, text)
    assert [path.read_text() for path in backups(node)] == ["one", "two"]


def test_owner_and_mode_stay_and_a_new_file_can_be_read_by_all(node, daemon_json):
    daemon_json.write_text("{}")
    daemon_json.chmod(0o640)
    before = os.umask(0o077)
    try:
        install(node)
    finally:
        os.umask(before)
    assert daemon_json.stat().st_mode & 0o777 == 0o640
    assert (node / HOSTS).stat().st_mode & 0o777 == 0o644


def test_a_write_that_fails_leaves_what_was_there_and_nothing_beside_it(node, daemon_json, monkeypatch):
    daemon_json.write_text("{}")
    monkeypatch.setattr(Path, "replace", _full)
    _, failed = install(node)
    assert "no space left on device" in str(failed[-1])
    assert daemon_json.read_text() == "{}"
    assert list(node.rglob(".sealgate-*")) == []


def _full(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("client", Client)
def test_the_same_again_changes_nothing(node, client):
    install(node, client)
    before = {path: path.read_bytes() for path in node.rglob("*") if path.is_file()}
    assert install(node, client)[1] == []
    assert {path: path.read_bytes() for path in node.rglob("*") if path.is_file()} == before


def test_the_command_names_what_it_kept_and_what_it_could_not_write(capsys, node, daemon_json):
    def run(*arguments):
        return cli.run([str(one) for one in arguments]), *capsys.readouterr()

    call = ["client-config", "docker", "--endpoint", "http://127.0.0.1:5000", "--write", node]
    daemon_json.write_text('{"debug": true}')
    code, _, err = run(*call)
    assert code == 0
    assert f"sealgate: wrote {daemon_json}, what was there is now {daemon_json}{BACKUP_SUFFIX}" in err
    daemon_json.write_text("nonsense")
    code, _, err = run(*call)
    assert code == 2
    assert f"sealgate: wrote {node / HOSTS}" in err
    assert f"sealgate: error: {daemon_json} was not written: what is there is not strict JSON" in err
    assert '"registry-mirrors"' in err
