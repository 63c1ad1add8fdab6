"""Reading a file that the configuration names."""

from pathlib import Path

from proxy.oci.errors import MalformedError


def read_file(path: Path, limit: int) -> bytes:
    """Return a file of at most `limit` bytes; raises MalformedError with the path and the reason."""
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as err:
        raise MalformedError(f"{path}: {(err.strerror or 'cannot be read').lower()}") from None
    if len(content) > limit:
        raise MalformedError(f"{path}: longer than {limit} bytes")
    return content
