"""What every store of tags must do, and what each does by itself."""

from datetime import timedelta

import pytest
from support.stores import APP, LATER, NOW, OTHER, count, database, digest, workers

from proxy.oci.digest import Digest
from proxy.stores.tags import MemoryTags, SqliteTags, Tagged


@pytest.fixture(params=["memory", "sqlite", "two workers"])
def make(request, tmp_path):
    """Return the implementation under test, made with its limit."""
    if request.param == "memory":
        yield MemoryTags
        return
    with workers(tmp_path / "store", SqliteTags, 1 if request.param == "sqlite" else 2) as made:
        yield made


@pytest.mark.parametrize(
    "tagged",
    [
        Tagged(digest(1), NOW),
        Tagged(digest(1), NOW + timedelta(microseconds=1)),
        Tagged(Digest.parse("sha512:" + "0a" * 64), NOW),
    ],
    ids=["plain", "microseconds", "sha512"],
)
async def test_gives_back_what_was_put(make, tagged):
    store = make()
    await store.put(APP, "v1", tagged)
    assert await store.get(APP, "v1") == tagged


async def test_knows_nothing_of_others(make):
    store = make()
    await store.put(APP, "v1", Tagged(digest(1), NOW))
    assert await store.get(APP, "v2") is None
    assert await store.get(APP, "V1") is None
    assert await store.get(OTHER, "v1") is None


async def test_the_last_one_put_counts(make):
    store = make()
    for tagged in (Tagged(digest(1), LATER), Tagged(digest(2), NOW)):
        await store.put(APP, "v1", tagged)
    assert await store.get(APP, "v1") == Tagged(digest(2), NOW)


async def test_the_tags_that_were_confirmed_last_come_first(make):
    store = make()
    for number in range(5):
        await store.put(APP, f"v{number}", Tagged(digest(number), NOW + timedelta(seconds=number)))
    await store.put(OTHER, "other", Tagged(digest(1), LATER))
    await store.put(APP, "v0", Tagged(digest(0), NOW + timedelta(seconds=9)))
    await store.end(APP, "v3", LATER)
    assert list(await store.recent(APP, 3)) == ["v0", "v4", "v2"]
    assert list(await store.recent(APP, 9)) == ["v0", "v4", "v2", "v1"]


async def test_recent_tags_are_found_without_sorting_all_there_are(tmp_path):
    with database(tmp_path / "store") as opened:
        statements = []
        await opened.read(lambda it: it.set_trace_callback(statements.append), None)
        await SqliteTags(opened).recent(APP, 3)
        steps = await opened.read(lambda it: it.execute(f"EXPLAIN QUERY PLAN {statements[-1]}").fetchall(), [])
        assert steps
        assert not any("TEMP B-TREE" in str(step) for step in steps), steps


async def test_what_has_ended_has_ended_for_all_until_it_is_there_again(make):
    store = make()
    for tag in ("v1", "v2"):
        await store.put(APP, tag, Tagged(digest(1), NOW))
    await store.end(APP, "v1", LATER)
    assert [await store.get(APP, "v1") for _ in range(2)] == [Tagged(None, LATER)] * 2
    assert await store.get(APP, "v2") == Tagged(digest(1), NOW)
    await store.put(APP, "v1", Tagged(digest(2), LATER))
    assert [await store.get(APP, "v1") for _ in range(2)] == [Tagged(digest(2), LATER)] * 2


async def test_of_tags_that_never_were_nothing_is_remembered(make):
    store = make(5)
    await store.put(APP, "v1", Tagged(digest(1), NOW))
    for number in range(20):
        await store.end(APP, f"none{number}", LATER)
    assert await store.get(APP, "none1") is None
    assert await store.get(APP, "v1") is not None


async def test_is_bounded_oldest_first(make):
    store = make(5)
    for number in range(20):
        await store.put(APP, f"v{number}", Tagged(digest(number), NOW + timedelta(seconds=number)))
    kept = [number for number in range(20) if await store.get(APP, f"v{number}")]
    assert kept == list(range(15, 20))


async def test_survives_a_restart(tmp_path):
    with database(tmp_path / "store") as opened:
        await SqliteTags(opened).put(APP, "v1", Tagged(digest(1), NOW))
    with database(tmp_path / "store") as opened:
        assert await SqliteTags(opened).get(APP, "v1") == Tagged(digest(1), NOW)


@pytest.mark.parametrize(
    "change",
    ["digest = x'00'", "digest = 7", "confirmed = 'x'", "confirmed = 1e300", "confirmed = -1e300", "confirmed = 9e999"],
)
async def test_an_unreadable_row_is_not_remembered_reported_and_dropped(tmp_path, change):
    with database(tmp_path / "store") as opened:
        store = SqliteTags(opened)
        await store.put(APP, "v1", Tagged(digest(1), NOW))
        await opened.write(lambda it: it.execute(f"UPDATE tag SET {change}"), None)  # noqa: S608
        assert await store.get(APP, "v1") is None
        assert opened.faults == ["what is remembered of a tag in ghcr.io/org/app is unreadable and is dropped"]
        assert (await count(opened, "tag"), await count(opened, "repository")) == (0, 0)


@pytest.mark.parametrize("value", ["'a text'", "x'00'"])
async def test_an_amount_that_is_wrong_on_disk_reaches_nobody(tmp_path, value):
    with database(tmp_path / "store") as opened:
        await opened.write(lambda it: it.execute(f"UPDATE amount SET value = {value}"), None)  # noqa: S608
        store = SqliteTags(opened)
        await store.put(APP, "v1", Tagged(digest(1), NOW))
        assert await store.get(APP, "v1") == Tagged(digest(1), NOW)


async def test_a_failing_disk_reaches_nobody(tmp_path):
    with database(tmp_path / "store") as opened:
        store = SqliteTags(opened)
        await opened.write(lambda it: it.execute("DROP TABLE tag"), None)
        await store.put(APP, "v1", Tagged(digest(1), NOW))
        await store.end(APP, "v1", NOW)
        assert await store.get(APP, "v1") is None
        assert len(opened.faults) == 3
