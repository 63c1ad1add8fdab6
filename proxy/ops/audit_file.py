"""The audit log's file: appended to by all workers, a line a write, and followed when it is rotated."""

import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

# For the group that reads logs (Debian: adm), and for nobody else, whatever the umask.
MODE = 0o640
# The permission bits that a new file may take over from the one before it.
_MODE_MAX = 0o664
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC


class AuditFile(logging.Handler):
    """Append to a file that may be moved away while it is in use; the next one is made with its mode and group.

    One that somebody else makes (logrotate's `create`) keeps what it has. Raises OSError where none can be opened.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._torn = False
        self._file = self._open(MODE, None)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line whole; where that fails, `handleError` is called for it."""
        try:
            self._follow()
            self._write(f"{record.getMessage()}\n".encode("ascii"))
        except OSError:
            self.handleError(record)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        super().close()

    def _write(self, line: bytes) -> None:
        # A disk that is full takes a part of a line: the next one begins after it, not in it.
        rest = b"\n" + line if self._torn else line
        while rest:
            rest = rest[os.write(self._file, rest) :]  # what a full disk has no room for is an error the next time
            self._torn = bool(rest)

    def _follow(self) -> None:
        before = os.fstat(self._file)
        with suppress(FileNotFoundError):
            now = self._path.stat()
            if (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino):
                return
        new = self._open(stat.S_IMODE(before.st_mode) & _MODE_MAX, before.st_gid)
        os.close(self._file)
        self._file, self._torn = new, False

    def _open(self, mode: int, group: int | None) -> int:
        with suppress(FileNotFoundError):
            return os.open(self._path, _APPEND)
        try:
            file = os.open(self._path, _APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:  # another worker's, or a link to what is not there yet
            return os.open(self._path, _APPEND | os.O_CREAT, mode)
        with suppress(OSError):  # a file system without modes, or a group that is not ours
            os.fchmod(file, mode)
            if group is not None:
                os.fchown(file, -1, group)
        return file
