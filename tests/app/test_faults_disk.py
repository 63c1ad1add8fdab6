"""The whole of Sealgate over files that rot, and killed in the middle of a pull."""

import asyncio
from contextlib import suppress

import pytest
from aiohttp import ClientError
from support.pulls import CutError, pull, session
from support.stack import sign
from support.unruly import flipped, halts, unruly
from support.whole import assert_clean, configuration, serving, settings_of

from proxy.app import running
from proxy.demo.images import image
from proxy.oci.digest import Digest

GOOD = image("good", layers=3, layer_bytes=300_000)
LAYER = Digest.of(GOOD.blobs[1])


@pytest.fixture
async def registry():
    async with unruly() as made:
        GOOD.add_to(made, "team/good", "1")
        sign(made, "team/good", GOOD.media_type, GOOD.body)
        image("bad").add_to(made, "team/bad", "1")
        yield made


@pytest.fixture
def config(registry, tmp_path):
    return configuration(tmp_path, registry.url)


def file_of(folder, digest):
    return folder / "state" / "content" / digest.algorithm / digest.hex[:2] / digest.hex


async def all_kept(folder):
    while not all(file_of(folder, Digest.of(blob)).exists() for blob in GOOD.blobs):  # noqa: ASYNC110 (nobody is told)
        await asyncio.sleep(0.01)


ROT = {
    "shorter": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"x"),
    "empty": lambda file: file.write_bytes(b""),
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("rot", ROT.values(), ids=ROT.keys())
async def test_a_file_that_is_seen_to_be_wrong_is_fetched_again(config, registry, tmp_path, rot):
    async with session() as client, running(settings_of(config)) as at:
        await pull(client, at.registry, "team/good", "1")
        await all_kept(tmp_path)
        rot(file_of(tmp_path, LAYER))
        await pull(client, at.registry, "team/good", "1")
        assert registry.asked(str(LAYER)) == 2
    assert assert_clean(tmp_path / "state") == len(GOOD.blobs)


async def test_a_bit_that_changed_is_found_when_everything_is_read_again(config, registry, tmp_path):
    """It is, from the start on. Other files stay where they are."""
    async with session() as client, running(settings_of(config)) as at:
        await pull(client, at.registry, "team/good", "1")
        await all_kept(tmp_path)
    file = file_of(tmp_path, LAYER)
    file.write_bytes(flipped(file.read_bytes()))
    async with session() as client, running(settings_of(config)) as at:
        while 'sealgate_content_removed_total{why="corrupt"} 1.0' not in await _metrics(client, at):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert not file.exists()
        await pull(client, at.registry, "team/good", "1")
    assert [registry.asked(str(Digest.of(blob))) for blob in GOOD.blobs] == [1, 2, 1, 1]
    assert assert_clean(tmp_path / "state") == len(GOOD.blobs)


async def test_a_bit_that_changed_is_found_when_a_client_asks_again(config, registry, tmp_path):
    """As clients do that find other bytes than the digest says. What is right is not fetched again for it."""
    async with session() as client, running(settings_of(config)) as at:
        await pull(client, at.registry, "team/good", "1")
        await all_kept(tmp_path)
        file = file_of(tmp_path, LAYER)
        file.write_bytes(flipped(file.read_bytes()))
        await pull(client, at.registry, "team/good", "1")
        assert 'sealgate_content_removed_total{why="corrupt"} 1.0' in await _metrics(client, at)
    assert [registry.asked(str(Digest.of(blob))) for blob in GOOD.blobs] == [1, 2, 1, 1]
    assert assert_clean(tmp_path / "state") == len(GOOD.blobs)


async def _metrics(client, at):
    async with client.get(f"{at.admin}/metrics") as response:
        return await response.text()


# Where the upstream stands still when Sealgate is killed; each time another image is pulled.
MOMENTS = {
    "at the manifest": "manifests/1",
    "at the signature": "referrers",
    "in a layer": str(Digest.of(image("in a layer", layer_bytes=300_000).blobs[1])),
}


async def test_killed_in_mid_pull_it_starts_clean_and_the_pull_completes(config, registry, tmp_path):
    incoming = tmp_path / "state" / "content" / "incoming"
    half_written, pulled, halted = 0, [], asyncio.Event()
    images = {moment: image(moment, layer_bytes=300_000) for moment in MOMENTS}
    async with session() as client:
        for moment, about in MOMENTS.items():
            name = f"team/{moment.replace(' ', '-')}"
            images[moment].add_to(registry, name, "1")
            sign(registry, name, images[moment].media_type, images[moment].body)
            registry.plague(f"{name}/{about}" if moment != "in a layer" else about, halts(halted), 1)
            async with serving(config) as served, asyncio.TaskGroup() as tasks:
                await _all_as_before(client, served, pulled, incoming)
                tasks.create_task(_whatever_comes(pull(client, served.registry, name, "1")))
                await registry.struck(len(pulled) + 1)
                if moment == "in a layer":
                    await _some_arrived(incoming)
                await served.kill()
            half_written += len(list(incoming.iterdir()))
            pulled.append((name, str(images[moment].digest)))
        halted.set()
        async with serving(config) as served:
            await _all_as_before(client, served, pulled, incoming)
            assert await served.stop() == 0
    assert half_written
    assert assert_clean(tmp_path / "state") == len({blob for one in images.values() for blob in one.blobs})


async def _all_as_before(client, served, pulled, incoming):
    """What was pulled is pulled again, what is bad is refused, and nothing is left over."""
    assert list(incoming.iterdir()) == []
    for name, digest in pulled:
        assert await pull(client, served.registry, name, "1") == digest
    async with client.get(f"{served.registry}/v2/team/bad/manifests/1", allow_redirects=False) as response:
        assert response.status == 307


async def _some_arrived(incoming):
    while not sum(it.stat().st_size for it in incoming.iterdir()):  # noqa: ASYNC110 (nobody is told)
        await asyncio.sleep(0.01)


async def _whatever_comes(work):
    with suppress(CutError, ClientError):
        await work
