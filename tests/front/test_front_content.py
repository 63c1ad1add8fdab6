"""Blobs that are kept: from the disk by sendfile, as they arrive, and never wrong for it."""

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError, ClientSession, web
from support.content import opened
from support.stack import listening, running, sign
from support.tls import make_tls

from proxy.demo.images import image
from proxy.demo.registry import Registry, serve
from proxy.front import sending
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError, UnavailableError

LARGE = image("large", layer_bytes=3 * 1024 * 1024, layers=2)
CONFIG, LAYER, SECOND = LARGE.blobs[:3]
MANIFEST = "/v2/library/large/manifests/1"
ROOM = 100 * 1024 * 1024


def path(blob: bytes) -> str:
    return f"/v2/library/large/blobs/{Digest.of(blob)}"


def registry() -> Registry:
    made = Registry()
    LARGE.add_to(made, "library/large", "1")
    sign(made, "library/large", LARGE.media_type, LARGE.body)
    return made


@asynccontextmanager
async def proxied(folder, made=None, room=ROOM, **options):
    """Run a front with a store before a registry; the manifest was pulled by a HEAD, which prefetches nothing."""
    made = made or registry()
    with opened(folder, room) as store:
        async with serve(made) as url, running(url, content=store, **options) as stack:
            stack.registry, stack.store = made, store
            await stack.get(MANIFEST + "?ns=docker.io", "HEAD")
            yield stack


def asked(stack, blob: bytes) -> int:
    return [target for _, target in stack.registry.requests].count(path(blob))


async def kept(stack, blob: bytes) -> None:
    while not stack.store.has(Digest.of(blob), len(blob)):  # noqa: ASYNC110 (nobody else is told)
        await asyncio.sleep(0.005)


async def test_once_from_the_upstream_and_then_from_the_disk(tmp_path):
    async with proxied(tmp_path) as stack:
        assert (await stack.get(path(LAYER)))[::2] == (200, LAYER)
        await kept(stack, LAYER)
        for _ in range(2):
            status, response, body = await stack.get(path(LAYER))
            assert (status, body) == (200, LAYER)
            assert response.headers["Content-Length"] == str(len(LAYER))
            assert response.headers["Docker-Content-Digest"] == str(Digest.of(LAYER))
        assert (await stack.get(path(LAYER), "HEAD"))[0] == 200
        assert asked(stack, LAYER) == 1
        assert stack.watch.bytes_sent == 3 * len(LAYER)
        assert stack.watch.transfers == ["kept"]
    made = registry()
    async with proxied(tmp_path, made) as stack:  # a restart
        assert (await stack.get(path(LAYER)))[2] == LAYER
        assert asked(stack, LAYER) == 0


async def test_a_blob_without_grant_stays_where_it_is(tmp_path):
    async with proxied(tmp_path) as stack:
        await stack.get(path(LAYER))
        await kept(stack, LAYER)
        assert (await stack.get(f"/v2/library/other/blobs/{Digest.of(LAYER)}"))[0] == 307
        assert (await stack.get(f"/v2/docker.io/library/other/blobs/{Digest.of(LAYER)}", If_None_Match="*"))[0] == 403


async def test_many_at_once_ask_once(tmp_path):
    async with proxied(tmp_path) as stack:
        answers = await asyncio.gather(*(stack.get(path(LAYER)) for _ in range(20)))
        assert all(body == LAYER for _, _, body in answers)
        assert asked(stack, LAYER) == 1


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-", range(len(LAYER))),
        ("bytes=100-199", range(100, 200)),
        ("bytes=100-", range(100, len(LAYER))),
        ("bytes=5-99999999999", range(5, len(LAYER))),
        (f"bytes={len(LAYER) - 1}-", range(len(LAYER) - 1, len(LAYER))),
    ],
)
@pytest.mark.parametrize("known", [True, False])
async def test_a_range(tmp_path, monkeypatch, wanted, part, known):
    monkeypatch.setattr(sending, "SENDFILE_BYTES", 1_000_000)
    async with proxied(tmp_path) as stack:
        if known:
            await stack.get(path(LAYER))
            await kept(stack, LAYER)
        status, response, body = await stack.get(path(LAYER), Range=wanted)
        assert (status, body) == (206, LAYER[part.start : part.stop])
        assert response.headers["Content-Range"] == f"bytes {part.start}-{part.stop - 1}/{len(LAYER)}"
        assert response.headers["Content-Length"] == str(len(part))


@pytest.mark.parametrize("known", [True, False])
async def test_odd_ranges_and_conditions(tmp_path, known):
    tag = f'"{Digest.of(LAYER)}"'
    async with proxied(tmp_path) as stack:
        if known:
            await stack.get(path(LAYER))
            await kept(stack, LAYER)
        for odd in ("bytes=-5", "bytes=1-2,4-5", "pages=1-2", "bytes=9-3"):
            assert (await stack.get(path(LAYER), Range=odd))[::2] == (200, LAYER)
        assert (await stack.get(path(LAYER), Range="bytes=9-9", If_Range='"other"'))[0] == 200
        assert (await stack.get(path(LAYER), Range="bytes=9-9", If_Range=tag))[0] == 206
        status, response, body = await stack.get(path(LAYER), Range="bytes=99999999-")
        assert (status, body) == (416, b"")
        assert response.headers["Content-Range"] == f"bytes */{len(LAYER)}"
        for method in ("GET", "HEAD"):
            for matching in (tag, f"W/{tag}", "*", f'"other", {tag}'):
                status, response, body = await stack.get(path(LAYER), method, If_None_Match=matching)
                assert (status, body, response.headers["ETag"]) == (304, b"", tag)
            assert (await stack.get(path(LAYER), method, If_None_Match='"other"'))[0] == 200


async def test_by_tls(tmp_path):
    tls = make_tls(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.certificate, tls.key)
    file = tmp_path / "blob"
    file.write_bytes(LAYER)
    sent = []

    class Watch:
        def sent(self, kind, size):
            sent.append(size)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(LAYER) - 7)})
        with file.open("rb", buffering=0) as opened_file:
            assert await sending.Sending(request, "image", Watch()).file(response, opened_file, range(7, len(LAYER)))
        return response

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    trust = ssl.create_default_context(cafile=tls.certificate)
    async with ClientSession() as session:
        for _ in range(2):
            async with session.get(f"https://127.0.0.1:{runner.addresses[0][1]}/", ssl=trust) as response:
                assert await response.read() == LAYER[7:]
    await runner.cleanup()
    assert sum(sent) == 2 * (len(LAYER) - 7)


async def test_a_file_that_became_shorter_is_cut_and_removed(tmp_path, monkeypatch):
    async with proxied(tmp_path) as stack:
        await stack.get(path(LAYER))
        await kept(stack, LAYER)
        digest = Digest.of(LAYER)
        file = tmp_path / digest.algorithm / digest.hex[:2] / digest.hex
        find = stack.store.find

        def shortened(*args):
            found = find(*args)
            file.write_bytes(LAYER[:-9])
            return found

        monkeypatch.setattr(stack.store, "find", shortened)
        with pytest.raises((ClientPayloadError, ClientConnectionError)):
            await stack.get(path(LAYER))
        monkeypatch.undo()
        assert ["shorter than it was" in cut for cut in stack.watch.cuts] == [True]
        while file.exists():  # noqa: ASYNC110 (nobody else is told)
            await asyncio.sleep(0.005)
        assert (await stack.get(path(LAYER)))[::2] == (200, LAYER)


async def test_a_client_that_leaves_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sending, "SENDFILE_BYTES", 1024)
    async with proxied(tmp_path) as stack:
        await stack.get(path(LAYER))
        await kept(stack, LAYER)
        async with stack.ask(path(LAYER)) as response:
            await response.content.readexactly(1000)
            response.close()
        while stack.watch.answers[-1][0] != "blobs" or len(stack.watch.answers) < 3:  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.005)
        assert stack.watch.cuts == []


async def test_a_client_that_takes_nothing_of_a_file(tmp_path, monkeypatch):
    async with proxied(tmp_path) as stack:
        await stack.get(path(LAYER))
        await kept(stack, LAYER)
        monkeypatch.setattr(sending, "CLIENT_STALL_SECONDS", 0.05)
        large = image("huge", layer_bytes=64 * 1024 * 1024, layers=1)
        large.add_to(stack.registry, "library/huge", "1")
        sign(stack.registry, "library/huge", large.media_type, large.body)
        await stack.get("/v2/library/huge/manifests/1", "HEAD")
        incoming = await stack.store.begin(Digest.of(large.blobs[1]), len(large.blobs[1]))
        await incoming.write(large.blobs[1])
        await incoming.finish()
        host, port = stack.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(f"GET /v2/library/huge/blobs/{Digest.of(large.blobs[1])} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        answered = len(stack.watch.answers)
        while len(stack.watch.answers) == answered:  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.01)
        assert stack.watch.cuts == []
        writer.close()


@pytest.mark.parametrize(
    ("status", "headers", "chunks", "outcome"),
    [
        (200, {"Content-Length": str(len(LAYER))}, [LAYER[:-1], b"x"], "failed"),
        (200, {"Content-Length": str(len(LAYER))}, [LAYER[:-1]], "failed"),
        (200, {}, [LAYER[:-1]], "failed"),
        (200, {}, [LAYER, b"x"], "failed"),
    ],
)
async def test_what_is_wrong_is_cut_and_then_held(tmp_path, status, headers, chunks, outcome):
    made = registry()

    async def lying(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith(path(LAYER)):
            response = web.StreamResponse(status=status, headers=headers)
            await response.prepare(request)
            for chunk in chunks:
                await response.write(chunk)
            request.transport.close()
            return response
        async with ClientSession() as session, session.request(request.method, true + request.raw_path) as answer:
            body = await answer.read()
            return web.Response(body=body, status=answer.status, headers={"Content-Type": answer.content_type})

    with opened(tmp_path, ROOM) as store:
        async with serve(made) as true, listening(lying) as url, running(url, content=store) as stack:
            await stack.get(MANIFEST + "?ns=docker.io", "HEAD")
            for _ in range(3):
                # A transfer may fail before the reader has looked at it; then it is an answer at once.
                with suppress(ClientPayloadError, ClientConnectionError):
                    code, _, body = await stack.get(path(LAYER))
                    assert (code, body) == (307, b"")
            assert (await stack.get(path(LAYER)))[0] == 307
            assert not store.has(Digest.of(LAYER), len(LAYER))
            assert set(stack.watch.transfers) <= {outcome, "resumed"}


async def test_a_store_that_has_no_room_costs_nothing(tmp_path):
    async with proxied(tmp_path, room=1000) as stack:
        for _ in range(2):
            assert (await stack.get(path(LAYER)))[::2] == (200, LAYER)
        assert asked(stack, LAYER) == 2
        assert stack.watch.transfers == ["not_kept"] * 2


async def test_the_upstream_is_given_so_long_for_its_head(tmp_path, monkeypatch):
    monkeypatch.setattr("proxy.front.blobs.HEADER_SECONDS", 0.01)

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("proxy.gate.transfers.Transfers.open", never)
    async with proxied(tmp_path) as stack:
        assert (await stack.get("/v2/docker.io" + path(LAYER)[3:]))[0] == 503


@pytest.mark.parametrize("error", [CorruptError("wrong"), UnavailableError("away")])
async def test_what_is_suspect_is_served_from_the_disk_all_the_same(tmp_path, error):
    async with proxied(tmp_path) as stack:
        await stack.get(path(LAYER))
        await kept(stack, LAYER)
        for _ in range(3):
            stack.suspects.cut(stack.repository("library/large"), Digest.of(LAYER), error)
        assert (await stack.get(path(LAYER)))[::2] == (200, LAYER)


@pytest.mark.parametrize("layers", [True, False])
async def test_an_accepted_image_starts_to_come_in(tmp_path, layers):
    async with proxied(tmp_path, prefetch_layers=layers) as stack:
        assert asked(stack, CONFIG) == 0
        await stack.get(MANIFEST.replace("/1", f"/{LARGE.digest}"))
        for blob in (CONFIG, LAYER, SECOND) if layers else (CONFIG,):
            await kept(stack, blob)
        assert asked(stack, CONFIG) == 1
        assert asked(stack, LAYER) == (1 if layers else 0)
        assert (await stack.get(path(CONFIG)))[2] == CONFIG
        assert asked(stack, CONFIG) == 1


async def test_a_refused_image_does_not(tmp_path):
    made = registry()
    bad = image("bad")
    bad.add_to(made, "library/bad", "1")
    async with proxied(tmp_path, made, prefetch_layers=True) as stack:
        assert (await stack.get("/v2/library/bad/manifests/1"))[0] == 307
        assert stack.watch.transfers == []
