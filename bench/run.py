"""`make bench`: Sealgate beside its peers, in one run on one machine.

Programs of Debian's, in a network namespace of our own; everything that is started is ended. Prints a table; with
`ARGS="--write DATE"` it also writes RESULTS.md, in which DATE stands.
"""

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import verify
from bench_report import Row, report, table
from e2e import content, lab, sandbox, stage
from e2e.packages import MissingError, Toolbox, toolbox
from measure import Client, ratio, rounds, wrk
from peers import file_registry, nginx_proxy

from proxy.demo import images
from proxy.demo.signing import SigningKey, bundle_signature, classic_signature

HERE = Path(__file__).parent
PROGRAMS = {"docker-registry": "docker-registry", "nginx": "nginx-light", "wrk": "wrk"}
BLOB_BYTES = 64 * 1024 * 1024
MANIFEST_CONNECTIONS = 16
COLD_IMAGES = 40
# Each Sealgate's peer: what does the same, and the goal.
BLOB_GOALS = {
    "Sealgate, hashed, nothing kept": ("nginx proxy", 1.0),
    "Sealgate, from its store": ("nginx with the file itself", 0.95),
}
NOTHING_KEPT = "[cache]\nsize = 0\n"
# The round trip to a registry in the same region, and half of it on each way.
ROUND_TRIP = 0.020


@dataclass(frozen=True)
class Bench:
    """What all measurements share."""

    tools: Toolbox
    folder: Path
    key: SigningKey
    rounds: int
    seconds: int

    def sealgate(self, name: str, port: int, upstream: str, more: str = "") -> AbstractContextManager[str]:
        """Run Sealgate on a port, with an empty memory, and with these further settings."""
        return lab.sealgate(self.tools, self.folder / name, port, upstream, self.key.public_pem, more)

    def script(self, name: str, port: int, *arguments: object) -> AbstractContextManager[Path]:
        """Run one of the servers in this folder."""
        folder = self.folder / f"{name}-{port}"
        folder.mkdir()
        command = [sys.executable, str(HERE / name), str(port), *map(str, arguments)]
        return lab.service(command, folder, self.tools, ("127.0.0.1", port))

    def requests_a_second(self, url: str) -> Callable[[], float]:
        """Return a measurement of how often a manifest can be had."""
        program = self.tools.find("wrk")
        return lambda: wrk(program, url, connections=MANIFEST_CONNECTIONS, seconds=self.seconds).requests

    def bytes_a_second(self, url: str, connections: int) -> Callable[[], float]:
        """Return a measurement of how fast a blob can be had."""
        program = self.tools.find("wrk")
        return lambda: wrk(program, url, connections=connections, seconds=self.seconds).bytes


def signed(place: content.Place, name: str, key: SigningKey, sign: Callable = classic_signature, **shape: int) -> str:
    """Put a signed image there; return the path of its manifests."""
    image = content.Named(f"library/{name}", "1", images.image(name, **shape))
    image.put(place)
    stage.put_signature(place, image.repository, sign(key, stage.descriptor(image)))
    return f"/v2/{image.repository}/manifests/"


def warm_manifests(bench: Bench, registry: str) -> Iterator[Row]:
    """Measure a manifest that was just verified, against docker-registry's own and a handler that does nothing."""
    path = signed(content.PushTo(registry), "warm", bench.key)
    image = images.image("warm")
    body = bench.folder / "manifest.json"
    body.write_bytes(image.body)
    with ExitStack() as stack:
        proxy = stack.enter_context(bench.sealgate("warm", 5000, registry))
        stack.enter_context(bench.script("bare.py", 5080, "manifest", body, image.media_type))
        taken = rounds(
            bench.rounds,
            {
                "docker-registry by digest": bench.requests_a_second(f"{registry}{path}{image.digest}"),
                "docker-registry by tag": bench.requests_a_second(f"{registry}{path}1"),
                "Sealgate by digest": bench.requests_a_second(f"{proxy}{path}{image.digest}"),
                "Sealgate by tag": bench.requests_a_second(f"{proxy}{path}1"),
                "bare aiohttp handler": bench.requests_a_second(f"http://127.0.0.1:5080{path}1"),
            },
        )
    base = taken["docker-registry by digest"]
    for name, values in taken.items():
        goal = 12.0 if name.startswith("Sealgate") else None
        yield Row("warm manifest", name, statistics.median(values), "req/s", ratio(values, base), goal)


def cold_pulls(bench: Bench, registry: str, round_trip: float) -> Iterator[Row]:
    """Measure what the first pull of an image waits longer for its manifest: for its signature, found and verified."""
    place = content.PushTo(registry)
    kinds = {"classic": classic_signature, "bundle": bundle_signature}
    with ExitStack() as stack:
        upstream, port, way = registry, 5100, "loopback"
        if round_trip:
            stack.enter_context(bench.script("delay.py", 5056, registry.rpartition(":")[2], round_trip / 2))
            upstream, port, way = "http://127.0.0.1:5056", 5200, f"registry {round_trip * 1000:.0f} ms away"
        proxy = stack.enter_context(bench.sealgate(f"cold-{port}", port, upstream))
        direct, through = (stack.enter_context(contextlib.closing(Client(url))) for url in (upstream, proxy))
        for kind, sign in kinds.items():
            added = []
            for number in range(COLD_IMAGES + 5):
                path = signed(place, f"cold-{port}-{kind}-{number}", bench.key, sign)
                alone = direct.seconds(f"{path}1")
                added.append(through.seconds(f"{path}1") - alone)
            added = added[5:]  # the first ones open connections
            median = statistics.median(added)
            what = f"added to the first pull, {kind} signature, {way}"
            slow = statistics.quantiles(added, n=10)[-1]
            note = f"slowest tenth {slow * 1000:.1f} ms" if not round_trip else f"{median / round_trip:.1f} round trips"
            yield Row("cold pull", what, median * 1000, "ms", note=note)


def blobs(bench: Bench) -> Iterator[Row]:
    """Measure a blob that is kept, against nginx with the same file, and proxying it."""
    with ExitStack() as stack:
        files = stack.enter_context(file_registry(bench.tools, bench.folder / "files", 5060))
        path = signed(files, "big", bench.key, layers=1, layer_bytes=BLOB_BYTES)
        layer = images.image("big", layers=1, layer_bytes=BLOB_BYTES).blobs[1]
        blob = f"/v2/library/big/blobs/{content.Digest.of(layer)}"
        nginx = stack.enter_context(nginx_proxy(bench.tools, bench.folder / "nginx", 5061, 5060, tuned=False))
        tuned = stack.enter_context(nginx_proxy(bench.tools, bench.folder / "tuned", 5063, 5060, tuned=True))
        kept = stack.enter_context(bench.sealgate("kept", 5300, "http://127.0.0.1:5060"))
        through = stack.enter_context(bench.sealgate("through", 5400, "http://127.0.0.1:5060", NOTHING_KEPT))
        stack.enter_context(bench.script("bare.py", 5062, "blob", "http://127.0.0.1:5060"))
        for proxy in (kept, through):
            content.get(f"{proxy}{path}1")
        for connections in (1, 4, 16):
            measured = {
                "nginx with the file itself": bench.bytes_a_second(f"http://127.0.0.1:5060{blob}", connections),
                "nginx proxy": bench.bytes_a_second(f"{nginx}{blob}", connections),
                "nginx proxy, large buffers": bench.bytes_a_second(f"{tuned}{blob}", connections),
                "bare aiohttp proxy, not hashed": bench.bytes_a_second(f"http://127.0.0.1:5062{blob}", connections),
                "Sealgate, hashed, nothing kept": bench.bytes_a_second(f"{through}{blob}", connections),
                "Sealgate, from its store": bench.bytes_a_second(f"{kept}{blob}", connections),
            }
            taken = rounds(bench.rounds, measured)
            for name, values in taken.items():
                peer, goal = BLOB_GOALS.get(name, ("nginx proxy", None))
                what = f"{name}, {connections} connection{'s' * (connections > 1)}"
                rate = statistics.median(values) / 1e6
                yield Row("64 MiB blob", what, rate, "MB/s", ratio(values, taken[peer]), goal, note=f"to {peer}")


def machine(tools: Toolbox) -> list[str]:
    """Say what this was measured on."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), platform.machine())
    return [
        f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, loopback",
        f"Python {platform.python_version()}, aiohttp {version('aiohttp')}, cryptography {version('cryptography')}",
        *(_first_line(tools.find(name), flag) for name, flag in (("docker-registry", "--version"), ("nginx", "-v"))),
    ]


def _first_line(program: str, flag: str) -> str:
    said = subprocess.run([program, flag], capture_output=True, text=True, check=False)
    return (said.stdout + said.stderr).splitlines()[0].replace(program, Path(program).name)


def main() -> None:
    """Read the command line, measure, report."""
    parser = argparse.ArgumentParser(description="Measure Sealgate beside its peers.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="how long one measurement takes (default 3)")
    parser.add_argument("--only", choices=["warm", "cold", "blobs", "verify"], help="one part only")
    parser.add_argument("--write", metavar="DATE", help="write RESULTS.md, with this date in it")
    options = parser.parse_args()
    try:
        rows, where = measure_all(options)
    except MissingError as err:
        sys.exit(f"bench: error: {err}")
    print(table(rows))
    if options.write:
        (HERE / "RESULTS.md").write_text(report(rows, where, options.write), encoding="utf-8")


def measure_all(options: argparse.Namespace) -> tuple[list[Row], list[str]]:
    """Run what is asked for."""
    tools = toolbox(PROGRAMS)
    with sandbox.own_network(), tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o755)
        bench = Bench(tools, Path(folder), SigningKey.generate(), options.rounds, options.seconds)
        registry = partial(lab.docker_registry, tools)
        parts = {"warm": warm_manifests, "cold": cold_both}
        rows: list[Row] = []
        with registry(Path(folder) / "registry", ("127.0.0.1", 5055)) as url:
            for name, part in parts.items():
                if options.only in {None, name}:
                    rows += _told(part(bench, url))
        if options.only in {None, "blobs"}:
            rows += _told(blobs(bench))
        if options.only in {None, "verify"}:
            for part in (verify.verifications(Path(folder), bench.rounds), verify.throughput(bench.rounds)):
                rows += _told(part)
            rows += _told(verify.loop_lag(bench.rounds))
        return rows, machine(tools)


def cold_both(bench: Bench, registry: str) -> Iterator[Row]:
    """Cold pulls from a registry on this machine, and from one that is some way off."""
    yield from cold_pulls(bench, registry, 0)
    yield from cold_pulls(bench, registry, ROUND_TRIP)


def _told(rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        print(f"{row.part}: {row.what}: {row.value:,.2f} {row.unit}", file=sys.stderr, flush=True)
        yield row


if __name__ == "__main__":
    main()
