"""Reading a file that the configuration names."""

from pathlib import Path

from proxy.oci.errors import MalformedError

# Where a shell puts `<(command)`, and standard input: pipes that somebody writes to.
_OF_SHELLS = (Path("/dev/fd"), Path("/dev"), Path("/proc/self/fd"))


def read_file(path: Path, limit: int) -> bytes:
    """Return a file of at most `limit` bytes; raises MalformedError with the path and the reason."""
    try:
        if path.is_fifo() and path.parent not in _OF_SHELLS:
            raise MalformedError(f"{path}: is a named pipe, which may never end; name a file")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as err:
        raise MalformedError(f"{path}: {(err.strerror or 'cannot be read').lower()}") from None
    if len(content) > limit:
        raise MalformedError(f"{path}: longer than {limit} bytes")
    return content
