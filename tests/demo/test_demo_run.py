"""The demonstration as `make demo ARGS=--once` runs it, in this process; the machine's own clients are played."""

import asyncio
import json
import logging
import os
import signal
import socket

import pytest
import structlog

from proxy.cli import demo
from proxy.cli import main as cli
from proxy.demo import machine, run
from proxy.demo.clients import Pull, Style
from proxy.demo.examples import examples

CLEAR = {one.name: one for one in examples()}
GOOD, BAD = CLEAR["demo/signed:1"], CLEAR["demo/unsigned:1"]


@pytest.fixture(autouse=True)
def logging_as_before():
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def played(monkeypatch):
    """Put one client on the machine that behaves as this function says, given the image's name."""

    def put(behaves):
        async def pull(place, image):
            assert place.folder.is_dir()
            return behaves(image)

        monkeypatch.setattr(machine, "CLIENTS", (machine.Client("tester", ("sh",), needs_root=False, pull=pull),))
        monkeypatch.setattr(machine, "_is_root", lambda: False)

    put(lambda image: Pull(None, "sealgate: refused") if "signed:1" not in image or "un" in image else Pull("sha256:1"))
    return put


def test_once_all_is_as_expected(monkeypatch, capsys):
    monkeypatch.setattr(machine, "CLIENTS", ())
    assert cli.run(["demo", "--once"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "16 of 16 pulls as expected" in out
    for text in (GOOD.repository, BAD.repository, *Style, "release", "nobody trusted", "not signed (id "):
        assert text in out
    assert "UNEXPECTED" not in out
    assert "try it" not in out


def test_once_one_bad_outcome_is_enough(played, capsys):
    played(lambda _: Pull("sha256:1"))
    assert cli.run(["demo", "--once"]) == 1
    out, _ = capsys.readouterr()
    assert "18 of 20 pulls as expected" in out
    assert "unexpected: tester, demo/unsigned:1: sha256:1" in out
    assert "tester itself" in out


def test_a_client_that_cannot_pull_at_all_is_left_out(played, capsys):
    played(lambda _: Pull(None, "no namespaces here"))
    assert cli.run(["demo", "--once"]) == 0
    out, err = capsys.readouterr()
    assert "16 of 16 pulls as expected" in out
    assert err == "sealgate: tester is here, but cannot be run apart from its state: left out\n"


@pytest.mark.usefixtures("played")
def test_what_a_client_itself_said_stands_for_what_it_would_say(monkeypatch, capsys):
    monkeypatch.setitem(demo._PLAYED, "tester", Style.DOCKER)
    assert cli.run(["demo", "--once"]) == 1
    out, _ = capsys.readouterr()
    assert "tester: sealgate: refused" in out
    assert "docker mirror: " not in out


def test_it_stands_until_it_is_told_to_end(monkeypatch, capsys):
    monkeypatch.setattr(machine, "CLIENTS", ())
    shown = demo._to_try

    def show_and_interrupt(on, program, log):
        assert {json.loads(line)["event"] for line in log.read_text().splitlines()} >= {"verdict", "refused_pull"}
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        return shown(on, program, log)

    monkeypatch.setattr(demo, "_to_try", show_and_interrupt)
    assert cli.run(["demo"]) == 0
    out, _ = capsys.readouterr()
    for text in ("docker pull 127.0.0.1:", "/metrics", "verify docker.io/demo/stranger:1 --config", "Ctrl-C"):
        assert text in out


def test_told_to_end_early_it_ends_tidily(monkeypatch, capsys):
    async def ends(_on):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    monkeypatch.setattr(demo, "_pull_all", ends)
    assert cli.run(["demo", "--once"]) == 143
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("example", "pull", "as_expected"),
    [
        (GOOD, Pull("sha256:1"), True),
        (GOOD, Pull(None, "sealgate: refused"), False),
        (BAD, Pull("sha256:1"), False),
        (BAD, Pull(None, "sealgate: refused"), True),
        (BAD, Pull(None, "connection refused"), False),
    ],
)
def test_what_is_expected(example, pull, as_expected):
    assert run.Outcome("client", example, pull).as_expected is as_expected


def test_a_port_that_is_taken_is_not_taken_twice():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run._port(port) == 0
    assert run._port(port) == port
