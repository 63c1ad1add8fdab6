"""What verifying costs: beside sigstore-python and the cosign program, in one and two processes, and to the loop."""

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import verdicts
from bench_report import Row
from common import Bench
from measure import ratio, rounds

IMAGES = 200
# As fast as one process verifies, and faster: a queue builds up.
GAP = 0.001
HELD_LIMIT = 10.0
_COSIGN = Path(__file__).parents[1] / ".cache" / "cosign" / "v3.1.3" / "cosign"


def cosign() -> str | None:
    """Return the program that COSIGN names, that `make cross-check` has built, or that is installed; None without."""
    built = str(_COSIGN) if _COSIGN.exists() else None
    return os.environ.get("COSIGN") or built or shutil.which("cosign")


def verify(bench: Bench) -> Iterator[Row]:
    """Measure all of it."""
    yield from verifications(bench.folder, bench.rounds)
    yield from throughput(bench.rounds)
    yield from loop_lag(bench.rounds)


def verifications(folder: Path, count: int) -> Iterator[Row]:
    """Measure the CPU time of one verification."""
    samples = {one.name: one for one in verdicts.SAMPLES}
    peers = {name: peer for name, one in samples.items() if (peer := one.peer()) is not None}
    measured = {name: partial(verdicts.cpu_milliseconds, one.verification()) for name, one in samples.items()}
    measured |= {f"sigstore-python: {name}": partial(verdicts.cpu_milliseconds, peer) for name, peer in peers.items()}
    if (program := cosign()) is not None:
        measured["cosign verify-blob, the process"] = partial(verdicts.cosign_milliseconds, program, folder)
    taken = rounds(count, measured)
    for name, values in taken.items():
        sample, peer = samples.get(name), taken.get(f"sigstore-python: {name}")
        faster = ratio(peer, values) if peer else None
        limit = sample.limit if sample else None
        note = "wall time, start of the program included" if name.startswith("cosign") else ""
        yield Row("verification", name, statistics.median(values), "ms", faster, limit=limit, note=note)


def throughput(count: int) -> Iterator[Row]:
    """Measure cold verdicts a second, through the gate."""
    registry = verdicts.shelf(IMAGES)
    taken = rounds(count, {str(n): partial(verdicts.verdicts_a_second, registry, IMAGES, n) for n in (1, 2)})
    for number, values in taken.items():
        what = f"keyless images a second, {number} process{'es' * (number != '1')}"
        yield Row("cold verdicts", what, statistics.median(values), "/s", ratio(values, taken["1"]))


def loop_lag(count: int) -> Iterator[Row]:
    """Measure how long the event loop is held while cold images are judged, each time in a new process."""

    def hold(gap: float, memory: str) -> float:
        command = [sys.executable, str(Path(__file__).with_name("verdicts.py")), str(IMAGES), str(gap), memory]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    ways = {
        f"{IMAGES} cold keyless images, one a millisecond": (GAP, "plain"),
        "the same, after gc.freeze()": (GAP, "frozen"),
        "all in one instant, after gc.freeze()": (0.0, "frozen"),
    }
    for name, values in rounds(count, {name: partial(hold, *way) for name, way in ways.items()}).items():
        note = f"from {min(values):.1f} to {max(values):.1f} ms"
        yield Row("loop held", name, statistics.median(values), "ms", limit=HELD_LIMIT, note=note)
