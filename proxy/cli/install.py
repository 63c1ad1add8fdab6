"""What `client-config` reads and writes on disk."""

from collections.abc import Iterable
from pathlib import Path

from proxy.cli.clients import File, InputError
from proxy.cli.clients.model import CA_BYTES_MAX


def read_ca(path: Path) -> str:
    """Return the text of a CA file; raises InputError where there is no readable text of a CA's size."""
    try:
        with path.open(encoding="ascii") as file:
            text = file.read(CA_BYTES_MAX + 1)
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"the CA file {path} cannot be read: {err}", "--ca takes a PEM file on this machine") from err
    if len(text) > CA_BYTES_MAX:
        raise InputError(f"the CA file {path} is larger than {CA_BYTES_MAX} bytes", "--ca takes one PEM certificate")
    return text


def write(root: Path, files: Iterable[File]) -> list[Path]:
    """Write each file under `root` and return the paths.

    Raises InputError, before anything is written, where another content is there already: a node's daemon.json is
    merged by its owner, not lost.
    """
    planned = {root / file.path.relative_to("/"): file.content for file in files}
    for path, content in planned.items():
        if path.exists() and path.read_text(encoding="utf-8", errors="replace") != content:
            raise InputError(f"{path} is there already and says something else", "merge it by hand, or move it away")
    for path, content in planned.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return list(planned)
