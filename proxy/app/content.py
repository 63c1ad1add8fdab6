"""The content store as a configuration has it: for what serves, and for commands beside it."""

import os
import pwd
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from proxy.app.clock import clock
from proxy.app.judging import DATABASE
from proxy.config import Settings
from proxy.oci.digest import Digest
from proxy.stores import naming
from proxy.stores.content import CONTENT, ContentStore
from proxy.stores.content_account import ContentObserver


@contextmanager
def open_content(
    settings: Settings, observer: ContentObserver, *, bytes_max: int | None = None
) -> Iterator[ContentStore]:
    """Open the blobs that are kept, also beside a running Sealgate; with another limit, if one is given.

    Raises StoreError where that cannot be.
    """
    limit = settings.cache.size if bytes_max is None else bytes_max
    store = ContentStore(settings.server.state_dir / CONTENT, limit, clock=clock, observer=observer)
    try:
        yield store
    finally:
        store.close()


def repositories_naming(settings: Settings, digests: Collection[Digest]) -> Mapping[Digest, list[str]]:
    """Return which repositories are known to name these blobs."""
    return naming.repositories_naming(settings.server.state_dir / DATABASE, digests)


def other_owner(state_dir: Path) -> tuple[Path, str] | None:
    """Return what of the state is another user's, and whose; None where nothing is, or nothing is there.

    What one user writes there the other cannot read.
    """
    for path in (state_dir / DATABASE, state_dir / CONTENT, state_dir):
        with suppress(FileNotFoundError, PermissionError):
            owner = path.stat().st_uid
            return (path, _user(owner)) if owner != os.geteuid() else None
    return None


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"#{number}"  # as sudo reads it
