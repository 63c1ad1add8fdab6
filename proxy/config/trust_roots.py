"""[trust_roots.NAME]: whose certificates, logs and timestamps signers may rely on. Two need no table."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field
from yarl import URL

from proxy.config.files import read_file
from proxy.config.mistakes import Mistake, key_path, read_table
from proxy.config.schema import RelativePath, Table
from proxy.config.upstreams import check_ca_file, read_proxies
from proxy.formats.cosign.trust_root import NO_TRUST_ROOT, TrustRoot
from proxy.oci.errors import MalformedError, UnavailableError
from proxy.oci.strict_json import loads_object
from proxy.stores.trust import TRUST_ROOTS, StoredRoot, TrustStore, TufRepository, read_root, shipped_repositories

# The TUF root of the public-good instance has 6 kB.
TUF_ROOT_BYTES_MAX = 1024 * 1024
_URL = re.compile(r"https?://[^\s/?#]+(?:/[^\s?#]*)?")


class TrustRootTable(Table):
    """A file, or a TUF repository; for one of the shipped roots only whether and how it is refreshed."""

    file: RelativePath | None = None
    tuf_url: str | None = None
    tuf_root: RelativePath | None = None
    refresh: bool = True
    # Not shown, for it may have a password.
    proxy: str | None = Field(default=None, repr=False)
    ca_file: RelativePath | None = None


@dataclass(frozen=True, slots=True)
class KnownRoot:
    """A trust root by its name in the configuration.

    `stored` is None where none is here yet: until the first refresh it proves nothing. `repository` is where it is
    refreshed from, None where it is not.
    """

    stored: StoredRoot | None
    repository: TufRepository | None

    @property
    def root(self) -> TrustRoot:
        """The trust root, as far as it is known."""
        return self.stored.root if self.stored else NO_TRUST_ROOT


def read_trust_roots(
    tables: Mapping[str, Mapping[str, Any]], state_dir: Path, folder: Path, warnings: list[str], mistakes: list[Mistake]
) -> dict[str, KnownRoot]:
    """Read every trust root, the shipped ones too; those that are wrong are left out and noted in `mistakes`."""
    store = TrustStore(state_dir / TRUST_ROOTS, warnings.append)
    shipped = shipped_repositories()
    found = {}
    for name in sorted(shipped.keys() | tables.keys()):
        table = read_table(TrustRootTable, tables.get(name, {}), ("trust_roots", name), folder, mistakes)
        if table is None:
            continue
        try:
            found[name] = _known(name, table, shipped.get(name), store)
        except MalformedError as err:
            what, _, hint = str(err).partition("; ")
            mistakes.append(Mistake(key_path("trust_roots", name), what, hint))
    return found


def _known(name: str, table: TrustRootTable, shipped: TufRepository | None, store: TrustStore) -> KnownRoot:
    if table.file is not None:
        if table.tuf_url is not None or table.tuf_root is not None:
            raise MalformedError("is a file or a TUF repository, not both; write either file, or tuf_url and tuf_root")
        try:
            return KnownRoot(read_root(table.file), None)
        except OSError as err:
            raise MalformedError(f"{table.file}: {(err.strerror or 'cannot be read').lower()}") from None
    repository = _repository(name, table, shipped)
    try:
        stored = store.load(repository)
    except UnavailableError:
        stored = None
    return KnownRoot(stored, _reachable(repository, table) if table.refresh else None)


def _reachable(repository: TufRepository, table: TrustRootTable) -> TufRepository:
    """Add how the repository is asked: through which proxy, trusting whom."""
    if table.ca_file is not None:
        check_ca_file(table.ca_file)
    proxy = read_proxies(table.proxy).for_url(URL(repository.url))
    if proxy is None:
        return replace(repository, ca_file=table.ca_file)
    return replace(repository, proxy=str(proxy.url), proxy_authorization=proxy.authorization, ca_file=table.ca_file)


def _repository(name: str, table: TrustRootTable, shipped: TufRepository | None) -> TufRepository:
    if table.tuf_url is not None and table.tuf_root is not None:
        bootstrap = read_file(table.tuf_root, TUF_ROOT_BYTES_MAX)
        repository = TufRepository(name, table.tuf_url.rstrip("/"), bootstrap, configured=True)
        _check_tuf(table.tuf_url, table.tuf_root, bootstrap)
        return repository
    if shipped is None or (table.tuf_url or table.tuf_root) is not None:
        raise MalformedError("says not where it comes from; write either file, or tuf_url and tuf_root")
    return shipped


def _check_tuf(url: str, path: Path, bootstrap: bytes) -> None:
    """Tell now what the first refresh would fail with; whether the root is genuine is for TUF to find."""
    if not _URL.fullmatch(url):
        raise MalformedError(f"tuf_url {url!r} is no URL; write it as in https://tuf.example.com")
    signed = loads_object(bootstrap, str(path)).get("signed")
    if not isinstance(signed, dict) or signed.get("_type") != "root":
        raise MalformedError(f"{path} is no root of a TUF repository; it is the file N.root.json of one that you trust")
