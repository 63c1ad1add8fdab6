"""`docker pull` of an image of 200 MB by a real daemon, through Sealgate and through docker-registry as its mirror."""

import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from bench_report import Row
from common import LOOPBACK, Bench, signed
from e2e import content, sandbox
from e2e.clients import DockerCommand, dockerd
from e2e.packages import PROGRAMS, toolbox
from measure import ratio
from registries import registry

PART = "docker pull, 200 MB"
LAYERS, LAYER_BYTES = 5, 40_000_000
PEER, OURS = "docker-registry", "Sealgate"
_NEEDED = ("dockerd", "docker", "containerd", "runc")
_IMAGE = "docker.io/library/large:1"


@dataclass
class _Times:
    """Seconds: with nothing anywhere, and with everything in the mirror."""

    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)


def docker_pulls(bench: Bench, url: str) -> Iterator[Row]:
    """Measure it; each time with a new mirror and a new daemon, both on empty folders."""
    sandbox.check_namespaces()
    docker = toolbox({name: PROGRAMS[name] for name in _NEEDED})
    ca, _, _ = sandbox.throwaway_ca(bench.folder, ("registry-1.docker.io",))
    signed(content.PushTo(url), "large", bench.key, layers=LAYERS, layer_bytes=LAYER_BYTES)
    program = bench.tools.find("docker-registry")
    mirrors: dict[str, Callable[[Path], AbstractContextManager[str]]] = {
        PEER: lambda folder: registry(bench.tools, folder, (LOOPBACK, 5700), program, url),
        OURS: lambda folder: bench.sealgate(folder.name, 5710, url),
    }
    times = {name: _Times() for name in mirrors}
    for _ in range(bench.rounds):
        for name, serve in mirrors.items():
            folder = bench.folder / "mirror"
            with (
                sandbox.fresh_box(docker, {}, ca) as box,
                serve(folder) as mirror,
                dockerd(box, mirror, "overlay2") as run,
            ):
                times[name].cold.append(_seconds(run))
                run("rmi", _IMAGE)
                times[name].warm.append(_seconds(run))
            shutil.rmtree(folder)
    for kind in ("cold", "warm"):
        theirs = getattr(times[PEER], kind)
        for name, taken in times.items():
            values = getattr(taken, kind)
            goal = 1.0 if name == OURS else None
            note = f"to {PEER}; from {min(values):.2f} to {max(values):.2f} s"
            yield Row(
                PART, f"{kind}, through {name}", statistics.median(values), "s", ratio(theirs, values), goal, note
            )


def _seconds(docker: DockerCommand) -> float:
    os.sync()  # what is still on its way to the disk belongs to the pull before
    begun = time.perf_counter()
    ended = docker("pull", "--quiet", _IMAGE)
    taken = time.perf_counter() - begun
    if ended.code != 0:
        raise RuntimeError(f"docker pull: {ended.output}")
    return taken
