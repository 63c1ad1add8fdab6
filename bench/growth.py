"""How cost grows: the same figures with one, ten and a hundred times as much to remember, and the memory that takes."""

import asyncio
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import remembered
from bench_report import Row
from common import HERE, Bench, processes, signed
from e2e import content, lab
from measure import ask, ratio, rounds
from memory import Nobody, resident

from proxy.app.clock import clock
from proxy.app.judging import open_state
from proxy.config import Settings, load
from proxy.oci.digest import Digest
from proxy.oci.reference import Repository
from proxy.policy.match import Pattern
from proxy.policy.model import Refuse, Rule
from proxy.policy.rules import Rules
from proxy.stores.content import CONTENT, ContentStore
from proxy.stores.database import Database
from proxy.stores.grants import SqliteMemberships
from proxy.stores.verdicts import SqliteVerdicts, VerdictKey

T = TypeVar("T")

PART, MEMORY = "growth", "memory"
MATCH_LIMIT, MEMORY_LIMIT = 20.0, 150.0
# More than any cache in the process holds.
TOUCHED = 12_000
_LOOKUPS, _MATCHES = 500, 5000
_PATTERNS = ("docker.io/exact-{0}/app", "docker.io/org-{0}/**", "docker.io/group-{0}/app-*", "docker.io/*/tool-{0}")
_NAMES = ("exact-{0}/app", "org-{0}/deep/down", "group-{0}/app-api", "any/tool-{0}", "nothing-{0}/app")


@dataclass(frozen=True)
class Size:
    """How much there is. Each image has a verdict, and ten grants."""

    name: str
    images: int
    rules: int
    blobs: int

    def patterns(self) -> list[str]:
        """Return as many patterns as there are rules, of every kind."""
        return [_PATTERNS[number % len(_PATTERNS)].format(number) for number in range(self.rules)]

    def tables(self) -> str:
        """Write them as [[rules]]."""
        rule = '[[rules]]\nname = "rule-{0}"\nimages = ["{1}"]\nrequire = "refuse"\n'
        return "".join(rule.format(*one) for one in enumerate(self.patterns()))

    def match(self) -> Callable[[], float]:
        """Return a measurement of one match, in microseconds of CPU time."""
        rules = Rules(
            Rule(f"rule-{number}", (Pattern.parse(pattern),), Refuse())
            for number, pattern in enumerate(self.patterns())
        )
        texts = [_NAMES[n % len(_NAMES)].format(n * self.rules // 1000) for n in range(1000)]
        names = [Repository.of("docker.io", text) for text in texts]

        def measure() -> float:
            begun = time.process_time()
            for number in range(_MATCHES):
                rules.match(names[number % len(names)])
            return (time.process_time() - begun) / _MATCHES * 1e6

        return measure


# The last is as much as the stores keep on disk.
SIZES = (Size("1x", 1_000, 100, 100), Size("10x", 10_000, 1_000, 1_000), Size("100x", 100_000, 10_000, 10_000))
LARGEST = SIZES[-1]


def growth(bench: Bench, url: str) -> Iterator[Row]:
    """Measure look-ups, matches and warm manifests of three Sealgates, and the memory of the one that has most."""
    path = signed(content.PushTo(url), "warm", bench.key) + "1"
    measured: dict[str, dict[str, Callable[[], float]]] = {}
    with ExitStack() as stack:
        for number, size in enumerate(SIZES):
            port = 5800 + 10 * number
            folder = bench.folder / f"growth-{size.name}"
            settings = load(lab.configure(folder, port, url, bench.key.public_pem))
            remembered.fill(settings, size.images)
            remembered.keep(settings, size.blobs)
            proxy = stack.enter_context(bench.sealgate(folder.name, port, url, size.tables()))
            ask(proxy, path)
            measured[size.name] = {
                f"a rule found, of {size.rules:,}": size.match(),
                f"a verdict from disk, of {size.images:,}": lambda it=settings, n=size.images: _verdicts(it, n),
                f"a blob's manifests from disk, of {size.images * remembered.GRANTS:,}": (
                    lambda it=settings, n=size.images: _grants(it, n)
                ),
                f"a blob in the store, of {size.blobs:,}": lambda it=settings, n=size.blobs: _blobs(it, n),
                "warm manifests": bench.requests_a_second(proxy + path),
            }
        yield from _rows(bench.rounds, measured)
        serving = max(resident(it / "status") for it in processes(bench.folder / f"growth-{LARGEST.name}")) / 1e6
    yield Row(MEMORY, f"a Sealgate that serves, {_amount(LARGEST)} on disk", serving, "MB", limit=MEMORY_LIMIT)
    few = lab.configure(bench.folder / f"growth-{LARGEST.name}", 5800, url, bench.key.public_pem)
    yield from _memory(few)


def _amount(size: Size) -> str:
    return f"{size.images:,} verdicts and {size.images * remembered.GRANTS:,} grants"


def _rows(count: int, measured: dict[str, dict[str, Callable[[], float]]]) -> Iterator[Row]:
    taken = rounds(count, {f"{size}/{what}": one for size, its in measured.items() for what, one in its.items()})
    first, *_ = measured
    for position, _ in enumerate(measured[first]):
        base = taken[f"{first}/{list(measured[first])[position]}"]
        for size, its in measured.items():
            what = list(its)[position]
            values = taken[f"{size}/{what}"]
            limit = MATCH_LIMIT if size == LARGEST.name and "rule" in what else None
            unit = "req/s" if "warm" in what else "us"
            yield Row(
                PART, f"{size}: {what}", statistics.median(values), unit, ratio(values, base), None, "to 1x", limit
            )


def _memory(config: Path) -> Iterator[Row]:
    command = [sys.executable, str(HERE / "memory.py"), str(config), str(LARGEST.images), str(TOUCHED)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    begun, most, full = (int(part) / 1e6 for part in said.split())
    yield Row(MEMORY, "a process that has opened them", begun, "MB")
    what = f"the same, when {TOUCHED:,} images and a blob of each were asked for"
    yield Row(MEMORY, what, full, "MB", limit=MEMORY_LIMIT, note=f"{most:.0f} MB after four fifths of them")


def _chosen(most: int, least: int = 0) -> list[int]:
    return random.sample(range(least, most), min(_LOOKUPS, most - least))


def _images(number: int) -> list[int]:
    return _chosen(number, remembered.OUSTED)


def _microseconds(settings: Settings, asked: Sequence[T], look: Callable[[Database, T], Awaitable[object]]) -> float:
    """Return how long one look-up takes, one after another, in a file that was just opened."""

    async def run() -> float:
        with closing(open_state(settings, print)) as database:
            await look(database, asked[0])
            begun = time.perf_counter()
            for one in asked:
                if not await look(database, one):
                    raise LookupError(f"{one} is not remembered")
            return (time.perf_counter() - begun) / len(asked) * 1e6

    return asyncio.run(run())


def _verdicts(settings: Settings, images: int) -> float:
    def key(number: int) -> VerdictKey:
        name = remembered.repository(number)
        rule = settings.rules.match(name)
        return VerdictKey(name, Digest.of(remembered.body(number)), None, rule.fingerprint if rule else "")

    now = clock()
    keys = [key(number) for number in _images(images)]
    return _microseconds(settings, keys, lambda database, key: SqliteVerdicts(database).get(key, now))


def _grants(settings: Settings, images: int) -> float:
    blobs = [(remembered.repository(number), remembered.own_layer(number)) for number in _images(images)]
    return _microseconds(settings, blobs, lambda database, blob: SqliteMemberships(database).parents(*blob))


def _blobs(settings: Settings, blobs: int) -> float:
    folder = settings.server.state_dir / CONTENT
    with closing(ContentStore(folder, 2**40, clock=clock, observer=Nobody())) as store:
        digests = [Digest.of(remembered.blob(number)) for number in _chosen(blobs)]
        begun = time.perf_counter()
        for digest in digests:
            found = store.find(digest)
            if found is None:
                raise LookupError(f"{digest} is not kept")
            found.close()
        return (time.perf_counter() - begun) / len(digests) * 1e6
