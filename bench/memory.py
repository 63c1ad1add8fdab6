"""The memory of a process that remembers: it opens a state, asks for many of the images in it and a blob of each.

memory.py CONFIG IMAGES TOUCHED    print the resident bytes when it has opened the state of so many images, when it has
                                   asked for four fifths of what it asks for, and at the end
"""

import asyncio
import gc
import importlib
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import remembered

from proxy.app.judging import make_gate, open_state
from proxy.app.trust import trust_ages
from proxy.config import Settings, load
from proxy.formats.api import Source
from proxy.gate import Gate
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_MANIFEST, Manifest
from proxy.oci.reference import Reference
from proxy.upstream.table import Upstreams

# Asked for at the same time, as many nodes do.
_AT_ONCE = 20


class Registry:
    """A registry that makes the manifest of an image when its tag is asked for; it has no signatures."""

    canonical: Source | None = None

    async def manifest(self, reference: Reference) -> Manifest:
        """Make it anew."""
        body = remembered.body(int(reference.tag or ""))
        return Manifest.parse(Digest.of(body), OCI_MANIFEST, body)


class Nobody:
    """An observer that keeps nothing."""

    def __getattr__(self, _name: str) -> Any:  # noqa: ANN401 (any method of any observer)
        return lambda *_arguments, **_named: None


def resident(status: Path = Path("/proc/self/status")) -> int:
    """Return the bytes of memory that a process has (proc(5), VmRSS)."""
    lines = status.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


async def touch(gate: Gate, images: Iterable[int]) -> None:
    """Pull these images, and ask for a blob of each."""
    numbers = iter(images)

    async def work() -> None:
        for number in numbers:
            name = remembered.repository(number)
            pulled = await gate.pull(Reference(name, tag=str(number)), "client")
            if pulled.decision is None or not pulled.decision.served:
                raise TypeError(f"{name}:{number} was not remembered")
            await gate.blob(name, remembered.own_layer(number), "client")

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_AT_ONCE):
            tasks.create_task(work())


async def main(settings: Settings, images: int, touched: int) -> None:
    """Open, touch, print."""
    chosen = random.Random(images).sample(range(remembered.OUSTED, images), touched)  # noqa: S311 (any will do, but the same each time)
    part = touched * 4 // 5
    database = open_state(settings, print)
    try:
        async with asyncio.TaskGroup() as tasks:
            gate = make_gate(
                settings,
                cast("Upstreams", Registry()),
                database,
                trust_ages(settings),
                cast("Any", Nobody()),
                tasks,
            )
            seen = [resident()]
            for some in (chosen[:part], chosen[part:]):
                await touch(gate, some)
                gc.collect()
                seen.append(resident())
            print(*seen)
    finally:
        database.close()


if __name__ == "__main__":
    importlib.import_module("proxy.cli.commands")
    asyncio.run(main(load(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])))
