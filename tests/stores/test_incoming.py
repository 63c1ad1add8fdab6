"""What is being received, when the disk fails it: no wrong file, no waiting for ever, and somebody is told."""

import asyncio
import os
import resource
import threading
from pathlib import Path

import pytest
from support.content import content, files_in, opened, path_of, read, receive

from proxy.oci.digest import Digest
from proxy.stores import incoming as module
from proxy.stores.content import StoreError
from proxy.stores.content_folder import INCOMING, ContentFolder
from proxy.stores.incoming import PENDING_MAX, PIECE_BYTES, IncomingFile


@pytest.fixture
def store(tmp_path):
    with opened(tmp_path / "content", 10 * PENDING_MAX) as made:
        yield made


@pytest.fixture
def small_disk():
    """Let no file grow beyond so many bytes (setrlimit(2)): the write fails in the middle, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Slow:
    """Writes that wait until they are let go."""

    def __init__(self, monkeypatch):
        self.go = threading.Event()
        self.sizes = []
        really = IncomingFile.write

        def write(file, chunks):
            self.go.wait(10)
            self.sizes.append(sum(map(len, chunks)))
            really(file, chunks)

        monkeypatch.setattr(IncomingFile, "write", write)


async def test_a_disk_that_takes_no_more(store, small_disk):
    body, digest = content(0, 4 * PENDING_MAX)
    incoming = await store.begin(digest, len(body))
    with incoming.reader() as file:
        small_disk(PENDING_MAX)
        await incoming.write(body[:1000])
        await incoming.wait_for(999)
        with pytest.raises(StoreError, match="too large"):
            await whole(incoming, body[1000:])
        with pytest.raises(StoreError, match="too large"):
            await incoming.wait_for(incoming.received)
        with pytest.raises(StoreError, match="too large"):
            await incoming.finish()
        await incoming.abort()
        assert 1000 <= incoming.received <= PENDING_MAX
        assert os.pread(file.fileno(), incoming.received, 0) == body[: incoming.received]
    (fault,) = store.told.faults
    assert "too large" in fault
    assert "too large" in store.stats().fault
    small_disk(resource.RLIM_INFINITY)
    await receive(store, body)
    assert read(store, digest) == body
    assert store.stats().fault is None
    assert files_in(store.folder / INCOMING) == []


async def whole(incoming, body):
    for start in range(0, len(body), 50_000):
        await incoming.write(body[start : start + 50_000])
        await incoming.wait_for(start)


async def test_a_disk_that_fails_at_the_end(store, monkeypatch):
    # A disk that loses what it has taken cannot be had on demand.
    body, digest = content()
    incoming = await store.begin(digest, len(body))
    await incoming.write(body)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", raising(OSError(5, "Input/output error")))
        with pytest.raises(StoreError, match="Input/output error"):
            await incoming.finish()
    assert incoming.verified
    assert store.find(digest) is None
    assert files_in(store.folder) == []
    assert len(store.told.faults) == 1
    await receive(store, body)
    assert read(store, digest) == body


async def test_is_on_the_disk_before_it_has_its_name_and_the_name_before_it_is_told(store, monkeypatch):
    # A power cut cannot be had on demand: the order of what is asked of the disk is what survives one.
    body, digest = content()
    asked, flush, rename = [], os.fsync, Path.rename

    def fsync(descriptor):
        asked.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        flush(descriptor)

    def renamed(path, target):
        asked.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", renamed)
    await receive(store, body)
    folder = path_of(store, digest).parent
    assert asked[0].parent == store.folder / INCOMING
    assert asked[1:] == [folder.parent, "rename", folder]
    asked.clear()
    await receive(store, body)
    assert asked[1:] == ["rename", folder]


def raising(error):
    def fail(*_, **__):
        raise error

    return fail


async def test_begins_where_there_is_a_folder(store):
    (store.folder / INCOMING).rmdir()
    body, digest = content()
    with pytest.raises(StoreError, match="No such file"):
        await store.begin(digest, len(body))
    assert len(store.told.faults) == 1


async def test_begins_nothing_that_the_disk_has_no_room_for(tmp_path):
    with opened(tmp_path / "content", 2**62) as store:
        kept = await receive(store, content()[0])
        assert not store.stats().full
        with pytest.raises(StoreError, match="No space left on device"):
            await store.begin(content(1)[1], 2**60)
        assert store.told.faults
        assert store.stats().full
        assert files_in(store.folder / INCOMING) == []
        assert (await store.sweep()).evicted == 1
        assert not store.has(kept, 1000)
        assert not store.stats().full


@pytest.mark.parametrize("error", [None, OSError(28, "No space left on device")])
async def test_nobody_waits_any_more_for_what_is_begun(store, monkeypatch, error):
    go, really = threading.Event(), store._folder.claim

    def claim(name):
        go.wait(10)
        if error:
            raise error
        return really(name)

    monkeypatch.setattr(store._folder, "claim", claim)
    async with asyncio.TaskGroup() as tasks:
        beginning = [
            tasks.create_task(store.begin(content()[1], 1000)) for _ in range(10)
        ]  # more than there are threads
        await asyncio.sleep(0)
        for it in beginning:
            it.cancel()
    go.set()
    store.close()
    assert files_in(store.folder) == []


async def test_a_file_system_without_a_limit_has_room(store, monkeypatch):
    # tmpfs with size=0 says that it has no blocks at all; to mount one takes root.
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255)))
    body, digest = content()
    await receive(store, body)
    assert read(store, digest) == body


async def test_what_is_received_cannot_be_opened(store):
    body, digest = content()
    incoming = await store.begin(digest, len(body))
    for file in (store.folder / INCOMING).iterdir():
        file.unlink()
    with pytest.raises(StoreError, match="cannot read what is being received"):
        incoming.reader()
    await incoming.write(body)
    with pytest.raises(StoreError, match="taken away"):
        await incoming.finish()
    assert store.find(digest) is None


async def test_the_network_waits_for_a_slow_disk_and_memory_is_bounded(store, monkeypatch):
    slow = Slow(monkeypatch)
    body, digest = content(0, 4 * PENDING_MAX)
    incoming = await store.begin(digest, len(body))
    pieces = [body[start : start + 1024] for start in range(0, len(body), 1024)]
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(all_of(incoming, pieces))
        for _ in range(len(pieces)):
            await asyncio.sleep(0)
        assert not writing.done()
        assert incoming.received == 0
        assert sum(map(len, incoming._pending)) <= PENDING_MAX + 1024
        slow.go.set()
    await incoming.finish()
    assert max(slow.sizes) <= PENDING_MAX + 1024
    assert len(slow.sizes) < len(pieces) / 4
    assert read(store, digest) == body


async def all_of(incoming, pieces):
    for piece in pieces:
        await incoming.write(piece)


async def test_small_chunks_go_to_the_disk_together_and_soon(store, monkeypatch):
    sizes, really = [], IncomingFile.write
    monkeypatch.setattr(IncomingFile, "write", lambda file, chunks: (sizes.append(len(chunks)), really(file, chunks)))
    body, digest = content(0, 3 * PIECE_BYTES + 100)
    incoming = await store.begin(digest, len(body))
    for start in range(0, 2 * PIECE_BYTES, PIECE_BYTES // 8):
        await incoming.write(body[start : start + PIECE_BYTES // 8])
        await incoming.wait_for(start - PIECE_BYTES)
    await incoming.write(body[2 * PIECE_BYTES : -100])
    await incoming.wait_for(3 * PIECE_BYTES - 1)
    assert sizes == [8, 8, 1]
    await incoming.write(body[-100:-50])
    await incoming.wait_for(len(body) - 51)  # nothing more comes for a while
    await incoming.write(body[-50:])
    await incoming.finish()
    assert sizes[3:] == [1, 1]
    assert read(store, digest) == body


async def test_who_reads_right_behind_reads_from_memory(store):
    body, digest = content(0, 2 * PIECE_BYTES)
    incoming = await store.begin(digest, len(body))
    half = PIECE_BYTES // 2
    assert incoming.recent(0) is None
    await incoming.write(body[:half])
    assert incoming.recent(0) is None  # the disk does not have it yet
    await incoming.write(body[half:PIECE_BYTES])
    await incoming.wait_for(0)
    assert incoming.recent(0) == body[:half]
    assert incoming.recent(100) == body[100:half]
    assert incoming.recent(half) == body[half:PIECE_BYTES]
    assert incoming.recent(PIECE_BYTES) is None
    await incoming.write(body[PIECE_BYTES:])
    await incoming.wait_for(PIECE_BYTES)
    assert incoming.recent(0) is None
    assert incoming.recent(PIECE_BYTES + 1) == body[PIECE_BYTES + 1 :]
    await incoming.abort()
    assert incoming.recent(PIECE_BYTES) is None


def test_a_disk_that_takes_a_little_at_once(tmp_path, monkeypatch):
    # What a call may do at any time (writev(2)); a disk that does so cannot be had on demand.
    folder, chunks = ContentFolder(tmp_path), [b"a" * 10, b"", b"b" * 5, b"c" * 7]
    folder.prepare()
    for at_once in range(1, 23):
        monkeypatch.setattr(os, "writev", lambda to, pieces, most=at_once: os.write(to, b"".join(pieces)[:most]))
        monkeypatch.setattr(module, "_IOV_MAX", 3)
        file = IncomingFile(folder, Digest.of(b"".join(chunks)), "name", 100)
        file.write(chunks)
        assert file.is_right()
        assert file.path.read_bytes() == b"".join(chunks)
        file.discard()


async def test_given_up_while_the_disk_is_busy(store, monkeypatch):
    slow = Slow(monkeypatch)
    body, digest = content()
    incoming = await store.begin(digest, len(body))
    await incoming.write(body[:500])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(incoming.abort())
        await asyncio.sleep(0)
        with pytest.raises(StoreError, match="given up"):
            await incoming.write(body[500:])
        slow.go.set()
    store.close()
    await asyncio.sleep(0)
    assert files_in(store.folder) == []
    assert store.told.faults == []
    assert store.find(digest) is None


def test_writing_to_what_was_given_up(tmp_path):
    folder = ContentFolder(tmp_path)
    folder.prepare()
    file = IncomingFile(folder, Digest.of(b""), "name", 0)
    file.discard()
    file.discard()
    with pytest.raises(OSError, match="given up"):
        file.write(b"more")
    assert files_in(tmp_path) == []


async def test_what_cannot_be_removed_is_closed_all_the_same(store, monkeypatch):
    incoming = await store.begin(content()[1], 1000)
    folder = store.folder / INCOMING
    folder.rename(store.folder / "away")
    await incoming.abort()
    (store.folder / "away").rename(folder)
    assert len(files_in(folder)) == 1
    assert (await store.sweep()).orphans == 1
    assert files_in(folder) == []
