"""Many clients at once: the images that they pull, and how their pulls end."""

import asyncio
import json
import resource
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

from support.pulls import pull, session
from support.stack import sign

from proxy.demo.images import Image, image
from proxy.demo.registry import Registry
from proxy.oci.digest import Digest

# Layers at the same time, as Docker fetches them (max-concurrent-downloads).
CONNECTIONS = 3
# Images of one base share its two layers.
_IMAGES_OF_A_BASE = 5


@dataclass
class Outcome:
    """How the pulls of a crowd ended: what went wrong, and how long it took in all."""

    pulls: int
    bytes: int
    seconds: float
    failures: list[BaseException] = field(default_factory=list)


def stacked(base: Image, top: Image) -> Image:
    """Put an image's layers upon those of another."""
    below, above = json.loads(base.body), json.loads(top.body)
    body = json.dumps(above | {"layers": below["layers"] + above["layers"]}).encode()
    return replace(top, body=body, blobs=(*top.blobs, *base.blobs[1:]))


def images_of(count: int, layer_bytes: int) -> dict[str, Image]:
    """Make so many images of three to five layers, by the names of their repositories; two layers are a shared base."""
    bases = [image(f"base {number}", layer_bytes=layer_bytes) for number in range(-(-count // _IMAGES_OF_A_BASE))]
    tops = [image(f"app {number}", layers=1 + number % 3, layer_bytes=layer_bytes) for number in range(count)]
    return {f"team/app{number}": stacked(bases[number // _IMAGES_OF_A_BASE], top) for number, top in enumerate(tops)}


def publish(registry: Registry, images: dict[str, Image]) -> None:
    """Put signed images into the registry, each with the tag 1."""
    for name, one in images.items():
        one.add_to(registry, name, "1")
        sign(registry, name, one.media_type, one.body)


def fetches(registry: Registry, images: dict[str, Image]) -> list[int]:
    """Say how often each blob was fetched from the registry, whatever the repository, in no order."""
    asked = [path.rpartition("/")[2] for method, path in registry.requests if method == "GET"]
    return [asked.count(str(Digest.of(blob))) for blob in {blob for one in images.values() for blob in one.blobs}]


async def all_at_once(url: str, images: dict[str, Image], pulls: int) -> Outcome:
    """Let so many clients, each with connections of its own, pull the images at the same time."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    names: Sequence[str] = [list(images)[number % len(images)] for number in range(pulls)]
    begun = monotonic()
    ended = await asyncio.gather(*(_one(url, name) for name in names), return_exceptions=True)
    failures = [one for one in ended if isinstance(one, BaseException)]
    failures += [
        AssertionError(f"{name} is {one}")
        for name, one in zip(names, ended, strict=True)
        if isinstance(one, str) and one != str(images[name].digest)
    ]
    size = sum(len(blob) for name in names for blob in images[name].blobs)
    return Outcome(pulls, size, monotonic() - begun, failures)


async def _one(url: str, name: str) -> str:
    async with session(CONNECTIONS) as client:
        return await pull(client, url, name, "1")
