"""Blobs of 64 MiB: asked for again and again, and for the first time."""

import os
import shutil
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial

from bench_report import Row
from common import Bench, signed
from measure import ask, fetch, ratio, rounds, together
from peers import file_registry, nginx_caching, nginx_proxy

from proxy.demo import images
from proxy.oci.digest import Digest

PART, COLD = "64 MiB blob", "64 MiB blob, first time"
BYTES = 64 * 1024 * 1024
CONNECTIONS = (1, 4)
# Each Sealgate's peer: what does the same, and the goal.
GOALS = {
    "Sealgate, hashed, nothing kept": ("nginx proxy", 1.0),
    "Sealgate, from its store": ("nginx with the file itself", 0.95),
}
COLD_PEER = "nginx proxy_cache, all misses"
COLD_GOALS = {"Sealgate, hashed and kept": (COLD_PEER, 1.0)}
NOTHING_KEPT = "[cache]\nsize = 0\n"
UPSTREAM = "http://127.0.0.1:5060"


def blobs(bench: Bench) -> Iterator[Row]:
    """Measure a blob that is kept, against nginx with the same file, and proxying it."""
    with ExitStack() as stack:
        files = stack.enter_context(file_registry(bench.tools, bench.folder / "files", 5060))
        path = signed(files, "big", bench.key, layers=1, layer_bytes=BYTES)
        blob = f"/v2/library/big/blobs/{layers('big', 1)[0]}"
        nginx = stack.enter_context(nginx_proxy(bench.tools, bench.folder / "nginx", 5061, 5060, tuned=False))
        tuned = stack.enter_context(nginx_proxy(bench.tools, bench.folder / "tuned", 5063, 5060, tuned=True))
        kept = stack.enter_context(bench.sealgate("kept", 5300, UPSTREAM))
        through = stack.enter_context(bench.sealgate("through", 5400, UPSTREAM, NOTHING_KEPT))
        stack.enter_context(bench.script("bare.py", 5062, "blob", UPSTREAM))
        for proxy in (kept, through):
            ask(proxy, f"{path}1")
        fetch(kept, blob)
        servers = {
            "nginx with the file itself": UPSTREAM,
            "nginx proxy": nginx,
            "nginx proxy, large buffers": tuned,
            "bare aiohttp proxy, not hashed": "http://127.0.0.1:5062",
            "Sealgate, hashed, nothing kept": through,
            "Sealgate, from its store": kept,
        }
        for connections in CONNECTIONS:
            measured = {name: bench.bytes_a_second(url + blob, connections) for name, url in servers.items()}
            yield from rows(PART, rounds(bench.rounds, measured), connections, GOALS, "nginx proxy")


def cold_blobs(bench: Bench) -> Iterator[Row]:
    """Measure blobs that nobody has had: Sealgate hashes and keeps them while it sends them, nginx keeps them.

    Each connection asks for a blob of its own, each time of a server that was just started on an empty folder.
    """
    most = max(CONNECTIONS)
    with file_registry(bench.tools, bench.folder / "first-files", 5060) as files:
        manifest = signed(files, "first", bench.key, layers=most, layer_bytes=BYTES)
        paths = [f"/v2/library/first/blobs/{digest}" for digest in layers("first", most)]
        servers = {
            COLD_PEER: partial(nginx_caching, bench.tools, to_port=5060),
            "nginx proxy, nothing kept": partial(nginx_proxy, bench.tools, to_port=5060, tuned=False),
            "Sealgate, hashed and kept": lambda folder, port: bench.sealgate(folder.name, port, UPSTREAM),
        }
        for connections in CONNECTIONS:
            measured = {
                name: partial(_first, bench, serve, f"{manifest}1", paths[:connections])
                for name, serve in servers.items()
            }
            yield from rows(COLD, rounds(bench.rounds, measured), connections, COLD_GOALS, COLD_PEER)


def _first(bench: Bench, serve: Callable[..., AbstractContextManager[str]], manifest: str, wanted: list[str]) -> float:
    """Return the bytes a second from a new server; what is on its way to the disk from before is waited for."""
    folder = bench.folder / "first"
    os.sync()
    with serve(folder, 5061) as url:
        ask(url, manifest)
        rate = together(url, wanted)
    shutil.rmtree(folder)
    return rate


def layers(name: str, number: int) -> list[Digest]:
    """Return the digests of the layers of such an image."""
    image = images.image(name, layers=number, layer_bytes=BYTES)
    return [Digest.of(layer) for layer in image.blobs[1:]]


def rows(
    part: str, taken: dict[str, list[float]], connections: int, goals: dict[str, tuple[str, float]], usual: str
) -> Iterator[Row]:
    """Return the rows of what was taken, each with its ratio to its peer."""
    for name, values in taken.items():
        peer, goal = goals.get(name, (usual, None))
        what = f"{name}, {connections} connection{'s' * (connections > 1)}"
        yield Row(part, what, statistics.median(values) / 1e6, "MB/s", ratio(values, taken[peer]), goal, f"to {peer}")
