"""What every store of verdicts must do, and what each does by itself."""

import asyncio
from dataclasses import replace
from datetime import timedelta, timezone

import pytest
from support.stores import (
    APP,
    KEYLESS,
    LATER,
    NOW,
    OTHER,
    PROVEN,
    accepted,
    count,
    database,
    evidence,
    key,
    refused,
    remembered,
    unverified,
    workers,
)

from proxy.oci.digest import Digest
from proxy.stores.verdicts import MemoryVerdicts, Remembered, SqliteVerdicts, VerdictKey
from proxy.verdict import Reason, Rejection, Undetermined

SECOND = timedelta(seconds=1)
SHA512 = VerdictKey(APP, Digest.parse("sha512:" + "0a" * 64), None, "rule")
VERDICTS = {
    "accepted": (key(), accepted(key())),
    "accepted, signed at a proven time": (key(), accepted(key(), proof=evidence(signed_at=NOW))),
    "accepted, proven for a time": (key(), replace(accepted(key()), proven_until=LATER + SECOND)),
    "accepted, claims": (key(), accepted(key(), proof=evidence(claims=(("a", "b"), ("a", "ü\n\0"))))),
    "accepted, signed by an identity": (key(), accepted(key(), proof=KEYLESS)),
    "accepted, expires in another time zone": (key(), accepted(key(), LATER.astimezone(timezone(timedelta(hours=-8))))),
    "accepted, microseconds": (key(), accepted(key(), LATER + timedelta(microseconds=1))),
    "the rule does not look at the tag": (key(tag=None), accepted(key(tag=None), tag="v2")),
    "by digest": (key(tag=None), refused(key(tag=None))),
    "refused": (key(), refused(key())),
    "refused, every reason": (key(), refused(key(), rejections=[Rejection(it, it.name, "s", "t") for it in Reason])),
    "refused, though much was proven": (key(), refused(key(), rejections=[PROVEN])),
    "refused without a reason": (key(), refused(key(), rejections=())),
    "let through unseen": (key(), unverified(key())),
    "sha512": (SHA512, refused(SHA512)),
}


@pytest.fixture(params=["memory", "sqlite", "two workers"])
def make(request, tmp_path):
    """Return the implementation under test, made with its limit."""
    if request.param == "memory":
        yield MemoryVerdicts
        return
    with workers(tmp_path / "store", SqliteVerdicts, 1 if request.param == "sqlite" else 2) as made:
        yield made


@pytest.mark.parametrize("name", VERDICTS)
async def test_gives_back_what_was_put(make, name):
    store, (where, verdict) = make(), VERDICTS[name]
    await store.put(where, Remembered("k7f3", verdict, NOW))
    assert await store.get(where, NOW) == Remembered("k7f3", verdict, NOW)


@pytest.mark.parametrize(
    "other",
    [
        key(1),
        key(tag="v2"),
        key(tag=None),
        key(fingerprint="changed"),
        key(repository=OTHER),
        replace(key(), digest=SHA512.digest),
    ],
    ids=["digest", "tag", "no tag", "fingerprint", "repository", "algorithm"],
)
async def test_finds_nothing_under_another_key(make, other):
    store = make()
    await store.put(key(), remembered(key()))
    assert await store.get(other, NOW) is None


@pytest.mark.parametrize(
    ("now", "there"), [(NOW, True), (LATER - SECOND, True), (LATER, False), (LATER + SECOND, False)]
)
async def test_forgets_what_has_expired(make, now, there):
    store = make()
    await store.put(key(), remembered(key()))
    assert (await store.get(key(), now) is not None) is there


async def test_the_last_one_put_counts(make):
    store = make()
    await store.put(key(), remembered(key()))
    await store.put(key(), remembered(key(), refused(key()), "other"))
    assert await store.get(key(), NOW) == remembered(key(), refused(key()), "other")


@pytest.mark.parametrize("subject", [key(1), key(tag="v2"), key(repository=OTHER)], ids=["digest", "tag", "repository"])
async def test_a_verdict_about_another_subject_is_a_bug(make, subject):
    with pytest.raises(ValueError, match=r"a verdict about ghcr\.io/org/"):
        await make().put(key(), remembered(key(), refused(subject)))


async def test_is_bounded(make):
    store = make(20)
    for number in range(100):
        await store.put(key(number), remembered(key(number), refused(key(number), LATER + number * SECOND)))
    kept = [number for number in range(100) if await store.get(key(number), NOW)]
    assert 10 <= len(kept) <= 20
    assert kept[-1] == 99


async def test_many_at_once(make):
    store = make()
    keys = [key(number) for number in range(50)]
    await asyncio.gather(*(store.put(it, remembered(it)) for it in keys * 2), *(store.get(it, NOW) for it in keys))
    assert await asyncio.gather(*(store.get(it, NOW) for it in keys)) == [remembered(it) for it in keys]


def test_what_could_not_be_found_out_is_never_remembered():
    with pytest.raises(TypeError, match="Undetermined is never remembered"):
        Remembered("k7f3", Undetermined(accepted(key()).subject, "everything", "away"), NOW)


async def test_survives_a_restart(tmp_path):
    with database(tmp_path / "store") as opened:
        await SqliteVerdicts(opened).put(key(), remembered(key()))
    with database(tmp_path / "store") as opened:
        assert await SqliteVerdicts(opened).get(key(), NOW) == remembered(key())


async def test_prunes_what_has_expired_as_it_goes(tmp_path):
    with database(tmp_path / "store") as opened:
        store = SqliteVerdicts(opened)
        for number in range(20):
            await store.put(key(number, repository=OTHER), remembered(key(number, repository=OTHER)))
        assert await count(opened, "verdict") == 20
        assert await store.get(key(), LATER) is None
        for number in range(3):
            await store.put(key(number), remembered(key(number), accepted(key(number), LATER + SECOND)))
        assert (await count(opened, "verdict"), await count(opened, "repository")) == (3, 1)
        assert opened.faults == []


async def test_an_update_is_no_new_row(tmp_path):
    with database(tmp_path / "store") as opened:
        store = SqliteVerdicts(opened, 3)
        for number in [0, 1, 2, 2, 2, 2, 2]:
            await store.put(key(number), remembered(key(number)))
        assert await count(opened, "verdict") == 3


async def test_the_limit_is_one_for_all_workers(tmp_path):
    with workers(tmp_path / "store", SqliteVerdicts, 4) as made:
        store = made(20)
        for number in range(100):
            await store.put(key(number), remembered(key(number)))
    with database(tmp_path / "store") as opened:
        assert await count(opened, "verdict") <= 20


async def test_a_huge_verdict_is_not_kept_on_disk(tmp_path):
    with database(tmp_path / "store") as opened:
        store = SqliteVerdicts(opened)
        await store.put(key(), remembered(key(), refused(key(), rejections=[Rejection(Reason.MALFORMED, "x")] * 2000)))
        assert await store.get(key(), NOW) is None


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_huge_refusal_takes_the_place_of_an_acceptance(tmp_path, workers):
    """Whoever may push decides how much a refusal has to tell."""
    long = Rejection(Reason.MALFORMED, "x" * 1000, "release", "sha256-0.sig")
    with database(tmp_path / "store") as opened, database(tmp_path / "store") as another:
        store, other = SqliteVerdicts(opened), SqliteVerdicts(opened if workers == 1 else another)
        await store.put(key(), remembered(key()), timedelta(days=1))
        await other.put(key(), remembered(key(), refused(key(), rejections=[long] * 100)))
        assert await store.get(key(), LATER, timedelta(days=1)) is None


async def test_another_verdict_in_its_place_is_no_answer(tmp_path):
    with database(tmp_path / "store") as opened:
        store = SqliteVerdicts(opened)
        await store.put(key(), remembered(key()))
        await opened.write(lambda it: it.execute("UPDATE verdict SET tag = 'v2'"), None)
        assert await store.get(key(tag="v2"), NOW) is None
        assert len(opened.faults) == 1


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", "a text", 7])
async def test_an_unreadable_row_is_not_remembered_reported_and_dropped(tmp_path, content):
    with database(tmp_path / "store") as opened:
        store = SqliteVerdicts(opened)
        await store.put(key(), remembered(key()))
        await opened.write(lambda it: it.execute("UPDATE verdict SET remembered = ?", (content,)), None)
        assert await store.get(key(), NOW) is None
        assert [it.startswith("an unreadable verdict about ghcr.io/org/app@") for it in opened.faults] == [True]
        assert (await count(opened, "verdict"), await count(opened, "repository")) == (0, 0)
        await store.put(key(), remembered(key()))
        assert await store.get(key(), NOW) == remembered(key())


async def test_two_that_find_the_same_unreadable_row(tmp_path):
    with database(tmp_path / "store") as opened:
        store = SqliteVerdicts(opened)
        await store.put(key(), remembered(key()))
        await opened.write(lambda it: it.execute("UPDATE verdict SET remembered = x''"), None)
        assert await asyncio.gather(store.get(key(), NOW), store.get(key(), NOW)) == [None, None]


async def test_a_failing_disk_reaches_nobody(tmp_path):
    with database(tmp_path / "store") as opened:
        store = SqliteVerdicts(opened)
        await opened.write(lambda it: it.execute("DROP TABLE verdict"), None)
        await store.put(key(), remembered(key()))
        assert await store.get(key(), NOW) is None
        assert len(opened.faults) == 2
