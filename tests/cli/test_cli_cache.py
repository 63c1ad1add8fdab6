"""`sealgate cache`: what is kept, told and tidied."""

import asyncio
import json
import os
import pwd
import sys

import pytest
from support.content import Told

from proxy.app import open_content
from proxy.cli import main as cli
from proxy.config import load
from proxy.oci.digest import Digest

BLOBS = [b"one", b"two" * 1000, b"three"]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "sealgate.toml"
    path.write_text('[server]\nstate_dir = "state"\n[[rules]]\nname = "all"\nimages = ["**"]\nrequire = "refuse"\n')
    (tmp_path / "state").mkdir()
    with open_content(load(path), Told()) as store:
        asyncio.run(fill(store))
    return path


async def fill(store):
    for blob in BLOBS:
        incoming = await store.begin(Digest.of(blob), len(blob))
        await incoming.write(blob)
        await incoming.finish()


@pytest.fixture
def run(config, capsys):
    def run(*arguments):
        code = cli.run(["cache", *arguments, "--config", str(config)])
        out, err = capsys.readouterr()
        assert err == ""
        return code, out

    return run


def spoil(config, blob):
    (found,) = (path for path in (config.parent / "state").rglob(Digest.of(blob).hex))
    found.chmod(0o600)
    found.write_bytes(b"x" * len(blob))


def test_how_much(run):
    assert run("stats") == (0, "3 files, 3.0 kB of 10.7 GB\n")
    assert json.loads(run("stats", "--json")[1]) == {"files": 3, "bytes": 3008, "bytes_max": 10 * 2**30}


def test_what(run):
    code, out = run("ls")
    assert code == 0
    assert {line.split()[0] for line in out.splitlines()} == {str(Digest.of(blob)) for blob in BLOBS}
    assert {one["size"] for one in json.loads(run("ls", "--json")[1])} == {3, 3000, 5}
    assert len(run("ls", "-n", "2")[1].splitlines()) == 2
    assert run("prune", "--all")[0] == 0
    assert run("ls") == (0, "")
    assert run("ls", "--json") == (0, "[]\n")


def test_what_was_used_last_comes_first(run, config):
    for number, blob in enumerate(BLOBS):
        (path,) = (config.parent / "state").rglob(Digest.of(blob).hex)
        os.utime(path, (number * 86400, number * 86400))
    for arguments in ((), ("-n", "3")):
        lines = run("ls", *arguments)[1].splitlines()
        assert lines == [
            f"{Digest.of(blob)}  {size:>10}  1970-01-0{day} 00:00"
            for blob, size, day in ((BLOBS[2], "5 bytes", 3), (BLOBS[1], "3.0 kB", 2), (BLOBS[0], "3 bytes", 1))
        ]


def test_a_cache_that_is_off(run, config):
    config.write_text(config.read_text() + "[cache]\nsize = 0\n")
    assert run("stats") == (0, "3 files, 3.0 kB; the cache is off ([cache] size = 0)\n")
    assert run("prune") == (0, "3 files removed, 0 left, 0 bytes\n")


def fails(capsys, config, *arguments):
    code = cli.run(["cache", *arguments, "--config", str(config)])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    return err


@pytest.mark.parametrize("command", ["stats", "ls", "verify", "prune"])
def test_where_nothing_is_kept_nothing_is_made(config, capsys, command):
    config.write_text(config.read_text().replace('"state"', '"elsewhere"'))
    err = fails(capsys, config, command)
    assert f"sealgate: error: nothing is kept: there is no {config.parent}/elsewhere/content\n" in err
    assert "--config names another configuration" in err
    assert not (config.parent / "elsewhere").exists()


@pytest.mark.parametrize("command", [("stats",), ("ls",), ("verify",), ("prune",), ("warm", "docker.io/team/app:1")])
def test_the_state_of_another_user(config, capsys, monkeypatch, command):
    """What root writes into the state of a Sealgate that runs as another user, that one cannot read."""
    owner = pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr("os.geteuid", lambda: 987654)
    err = fails(capsys, config, *command)
    assert f" belongs to {'root' if os.getuid() == 0 else f'user {owner}'}, " in err
    assert "chown -R 987654: " in err


def test_what_a_command_makes_is_private(config, capsys):
    before = os.umask(0)
    try:
        (config.parent / "state" / "content").chmod(0o700)
        assert cli.run(["cache", "stats", "--config", str(config)]) == 0
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    found = [config.parent / "state", *(config.parent / "state").rglob("*")]
    assert [it for it in found if it.stat().st_mode & 0o022] == []


def test_whether_it_is_right(run, config):
    assert run("verify") == (0, "3 files looked at, 0 wrong\n")
    spoil(config, BLOBS[0])
    code, out = run("verify")
    assert (code, out) == (1, f"removed {Digest.of(BLOBS[0])}\n3 files looked at, 1 wrong\n")
    spoil(config, BLOBS[1])
    code, out = run("verify", "--json")
    assert (code, json.loads(out)) == (1, {"files": 2, "removed": [str(Digest.of(BLOBS[1]))]})


def test_less_of_it(run):
    assert run("prune") == (0, "0 files removed, 3 left, 3.0 kB\n")
    assert run("prune", "--all") == (0, "3 files removed, 0 left, 0 bytes\n")
    assert json.loads(run("prune", "--all", "--json")[1]) == {"removed": 0, "files": 0, "bytes": 0}


def test_a_disk_that_fails(config, capsys, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("proxy.stores.content_folder.ContentFolder.open", fail)
    assert cli.run(["cache", "verify", "--config", str(config)]) == 3
    out, err = capsys.readouterr()
    assert out == "3 files looked at, 0 wrong\n"
    assert err.startswith("sealgate: OSError: [Errno 5] Input/output error\n")
    assert err.endswith("sealgate: not all of it could be read: see to the disk\n")


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [(("verify",), "reading"), (("prune", "--all"), "removing"), (("prune",), "removing"), (("stats",), "counting")],
)
def test_on_a_terminal_it_says_how_far_it_is(config, capsys, monkeypatch, arguments, shown):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert cli.run(["cache", *arguments, "--config", str(config)]) == 0
    out, err = capsys.readouterr()
    assert shown in err
    assert shown not in out


def test_a_folder_that_cannot_be_used(config, capsys):
    content_folder = config.parent / "state" / "content"
    for path in sorted(content_folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    content_folder.rmdir()
    content_folder.write_text("no folder")
    assert cli.run(["cache", "stats", "--config", str(config)]) == 2
    assert "sealgate: error: " in capsys.readouterr().err
