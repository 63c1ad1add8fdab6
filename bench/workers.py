"""One worker process and two: warm manifests beside wrk on the same two cores, their CPU time, and first pulls."""

import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from itertools import count
from pathlib import Path

from bench_report import Row
from common import Bench, cpu_seconds, signed
from e2e import content
from measure import Quick, ask, ratio, rounds
from peers import file_registry

PART, GOAL = "workers", 1.8
COUNTS = (1, 2)
# More than the workers: which of them a connection goes to, the kernel's hash decides.
CONNECTIONS = 64
FIRST_PULLS, AT_ONCE = 200, 16
_NAMES = {1: "one worker", 2: "two workers"}


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
    """Measure what a second worker brings."""
    yield from _warm(bench, url)
    yield from _first_pulls(bench)


def _warm(bench: Bench, url: str) -> Iterator[Row]:
    path = signed(content.PushTo(url), "workers", bench.key) + "1"
    loads = {}
    with ExitStack() as stack:
        for number in COUNTS:
            name, port = f"workers-{number}", 5500 + 10 * number
            proxy = stack.enter_context(bench.sealgate(name, port, url, server=f"workers = {number}\n"))
            for _ in range(CONNECTIONS):  # each in its own connection, so that every worker has it
                ask(proxy, path)
            # What is known again is answered as fast as wrk can ask: nothing is left for a second worker to do.
            wrk = bench.read_a_second(proxy + path, CONNECTIONS)
            loads[number] = _Load(bench.folder / name, wrk, bench.seconds)
        taken = rounds(bench.rounds, {str(number): load for number, load in loads.items()})
    one, two = loads[1], loads[2]
    room = statistics.median(2 * a / (b + c) for a, b, c in zip(one.server, two.server, two.client, strict=True))
    for number, name in _NAMES.items():
        values = taken[str(number)]
        said = f"to one worker; wrk leaves room for {room:.2f}x" if number > 1 else ""
        what = f"{name}, warm manifests beside wrk"
        yield Row(PART, what, statistics.median(values), "req/s", ratio(values, taken["1"]), note=said)
    for number, name in _NAMES.items():
        yield Row(PART, f"{name}, CPU time of a warm manifest", statistics.median(loads[number].server), "us")
    yield Row(PART, "wrk, CPU time of a warm manifest", statistics.median(two.client), "us")
    ours, alone = [2e6 / cost for cost in two.server], [1e6 / cost for cost in one.server]
    what = "two workers, warm manifests by CPU time"
    yield Row(PART, what, statistics.median(ours), "req/s", ratio(ours, alone), GOAL, "to one worker")


def _first_pulls(bench: Bench) -> Iterator[Row]:
    """Measure signed images that no worker has seen, from a registry of plain files: nearly all of the work is ours."""
    with file_registry(bench.tools, bench.folder / "first-pulls", 5060) as files:
        paths = [f"{signed(files, f'first-{n}', bench.key)}1" for n in range(FIRST_PULLS)]
        numbers = count()

        def pulls(workers: int) -> float:
            name = f"first-pulls-{next(numbers)}"
            with bench.sealgate(name, 5560, "http://127.0.0.1:5060", server=f"workers = {workers}\n") as url:
                return _pulls_a_second(url, paths)

        taken = rounds(bench.rounds, {str(number): partial(pulls, number) for number in COUNTS})
    for number, name in _NAMES.items():
        values, said = taken[str(number)], "to one worker" if number > 1 else ""
        what = f"{name}, first pulls of signed images, {AT_ONCE} at once"
        yield Row(PART, what, statistics.median(values), "/s", ratio(values, taken["1"]), note=said)


def _pulls_a_second(url: str, paths: Sequence[str]) -> float:
    """Ask for every path once, in as many connections as there are clients."""
    waiting = iter(paths)

    def client(_number: int) -> None:
        with closing(Quick(url)) as connection:
            for path in waiting:
                connection.get(path)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        begun = time.perf_counter()
        list(threads.map(client, range(AT_ONCE)))
        return len(paths) / (time.perf_counter() - begun)
