"""The folder that content lies in, by digest, and what may be done to it: no index, no cache, only files.

    sha256/ab/abcd...   exactly the bytes of that digest; the name is a promise that was true when it was given
    incoming/...        what is being received, each locked (flock) by the process that writes it; who has the lock, and
                        has seen that the name still leads to what it has locked, is alone in changing either

A name is made of a parsed digest only, so none leads out of the folder. Nothing here follows a symbolic link in the
place of a file. What is wrong is raised as OSError; `content` knows what to make of it.
"""

import fcntl
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import ENOENT, EWOULDBLOCK
from io import FileIO
from pathlib import Path
from stat import S_ISREG

from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError

ALGORITHMS = ("sha256", "sha512")
INCOMING = "incoming"
# Files of one folder stay 256 times fewer than those of all: 4,000 at a million.
_PREFIX = re.compile(r"[0-9a-f]{2}", re.ASCII)
# Of the disk, this part is left to others: what is remembered of verdicts may lie on it too.
_LEFT_FREE = 0.02
# How often a new file may be removed by a process that starts at that very moment.
_TRIES = 5
# O_NONBLOCK: a FIFO that somebody put there must not hold up the event loop; for files it means nothing.
_CLAIM = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the folder. `used` is when it was last used, in seconds since the epoch, true to an hour."""

    digest: Digest
    size: int
    used: float


class ContentFolder:
    """A folder of content. Several processes may use it at the same time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._text = str(root)

    def prepare(self) -> None:
        """Make the folders that are always there, for their owner only."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (INCOMING, *ALGORITHMS):
            folder = self.root / name
            # A link in the place of a folder would lead elsewhere.
            if folder.is_symlink():
                folder.unlink()
            folder.mkdir(mode=0o700, exist_ok=True)
        _fsync_folder(self.root)

    def room(self) -> int:
        """Return how many bytes can be added before the disk is too full; less than 0 where it is."""
        disk = os.statvfs(self.root)
        if not disk.f_blocks:  # a file system without a limit
            return sys.maxsize
        return (disk.f_bavail - int(disk.f_blocks * _LEFT_FREE)) * disk.f_frsize

    def path(self, digest: Digest) -> str:
        """Return where this content lies, if it is there."""
        return f"{self._text}/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"

    def open(self, digest: Digest) -> int:
        """Open the content and return its file descriptor, which the caller closes."""
        return os.open(self.path(digest), _READ)

    def claim(self, name: str) -> tuple[FileIO, Path]:
        """Open the file for what comes in under this name, new or left by a process that is gone; return it, locked.

        It is locked for as long as it is open. Raises BlockingIOError where another writes it.
        """
        path = self.root / INCOMING / name
        for _ in range(_TRIES):
            file = FileIO(os.open(path, _CLAIM, 0o600), "r+")
            alone = lock_alone(file.fileno())
            if alone and is_at(file.fileno(), path):
                return file, path
            file.close()
            if not alone:
                raise BlockingIOError(EWOULDBLOCK, "another process writes it", str(path))
            # Another process that starts has taken it for an orphan before it was locked.
        raise FileNotFoundError(ENOENT, "it is removed as soon as it is made", str(path))

    def claimed(self, name: str) -> FileIO:
        """Open for reading what another process writes under this name."""
        return FileIO(os.open(self.root / INCOMING / name, _READ))

    def is_named(self, digest: Digest, identity: tuple[int, int], size: int) -> bool:
        """Say whether it is this file that has the name of the digest, and it has this size."""
        try:
            status = os.stat(self.path(digest), follow_symlinks=False)  # noqa: PTH116 (for the event loop)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == identity and status.st_size == size

    def admit(self, descriptor: int, path: Path, digest: Digest) -> bool:
        """Give a received and flushed file its name, for good; say whether there was none of this name.

        From then on it is locked with those who read it.
        """
        target = Path(self.path(digest))
        with suppress(FileExistsError):
            target.parent.mkdir(mode=0o700)
            _fsync_folder(target.parent.parent)
        # Who finds it locks it, and takes nothing that is locked. While the lock changes, another may get in between.
        if not lock_shared(descriptor) or not is_at(descriptor, path):
            raise FileNotFoundError(ENOENT, "it was taken away while it was received", str(path))
        new = not target.exists()
        path.rename(target)
        _fsync_folder(target.parent)
        return new

    @contextmanager
    def sweeping(self) -> Iterator[None]:
        """Wait until no other process sweeps the folder, and keep others from it while the context lasts."""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def remove(self, digest: Digest) -> bool:
        """Remove the content; say whether it was there. Who reads it reads on."""
        return _unlink(self.path(digest))

    def remove_unread(self, entry: Entry) -> bool:
        """Remove a file that nobody reads and that was not used since it was listed; say whether it is gone."""
        try:
            descriptor = self.open(entry.digest)
        except FileNotFoundError:
            return False
        try:
            if not lock_alone(descriptor) or os.fstat(descriptor).st_mtime > entry.used:
                return False
            return self.remove(entry.digest)
        finally:
            os.close(descriptor)

    def entries(self) -> Iterator[Entry]:
        """List what is there, in no order; what has no business there is passed over."""
        for _, found in self._files():
            if isinstance(found, Entry):
                yield found

    def remove_strays(self) -> int:
        """Remove links, and files with names that no content has; return how many. Unknown folders are left alone."""
        return sum(_unlink(path) for path, found in self._files() if found is None)

    def remove_orphans(self) -> int:
        """Remove what is in `incoming` and is not being written; return how many files that were."""
        removed = 0
        with os.scandir(f"{self._text}/{INCOMING}") as found:
            for it in found:
                if not it.is_dir(follow_symlinks=False):
                    removed += _remove_orphan(it)
        return removed

    def _files(self) -> Iterator[tuple[str, Entry | None]]:
        for algorithm in ALGORITHMS:
            with os.scandir(f"{self._text}/{algorithm}") as folders:
                for folder in folders:
                    if folder.is_dir(follow_symlinks=False):
                        if _PREFIX.fullmatch(folder.name):
                            yield from _files_of(folder, algorithm)
                    else:
                        yield folder.path, None


def lock_alone(descriptor: int) -> bool:
    """Lock the file so that nobody else has a lock on it; say whether that was possible at once."""
    return _lock(descriptor, fcntl.LOCK_EX)


def lock_shared(descriptor: int) -> bool:
    """Lock the file together with all who do the same; say whether that was possible at once."""
    return _lock(descriptor, fcntl.LOCK_SH)


def is_unlocked(descriptor: int) -> bool:
    """Say whether nobody else has the file locked for itself alone."""
    if not lock_shared(descriptor):
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def identity_of(descriptor: int) -> tuple[int, int]:
    """Return what tells an open file from all others: its device and inode."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def is_at(descriptor: int, path: Path) -> bool:
    """Say whether the path leads to this open file, and it is one."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) == identity_of(descriptor)


def _lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _files_of(folder: "os.DirEntry[str]", algorithm: str) -> Iterator[tuple[str, Entry | None]]:
    with os.scandir(folder) as files:
        for file in files:
            if file.is_dir(follow_symlinks=False):
                continue
            try:
                found = _entry(file, algorithm, folder.name)
            except FileNotFoundError:  # another process evicts too
                continue
            yield file.path, found


def _entry(file: "os.DirEntry[str]", algorithm: str, prefix: str) -> Entry | None:
    try:
        digest = Digest.parse(f"{algorithm}:{file.name}")
    except MalformedError:
        return None
    status = file.stat(follow_symlinks=False)
    if not S_ISREG(status.st_mode) or digest.hex[:2] != prefix:
        return None
    return Entry(digest, status.st_size, status.st_mtime)


def _remove_orphan(file: "os.DirEntry[str]") -> bool:
    if not file.is_file(follow_symlinks=False):
        return _unlink(file.path)
    try:
        descriptor = os.open(file.path, _READ)
    except FileNotFoundError:
        return False
    try:
        # Its name may be another file's by now, which somebody writes.
        return lock_alone(descriptor) and is_at(descriptor, Path(file.path)) and _unlink(file.path)
    finally:
        os.close(descriptor)


def _unlink(path: str) -> bool:
    try:
        Path(path).unlink()
    except FileNotFoundError:
        return False
    return True


def _fsync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
