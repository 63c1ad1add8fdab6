"""Twenty clients of one blob while its upstream cuts, stalls, lies and is busy, and while its disk rots.

What ends as complete is right, what is kept is right, and when the upstream is honest again all are served.
"""

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError
from support.content import opened, path_of
from support.stack import running, sign
from support.unruly import answers, flipped, half, sends, unruly

from proxy.demo.images import image
from proxy.oci.digest import Digest
from proxy.upstream.endpoint import Limits

CLIENTS = 20
IMAGE = image("faults", layer_bytes=1_000_000, layers=1)
LAYER = IMAGE.blobs[1]
DIGEST = Digest.of(LAYER)
PATH = f"/v2/library/faults/blobs/{DIGEST}"
ABOUT = f"blobs/{DIGEST}"


@asynccontextmanager
async def proxied(folder):
    async with unruly() as registry:
        IMAGE.add_to(registry, "library/faults", "1")
        sign(registry, "library/faults", IMAGE.media_type, IMAGE.body)
        limits = Limits(read=2.0, blob_stall=0.3)
        with opened(folder, 100_000_000) as store:
            async with running(registry.url, content=store, limits=limits) as stack:
                stack.registry, stack.store = registry, store
                await stack.get("/v2/library/faults/manifests/1", "HEAD")
                yield stack


async def client(stack):
    """Return what one client gets: `right`, `cut`, or the status that is no."""
    try:
        status, _, body = await stack.get(PATH)
    except (ClientPayloadError, ClientConnectionError):
        return "cut"
    if status != 200:
        return str(status)
    assert body == LAYER, "a wrong blob ended as complete"
    return "right"


async def clients(stack):
    return set(await asyncio.gather(*(client(stack) for _ in range(CLIENTS))))


async def assert_right(store):
    while list((store.folder / "incoming").iterdir()):  # noqa: ASYNC110 (what ends ends on a thread)
        await asyncio.sleep(0.005)
    assert all([await store.verify_again(entry.digest) for entry in store.entries()])
    assert store.told.corrupt == []


# What is done, how often (None: until healed), and what clients may meet with meanwhile.
TROUBLES = {
    "cut once": (sends(half), 1, {"right"}),
    "cut three times": (sends(half), 3, {"right"}),
    "cut at the last byte": (sends(lambda it: it[:-1]), 1, {"right"}),
    "always cut": (sends(half), None, {"cut", "307"}),
    "stalls once": (sends(half, stall=True), 1, {"right"}),
    "always stalls": (sends(half, stall=True), None, {"cut", "307"}),
    "says more": (sends(bytes, length=lambda it: len(it) + 1), None, {"307", "cut"}),
    "says less": (sends(lambda it: it[:-1], length=lambda it: len(it) - 1), None, {"307", "cut"}),
    "sends more": (sends(lambda it: it + b"x", length=lambda _: None), None, {"cut", "307"}),
    "sends another": (sends(flipped), None, {"cut", "307"}),
    "is busy in a burst": (answers(503), 2, {"right"}),
    "counts in a burst": (answers(429, Retry_After="0"), 2, {"right"}),
    "is in error": (answers(500), None, {"307"}),
    "has it no more": (answers(404), None, {"307"}),
}


@pytest.mark.parametrize(("misdeed", "times", "may"), TROUBLES.values(), ids=TROUBLES.keys())
async def test_an_upstream_that_misbehaves(tmp_path, misdeed, times, may):
    async with proxied(tmp_path) as stack:
        stack.registry.plague(ABOUT, misdeed, times)
        assert await clients(stack) <= may
        await assert_right(stack.store)
        assert stack.store.has(DIGEST, len(LAYER)) is (may == {"right"})
        stack.registry.heal()
        stack.suspects._weights.clear()
        assert await clients(stack) == {"right"}
        await kept(stack)
        await assert_right(stack.store)


async def kept(stack):
    while not stack.store.has(DIGEST, len(LAYER)):  # noqa: ASYNC110 (nobody else is told)
        await asyncio.sleep(0.005)


async def test_a_disk_that_rots_under_clients(tmp_path):
    """A changed bit cannot be seen while a file goes out; who asks again gets what was read again."""
    async with proxied(tmp_path) as stack:
        assert await clients(stack) == {"right"}
        await kept(stack)
        path_of(stack.store, DIGEST).write_bytes(flipped(LAYER))
        assert not await stack.store.verify_again(DIGEST)
        asked = stack.registry.asked(ABOUT)
        assert await clients(stack) == {"right"}
        assert stack.registry.asked(ABOUT) == asked + 1
        await kept(stack)
        path_of(stack.store, DIGEST).write_bytes(LAYER[:-1])
        assert await clients(stack) == {"right"}
