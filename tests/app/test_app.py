"""The parts put together: a configuration file, real listeners, a registry on loopback."""

import asyncio
import json
import resource
import ssl

import pytest
from aiohttp import ClientSession
from support.stack import sign
from support.tls import make_tls
from support.whole import configuration

from proxy.app import clock, running, verify
from proxy.app.judging import new_id
from proxy.config import load
from proxy.demo.images import image, index
from proxy.demo.registry import Registry
from proxy.demo.registry import serve as serve_registry
from proxy.front.listener import ADMIN_CONNECTIONS_MAX, CONNECTIONS_MAX, Listener
from proxy.oci.digest import Digest
from proxy.oci.reference import Reference
from proxy.stores.database import Database, open_database
from proxy.verdict import Accepted, Refused

GOOD, BAD = image("good"), image("bad")
# More layers than fit into the pages that the store's file begins with.
MULTI = index([image(f"multi {one}", architecture=one, layers=100) for one in ("amd64", "arm64")])

SEEN_ONLY = """
[[rules]]
name = "seen-only"
images = ["docker.io/team/warned"]
require = "release"
mode = "warn"
"""


@pytest.fixture
async def upstream():
    registry = Registry(token_auth=True)
    GOOD.add_to(registry, "team/good", "1")
    sign(registry, "team/good", GOOD.media_type, GOOD.body)
    BAD.add_to(registry, "team/bad", "1")
    document = json.loads(GOOD.body)
    document["layers"][0]["urls"] = ["https://elsewhere.example/layer"]
    for name in ("elsewhere", "warned"):
        body = json.dumps(document).encode()
        registry.add_manifest(f"team/{name}", GOOD.media_type, body, "1")
        sign(registry, f"team/{name}", GOOD.media_type, body)
    MULTI.add_to(registry, "team/multi", "1")
    sign(registry, "team/multi", MULTI.media_type, MULTI.body)
    async with serve_registry(registry) as url:
        yield url


@pytest.fixture
def config(tmp_path, upstream):
    return configuration(tmp_path, upstream, more=SEEN_ONLY)


async def status(url: str, method: str = "GET", **options: object) -> int:
    async with ClientSession() as session, session.request(method, url, allow_redirects=False, **options) as response:
        await response.read()
        return response.status


async def test_it_serves_and_remembers_across_a_restart(config):
    settings = load(config)
    for _ in range(2):
        async with running(settings) as at:
            assert await status(f"{at.registry}/v2/team/good/manifests/1") == 200
            assert await status(f"{at.registry}/v2/docker.io/team/bad/manifests/1") == 403
            async with ClientSession() as session:
                async with session.get(f"{at.admin}/metrics") as response:
                    metrics = await response.text()
                async with session.get(f"{at.admin}/") as response:
                    page = await response.text()
            assert await status(f"{at.admin}/readyz") == 200
        assert "docker.io/team/bad:1" in page
        assert 'sealgate_refusals_total{client="other",form="plain",reason="not_signed"} 1.0' in metrics
    # judged once: the second run found it remembered
    assert 'sealgate_verdicts_total{reason="none",rule="everything",verdict="accepted"} 1.0' not in metrics


@pytest.mark.parametrize(
    "broken",
    ["PRAGMA query_only = 1", "PRAGMA max_page_count = 1", "DROP TABLE membership"],
    ids=["read-only", "full", "damaged"],
)
async def test_a_pull_completes_whatever_becomes_of_the_disk(config, monkeypatch, broken):
    """Else an accepted image's layers would be refused, for nothing would remember whose they are."""

    def open_broken(*args: object) -> Database:
        database = open_database(*args)
        database._thread.submit(lambda: database._connection.execute(broken).fetchall()).result()
        return database

    monkeypatch.setattr("proxy.app.judging.open_database", open_broken)
    async with running(load(config)) as at:
        assert await status(f"{at.registry}/v2/team/multi/manifests/1") == 200
        for child in MULTI.children:
            assert await status(f"{at.registry}/v2/team/multi/manifests/{child.digest}") == 200
            for blob in (*child.blobs[:2], *child.blobs[-2:]):
                assert await status(f"{at.registry}/v2/team/multi/blobs/{Digest.of(blob)}") == 200
        assert await status(f"{at.registry}/v2/docker.io/team/bad/manifests/1") == 403
        assert await status(f"{at.registry}/v2/docker.io/team/bad/blobs/{Digest.of(BAD.blobs[1])}") == 403
        assert "sealgate_store_faults_total 0.0" not in await text(f"{at.admin}/metrics")


async def test_blobs_survive_a_restart(config):
    layer = GOOD.blobs[1]
    digest = Digest.of(layer)
    file = config.parent / "state" / "content" / digest.algorithm / digest.hex[:2] / digest.hex
    settings = load(config)
    async with running(settings) as at:
        assert await status(f"{at.registry}/v2/team/good/manifests/1") == 200
        assert await status(f"{at.registry}/v2/team/good/blobs/{digest}") == 200
        while not file.exists():  # noqa: ASYNC110 (nobody else is told)
            await asyncio.sleep(0.01)
    assert file.read_bytes() == layer
    async with running(settings) as at:
        assert await status(f"{at.registry}/v2/team/good/blobs/{digest}") == 200
        metrics = await text(f"{at.admin}/metrics")
    assert 'sealgate_cache_requests_total{cache="content",result="hit"} 1.0' in metrics
    assert 'operation="blob",outcome="ok",registry="docker.io"' not in metrics


async def test_a_stop_in_mid_transfer_leaves_nothing(config, monkeypatch):
    begun = asyncio.Event()

    async def hanging(self, transfer, incoming):
        await incoming.write(b"x")
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("proxy.gate.fetching.Fetcher._take", hanging)
    incoming = config.parent / "state" / "content" / "incoming"
    async with running(load(config)) as at:
        assert await status(f"{at.registry}/v2/team/good/manifests/1?ns=docker.io") == 200
        await begun.wait()  # the config comes in by itself
        assert len(list(incoming.iterdir())) == 1
    assert list(incoming.iterdir()) == []


@pytest.mark.parametrize("why", ["off", "no folder"])
async def test_blobs_need_no_store(config, why):
    if why == "off":
        config.write_text(config.read_text() + "[cache]\nsize = 0\n")
    else:
        (config.parent / "state").mkdir()
        (config.parent / "state" / "content").write_text("a file stands there")
    async with running(load(config)) as at:
        assert await status(f"{at.registry}/v2/team/good/manifests/1") == 200
        assert await status(f"{at.registry}/v2/team/good/blobs/{Digest.of(GOOD.blobs[1])}") == 200
        faults = "0.0" if why == "off" else "1.0"
        assert f"sealgate_store_faults_total {faults}" in await text(f"{at.admin}/metrics")
    assert not (config.parent / "state" / "content").is_dir()


async def test_verify_judges_without_remembering(config):
    settings = load(config)
    good = await verify(settings, Reference.parse("team/good:1"))
    bad = await verify(settings, Reference.parse("team/bad:1"))
    assert isinstance(good.verdict, Accepted)
    assert isinstance(bad.verdict, Refused)
    assert not (config.parent / "state").exists()


@pytest.mark.parametrize(
    ("name", "server", "withheld"),
    [
        ("elsewhere", "", True),
        ("elsewhere", 'external_urls = "insecure_allow"', False),
        ("warned", "", False),
        ("good", "", False),
    ],
)
async def test_verify_knows_what_a_pull_is_refused_for_besides(tmp_path, upstream, name, server, withheld):
    seen = await verify(
        load(configuration(tmp_path, upstream, server=server, more=SEEN_ONLY)), Reference.parse(f"team/{name}:1")
    )
    assert isinstance(seen.verdict, Accepted)
    assert (seen.withheld is not None) is withheld


@pytest.mark.parametrize(("size", "code"), [(9_000, 200), (30_000, 200), (40_000, 400)])
async def test_long_headers(config, size, code):
    """A token may be longer than the 8190 bytes that are usual for servers."""
    async with running(load(config)) as at:
        assert await status(f"{at.registry}/v2/", headers={"Padding": "x" * size}) == code


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("GET /v2/team/good/manifests/1", "HTTP/1.1 307 Temporary Redirect"),
        ("HEAD /v2/team/good/manifests/1", "HTTP/1.1 300 sealgate: the request head is larger than 65536 bytes (id "),
        ("GET /v2/team/good/manifests/1?ns=docker.io", "HTTP/1.1 200 OK"),
        ("GET /v2/", "HTTP/1.1 431 sealgate: the request head is larger than 65536 bytes (id "),
    ],
)
async def test_a_head_that_is_too_large_is_refused_in_the_form_that_holds(config, line, answer):
    async with running(load(config)) as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(at.registry.rpartition(":")[2]))
        writer.write(f"{line} HTTP/1.1\r\nHost: x\r\n".encode() + b"X: y\r\n" * 12_000)
        said = (await reader.read()).decode()
        assert said.startswith(answer)
        assert "the request head is larger than 65536 bytes" in said
        assert "Docker-Distribution-Api-Version: registry/2.0" in said
        writer.transport.abort()
        page = await text(f"{at.admin}/metrics")
        assert 'sealgate_connections_dropped_total{why="head"} 1.0' in page


@pytest.mark.parametrize(
    ("line", "more", "answer"),
    [
        ("GET /v2/team/good/manifests/1", "", " 307 "),
        ("GET /v2/team/good/manifests/1?ns=docker.io", "", " 200 "),
        ("GET /v2/team/good/manifests/1", "docker-distribution-API-version: registry/2.0\r\n", " 200 "),
        ("GET /v2/team/good/blobs/sha256:00", "", " 307 "),
        ("GET /v2/", "", " 400 "),
    ],
)
async def test_a_head_that_cannot_be_read_is_refused_in_the_form_that_holds(config, line, more, answer):
    async with running(load(config)) as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(at.registry.rpartition(":")[2]))
        writer.write(f"{line} HTTP/1.1\r\nHost: x\r\n{more}a secret\x01header: x\r\n\r\n".encode())
        said = (await reader.read()).decode()
        assert said.partition("\r\n")[0][len("HTTP/1.x") :].startswith(answer)
        assert "cannot be read" in said
        assert "secret" not in said
        writer.transport.abort()


async def test_health_is_answered_while_the_registry_has_no_place_left(config, monkeypatch):
    monkeypatch.setattr("proxy.app.composition.resource.getrlimit", lambda _: (4, 4))
    asked = asyncio.Event()

    async def never(*_: object) -> None:
        asked.set()
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr("proxy.front.server.Front.handle", never)
    async with running(load(config)) as at, asyncio.TaskGroup() as tasks:
        port = int(at.registry.rpartition(":")[2])
        waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
        for _, writer in waiting:
            writer.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        await asked.wait()
        for path in ("healthz", "readyz", "metrics"):
            assert await tasks.create_task(status(f"{at.admin}/{path}")) == 200
        for _, writer in waiting:
            writer.transport.abort()


@pytest.mark.parametrize(
    ("files", "connections"),
    [(1024, 768), (20_000, CONNECTIONS_MAX), (resource.RLIM_INFINITY, CONNECTIONS_MAX)],
)
async def test_some_files_are_kept_for_upstreams(config, monkeypatch, files, connections):
    given: list[int] = []

    class Noted(Listener):
        def __init__(self, handler: object, connections_max: int, *more: object, **named: object) -> None:
            given.append(connections_max)
            super().__init__(handler, connections_max, *more, **named)

    monkeypatch.setattr("proxy.app.composition.Listener", Noted)
    monkeypatch.setattr("proxy.app.composition.resource.getrlimit", lambda _: (files, files))
    async with running(load(config)):
        assert given == [connections, ADMIN_CONNECTIONS_MAX]


async def test_a_part_that_fails_closes_the_others(config):
    settings = load(config)
    with pytest.raises(ZeroDivisionError):
        async with running(settings):
            raise ZeroDivisionError


async def test_an_address_that_is_taken_is_an_oserror(config):
    async with running(load(config)) as at:
        port = at.registry.rpartition(":")[2]
        config.write_text(config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}", 1))
        with pytest.raises(OSError, match="Address already in use"):
            async with running(load(config)):
                pass


async def test_the_audit_log_may_be_a_file(config, tmp_path):
    config.write_text(config.read_text().replace("[server]", '[server]\naudit_log = "audit.jsonl"'))
    async with running(load(config)) as at:
        assert await status(f"{at.registry}/v2/team/good/manifests/1") == 200
        assert await status(f"{at.registry}/v2/team/bad/manifests/1") == 307
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(line["event"], line["verdict"]) for line in lines] == [
        ("verdict", "accepted"),
        ("verdict", "refused"),
        ("refused_pull", "refused"),
    ]
    assert lines[0]["evidence"][0]["signer"] == "release"
    assert lines[1]["id"] == lines[2]["id"]


async def test_tls(config, tmp_path):
    tls = make_tls(tmp_path)
    config.write_text(
        config.read_text().replace("[server]", '[server]\ntls_certificate = "tls.crt"\ntls_key = "tls.key"')
    )
    trust = ssl.create_default_context(cafile=tls.certificate)
    async with running(load(config)) as at:
        assert at.registry.startswith("https://")
        assert await status(f"{at.registry}/v2/", ssl=trust) == 200
        page = await text(f"{at.admin}/metrics")
        assert 'sealgate_certificate_expiry_timestamp_seconds{kind="tls",name="server"} 4.733' in page


def test_ids_and_times():
    assert len(new_id()) == 8
    assert new_id() != new_id()
    assert clock().tzinfo is not None


async def test_the_event_loop_is_watched(config):
    async with running(load(config)) as at:
        async with asyncio.timeout(20):
            while "sealgate_event_loop_lag_seconds_count 0.0" in await text(f"{at.admin}/metrics"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def text(url: str) -> str:
    async with ClientSession() as session, session.get(url) as response:
        return await response.text()
