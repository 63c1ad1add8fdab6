"""What the first pull of an image waits longer for its manifest: for its signature, found and verified."""

import contextlib
import statistics
from collections.abc import Iterator
from contextlib import ExitStack

from bench_report import Row
from common import Bench, signed
from e2e import content
from measure import Client

from proxy.demo.signing import bundle_signature, classic_signature

PART = "cold pull"
IMAGES = 40
# The first ones open connections.
WARMING = 5
# The round trip to a registry in the same region, and half of it on each way.
ROUND_TRIP = 0.020
_KINDS = {"classic": classic_signature, "bundle": bundle_signature}


def cold_pulls(bench: Bench, url: str) -> Iterator[Row]:
    """Measure them from a registry on this machine, and from one that is some way off."""
    yield from _added(bench, url, url, 5100, "loopback")
    with bench.script("delay.py", 5056, url.rpartition(":")[2], ROUND_TRIP / 2):
        yield from _added(bench, url, "http://127.0.0.1:5056", 5200, f"registry {ROUND_TRIP * 1000:.0f} ms away")


def _added(bench: Bench, url: str, upstream: str, port: int, way: str) -> Iterator[Row]:
    place = content.PushTo(url)
    with ExitStack() as stack:
        proxy = stack.enter_context(bench.sealgate(f"cold-{port}", port, upstream))
        direct, through = (stack.enter_context(contextlib.closing(Client(one))) for one in (upstream, proxy))
        for kind, sign in _KINDS.items():
            added = []
            for number in range(IMAGES + WARMING):
                path = signed(place, f"cold-{port}-{kind}-{number}", bench.key, sign)
                alone = direct.seconds(f"{path}1")
                added.append(through.seconds(f"{path}1") - alone)
            added = added[WARMING:]
            median, slow = statistics.median(added), statistics.quantiles(added, n=10)[-1]
            note = (
                f"slowest tenth {slow * 1000:.1f} ms" if upstream == url else f"{median / ROUND_TRIP:.1f} round trips"
            )
            what = f"added to the first pull, {kind} signature, {way}"
            yield Row(PART, what, median * 1000, "ms", note=note)
