"""The folder as others may have left it: strangers' files, links, rot, other processes."""

import os
import stat
from pathlib import Path

import pytest
from support.content import NOW, content, files_in, opened, path_of, read, receive, used_at

from proxy.oci.digest import Digest
from proxy.stores import content_folder
from proxy.stores.content import StoreError
from proxy.stores.content_folder import INCOMING, ContentFolder, Entry, lock_shared
from proxy.stores.sweep import sweep

BODY, DIGEST = content()


@pytest.fixture
def store(tmp_path):
    with opened(tmp_path / "content") as made:
        yield made


async def test_is_private(store):
    await receive(store, BODY)
    for path in (store.folder, *store.folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert files_in(store.folder) == [f"sha256/{DIGEST.hex[:2]}/{DIGEST.hex}"]


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "content").write_text("a file")
    with pytest.raises(StoreError, match="cannot use the content folder"), opened(tmp_path / "content"):
        pass


async def test_opening_removes_what_is_left_over_and_not_what_is_being_written(tmp_path):
    with opened(tmp_path / "content") as store:
        incoming = await store.begin(DIGEST, len(BODY))
        await incoming.write(BODY[:500])
        left_over = store.folder / INCOMING
        (left_over / "left").write_bytes(b"half")
        (left_over / "link").symlink_to(tmp_path / "elsewhere")
        (left_over / "folder").mkdir()
        (tmp_path / "elsewhere").write_bytes(b"not ours")
        with opened(tmp_path / "content") as other:
            assert len(files_in(left_over)) == 1
            await incoming.write(BODY[500:])
            await incoming.finish()
            assert read(other, DIGEST) == BODY
    assert (tmp_path / "elsewhere").read_bytes() == b"not ours"


def test_links_in_the_place_of_folders_are_replaced(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "sha256").symlink_to(tmp_path / "elsewhere")
    with opened(tmp_path / "content"):
        assert not (tmp_path / "content" / "sha256").is_symlink()


async def test_what_has_no_business_there_is_not_found_and_removed(store, tmp_path):
    await receive(store, BODY)
    folder = store.folder / "sha256"
    (tmp_path / "right").write_bytes(content(1)[0])
    linked = content(1)[1]
    path_of(store, linked).parent.mkdir(exist_ok=True)
    path_of(store, linked).symlink_to(tmp_path / "right")
    (folder / "aa").mkdir(exist_ok=True)
    (folder / "zz").mkdir()
    (folder / "zz" / "unknown").write_bytes(b"")
    (folder / "aa" / "deeper").mkdir()
    wrong_folder = folder / "aa" / ("b" * 64)
    wrong_folder.write_bytes(b"")
    fifo = Digest("sha256", "aa" + "c" * 62)
    os.mkfifo(path_of(store, fifo))
    (folder / "aa" / "name").write_bytes(b"")
    (folder / "file").write_bytes(b"")
    (folder / "link").symlink_to(tmp_path)
    assert store.find(linked) is store.find(fifo) is None
    assert not store.has(linked, 1000)
    assert not store.has(fifo, 0)
    assert not await store.verify_again(linked)
    assert [it.digest for it in store.entries()] == [DIGEST]
    assert (await store.sweep()).strays == 6
    assert files_in(folder) == sorted([f"{DIGEST.hex[:2]}/{DIGEST.hex}", "zz/unknown"])
    assert (tmp_path / "right").read_bytes() == content(1)[0]
    assert read(store, DIGEST) == BODY


ROT = {
    "a flipped bit": lambda body: bytes([body[0] ^ 1]) + body[1:],
    "the last bit": lambda body: body[:-1] + bytes([body[-1] ^ 128]),
    "cut short": lambda body: body[:-1],
    "emptied": lambda _: b"",
    "longer": lambda body: body + b"\0",
    "zeros": lambda body: bytes(len(body)),
}


@pytest.mark.parametrize("rot", ROT.values(), ids=ROT)
async def test_rot_is_found_removed_and_counted(store, rot):
    await receive(store, BODY)
    await receive(store, content(1)[0])
    path_of(store, DIGEST).write_bytes(rot(BODY))
    assert not await store.verify_again(DIGEST)
    assert not await store.verify_again(DIGEST)
    assert store.find(DIGEST) is None
    assert store.told.corrupt == [DIGEST]
    assert store.stats().files == 1
    assert await store.verify_again(content(1)[1])
    await receive(store, BODY)
    assert read(store, DIGEST) == BODY


async def test_a_file_of_another_size_is_not_found_and_replaced(store):
    await receive(store, BODY)
    path_of(store, DIGEST).write_bytes(BODY[:-1])
    assert store.find(DIGEST, len(BODY)) is None
    assert store.told.corrupt == []
    await receive(store, BODY)
    assert read(store, DIGEST, len(BODY)) == BODY


async def test_a_file_that_vanishes_while_it_is_verified(store, monkeypatch):
    await receive(store, BODY)
    path_of(store, DIGEST).write_bytes(b"rot")
    monkeypatch.setattr(store._folder, "remove", lambda _: False)
    assert not await store.verify_again(DIGEST)
    assert store.told.corrupt == []


async def test_a_folder_in_the_place_of_a_file(store):
    path_of(store, DIGEST).mkdir(parents=True)
    assert store.find(DIGEST) is None
    assert not store.has(DIGEST, 1000)
    assert not await store.verify_again(DIGEST)
    assert store.told.corrupt == []
    incoming = await store.begin(DIGEST, len(BODY))
    await incoming.write(BODY)
    with pytest.raises(StoreError):
        await incoming.finish()
    assert files_in(store.folder) == []


async def test_a_disk_that_cannot_be_asked(store):
    # A file in the place of a folder: an error that is not "no such file", which no user is spared.
    (store.folder / "sha256" / DIGEST.hex[:2]).write_bytes(b"")
    assert store.find(DIGEST) is None
    assert not store.has(DIGEST, 1000)
    assert not await store.verify_again(DIGEST)
    assert len(store.told.faults) == 1  # said once, of all three
    assert store.stats().fault
    (store.folder / INCOMING).rmdir()
    with pytest.raises(StoreError):
        await store.sweep()


async def test_a_file_that_cannot_be_locked_is_not_found(store, monkeypatch):
    # Locks can run out (ENOLCK), which takes a network file system.
    await receive(store, BODY)
    monkeypatch.setattr(content_folder.fcntl, "flock", raising(OSError(37, "No locks available")))
    before = open_files()
    assert store.find(DIGEST) is None
    assert open_files() == before
    assert len(store.told.faults) == 1


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def raising(error):
    def fail(*_, **__):
        raise error

    return fail


async def test_what_is_being_evicted_is_not_found(store):
    await receive(store, BODY)
    with path_of(store, DIGEST).open("rb") as file:
        assert content_folder.lock_alone(file.fileno())
        assert store.find(DIGEST) is None
    assert read(store, DIGEST) == BODY
    assert store.told.faults == []


async def test_the_time_of_use_is_written_at_most_once_an_hour(store):
    await receive(store, BODY)
    for minutes, written in ((0, 0), (59, 0), (61, 61), (100, 61), (122, 122), (0, 0)):
        store.clock.now = NOW
        if minutes == written == 0:
            used_at(store, DIGEST, NOW)
        store.clock.pass_by(minutes=minutes)
        store.find(DIGEST).close()
        store.has(DIGEST, 1000)
        assert path_of(store, DIGEST).stat().st_mtime == NOW.timestamp() + written * 60


async def test_a_time_in_the_future_is_corrected(store):
    await receive(store, BODY)
    store.clock.pass_by(days=1000)
    used_at(store, DIGEST, store.clock.now)
    store.clock.now = NOW
    store.find(DIGEST).close()
    assert path_of(store, DIGEST).stat().st_mtime == NOW.timestamp()


class TestSweep:
    async def test_counts_what_others_did(self, store):
        await receive(store, BODY)
        body, digest = content(1, 500)
        path_of(store, digest).parent.mkdir(exist_ok=True)
        path_of(store, digest).write_bytes(body)
        swept = await store.sweep()
        assert (swept.files, swept.bytes, swept.evicted) == (2, 1500, 0)
        assert store.told.held == (2, 1500)
        assert store.told.evicted == 0

    async def test_takes_no_more_at_once_than_fits_in_memory(self, store, monkeypatch):
        monkeypatch.setattr("proxy.stores.sweep._EVICTED_AT_ONCE", 3)
        for number in range(10):
            digest = await receive(store, content(number)[0])
            used_at(store, digest, NOW.replace(minute=number))
        swept = sweep(store._folder, 3000)
        assert (swept.evicted, swept.files) == (8, 2)
        assert store.has(content(9)[1], 1000)
        assert store.has(content(8)[1], 1000)

    async def test_a_store_of_which_all_is_read(self, store):
        await receive(store, BODY)
        with store.find(DIGEST).file:
            assert sweep(store._folder, 10).files == 1
        assert sweep(store._folder, 10).files == 0

    async def test_what_was_used_or_went_since_it_was_listed(self, store):
        await receive(store, BODY)
        (entry,) = store.entries()
        assert not store._folder.remove_unread(Entry(entry.digest, entry.size, entry.used - 1))
        assert not store._folder.remove_unread(Entry(content(1)[1], 1, 0.0))
        assert store._folder.remove_unread(entry)

    async def test_files_that_vanish_on_the_way(self, store, monkeypatch):
        await receive(store, BODY)
        walk = store._folder.entries()
        found = store._folder._files()
        (store.folder / INCOMING / "gone").write_bytes(b"")
        real = os.scandir

        def vanishing(path):
            with real(path) as listed:
                entries = list(listed)
            for it in entries:
                if not it.is_dir():
                    Path(it.path).unlink()
            return Listed(entries)

        monkeypatch.setattr(os, "scandir", vanishing)
        assert list(walk) == list(found) == []
        assert store._folder.remove_orphans() == 0


class Listed(list):
    def __enter__(self):
        return iter(self)

    def __exit__(self, *_):
        pass


class TestANewFile:
    """Another process that starts may take a new file for an orphan, before it is locked."""

    def test_is_made_again_when_it_was_removed(self, tmp_path, monkeypatch):
        folder = ContentFolder(tmp_path)
        folder.prepare()
        real, locked = content_folder.lock_alone, []

        def lock(descriptor):
            if not locked:
                for file in (tmp_path / INCOMING).iterdir():
                    file.unlink()
            locked.append(descriptor)
            return real(descriptor)

        monkeypatch.setattr(content_folder, "lock_alone", lock)
        file, path = folder.claim("name")
        file.close()
        assert len(locked) == 2
        assert list((tmp_path / INCOMING).iterdir()) == [path]

    def test_is_not_made_for_ever(self, tmp_path, monkeypatch):
        folder = ContentFolder(tmp_path)
        folder.prepare()
        monkeypatch.setattr(content_folder, "is_at", lambda *_: False)
        with pytest.raises(FileNotFoundError, match="removed as soon as it is made"):
            folder.claim("name")


def test_locks(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with (tmp_path / "file").open("rb") as one, (tmp_path / "file").open("rb") as other:
        assert lock_shared(one.fileno())
        assert lock_shared(other.fileno())
        assert not content_folder.lock_alone(other.fileno())
