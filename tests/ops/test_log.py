"""The log is JSON lines, and credentials do not get through."""

import io
import json
import logging
import os
import re
import socket
import subprocess
import sys
import time

import pytest
import structlog

from proxy.ops.lines import SCHEMA
from proxy.ops.log import LEVELS, REDACTED, configure


@pytest.fixture
def stream():
    """Configure logging into a text, and put everything back."""
    root, level, handlers = logging.root, logging.root.level, logging.root.handlers[:]
    text = io.StringIO()
    configure("info", text)
    yield text
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_json_object_a_line(stream):
    structlog.get_logger("proxy.ops").info("started", port=5000, part=["a", {"b": None, "c": True}])
    structlog.get_logger("proxy.ops").debug("left out")
    (line,) = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.]\d{6})?Z", line.pop("time"))
    assert line == {
        "schema": SCHEMA,
        "host": socket.gethostname(),
        "instance": "",
        "event": "started",
        "level": "info",
        "logger": "proxy.ops",
        "port": 5000,
        "part": ["a", {"b": None, "c": True}],
    }


def test_libraries_log_the_same_way_with_their_tracebacks(stream):
    try:
        int("https://user:hunter2@example.org")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling %s", "request")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == ("Error handling request", "error", "aiohttp.server")
    assert "ValueError" in line["exception"]
    assert "hunter2" not in stream.getvalue()


SECRET = "c2VjcmV0OnNlY3JldA=="  # noqa: S105 (what must not be seen)


@pytest.mark.parametrize(
    "fields",
    [
        {"authorization": SECRET},
        {"Authorization": f"Basic {SECRET}"},
        {"proxy_authorisation": SECRET},
        {"password": SECRET},
        {"passwd": SECRET},
        {"refresh_token": SECRET},
        {"client_secret": SECRET},
        {"Set-Cookie": SECRET},
        {"credentials": {"user": SECRET}},
        {"api-key": [SECRET]},
        {"headers": {"WWW-Authenticate": "Bearer", "X-Auth-Token": SECRET}},
        {"request": [{"headers": [f"Bearer {SECRET}"]}]},
        {"cause": f"401 for basic {SECRET} at x"},
        {"url": f"https://user:{SECRET}@ghcr.io/v2/"},
        {"url": f"https://s3.example.org/blob?X-Amz-Date=1&X-Amz-Signature={SECRET}"},
        {"url": f"https://x.blob.core.windows.net/b?se=1&sig={SECRET}"},
        {"url": f"https://cloudflare.example.org/b?verify={SECRET}"},
        {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": SECRET}}}}}}}}},
        {"object": type("Odd", (), {"__str__": lambda _: f"Bearer {SECRET}"})()},
    ],
    ids=str,
)
def test_credentials_are_taken_out(stream, fields):
    structlog.get_logger("proxy.ops").warning("something", **fields)
    assert SECRET not in stream.getvalue()
    assert REDACTED in stream.getvalue()
    assert lines(stream)[0]["event"] == "something"


@pytest.mark.parametrize(
    "part",
    [
        "x",
        "&",
        "?x",
        "&x=",
        "&token",
        "://",
        "://x",
        "basic ",
        "basic\t",
        "bearer x",
        "bearerbearer ",
        "token=",
        "@",
        " ",
    ],
)
def test_long_texts_take_no_longer_than_they_are_long(stream, part):
    """A million characters: with a search that begins anew at each of them this test would not end in its time."""
    structlog.get_logger("proxy.ops").warning("something", path="://" + part * (1_000_000 // len(part)))
    assert lines(stream)[0]["event"] == "something"


def test_what_is_no_credential_stays(stream):
    structlog.get_logger("proxy.ops").info(
        "refused", signature="sha256-0.sig", image="ghcr.io/org/basic:v1", key="release"
    )
    (line,) = lines(stream)
    assert (line["signature"], line["image"], line["key"]) == ("sha256-0.sig", "ghcr.io/org/basic:v1", "release")


def test_levels():
    with pytest.raises(ValueError, match="log level 'loud' is none of debug, info, warning, error"):
        configure("loud")
    assert LEVELS == ("debug", "info", "warning", "error")


def test_long_lines_of_several_processes_stay_whole(tmp_path):
    """On a pipe whose reader is slow, which keeps only 4096 bytes together."""
    program = (
        "import sys; from pathlib import Path; from proxy.ops import log; log.share(Path(sys.argv[1]))\n"
        "for _ in range(50): print(sys.argv[2] * 20_000, file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "lock")]
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as said:
        writers = [subprocess.Popen([*command, it], stderr=writing) for it in "abc"]  # noqa: S603 (our own arguments)
        os.close(writing)
        lines = []
        while line := said.readline():
            lines.append(line.rstrip())
            time.sleep(0.001)
    assert [one.wait() for one in writers] == [0, 0, 0]
    assert sorted(lines) == [it * 20_000 for it in (b"a", b"b", b"c") for _ in range(50)]
