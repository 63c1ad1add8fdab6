"""The memory of a process that remembers: it opens a state, asks for every image in it and for a blob of each.

memory.py CONFIG IMAGES    print the resident bytes when it has begun, and when all caches are as full as they get
"""

import asyncio
import gc
import importlib
import sys
from pathlib import Path
from typing import Any, cast

import remembered

from proxy.app.judging import make_gate, open_state
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


async def touch(gate: Gate, images: int) -> None:
    """Pull every image, and ask for a blob of it."""
    numbers = iter(range(images))

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


async def main(settings: Settings, images: int) -> None:
    """Open, touch, print."""
    database = open_state(settings, print)
    try:
        async with asyncio.TaskGroup() as tasks:
            gate = make_gate(settings, cast("Upstreams", Registry()), database, cast("Any", Nobody()), tasks)
            begun = resident()
            await touch(gate, images)
            gc.collect()
            print(begun, resident())
    finally:
        database.close()


if __name__ == "__main__":
    importlib.import_module("proxy.cli.commands")
    asyncio.run(main(load(Path(sys.argv[1])), int(sys.argv[2])))
