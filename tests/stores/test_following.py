"""One writer and those behind it, each with a store of its own as in another process; processes are in test_workers."""

import asyncio
import os
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.content import content, files_in, opened, path_of, read, receive

from proxy.oci.errors import CorruptError
from proxy.stores import following as module
from proxy.stores.content import Following, Incoming, Left, StoreError
from proxy.stores.content_folder import INCOMING, ContentFolder

BODY, DIGEST = content(0, 50_000)


@contextmanager
def two(folder):
    with opened(folder) as one, opened(folder) as other:
        yield one, other


async def begin(store, scope="here"):
    return await store.begin(DIGEST, len(BODY), scope)


def left_behind(incoming):
    """Let the file be as it is after kill -9: not locked, not removed."""
    incoming._file._file.close()


async def test_reads_behind_the_writer_to_the_end(tmp_path):
    with two(tmp_path) as (one, other):
        writing, following = await begin(one), await begin(other)
        assert isinstance(writing, Incoming)
        assert isinstance(following, Following)
        assert writing.identity == following.identity
        begun = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            ended = tasks.create_task(following.follow(begun.set))
            await asyncio.sleep(0)
            assert not begun.is_set()
            await writing.write(BODY[:20_000])
            await following.wait_for(0)
            assert begun.is_set()
            with following.reader() as file:
                assert os.pread(file.fileno(), following.received, 0) == BODY[:20_000]
                await writing.write(BODY[20_000:])
                await following.wait_for(len(BODY) - 1)
                assert not following.verified
                assert following.recent(0) is None
                await writing.finish()
                await following.wait_verified()
                assert os.pread(file.fileno(), len(BODY), 0) == BODY
            assert await ended is None
        following.give_up(Left.GONE)
        await following.wait_verified()
        with pytest.raises(StoreError):
            following.reader()
        assert read(other, DIGEST) == BODY


async def test_another_scope_and_size_is_another_file(tmp_path):
    with two(tmp_path) as (one, other):
        made = [await begin(one), await begin(other, "elsewhere"), await other.begin(DIGEST, 3, "here")]
        assert [type(it) for it in made] == [Incoming] * 3
        for it in made:
            await it.abort()


async def test_a_writer_that_gives_up(tmp_path):
    with two(tmp_path) as (one, other):
        writing, following = await begin(one), await begin(other)
        await writing.write(BODY[:20_000])
        await writing.wait_for(0)
        await writing.abort()
        assert await following.follow(lambda: None) is Left.GONE
        again = await begin(other)
        assert isinstance(again, Incoming)
        assert again.identity != following.identity
        assert again.received == 0
        following.give_up(Left.GONE)
        with pytest.raises(StoreError, match="given up"):
            await following.wait_for(30_000)
        await again.abort()


async def test_what_a_dead_writer_left_is_gone_on_with(tmp_path):
    with two(tmp_path) as (one, other):
        writing, following = await begin(one), await begin(other)
        await writing.write(BODY[:20_000])
        await writing.wait_for(0)
        left_behind(writing)
        assert await following.follow(lambda: None) is Left.GONE
        again = await begin(other)
        assert again.identity == following.identity
        assert again.received == again.taken_over == 20_000
        third = await begin(one)
        assert isinstance(third, Following)
        third.give_up(Left.GONE)
        await again.write(BODY[20_000:])
        await again.finish()
        assert read(one, DIGEST) == BODY
        following.give_up(Left.GONE)


@pytest.mark.parametrize("left", [b"x" * 20_000, BODY[:-1] + b"x", b"x" * len(BODY)])
async def test_what_lies_there_is_not_believed(tmp_path, left):
    with opened(tmp_path) as store:
        incoming = await begin(store)
        name = incoming._file.path
        await incoming.abort()
        name.write_bytes(left)
        incoming = await begin(store)
        assert incoming.taken_over == len(left)
        with pytest.raises(CorruptError, match="digest"):
            await finish(incoming, BODY[len(left) :])
        assert files_in(tmp_path) == []
        await receive(store, BODY, scope="here")
        assert read(store, DIGEST) == BODY


async def finish(incoming, rest):
    await incoming.write(rest)
    await incoming.finish()


async def test_too_much_is_nothing(tmp_path):
    with opened(tmp_path) as store:
        incoming = await begin(store)
        name = incoming._file.path
        await incoming.abort()
        name.write_bytes(BODY + b"x")
        incoming = await begin(store)
        assert incoming.received == 0
        await finish(incoming, BODY)
        assert read(store, DIGEST) == BODY


async def test_a_file_that_cannot_be_read_is_not_taken_over(tmp_path, monkeypatch):
    # A disk that cannot read what it has (EIO) cannot be had on demand.
    def broken(*_):
        raise OSError(5, "Input/output error")

    with opened(tmp_path) as store:
        with monkeypatch.context() as patched:
            patched.setattr(os, "read", broken)
            with pytest.raises(StoreError, match="Input/output error"):
                await begin(store)
        assert files_in(tmp_path) == []


async def test_a_silent_writer_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.05)
    with two(tmp_path) as (one, other):
        writing, following = await begin(one), await begin(other)
        await writing.write(BODY[:20_000])
        assert await following.follow(lambda: None) is Left.SILENT
        following.give_up(Left.SILENT)
        with pytest.raises(StoreError, match="brings nothing"):
            await following.wait_verified()
        await finish(writing, BODY[20_000:])


async def test_a_writer_that_is_between_two_locks_is_waited_for(tmp_path, monkeypatch):
    with two(tmp_path) as (one, other):
        writing, following = await begin(one), await begin(other)
        looks, seen = [True, True, False, True, True], asyncio.Event()

        def look(_):
            if not looks[1:]:
                seen.set()
            return looks.pop(0) if looks else False

        monkeypatch.setattr(module, "is_unlocked", look)
        async with asyncio.TaskGroup() as tasks:
            ended = tasks.create_task(following.follow(lambda: None))
            await seen.wait()
            await finish(writing, BODY)
        assert ended.result() is None
        following.give_up(Left.GONE)


async def test_the_lock_that_is_lost_while_it_changes(tmp_path, monkeypatch):
    with two(tmp_path) as (one, other):
        writing = await begin(one)
        await writing.write(BODY)
        monkeypatch.setattr("proxy.stores.content_folder.lock_shared", lambda _: False)
        with pytest.raises(StoreError, match="taken away"):
            await writing.finish()
        assert one.find(DIGEST) is None
        monkeypatch.undo()
        await receive(other, BODY)


async def test_a_stranger_under_the_name_is_not_admitted_nor_removed(tmp_path):
    with opened(tmp_path) as store:
        writing = await begin(store)
        await writing.write(BODY)
        path = writing._file.path
        path.unlink()
        path.write_bytes(b"a stranger's")
        with pytest.raises(StoreError, match="taken away"):
            await writing.finish()
        assert path.read_bytes() == b"a stranger's"
        assert store.find(DIGEST) is None
        with pytest.raises(StoreError):
            writing.reader()


async def test_an_orphan_whose_name_is_another_file_by_now_is_left_alone(tmp_path, monkeypatch):
    folder = ContentFolder(tmp_path)
    folder.prepare()
    path = tmp_path / INCOMING / "name"
    path.write_bytes(b"orphan")
    really = os.open

    def replaced(file, *args, **options):
        descriptor = really(file, *args, **options)
        if Path(file) == path:
            path.unlink()
            path.write_bytes(b"somebody's")
        return descriptor

    monkeypatch.setattr(os, "open", replaced)
    assert folder.remove_orphans() == 0
    monkeypatch.undo()
    assert path.read_bytes() == b"somebody's"


async def test_what_is_kept_can_be_found_at_once(tmp_path, monkeypatch):
    with two(tmp_path) as (one, other):
        writing = await begin(one)
        await writing.write(BODY)
        found, flush = [], os.fsync

        def fsync(descriptor):
            flush(descriptor)
            if path_of(one, DIGEST).exists():
                found.append(read(other, DIGEST))

        monkeypatch.setattr(os, "fsync", fsync)
        await writing.finish()
        assert found == [BODY]


async def test_others_that_begin_and_give_up_all_the_time(tmp_path, monkeypatch):
    with opened(tmp_path) as store:
        monkeypatch.setattr("proxy.stores.content_folder.lock_alone", lambda _: False)
        monkeypatch.setattr(ContentFolder, "claimed", lambda *_: (tmp_path / "nothing").open("rb"))
        with pytest.raises(StoreError, match="all the time"):
            await begin(store)
