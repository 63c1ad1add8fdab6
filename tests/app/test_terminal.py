"""A `sealgate serve` that was started on a terminal ends with it, and leaves nothing running or lying about."""

import os
import pty
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from support.whole import configuration


def started(config: Path) -> tuple[int, int]:
    """Start it on a terminal of its own; return the process and our end of the terminal, once it serves."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-m", "proxy", "serve", "--config", str(config)])  # noqa: S606
    said = b""
    while b"sealgate: serving " not in said:
        said += os.read(terminal, 65536)
    return process, terminal


def workers_of(process: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_closed_terminal_ends_it(tmp_path, workers):
    process, terminal = started(configuration(tmp_path, "http://127.0.0.1:1", server=f"workers = {workers}"))
    children = workers_of(process)
    assert len(children) == workers
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert [one for one in children if Path(f"/proc/{one}").exists()] == []
    assert not (tmp_path / "state" / "run").exists()


def test_a_sighup_on_a_terminal_that_is_there_reads_the_configuration_again(tmp_path):
    process, terminal = started(configuration(tmp_path, "http://127.0.0.1:1"))
    os.kill(process, signal.SIGHUP)
    said = b""
    while b'"event": "reloaded"' not in said:
        said += os.read(terminal, 65536)
    os.kill(process, signal.SIGTERM)
    with suppress(OSError):  # EIO: nobody has the other end any more
        while os.read(terminal, 65536):
            pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
