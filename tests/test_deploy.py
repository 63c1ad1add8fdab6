"""What is shipped for systemd is understood by systemd, and starts what there is."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.app.supervisor import BEAT_SECONDS

UNITS = Path(__file__).parents[1] / "deploy" / "systemd"
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
