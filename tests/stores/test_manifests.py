"""What every store of manifests must do, and what each does by itself."""

import json
from datetime import timedelta

import pytest
from support.fakes import image_body, index_body
from support.stores import APP, NOW, OTHER, count, database, workers

from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_MANIFEST, Manifest
from proxy.stores import manifests as module
from proxy.stores.manifests import USED_EVERY, MemoryManifests, SqliteManifests
from proxy.stores.schema import amount


def manifest(name="app", size=0):
    body = image_body(name) + b" " * size
    return Manifest.parse(Digest.of(body), OCI_MANIFEST, body)


def index():
    body = index_body(image_body("a"), image_body("b"))
    return Manifest.parse(Digest.of(body), json.loads(body)["mediaType"], body)


@pytest.fixture(params=["memory", "sqlite", "two workers"])
def make(request, tmp_path):
    """Return the implementation under test, made with its limit."""
    if request.param == "memory":
        yield MemoryManifests
        return
    with workers(tmp_path / "store", SqliteManifests, 1 if request.param == "sqlite" else 2) as made:
        yield made


@pytest.mark.parametrize("kept", [manifest(), index()], ids=["manifest", "index"])
async def test_gives_back_what_was_put(make, kept):
    store = make()
    await store.put(APP, kept, NOW)
    await store.put(APP, kept, NOW)
    assert await store.get(APP, kept.digest, NOW) == kept
    assert (await store.get(APP, kept.digest, NOW)).body == kept.body


async def test_knows_nothing_of_other_content_and_other_repositories(make):
    store = make()
    assert await store.get(APP, manifest().digest, NOW) is None
    await store.put(APP, manifest(), NOW)
    assert await store.get(APP, manifest("other").digest, NOW) is None
    assert await store.get(OTHER, manifest().digest, NOW) is None
    assert not await store.is_artifact(APP, manifest().digest)


async def test_what_is_an_artifact_is_one_in_its_repository(make):
    store = make()
    for repository in (APP, OTHER):
        await store.put(repository, manifest(), NOW)
    await store.mark_artifact(APP, manifest().digest)
    for _ in range(2):  # by either worker
        assert await store.is_artifact(APP, manifest().digest)
        assert not await store.is_artifact(OTHER, manifest().digest)


async def test_what_is_not_here_is_no_artifact(make):
    store = make()
    await store.mark_artifact(APP, manifest().digest)
    await store.put(APP, manifest(), NOW)
    assert not await store.is_artifact(APP, manifest().digest)


async def test_is_bounded_and_forgets_what_was_used_least_lately(make):
    every = [manifest(f"image {number:02}") for number in range(20)]
    store = make(10 * len(every[0].body))
    for number, one in enumerate(every):
        await store.put(APP, one, NOW + number * USED_EVERY)
        # The first one is asked for again and again.
        assert await store.get(APP, every[0].digest, NOW + number * USED_EVERY) == every[0]
    kept = [number for number, one in enumerate(every) if await store.get(APP, one.digest, NOW)]
    assert kept == [0, *range(11, 20)]


async def test_what_is_larger_than_all_that_is_kept_pushes_nothing_out(make):
    store = make(2 * len(manifest().body))
    await store.put(APP, manifest(), NOW)
    await store.put(APP, manifest("large", size=10_000), NOW)
    assert await store.get(APP, manifest("large", size=10_000).digest, NOW) is None
    assert await store.get(APP, manifest().digest, NOW) == manifest()


async def test_survives_a_restart(tmp_path):
    with database(tmp_path / "store") as opened:
        await SqliteManifests(opened).put(APP, manifest(), NOW)
        await SqliteManifests(opened).mark_artifact(APP, manifest().digest)
    with database(tmp_path / "store") as opened:
        store = SqliteManifests(opened)
        assert await store.get(APP, manifest().digest, NOW) == manifest()
        assert await store.is_artifact(APP, manifest().digest)


async def test_another_version_finds_out_anew_what_is_an_artifact(tmp_path, monkeypatch):
    with database(tmp_path / "store") as opened:
        store = SqliteManifests(opened)
        await store.put(APP, manifest(), NOW)
        await store.mark_artifact(APP, manifest().digest)
        monkeypatch.setattr(module, "__version__", "99")
        assert not await store.is_artifact(APP, manifest().digest)


async def test_so_many_and_not_more(tmp_path):
    with database(tmp_path / "store") as opened:
        store = SqliteManifests(opened, limit=3)
        for number in range(5):
            await store.put(OTHER if number < 2 else APP, manifest(str(number)), NOW + timedelta(seconds=number))
        assert (await count(opened, "body"), await count(opened, "repository")) == (3, 1)
        counted = await opened.read(lambda it: amount(it, "body_bytes"), None)
        assert counted == sum(len(manifest(str(number)).body) for number in (2, 3, 4))


async def test_a_large_one_takes_the_room_of_some_at_a_time_and_the_limit_holds_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "REMOVED_AT_ONCE", 2)
    large = [manifest(f"large {number}", size=18_000) for number in range(30)]
    with database(tmp_path / "store") as opened:
        store = SqliteManifests(opened, 20_000)
        for number in range(20):
            await store.put(APP, manifest(str(number)), NOW)
        for number, one in enumerate(large):
            before = await count(opened, "body")
            await store.put(APP, one, NOW + USED_EVERY)
            assert await opened.read(lambda it: amount(it, "body_bytes"), None) <= 20_000
            assert await count(opened, "body") >= before - 2, number
        assert await store.get(APP, large[-1].digest, NOW) is not None


@pytest.mark.parametrize(
    "change",
    [
        "content = x''",
        "content = x'7b7d'",
        "content = 'a text'",
        "content = 7",
        "content = CAST(content || ' ' AS BLOB)",
        "media_type = 'application/vnd.oci.image.index.v1+json'",
        "media_type = 'text/html'",
        "media_type = 7",
        "digest = (SELECT digest FROM body ORDER BY id DESC LIMIT 1)",
    ],
)
async def test_what_is_wrong_on_disk_is_never_used_reported_and_dropped(tmp_path, change):
    with database(tmp_path / "store") as opened:
        store = SqliteManifests(opened)
        await store.put(APP, manifest(), NOW)
        await store.put(OTHER, manifest("other"), NOW)
        await opened.write(lambda it: it.execute(f"UPDATE body SET {change} WHERE id = 1"), None)  # noqa: S608
        asked = manifest("other") if "digest" in change else manifest()
        assert await store.get(APP, asked.digest, NOW) is None
        assert [it.startswith("a damaged manifest of ghcr.io/org/app is dropped: ") for it in opened.faults] == [True]
        assert await count(opened, "body") == 1
        await store.put(APP, asked, NOW)
        assert await store.get(APP, asked.digest, NOW) == asked


@pytest.mark.parametrize("used", ["'a text'", "x'00'", "-1", "9e999"])
async def test_a_time_that_is_wrong_on_disk_is_no_fault(tmp_path, used):
    with database(tmp_path / "store") as opened:
        store = SqliteManifests(opened)
        await store.put(APP, manifest(), NOW)
        await opened.write(lambda it: it.execute(f"UPDATE body SET used = {used}"), None)  # noqa: S608
        assert await store.get(APP, manifest().digest, NOW) == manifest()


async def test_using_it_writes_once_an_hour(tmp_path):
    with database(tmp_path / "store") as opened:
        store = SqliteManifests(opened)
        await store.put(APP, manifest(), NOW)
        before = await opened.read(lambda it: it.total_changes, None)
        for later in (timedelta(0), USED_EVERY - timedelta(seconds=1), USED_EVERY, USED_EVERY, 1.5 * USED_EVERY):
            await store.get(APP, manifest().digest, NOW + later)
        assert await opened.read(lambda it: it.total_changes, None) == before + 1


async def test_a_failing_disk_reaches_nobody(tmp_path):
    with database(tmp_path / "store") as opened:
        store = SqliteManifests(opened)
        await opened.write(lambda it: it.execute("DROP TABLE body"), None)
        await store.put(APP, manifest(), NOW)
        await store.mark_artifact(APP, manifest().digest)
        assert await store.get(APP, manifest().digest, NOW) is None
        assert not await store.is_artifact(APP, manifest().digest)
        assert len(opened.faults) == 4
