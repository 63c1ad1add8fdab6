"""What every store of content must do: each implementation is put through all of this.

A sibling of the store in a folder is one more line in STORES.
"""

import asyncio
import hashlib
import os

import pytest
from support.content import LIMIT, content, opened, read, receive

from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError
from proxy.stores.content import StoreError
from proxy.stores.incoming import PENDING_MAX

STORES = {"folder": opened}


@pytest.fixture(params=STORES)
def opening(request, tmp_path):
    """Open the same store, again and again."""
    return lambda **options: STORES[request.param](tmp_path / "content", **options)


@pytest.fixture
def store(opening):
    with opening() as made:
        yield made


@pytest.mark.parametrize("size", [0, 1, 400, 401, 3 * PENDING_MAX + 7])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_keeps_and_finds(opening, algorithm, size):
    body, _ = content(7, size)
    digest = Digest(algorithm, hashlib.new(algorithm, body).hexdigest())
    with opening(bytes_max=10 * PENDING_MAX) as store:
        assert store.find(digest) is None
        assert not store.has(digest, size)
        await receive(store, body, digest, piece=50_000)
        assert read(store, digest) == read(store, digest, size) == body
        assert store.find(digest, size + 1) is None
        assert store.has(digest, size)
        assert not store.has(digest, size + 1)
        assert (store.stats().files, store.stats().bytes) == (1, size)
        assert [(it.digest, it.size) for it in store.entries()] == [(digest, size)]
        assert (store.told.stored, store.told.held) == ([size], (1, size))
    with opening(bytes_max=10 * PENDING_MAX) as again:
        assert read(again, digest) == body
        assert again.stats().bytes == size
        assert again.told.held == (1, size)


async def test_keeps_nothing_that_is_wrong(store):
    body, digest = content()
    for wrong, why in (
        (body[:-1], "999 bytes came of 1000"),
        (body + b"x", "more bytes came than the 1000"),
        (body[:-1] + b"x", "do not have the digest"),
        (b"", "0 bytes came of 1000"),
    ):
        incoming = await store.begin(digest, len(body))
        with pytest.raises(CorruptError, match=why):
            await take(incoming, wrong)
        with pytest.raises(CorruptError):
            await incoming.wait_for(len(body))
        with pytest.raises(CorruptError):
            await incoming.wait_verified()
        with pytest.raises(CorruptError):
            await incoming.write(b"")
        with pytest.raises(CorruptError):
            await incoming.finish()
        await incoming.abort()
        assert not incoming.verified
        assert store.find(digest) is None
    assert store.stats().files == 0
    assert store.told.faults == store.told.corrupt == []
    await receive(store, body)
    assert read(store, digest) == body


async def take(incoming, body):
    await incoming.write(body)
    await incoming.finish()


async def test_what_is_given_up_is_gone(store):
    body, digest = content()
    incoming = await store.begin(digest, len(body))
    await incoming.write(body)
    await incoming.abort()
    await incoming.abort()
    assert store.find(digest) is None
    with pytest.raises(StoreError, match="given up"):
        await incoming.wait_for(len(body))
    with pytest.raises(StoreError, match="given up"):
        await incoming.finish()


async def test_what_is_finished_cannot_be_given_up(store):
    body, digest = content()
    incoming = await store.begin(digest, len(body))
    await take(incoming, body)
    await incoming.abort()
    assert read(store, digest) == body


async def follow(incoming, size, start=0):
    """Read as a follower does; return what it got before it was verified, and all."""
    got, early = bytearray(), 0
    with incoming.reader() as file:
        while start + len(got) < size:
            await incoming.wait_for(start + len(got))
            early += 0 if incoming.verified else 1
            got += os.pread(file.fileno(), incoming.received - start - len(got), start + len(got))
    await incoming.wait_verified()
    return bytes(got), early


async def test_many_read_behind_one_writer(opening):
    body, digest = content(12, 5 * PENDING_MAX)
    with opening(bytes_max=2 * len(body)) as store:
        incoming = await store.begin(digest, len(body))
        async with asyncio.TaskGroup() as tasks:
            followers = [tasks.create_task(follow(incoming, len(body), start)) for start in (0, 0, 5, PENDING_MAX)]
            for start in range(0, len(body), 30_000):
                await incoming.write(body[start : start + 30_000])
                await incoming.wait_for(start)
            await asyncio.sleep(0)
            await incoming.finish()
        results = [it.result() for it in followers]
        assert [it for it, _ in results] == [body, body, body[5:], body[PENDING_MAX:]]
        assert all(early for _, early in results)
        await incoming.wait_for(len(body))
        with incoming.reader() as late:
            assert late.read() == body


async def test_who_waits_is_told_that_nothing_comes(store):
    incoming = await store.begin(content()[1], 1000)
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(failing(it)) for it in (incoming.wait_for(0), incoming.wait_verified())]
        await asyncio.sleep(0)
        await incoming.abort()
    assert [str(it.result()) for it in waiting] == ["the transfer was given up"] * 2


async def failing(awaitable):
    with pytest.raises(StoreError) as caught:
        await awaitable
    return caught.value


async def test_the_same_content_may_come_twice_at_once(opening):
    body, digest = content()
    with opening() as one, opening() as other:
        first, second, third = (
            await one.begin(digest, 1000, "first"),
            await other.begin(digest, 1000, "second"),
            await one.begin(digest, 1000, "third"),
        )
        for incoming in (first, second, third):
            await incoming.write(body[:500])
        for incoming in (second, first):
            await incoming.write(body[500:])
            await incoming.finish()
        await third.abort()
        assert read(one, digest) == read(other, digest) == body
        assert (await one.sweep()).files == one.stats().files == other.stats().files == 1


async def test_what_is_too_large_is_not_begun(store):
    body, digest = content(0, LIMIT + 1)
    with pytest.raises(StoreError, match="more than the content store may hold"):
        await store.begin(digest, len(body))
    body, digest = content(0, LIMIT)
    await receive(store, body)
    assert read(store, digest) == body


async def test_a_cancelled_finish_still_ends_well(store):
    body, digest = content()
    incoming = await store.begin(digest, len(body))
    await incoming.write(body)
    await incoming.wait_for(len(body) - 1)
    async with asyncio.TaskGroup() as tasks:
        finishing = tasks.create_task(incoming.finish())
        await asyncio.sleep(0)
        finishing.cancel()
    await incoming.abort()
    assert incoming.verified
    store.close()
    assert read(store, digest) == body


async def test_is_right_until_it_rots(store):
    body, digest = content()
    assert not await store.verify_again(digest)
    await receive(store, body)
    assert await store.verify_again(digest)
    assert read(store, digest) == body
    assert store.told.corrupt == []


async def test_is_removed(store):
    body, digest = content()
    assert not store.remove(digest)
    await receive(store, body)
    reading = store.find(digest)
    assert store.remove(digest)
    assert store.find(digest) is None
    assert reading.file.read() == body
    reading.close()
    reading.close()
    assert (await store.sweep()).files == store.stats().files == 0


async def test_what_was_used_last_stays(opening):
    with opening(bytes_max=10_000) as store:
        digests = []
        for number in range(12):
            digests.append(await receive(store, content(number)[0]))
            used(store, digests[-1])
        store.find(digests[0]).close()  # was the oldest
        swept = await store.sweep()
        assert (swept.evicted, swept.files, swept.bytes) == (3, 9, 9000)
        assert [number for number, it in enumerate(digests) if not store.has(it, 1000)] == [1, 2, 3]
        assert store.told.evicted == 3
        assert store.told.held == (9, 9000)
        assert (await store.sweep()).evicted == 0


def used(store, digest):
    """Use the content so that it is seen: a time is kept true to an hour only."""
    store.clock.pass_by(hours=2)
    store.find(digest).close()


async def test_what_is_being_read_stays(opening):
    with opening(bytes_max=3000) as store, opening(bytes_max=3000) as other:
        digests = []
        for number in range(4):
            digests.append(await receive(store, content(number)[0]))
            used(store, digests[-1])
        reading = [other.find(digests[0]), store.find(digests[0])]
        assert (await store.sweep()).evicted == 2
        assert [store.has(it, 1000) for it in digests] == [True, False, False, True]
        reading[0].close()
        more = await receive(store, content(5)[0])
        used(store, more)
        more = await receive(store, content(6)[0])
        used(store, more)
        assert (await other.sweep()).evicted == 2
        assert store.has(digests[0], 1000)
        reading[1].close()
        assert (await store.sweep()).evicted == 0


async def test_what_is_evicted_is_told_one_by_one(tmp_path):
    with opened(tmp_path, bytes_max=0) as store:
        store._bytes_max = LIMIT
        for number in range(3):
            await receive(store, content(number, 100 + number)[0])
        store._bytes_max = 0
        told = []
        await store.sweep(told.append)
    assert sorted(told) == [100, 101, 102]
