"""The egress rule that `sealgate client-config` prints, loaded by the real nft in a network namespace of its own.

A second namespace, behind a veth pair, stands for the registries: it listens on the ports of the rule. Its addresses
are those of RFC 5737, which are never routed.
"""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from e2e import sandbox
from e2e.packages import MissingError, Toolbox, toolbox

from proxy.cli.clients import Endpoint, egress_rule

_PROGRAMS = {"nft": "nftables", "ip": "iproute2"}
_SCRIPT = """\
set -e
mount -t tmpfs run /run
ip link set lo up
ip netns add registries
ip link add node type veth peer name registry netns registries
ip addr add 198.51.100.1/24 dev node
ip link set node up
ip -n registries addr add 198.51.100.2/24 dev registry
ip -n registries link set registry up
mount --bind passwd /etc/passwd
nft -f rule
nft -f rule
ip netns exec registries "$PYTHON" listen.py &
read -r _ < listening
"$PYTHON" connect.py
"""
_LISTEN = """\
import signal, socket
sockets = [socket.create_server(("198.51.100.2", port)) for port in (80, 443, 5000)]
open("listening", "w").write("yes\\n")
signal.pause()
"""
_CONNECT = """\
import json, os, socket
def reached(port):
    try:
        socket.create_connection(("198.51.100.2", port), timeout=30).close()
    except ConnectionRefusedError:
        return False
    return True
found = {}
for uid in (0, 990, 65534):
    os.seteuid(0)
    os.seteuid(uid)
    found[uid] = [reached(port) for port in (80, 443, 5000)]
print(json.dumps(found))
"""
_USERS = "root:x:0:0::/root:/bin/sh\nsealgate:x:990:990::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n"


@pytest.fixture(scope="module")
def tools() -> Toolbox:
    give_up = pytest.fail if os.environ.get("CI") else pytest.skip
    try:
        sandbox.check_namespaces()
        return toolbox(_PROGRAMS)
    except MissingError as err:
        give_up(f"the egress rule cannot be loaded: {err}")


def test_the_user_of_a_sealgate_on_this_node_gets_out_and_nobody_else(tools: Toolbox, tmp_path: Path) -> None:
    for name, content in (
        ("rule", textwrap.dedent(_ruleset("http://127.0.0.1:5000"))),
        ("listen.py", _LISTEN),
        ("connect.py", _CONNECT),
        ("passwd", _USERS),
    ):
        (tmp_path / name).write_text(content)
    os.mkfifo(tmp_path / "listening")
    done = subprocess.run(  # noqa: S603 (a script of this test)
        ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _SCRIPT],  # noqa: S607
        cwd=tmp_path,
        env={**tools.environment(), "PYTHON": os.path.realpath(sys.executable)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"990": [True] * 3, "0": [False] * 3, "65534": [False] * 3}, done.stderr


def _ruleset(endpoint: str) -> str:
    """Return the indented part of what is printed: what a reader saves as a file."""
    lines = egress_rule(Endpoint.parse(endpoint)).splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith("    "))
