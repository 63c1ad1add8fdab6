"""Manifests that were verified before: beside the registries' own, in one process and in two."""

import resource
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from bench_report import Row
from common import LOOPBACK, Bench, cpu_seconds, signed
from e2e import content
from e2e.packages import MissingError
from measure import ask, ratio, rounds
from registries import DISTRIBUTION, distribution, registry

from proxy.demo import images

PART, WORKERS = "warm manifest", "workers"
GOAL, WORKERS_GOAL = 2.0, 1.8
OLD_PEER, OLD_GOAL = "docker-registry by digest", 12.0
PEER = f"distribution {DISTRIBUTION} by digest"
# More than the workers: which of them a connection goes to, the kernel's hash decides.
WORKERS_CONNECTIONS = 64


def warm_manifests(bench: Bench, url: str) -> Iterator[Row]:
    """Measure a manifest that was just verified; the peers answer from their own storage, or pull through."""
    path = signed(content.PushTo(url), "warm", bench.key)
    image = images.image("warm")
    body = bench.folder / "manifest.json"
    body.write_bytes(image.body)
    by = {"digest": f"{path}{image.digest}", "tag": f"{path}1"}
    with ExitStack() as stack:
        servers = {"docker-registry": url} | _peers(bench, stack, url)
        servers["Sealgate"] = stack.enter_context(bench.sealgate("warm", 5000, url))
        stack.enter_context(bench.script("bare.py", 5080, "manifest", body, image.media_type))
        measured = {
            f"{server} by {how}": bench.requests_a_second(base + by[how])
            for server, base in servers.items()
            for how in by
        }
        measured["bare aiohttp handler"] = bench.requests_a_second(f"http://{LOOPBACK}:5080{by['tag']}")
        for server in servers.values():
            for one in by.values():
                ask(server, one)
        taken = rounds(bench.rounds, measured)
    peer = PEER if PEER in taken else OLD_PEER
    for name, values in taken.items():
        goal = GOAL if name.startswith("Sealgate") and peer == PEER else None
        yield Row(PART, name, statistics.median(values), "req/s", ratio(values, taken[peer]), goal, f"to {peer}")
    values = taken["Sealgate by tag"]
    beside = ratio(values, taken[OLD_PEER])
    yield Row(PART, "Sealgate by tag", statistics.median(values), "req/s", beside, OLD_GOAL, f"to {OLD_PEER}")


def _peers(bench: Bench, stack: ExitStack, url: str) -> dict[str, str]:
    """Run the other registries: one with storage of its own, and those that pull through from `url`."""
    ours = bench.tools.find("docker-registry")
    start = lambda port, program, remote: stack.enter_context(  # noqa: E731 (four of a kind)
        registry(bench.tools, bench.folder / f"registry-{port}", (LOOPBACK, port), program, remote)
    )
    servers = {"docker-registry, pulling through": start(5057, ours, url)}
    try:
        theirs = distribution()
    except MissingError as err:
        print(f"left out: {err}", file=sys.stderr, flush=True)
        return servers
    plain = start(5058, theirs, None)
    signed(content.PushTo(plain), "warm", bench.key)
    name = f"distribution {DISTRIBUTION}"
    return servers | {name: plain, f"{name}, pulling through": start(5059, theirs, url)}


class _Load:
    """wrk against one server, and the CPU time that a request costs the server and wrk, in microseconds, each time."""

    def __init__(self, folder: Path, measure: Callable[[], float], seconds: float) -> None:
        self._folder, self._measure, self._seconds = folder, measure, seconds
        self.server: list[float] = []
        self.client: list[float] = []

    def __call__(self) -> float:
        server, client = cpu_seconds(self._folder), _children_seconds()
        rate = self._measure()
        requests = rate * self._seconds
        self.server.append((cpu_seconds(self._folder) - server) / requests * 1e6)
        self.client.append((_children_seconds() - client) / requests * 1e6)
        return rate


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def workers(bench: Bench, url: str) -> Iterator[Row]:
    """Measure one and two worker processes: what wrk gets beside them on two cores, and the CPU time of a request."""
    path = signed(content.PushTo(url), "workers", bench.key)
    with ExitStack() as stack:
        loads = {}
        for count, port in ((1, 5500), (2, 5600)):
            name = f"workers-{count}"
            proxy = stack.enter_context(bench.sealgate(name, port, url, server=f"workers = {count}\n"))
            wrk = bench.requests_a_second(f"{proxy}{path}1", WORKERS_CONNECTIONS)
            for _ in range(WORKERS_CONNECTIONS):  # each in its own connection, so that every worker has it
                ask(proxy, f"{path}1")
            loads[count] = _Load(bench.folder / name, wrk, bench.seconds)
        taken = rounds(bench.rounds, {f"{count}": load for count, load in loads.items()})
    one, two = loads[1], loads[2]
    yield Row(WORKERS, "one worker, beside wrk", statistics.median(taken["1"]), "req/s", 1.0)
    most = statistics.median(2 * a / (b + c) for a, b, c in zip(one.server, two.server, two.client, strict=True))
    note = f"beside wrk two cores leave room for {most:.2f}x"
    yield Row(
        WORKERS,
        "two workers, beside wrk",
        statistics.median(taken["2"]),
        "req/s",
        ratio(taken["2"], taken["1"]),
        note=note,
    )
    for name, load in (("one worker", one), ("two workers", two)):
        yield Row(WORKERS, f"{name}, CPU time a request", statistics.median(load.server), "us")
    capacity = [2e6 / cost for cost in two.server]
    alone = [1e6 / cost for cost in one.server]
    what = "two workers, a core each, by CPU time"
    yield Row(
        WORKERS, what, statistics.median(capacity), "req/s", ratio(capacity, alone), WORKERS_GOAL, "to one worker"
    )
    yield Row(WORKERS, "wrk, CPU time a request", statistics.median(one.client), "us")
