"""The content store as a configuration has it: for what serves, and for commands beside it."""

from collections.abc import Iterator
from contextlib import contextmanager

from proxy.app.clock import clock
from proxy.config import Settings
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
