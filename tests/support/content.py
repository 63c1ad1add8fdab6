"""Content stores under test, what they are told to keep, and what they tell."""

import os
import random
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from proxy.oci.digest import Digest
from proxy.stores.content import ContentStore, Following, Left

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LIMIT = 100_000


class Told:
    """A `ContentObserver` that remembers."""

    def __init__(self):
        self.held, self.stored, self.evicted, self.corrupt, self.faults = (0, 0), [], 0, [], []

    def content_held(self, files, size):
        self.held = (files, size)

    def content_stored(self, size):
        self.stored.append(size)

    def content_evicted(self, files):
        self.evicted += files

    def content_corrupt(self, digest):
        self.corrupt.append(digest)

    def content_fault(self, fault):
        self.faults.append(fault)


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now

    def pass_by(self, **time):
        self.now += timedelta(**time)


@contextmanager
def opened(folder, bytes_max=LIMIT):
    """Open a store in the folder; `told`, `clock` and `folder` hang on it."""
    told, clock = Told(), Clock()
    store = ContentStore(folder, bytes_max, clock=clock, observer=told)
    store.told, store.clock, store.folder = told, clock, folder
    try:
        yield store
    finally:
        store.close()


def content(number=0, size=1000):
    """Return bytes that the number decides, and their digest."""
    made = random.Random(number).randbytes(size)  # noqa: S311 (anything that differs)
    return made, Digest.of(made)


async def receive(store, body, digest=None, *, piece=400, scope=""):
    """Put the body into the store in pieces, or wait for whoever does; return its digest."""
    digest = digest or Digest.of(body)
    incoming = await store.begin(digest, len(body), scope)
    if isinstance(incoming, Following):
        left = await incoming.follow(lambda: None)
        incoming.give_up(left or Left.GONE)
        return digest
    try:
        for start in range(incoming.received, len(body), piece):
            await incoming.write(body[start : start + piece])
        await incoming.finish()
    finally:
        await incoming.abort()
    return digest


def read(store, digest, size=None):
    """Return what the store has under the digest, None where it has nothing."""
    found = store.find(digest, size)
    if found is None:
        return None
    try:
        return found.file.read()
    finally:
        found.close()


def path_of(store, digest):
    return store.folder / digest.algorithm / digest.hex[:2] / digest.hex


def used_at(store, digest, time):
    """Let the content have been used at a time."""
    os.utime(path_of(store, digest), (time.timestamp(), time.timestamp()))


def files_in(folder):
    """List the files below a folder, by their path in it."""
    return sorted(str(it.relative_to(folder)) for it in folder.rglob("*") if not it.is_dir() or it.is_symlink())
