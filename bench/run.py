"""`make bench`: Sealgate beside its peers, in one run on one machine.

Programs of Debian's, in a network namespace of our own; everything that is started is ended. Prints a table; with
`ARGS="--write DATE"` it also writes RESULTS.md, in which DATE stands, the pictures in docs/img and the figures in
docs/performance.md. A part that cannot be measured here is left out, and the report says so.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import verify
from bench_report import Row, Run, report, table
from blobs import blobs, cold_blobs
from common import HERE, LOOPBACK, Bench
from e2e import lab, sandbox
from e2e.packages import MissingError, Toolbox, toolbox
from figures import draw
from first_pulls import cold_pulls
from growth import growth
from manifests import warm_manifests
from pulls import docker_pulls
from registries import distribution
from tls import tls_blobs
from workers import workers

from proxy.demo.signing import SigningKey

PROGRAMS = {"docker-registry": "docker-registry", "nginx": "nginx-light", "wrk": "wrk"}
_REGISTRY = (LOOPBACK, 5055)

Part = Callable[[Bench, str], Iterator[Row]]
# What is measured, in this order; each is given the URL of a registry to put images into.
PARTS: dict[str, Part] = {
    "warm": warm_manifests,
    "workers": workers,
    "cold": cold_pulls,
    "blobs": lambda bench, _: blobs(bench),
    "first-blobs": lambda bench, _: cold_blobs(bench),
    "tls": lambda bench, _: tls_blobs(bench),
    "docker": docker_pulls,
    "growth": growth,
    "verify": lambda bench, _: verify.verify(bench),
}


def main() -> None:
    """Read the command line, measure, report; exit code 1 where something went wrong, but the rest was measured."""
    parser = argparse.ArgumentParser(description="Measure Sealgate beside its peers.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--seconds", type=int, default=2, help="how long wrk measures each time (default 2)")
    parser.add_argument("--only", choices=list(PARTS), action="append", help="one part only; again for one more")
    parser.add_argument("--write", metavar="DATE", help="write the results, with this date in them")
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write is for all parts: figures stand beside each other that were measured in one run")
    begun = time.monotonic()
    try:
        run, failed = measure_all(options)
    except MissingError as err:
        sys.exit(f"bench: error: {err}")
    print(table(run.rows))
    print(*run.left_out, sep="\n")
    print(f"{time.monotonic() - begun:.0f} s in all", file=sys.stderr)
    if options.write:
        (HERE / "RESULTS.md").write_text(report(run, options.write), encoding="utf-8")
        draw()
    sys.exit(failed)


def measure_all(options: argparse.Namespace) -> tuple[Run, bool]:
    """Run what is asked for; say also whether a part failed."""
    tools = toolbox(PROGRAMS)
    rows: list[Row] = []
    left_out: list[str] = []
    failed = False
    for name in options.only or PARTS:
        try:
            rows += _measure(tools, PARTS[name], options)
        except MissingError as err:
            left_out.append(f"left out: {name}: {err}")
        except Exception:  # noqa: BLE001 (what went wrong in one part does not cost the others)
            failed = True
            traceback.print_exc()
            left_out.append(f"left out: {name}: it failed")
    return Run(rows, machine(tools), left_out), failed


def _measure(tools: Toolbox, part: Part, options: argparse.Namespace) -> list[Row]:
    """Measure one part, in a network and a folder of its own."""
    rows = []
    with ExitStack() as stack:
        stack.enter_context(sandbox.own_network())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        folder.chmod(0o755)  # nginx's workers are nobody's
        bench = Bench(tools, folder, SigningKey.generate(), options.rounds, options.seconds)
        url = stack.enter_context(lab.docker_registry(tools, folder / "registry", _REGISTRY))
        for row in part(bench, url):
            print(f"{row.part}: {row.what}: {row.value:,.2f} {row.unit} {row.verdict}", file=sys.stderr, flush=True)
            rows.append(row)
    return rows


def machine(tools: Toolbox) -> list[str]:
    """Say what this was measured on."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), platform.machine())
    programs = [(tools.find("docker-registry"), "--version"), (tools.find("nginx"), "-v")]
    missing = []
    try:
        programs.append((distribution(), "--version"))
    except MissingError as err:
        missing.append(f"left out: {err}")
    return [
        f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, loopback",
        f"Python {platform.python_version()}, aiohttp {version('aiohttp')}, cryptography {version('cryptography')}",
        *(_first_line(*program) for program in programs),
        *missing,
    ]


def _first_line(program: str, flag: str) -> str:
    said = subprocess.run([program, flag], capture_output=True, text=True, check=False)
    return (said.stdout + said.stderr).splitlines()[0].replace(program, Path(program).name)


if __name__ == "__main__":
    main()
