"""The disk side of `client-config`: read a CA file, write the files of a set-up, keep what they replace."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from proxy.cli.clients import File, InputError
from proxy.cli.clients.model import CA_BYTES_MAX
from proxy.oci.errors import MalformedError
from proxy.oci.strict_json import loads_object

# Beside the file; none of the clients reads a name that ends so.
BACKUP_SUFFIX = ".before-sealgate"
# The mode of a new file: rootless podman reads /etc/containers as an ordinary user.
_MODE = 0o644


def read_ca(path: Path) -> str:
    """Return the text of a CA file; raises InputError where there is no readable text of a CA's size."""
    try:
        with path.open(encoding="ascii") as file:
            text = file.read(CA_BYTES_MAX + 1)
    except (OSError, UnicodeDecodeError) as err:
        reason = _reason(err) if isinstance(err, OSError) else "it is not ASCII, so it is no PEM"
        hint = "--ca takes a PEM file on this machine"
        raise InputError(f"the CA file {path} cannot be read: {reason}", hint) from err
    if len(text) > CA_BYTES_MAX:
        raise InputError(f"the CA file {path} is larger than {CA_BYTES_MAX} bytes", "--ca takes one PEM certificate")
    return text


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written; `backup` has what was there before, if that was something else."""

    path: Path
    backup: Path | None = None


def write(root: Path, files: Iterable[File]) -> tuple[list[Written], list[InputError]]:
    """Write each file under `root` in one step; return what was written, and an error for each that was not.

    A file that says something else is kept beside the new one. A file with `merge` keeps its other members. One that
    cannot be written leaves the others to be written: each of them closes a way round by itself.
    """
    written: list[Written] = []
    failed: list[InputError] = []
    for file in files:
        path = root / file.path.relative_to("/")
        try:
            written.append(_write(path, file))
        except (OSError, MalformedError) as err:
            reason = _reason(err) if isinstance(err, OSError) else str(err)
            hint = "put this into it by hand:" if file.merge else "write this into it by hand:"
            failed.append(InputError(f"{path} was not written: {reason}", f"{hint}\n{file.content.rstrip()}"))
    return written, failed


def _reason(err: OSError) -> str:
    return (err.strerror or "input/output error").lower()


def _write(path: Path, file: File) -> Written:
    if path.is_symlink():
        raise MalformedError("it is a symbolic link")
    before = path.read_bytes() if path.exists() else None
    content = file.content.encode()
    if before is not None and file.merge:
        content = _merged(before, content)
    backup = None
    if before not in {None, content}:
        backup = _free_name(path)
        shutil.copy2(path, backup)
    if before != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
    return Written(path, backup)


def _merged(before: bytes, content: bytes) -> bytes:
    """Return the JSON object that is there with the members of ours in it; raises MalformedError where it is none."""
    there = loads_object(before.removeprefix(b"\xef\xbb\xbf"), "what is there") if before.strip() else {}
    ours = loads_object(content, "ours")
    if there | ours == there:
        return before
    return (json.dumps(there | ours, indent=2, ensure_ascii=False) + "\n").encode()


def _free_name(path: Path) -> Path:
    """Return a name for the backup; an older backup may be the only copy of what the owner wrote."""
    number, name = 1, path.with_name(path.name + BACKUP_SUFFIX)
    while name.exists():
        number += 1
        name = path.with_name(f"{path.name}{BACKUP_SUFFIX}-{number}")
    return name


def _replace(path: Path, content: bytes) -> None:
    """Put the content in place in one step: a client may read at any time. Owner and mode stay as they were."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".sealgate-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_MODE)
        if path.exists():
            shutil.copymode(path, temporary)
            state = path.stat()
            with suppress(PermissionError):  # only root may give a file away
                os.chown(temporary, state.st_uid, state.st_gid)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
