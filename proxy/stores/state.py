"""The state directory: the names of what is in it, and the check that nobody else may write there."""

from pathlib import Path

from proxy.stores.content import CONTENT
from proxy.stores.database import DATABASE, StoreError
from proxy.stores.ownership import User, unsafe_path, unsafe_state, unwritable
from proxy.stores.trust import TRUST_ROOTS

# Locked by the one Sealgate that serves from the directory, and by the one worker that reads all content again.
LOCK, VERIFYING = "lock", "verifying.lock"
# What is trusted when it is read, and what is written by name. SQLite makes the second and third beside the first.
PARTS = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}.lock", TRUST_ROOTS, CONTENT, LOCK, VERIFYING)


def unsafe_state_dir(folder: Path, *, writes: bool = False) -> str | None:
    """Return why this directory cannot be believed, as `what; repair`; None where it can, or is not there yet.

    With `writes` also why we could not write there.
    """
    user = User.current()
    try:
        found = unsafe_state(folder, PARTS, user)
        if writes:
            found = found or unwritable(folder, user) or unwritable(folder / CONTENT, user)
    except OSError as err:
        return f"{folder} cannot be looked at: {err.strerror}"
    return str(found) if found is not None else None


def unsafe_file(path: Path) -> str | None:
    """Return why others could write a file of ours, as `what; repair`. Devices and pipes are not looked at."""
    try:
        if path.exists() and not path.is_file():
            return None
        found = unsafe_path(path, User.current())
    except OSError as err:
        return f"{path} cannot be looked at: {err.strerror}"
    return str(found) if found is not None else None


def prepare_state_dir(folder: Path) -> None:
    """Make the directory, for its owner only, where it is not there; check it. Raises StoreError, or OSError."""
    for _ in range(2):  # before anything is made in somebody else's directory, and what was made
        found = unsafe_state_dir(folder, writes=True)
        if found is not None:
            what, _, repair = found.partition("; ")
            raise StoreError(f"the state in {folder} cannot be used: {what}: {repair}")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
