"""Small blobs that are looked at before they are sent: fetched once, kept, and no more to be had for it than before."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.content import opened, path_of
from support.stack import running, sign
from support.tar_text import as_json, blank

from proxy.demo.images import image
from proxy.demo.registry import Registry, serve
from proxy.front.small import CONFIG_BYTES_MAX, SmallBlobs
from proxy.gate.transfers import Transfers
from proxy.oci.digest import Digest
from proxy.oci.reference import Repository
from proxy.oci.strict_json import loads_object
from proxy.upstream.blobs import BlobStream

CONFIG = b'{"architecture":"amd64","rootfs":{}}'
HONEST = b'{"x":"' + b"a" * 512 + b'"}'
APP = Repository.of("docker.io", "team/app")


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


class OneBlob:
    """Upstreams that have one blob, and no store before them."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def open_blob(self, repository, digest, *, range_header):
        assert (repository.path, range_header) == ("team/app", None)
        return self

    async def __aenter__(self):
        return BlobStream(200, None, None, None, pieces(self._content[:7], self._content[7:]))

    async def __aexit__(self, *_):
        return None

    async def config(self, digest):
        async with asyncio.TaskGroup() as tasks:
            transfers = Transfers(source=self, store=None, tasks=tasks, observer=None, on_cut=print)
            return await SmallBlobs(self, transfers).config(APP, digest)


@pytest.mark.parametrize(
    ("content", "is_config"),
    [
        (CONFIG, True),
        (b'{"architecture":"amd64","rootfs":[]}', False),
        (b'{"rootfs":{}}', False),
        (b'{"architecture":"amd64","rootfs":{},"Config":{}}', False),
        *(
            (made[:-1] + b',"architecture":"amd64","rootfs":{}}', made is HONEST)
            for made in (HONEST, as_json(b""), blank())
        ),
        (b'{"architecture":"amd64","rootfs":{},"pad":"' + b" " * CONFIG_BYTES_MAX + b'"}', False),
        (b"\x1f\x8b\x08 a layer", False),
        (b"[]", False),
    ],
)
async def test_only_a_small_config_is_let_through(content, is_config):
    assert await OneBlob(content).config(Digest.of(content)) == (content if is_config else None)
    assert await OneBlob(content).config(Digest.of(b"other")) is None


async def test_a_config_is_parsed_beside_the_event_loop(monkeypatch):
    """256 KiB of hostile JSON take 45 ms, in which nobody else would be answered."""
    threads = []

    def parse(content: bytes, what: str) -> dict[str, object]:
        threads.append(threading.current_thread())
        return loads_object(content, what)

    monkeypatch.setattr("proxy.front.small.loads_object", parse)
    assert await OneBlob(CONFIG).config(Digest.of(CONFIG)) == CONFIG
    assert len(threads) == 1
    assert threading.main_thread() not in threads


BAD, GOOD = image("bad"), image("good")
SIGNATURE = f"/v2/library/good/manifests/sha256-{GOOD.digest.hex}.sig"


def blob_path(name: str, digest: Digest) -> str:
    return f"/v2/library/{name}/blobs/{digest}"


@asynccontextmanager
async def proxied(folder, room=10_000_000):
    made = Registry()
    for name, one in (("bad", BAD), ("other", BAD), ("good", GOOD)):
        one.add_to(made, f"library/{name}", "1")
    sign(made, "library/good", GOOD.media_type, GOOD.body, kind="classic")
    with opened(folder, room) as store:
        async with serve(made) as url, running(url, content=store) as stack:
            stack.made, stack.store = made, store
            yield stack


def asked(stack, path: str) -> int:
    return [target for _, target in stack.made.requests].count(path)


async def kept(stack, digest: Digest) -> None:
    while not stack.store.has(digest, len(BAD.blobs[0])):  # noqa: ASYNC110 (nobody else is told)
        await asyncio.sleep(0.005)


async def test_the_config_of_a_refused_image_is_fetched_once_a_repository(tmp_path):
    config = Digest.of(BAD.blobs[0])
    async with proxied(tmp_path) as stack:
        for _ in range(3):
            assert (await stack.get(blob_path("bad", config)))[::2] == (200, BAD.blobs[0])
            await kept(stack, config)
        assert asked(stack, blob_path("bad", config)) == 1
        # It lies in the store, and whether this repository has it only the upstream knows.
        assert (await stack.get(blob_path("good", config)))[0] == 307
        assert asked(stack, blob_path("good", config)) == 1
        assert (await stack.get(blob_path("other", config)))[::2] == (200, BAD.blobs[0])
        assert asked(stack, blob_path("other", config)) == 1


@pytest.mark.parametrize("change", ["rots", "goes"])
async def test_a_kept_config_that_is_wrong_or_gone_is_fetched_again(tmp_path, change):
    config = Digest.of(BAD.blobs[0])
    async with proxied(tmp_path) as stack:
        await stack.get(blob_path("bad", config))
        await kept(stack, config)
        path = path_of(stack.store, config)
        path.unlink()
        if change == "rots":
            path.write_bytes(BAD.blobs[0][:-1] + b"x")
        assert (await stack.get(blob_path("bad", config)))[::2] == (200, BAD.blobs[0])
        assert asked(stack, blob_path("bad", config)) == 2


async def test_without_room_it_is_fetched_each_time(tmp_path):
    config = Digest.of(BAD.blobs[0])
    async with proxied(tmp_path, room=10) as stack:
        for _ in range(2):
            assert (await stack.get(blob_path("bad", config)))[::2] == (200, BAD.blobs[0])
        assert asked(stack, blob_path("bad", config)) == 2


@pytest.mark.parametrize("room", [10_000_000, 10])
async def test_what_signatures_are_made_of_is_fetched_once(tmp_path, room):
    async with proxied(tmp_path, room) as stack:
        _, response, _ = await stack.get(SIGNATURE)
        manifest = await response.json(content_type=None)
        layer = Digest.parse(manifest["layers"][0]["digest"])
        before = asked(stack, blob_path("good", layer))
        got = [(await stack.get(blob_path("good", layer)))[::2] for _ in range(3)]
        assert [(status, Digest.of(body)) for status, body in got] == [(200, layer)] * 3
        assert asked(stack, blob_path("good", layer)) - before == (1 if room > 10 else 3)


async def test_the_upstream_that_sends_it_too_slowly(tmp_path, monkeypatch):
    monkeypatch.setattr("proxy.front.small.SECONDS", 0.01)
    async with proxied(tmp_path) as stack:
        _, response, _ = await stack.get(SIGNATURE)
        layer = (await response.json(content_type=None))["layers"][0]["digest"]

        async def never(*_: object) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr("proxy.gate.transfers.Transfers.open", never)
        assert (await stack.get(f"/v2/docker.io/library/good/blobs/{layer}"))[0] == 503
