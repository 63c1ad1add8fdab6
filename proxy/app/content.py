"""The content store as a configuration has it: for what serves, and for commands beside it."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from proxy.app.clock import clock
from proxy.config import Settings
from proxy.oci.digest import Digest
from proxy.stores import naming
from proxy.stores.content import CONTENT, ContentStore
from proxy.stores.content_account import ContentObserver
from proxy.stores.database import DATABASE


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
