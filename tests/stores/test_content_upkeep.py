"""What goes on beside the requests: the limit is kept, and what has rotted is found."""

import asyncio

import pytest
from support.content import opened

from proxy.oci.digest import Digest
from proxy.stores.content_upkeep import (
    BOUNDS_SECONDS,
    SWEEP_SECONDS,
    VERIFY_BYTES_PER_SECOND,
    VERIFY_SECONDS,
    keep_in_bounds,
    keep_verified,
)
from proxy.stores.database import StoreError


class _Enough(Exception):  # noqa: N818 (no error: the end of a test)
    pass


class Time:
    """Time that passes only while somebody sleeps, and ends."""

    def __init__(self, seconds):
        self.now, self.end, self.slept = 0.0, seconds, []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds
        self.slept.append(seconds)
        if self.now > self.end:
            raise _Enough


async def put(store, blob):
    incoming = await store.begin(Digest.of(blob), len(blob))
    await incoming.write(blob)
    await incoming.finish()


async def test_the_limit_is_kept_soon_and_all_is_counted_at_an_interval(tmp_path, monkeypatch):
    with opened(tmp_path, 1000) as store:
        for number in range(3):
            await put(store, bytes([number]) * 600)
        sweeps, sweep = [], store.sweep

        async def counted():
            sweeps.append(time.now)
            if time.now > SWEEP_SECONDS:
                raise StoreError("the folder is gone")
            return await sweep()

        monkeypatch.setattr(store, "sweep", counted)
        time = Time(2.5 * SWEEP_SECONDS)
        with pytest.raises(_Enough):
            await keep_in_bounds(store, time.sleep, time)
        assert sweeps == [BOUNDS_SECONDS, BOUNDS_SECONDS + SWEEP_SECONDS, BOUNDS_SECONDS + 2 * SWEEP_SECONDS]
        assert store.told.evicted == 2
        assert store.stats().bytes == 600


async def test_several_that_fill_one_folder_keep_the_limit(tmp_path):
    """Each knows what it has added itself, and not what the others have."""
    with opened(tmp_path, 1000) as first, opened(tmp_path, 1000) as second:
        for number in range(4):
            await put((first, second)[number % 2], bytes([number]) * 400)
        time = Time(1.5 * BOUNDS_SECONDS)
        with pytest.raises(_Enough):
            await keep_in_bounds(second, time.sleep, time)
        assert second.told.evicted == 2
        assert (await first.sweep()).bytes == 800


async def test_one_sweeps_after_the_other(tmp_path):
    """Each would make all of the room that is lacking."""
    with opened(tmp_path, 1000) as first, opened(tmp_path, 1000) as second:
        for number in range(4):
            await put(first, bytes([number]) * 400)
        async with asyncio.TaskGroup() as tasks:
            with first._folder.sweeping():
                sweep = tasks.create_task(second.sweep())
                await asyncio.sleep(0.05)
                for number in range(2):
                    assert first.remove(Digest.of(bytes([number]) * 400))
        assert (sweep.result().evicted, sweep.result().bytes) == (0, 800)


async def test_a_little_more_is_not_counted_at_once(tmp_path, monkeypatch):
    with opened(tmp_path, 100_000) as store:
        monkeypatch.setattr(store, "sweep", None)
        await put(store, b"x" * 3000)
        time = Time(3 * BOUNDS_SECONDS)
        with pytest.raises(_Enough):
            await keep_in_bounds(store, time.sleep, time)


async def test_where_nothing_can_go_it_is_not_tried_all_the_time(tmp_path, monkeypatch):
    with opened(tmp_path, 1000) as store:
        for number in range(2):
            await put(store, bytes([number]) * 600)
        readers = [store.find(Digest.of(bytes([number]) * 600)) for number in range(2)]
        time = Time(40 * BOUNDS_SECONDS)
        with pytest.raises(_Enough):
            await keep_in_bounds(store, time.sleep, time)
        assert store.told.evicted == 0
        assert time.slept == [BOUNDS_SECONDS * 2**number for number in range(6)]
        for reader in readers:
            reader.close()
        time = Time(3 * BOUNDS_SECONDS)
        with pytest.raises(_Enough):
            await keep_in_bounds(store, time.sleep, time)
        assert time.slept == [BOUNDS_SECONDS] * 4
        assert store.told.evicted == 1


async def test_everything_is_read_again_slowly(tmp_path):
    with opened(tmp_path) as store:
        for blob in (b"a" * 1000, b"b" * 1000):
            await put(store, blob)
        rotten = Digest.of(b"a" * 1000)
        (tmp_path / "sha256" / rotten.hex[:2] / rotten.hex).write_bytes(b"x" * 1000)
        time = Time(1.5 * VERIFY_SECONDS)
        with pytest.raises(_Enough):
            await keep_verified(store, time.sleep)
        assert store.told.corrupt == [rotten]
        assert store.has(Digest.of(b"b" * 1000), 1000)
        pause = 1000 / VERIFY_BYTES_PER_SECOND
        assert time.slept == [pause, pause, VERIFY_SECONDS - 2 * pause, pause, VERIFY_SECONDS - pause]


async def test_a_folder_that_is_gone_ends_nothing(tmp_path):
    with opened(tmp_path / "content") as store:
        (tmp_path / "content").rename(tmp_path / "away")
        time = Time(1.5 * VERIFY_SECONDS)
        with pytest.raises(_Enough):
            await keep_verified(store, time.sleep)
        assert time.slept == [VERIFY_SECONDS] * 2
