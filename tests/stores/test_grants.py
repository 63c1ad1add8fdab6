"""What every store of memberships must do, and what each does by itself."""

import asyncio

import pytest
from support.stores import APP, OTHER, count, database, digest, workers

from proxy.oci.digest import Digest
from proxy.oci.manifest import DOCKER_LIST, OCI_MANIFEST
from proxy.stores.grants import (
    MEDIA_TYPE_MAX,
    NEWEST_MAX,
    PARENTS_MAX,
    UNKNOWN_CONTENT,
    Member,
    MemoryMemberships,
    Parent,
    Rank,
    SqliteMemberships,
)
from proxy.stores.near import NearMemberships

LAYER = Member(digest("layer"), 1000, "application/vnd.oci.image.layer.v1.tar+gzip")
CONFIG = Member(digest("config"), 10, "application/vnd.oci.image.config.v1+json")


def only(number):
    """Return a member that belongs to this manifest alone."""
    return Member(digest(f"only {number}"), number, UNKNOWN_CONTENT)


def near(opened, *limit):
    return NearMemberships(SqliteMemberships(opened, *limit), *limit)


@pytest.fixture(params=["memory", "sqlite", "near", "two workers"])
def make(request, tmp_path):
    """Return the implementation under test, made with its limit."""
    if request.param == "memory":
        yield MemoryMemberships
        return
    kind = near if request.param == "near" else SqliteMemberships
    with workers(tmp_path / "store", kind, 2 if request.param == "two workers" else 1) as made:
        yield made


async def test_names_the_manifest_that_a_blob_belongs_to(make):
    store = make()
    await store.add(APP, digest(1), "v1", [CONFIG, LAYER])
    assert await store.parents(APP, LAYER.digest) == (Parent(digest(1), LAYER, "v1"),)
    assert await store.parents(APP, CONFIG.digest) == (Parent(digest(1), CONFIG, "v1"),)


async def test_knows_nothing_of_other_content(make):
    store = make()
    await store.add(APP, digest(1), "v1", [LAYER])
    assert await store.parents(APP, CONFIG.digest) == ()
    assert await store.parents(APP, digest(1)) == ()


async def test_one_repository_gives_nothing_in_another(make):
    store = make()
    await store.add(APP, digest(1), "v1", [LAYER])
    assert await store.parents(OTHER, LAYER.digest) == ()
    await store.add(OTHER, digest(2), None, [LAYER])
    assert [it.digest for it in await store.parents(APP, LAYER.digest)] == [digest(1)]
    assert [it.digest for it in await store.parents(OTHER, LAYER.digest)] == [digest(2)]


async def test_newest_first(make):
    store = make()
    for number in range(5):
        await store.add(APP, digest(number), f"v{number}", [LAYER, only(number)])
    found = await store.parents(APP, LAYER.digest)
    assert [it.tag for it in found] == ["v4", "v3", "v2", "v1", "v0"]
    await store.add(APP, digest(2), None, [LAYER, only(2)])
    found = await store.parents(APP, LAYER.digest)
    assert [(it.digest, it.tag) for it in found[:2]] == [(digest(2), None), (digest(4), "v4")]
    assert len(found) == 5


async def test_added_again_after_many_others_is_new_again(make):
    store = make()
    for number in [*range(NEWEST_MAX + 1), 0]:
        await store.add(APP, digest(number), "v1", [LAYER])
    assert (await store.parents(APP, LAYER.digest))[0].digest == digest(0)


async def test_answers_are_bounded(make):
    store = make()
    for number in range(PARENTS_MAX + 5):
        await store.add(APP, digest(number), None, [LAYER])
    found = await store.parents(APP, LAYER.digest)
    assert [it.digest for it in found] == [digest(number) for number in range(PARENTS_MAX + 4, 4, -1)]


async def test_the_best_rank_comes_before_any_limit_and_of_one_rank_the_newest(make):
    store = make()
    ranked = {Rank.SERVED: [1, 2], Rank.ACCEPTED: [3, 4], Rank.ARTIFACT: [5]}
    for rank, numbers in ranked.items():
        for number in numbers:
            await store.add(APP, digest(number), "v1", [LAYER], rank)
    for number in range(100, 100 + 2 * PARENTS_MAX):
        await store.add(APP, digest(number), None, [LAYER])
    found = await store.parents(APP, LAYER.digest)
    assert [it.digest for it in found[:6]] == [*map(digest, [4, 3, 2, 1, 5]), digest(99 + 2 * PARENTS_MAX)]
    assert [it.rank for it in found[:6]] == [0, 0, 1, 1, 2, 3]
    assert len(found) == PARENTS_MAX


@pytest.mark.parametrize("make", ["memory", "sqlite", "two workers"], indirect=True)
async def test_only_the_last_rank_counts(make):
    store = make()
    await store.add(APP, digest(1), "v1", [LAYER], Rank.ACCEPTED)
    await store.add(APP, digest(2), "v2", [LAYER], Rank.SERVED)
    await store.add(APP, digest(1), "v1", [LAYER], Rank.REFUSED)
    found = await store.parents(APP, LAYER.digest)
    assert [(it.digest, it.rank) for it in found] == [(digest(2), Rank.SERVED), (digest(1), Rank.REFUSED)]


async def test_a_flood_of_refused_manifests_drives_out_no_accepted_one(make):
    store = make(20)
    await store.add(APP, digest(1), "v1", [LAYER, CONFIG], Rank.ACCEPTED)
    for number in range(2, 60):
        await store.add(APP, digest(number), None, [LAYER, only(number)])
    assert [it.digest for it in await store.parents(APP, CONFIG.digest)] == [digest(1)]
    for number in range(60, 90):
        await store.add(APP, digest(number), None, [LAYER, only(number)], Rank.ACCEPTED)
    assert await store.parents(APP, CONFIG.digest) == ()


async def test_parents_are_found_without_sorting_all_there_are(tmp_path):
    with database(tmp_path / "store") as opened:
        statements = []
        await opened.read(lambda it: it.set_trace_callback(statements.append), None)
        store = SqliteMemberships(opened, 1)
        for number in range(2):
            await store.add(APP, digest(number), "v1", [LAYER])
        await store.parents(APP, LAYER.digest)
        ordered = [one for one in statements if "ORDER BY rank" in one or "ORDER BY membership.rank" in one]
        assert len(ordered) == 2
        for statement in ordered:
            steps = await opened.read(lambda it, of=statement: it.execute(f"EXPLAIN QUERY PLAN {of}").fetchall(), [])
            assert steps
            assert not any("TEMP B-TREE" in str(step) or "SCAN membership" in str(step) for step in steps), steps


async def test_the_oldest_manifests_are_forgotten_first(make):
    store = make(20)
    for number in range(30):
        await store.add(APP, digest(number), None, [only(number), LAYER])
    kept = [number for number in range(30) if await store.parents(APP, only(number).digest)]
    assert kept == list(range(20, 30))
    assert len(await store.parents(APP, LAYER.digest)) == 10


async def test_a_forgotten_manifest_is_remembered_when_it_is_pulled_again(make):
    store = make(20)
    await store.add(APP, digest(1), "v1", [only(1), LAYER])
    for number in range(2, 30):
        await store.add(OTHER, digest(number), None, [only(number), LAYER])
    assert await store.parents(APP, LAYER.digest) == ()
    await store.add(APP, digest(1), "v1", [only(1), LAYER])
    assert await store.parents(APP, LAYER.digest) == (Parent(digest(1), LAYER, "v1"),)


SAME_TWICE = [Member(LAYER.digest, 1, "a/b"), Member(LAYER.digest, 2, "a/b")]


@pytest.mark.parametrize(
    ("members", "kept"),
    [
        (SAME_TWICE, SAME_TWICE[0]),
        ([Member(LAYER.digest, 0, OCI_MANIFEST)], Member(LAYER.digest, 0, OCI_MANIFEST)),
        ([Member(LAYER.digest, 1, DOCKER_LIST)], Member(LAYER.digest, 1, DOCKER_LIST)),
        ([Member(LAYER.digest, 1, "text/x-ü")], Member(LAYER.digest, 1, "text/x-ü")),
        ([Member(LAYER.digest, 2**63 - 1, "a/b")], Member(LAYER.digest, 2**63 - 1, "a/b")),
        ([Member(LAYER.digest, 2**63, "a/b")], Member(LAYER.digest, 2**63, "a/b")),
        ([Member(LAYER.digest, 1, "a" * 5000)], Member(LAYER.digest, 1, UNKNOWN_CONTENT)),
    ],
    ids=["same layer twice", "manifest", "list", "unknown type", "widest size", "wider size", "endless type"],
)
async def test_keeps_members_as_they_are_described(make, members, kept):
    store = make()
    await store.add(APP, digest(1), None, members)
    assert await store.parents(APP, LAYER.digest) == (Parent(digest(1), kept, None),)
    assert len(kept.media_type) <= MEDIA_TYPE_MAX


async def test_every_algorithm(make):
    store = make()
    parent, member = Digest.parse("sha512:" + "0a" * 64), Member(Digest.parse("sha512:" + "0b" * 64), 1, "a/b")
    await store.add(APP, parent, None, [member])
    assert await store.parents(APP, member.digest) == (Parent(parent, member, None),)


async def test_a_manifest_of_nothing_leaves_nothing(make):
    store = make(1)
    for number in range(3):
        await store.add(APP, digest(number), None, [])
    assert await store.parents(APP, digest(0)) == ()


async def test_many_at_once_and_looking_meanwhile(make):
    store = make()
    numbers = range(30)
    await asyncio.gather(
        *(store.add(APP, digest(number), None, [LAYER, only(number)]) for number in numbers),
        *(store.parents(APP, LAYER.digest) for _ in numbers),
    )
    assert len(await store.parents(APP, LAYER.digest)) == 30
    for number in numbers:
        assert [it.digest for it in await store.parents(APP, only(number).digest)] == [digest(number)]


async def test_survives_a_restart_and_keeps_its_limit(tmp_path):
    with database(tmp_path / "store") as opened:
        store = SqliteMemberships(opened, 4)
        for number in range(2):
            await store.add(APP, digest(number), "v1", [LAYER, only(number)])
    with database(tmp_path / "store") as opened:
        store = SqliteMemberships(opened, 4)
        assert [it.digest for it in await store.parents(APP, LAYER.digest)] == [digest(1), digest(0)]
        await store.add(APP, digest(2), "v1", [LAYER, only(2)])
        assert [it.digest for it in await store.parents(APP, LAYER.digest)] == [digest(2), digest(1)]


async def test_leaves_nothing_of_what_it_forgets(tmp_path):
    with database(tmp_path / "store") as opened:
        store = SqliteMemberships(opened, 2)
        await store.add(OTHER, digest(0), "v1", [LAYER, CONFIG])
        await store.add(APP, digest(1), "v1", [LAYER, CONFIG])
        assert [await count(opened, it) for it in ("membership", "manifest", "repository")] == [2, 1, 1]


async def test_a_warm_pull_writes_nothing(tmp_path):
    with database(tmp_path / "store") as opened:
        store = SqliteMemberships(opened)
        for number in [0, 1]:
            await store.add(APP, digest(number), "v1", [LAYER])
        before = await opened.read(lambda it: it.total_changes, None)
        for number in [0, 1, 0, 1]:
            await store.add(APP, digest(number), "v1", [LAYER])
            await store.parents(APP, LAYER.digest)
        assert await opened.read(lambda it: it.total_changes, None) == before
        await store.add(APP, digest(0), "v2", [LAYER])
        assert (await store.parents(APP, LAYER.digest))[0].tag == "v2"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE membership SET media_type = 99",
        "UPDATE membership SET media_type = x'00'",
        "UPDATE membership SET size = 'large'",
        "UPDATE manifest SET digest = x'00'",
        "UPDATE manifest SET digest = 7",
        "UPDATE manifest SET digest = 'a text'",
        "UPDATE membership SET size = 9e999",
        "UPDATE manifest SET rank = 9",
    ],
)
async def test_an_unreadable_row_is_not_remembered_reported_and_dropped(tmp_path, change):
    with database(tmp_path / "store") as opened:
        await SqliteMemberships(opened).add(APP, digest(1), "v1", [LAYER])
        await opened.write(lambda it: it.execute(change), None)
        store = SqliteMemberships(opened)
        assert await store.parents(APP, LAYER.digest) == ()
        assert len(opened.faults) == 1
        assert await count(opened, "manifest") == 0
        await store.add(APP, digest(1), "v1", [LAYER])
        assert len(await store.parents(APP, LAYER.digest)) == 1


async def test_a_failed_write_is_tried_again_with_the_next_pull(tmp_path):
    with database(tmp_path / "store") as opened:
        store = SqliteMemberships(opened)
        await store.add(APP, digest(1), "v1", [LAYER])
        await opened.read(lambda it: it.execute("PRAGMA query_only = 1"), None)
        await store.add(APP, digest(2), "v1", [LAYER])
        assert len(opened.faults) == 1
        await opened.read(lambda it: it.execute("PRAGMA query_only = 0"), None)
        await store.add(APP, digest(2), "v1", [LAYER])
        assert [it.digest for it in await store.parents(APP, LAYER.digest)] == [digest(2), digest(1)]


async def test_what_was_forgotten_near_is_known_far():
    far = MemoryMemberships()
    store = NearMemberships(far, 2)
    for number in range(3):
        await store.add(APP, digest(number), None, [LAYER])
    assert [it.digest for it in await store.parents(APP, LAYER.digest)] == [digest(2), digest(1), digest(0)]
    assert len(await NearMemberships(far).parents(APP, LAYER.digest)) == 3


async def test_what_another_worker_adds_is_known_at_once(tmp_path):
    with database(tmp_path / "store") as first, database(tmp_path / "store") as second:
        one, other = near(first), near(second)
        await one.add(APP, digest(1), "v1", [LAYER])
        assert [it.digest for it in await one.parents(APP, LAYER.digest)] == [digest(1)]
        await other.add(APP, digest(2), "v2", [LAYER])
        assert [it.digest for it in await one.parents(APP, LAYER.digest)] == [digest(2), digest(1)]
        await other.add(APP, digest(1), "v3", [LAYER])
        found = await one.parents(APP, LAYER.digest)
        assert {(it.digest, it.tag) for it in found[:2]} == {(digest(1), "v1"), (digest(1), "v3")}


async def test_what_another_worker_forgot_is_written_again(tmp_path):
    with database(tmp_path / "store") as first, database(tmp_path / "store") as second:
        one, other = SqliteMemberships(first, 10), SqliteMemberships(second, 10)
        await one.add(APP, digest(1), "v1", [LAYER])
        for number in range(2, 20):
            await other.add(OTHER, digest(number), None, [only(number)])
        assert await one.parents(APP, LAYER.digest) == ()
        await one.add(APP, digest(1), "v1", [LAYER])
        assert await other.parents(APP, LAYER.digest) == (Parent(digest(1), LAYER, "v1"),)


@pytest.mark.parametrize("broken", [False, True], ids=["well", "read-only"])
async def test_neither_what_is_near_nor_what_is_far_hides_the_other(tmp_path, broken):
    with database(tmp_path / "store") as first, database(tmp_path / "store") as second:
        one, other = near(first), near(second)
        for number in range(PARENTS_MAX):
            await other.add(APP, digest(number), None, [LAYER])
        if broken:
            await first.read(lambda it: it.execute("PRAGMA query_only = 1"), None)
        for number in range(PARENTS_MAX):
            await one.add(APP, digest(f"near {number}"), None, [LAYER])
        await other.add(APP, digest("newest"), None, [LAYER])
        firsts = [it.digest for it in (await one.parents(APP, LAYER.digest))[:4]]
        assert {digest("newest"), digest(f"near {PARENTS_MAX - 1}")} <= set(firsts)


BROKEN = ["PRAGMA query_only = 1", "PRAGMA max_page_count = 1", "DROP TABLE membership"]


@pytest.mark.parametrize("broken", BROKEN, ids=["read-only", "full", "damaged"])
async def test_what_is_added_is_known_whatever_becomes_of_the_disk(tmp_path, broken):
    with database(tmp_path / "store") as opened:
        store = NearMemberships(SqliteMemberships(opened))
        await opened.read(lambda it: it.execute(broken).fetchall(), None)
        many = [only(number) for number in range(300)]  # more than fits on the pages that there are
        await store.add(APP, digest(1), "v1", many)
        for member in (many[0], many[-1]):
            assert await store.parents(APP, member.digest) == (Parent(digest(1), member, "v1"),)
        assert opened.faults
