"""Manifests that were verified before, beside what other registries serve."""

import statistics
from collections.abc import Iterator
from contextlib import ExitStack

from bench_report import Row
from common import LOOPBACK, Bench, signed
from e2e import content
from e2e.packages import MissingError
from measure import ask, ratio, rounds
from registries import DISTRIBUTION, distribution, registry

from proxy.demo import images

PART, GOAL = "warm manifest", 2.0
OLD_PEER, OLD_GOAL = "docker-registry by digest", 12.0
PEER = f"distribution {DISTRIBUTION} by digest"


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
        measured["Sealgate by tag, with credentials"] = bench.read_a_second(servers["Sealgate"] + by["tag"])
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
    except MissingError:  # the report says so
        return servers
    plain = start(5058, theirs, None)
    signed(content.PushTo(plain), "warm", bench.key)
    name = f"distribution {DISTRIBUTION}"
    return servers | {name: plain, f"{name}, pulling through": start(5059, theirs, url)}
