"""What is shipped for systemd is understood by systemd, and starts what there is."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from proxy.app.supervisor import BEAT_SECONDS

UNITS = Path(__file__).parents[1] / "deploy" / "systemd"
EXAMPLE = (UNITS.parents[1] / "config.example.toml").read_text("utf-8")
COMMAND = "/opt/sealgate/bin/sealgate"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_the_units(tmp_path):
    for unit in UNITS.iterdir():
        (tmp_path / unit.name).write_text(unit.read_text().replace(COMMAND, sys.executable))
    command = ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (a fixed command)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_service_starts_sealgate_and_knows_its_signals():
    service = (UNITS / "sealgate.service").read_text()
    assert f"ExecStart={COMMAND} serve --config /etc/sealgate/config.toml\n" in service
    assert "Type=notify\n" in service
    reloads = [line for line in service.splitlines() if line.startswith("ExecReload=")]
    assert reloads == [
        f"ExecReload={COMMAND} check-config --config /etc/sealgate/config.toml",
        "ExecReload=/bin/kill -HUP $MAINPID",
    ]
    # Beats come every BEAT_SECONDS; systemd.service(5) asks for two within WatchdogSec.
    assert int(re.search(r"^WatchdogSec=(\d+)$", service, re.MULTILINE)[1]) >= 2 * BEAT_SECONDS


def settings(unit, key):
    return [line.partition("=")[2] for line in (UNITS / unit).read_text().splitlines() if line.startswith(f"{key}=")]


@pytest.mark.parametrize(
    ("key", "directory", "under"),
    [("state_dir", "StateDirectory", "/var/lib"), ("audit_log", "LogsDirectory", "/var/log")],
)
def test_what_the_example_writes_the_service_may_write(key, directory, under):
    """ProtectSystem=strict leaves nothing else; keys that are commented out are there to be used."""
    (path,) = re.findall(rf'^#? ?{key} = "([^"]*)"', EXAMPLE, re.MULTILINE)
    (name,) = settings("sealgate.service", directory)
    assert Path(path).is_relative_to(Path(under) / name)
    (mode,) = settings("sealgate.service", f"{directory}Mode")
    assert int(mode, 8) & 0o027 == 0


def test_the_socket_is_the_examples():
    assert settings("sealgate.socket", "ListenStream") == [tomllib.loads(EXAMPLE)["server"]["listen"]]
