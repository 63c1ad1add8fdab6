"""Trust roots that are kept: shipped with this package, refreshed into the state directory, or a file of the operator.

What lies in the state directory was verified when it came (`trust_refresh`) and is believed as the configuration is:
who can write there can write the rules. A damaged file is passed over, so that a bad disk costs freshness, not service.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import BinaryIO

from proxy.formats.cosign.trust_root import TRUST_ROOT_BYTES_MAX, TrustRoot
from proxy.oci.errors import MalformedError, UnavailableError

# The folder in the state directory.
TRUST_ROOTS = "trust"
DOCUMENT = "trusted_root.json"
PUBLIC_GOOD, GITHUB = "public-good", "github"
# A name is a folder of the state directory and a label of metrics.
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Source(StrEnum):
    """Where a trust root was read from."""

    SHIPPED = "shipped"
    REFRESHED = "refreshed"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class StoredRoot:
    """A trust root, and the time at which it was last known to be the newest.

    That is the last refresh of a refreshed one, the publication of a shipped one, the modification of a file.
    """

    root: TrustRoot
    confirmed_at: datetime
    source: Source


@dataclass(frozen=True, slots=True)
class Shipped:
    """A trusted_root.json that comes with this package."""

    document: bytes = field(repr=False)
    published: datetime


@dataclass(frozen=True, slots=True)
class TufRepository:
    """A TUF repository that publishes a trust root as its target `trusted_root.json`.

    `bootstrap` is the root.json that trust starts from; it may have expired. `folder` is where what came from here is
    kept: where it was `configured` one of its own, so that nothing is believed that another repository, or another root
    to start from, had brought under the same name before.

    It is asked through `proxy` (scheme, host, port), which is shown `proxy_authorization`; `ca_file` (PEM) is trusted
    besides the system's roots. Raises MalformedError for a name that is not of lower case letters, digits, - and _.
    """

    name: str
    url: str
    bootstrap: bytes = field(repr=False)
    shipped: Shipped | None = None
    configured: bool = False
    proxy: str | None = None
    proxy_authorization: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise MalformedError(f"{self.name!a:.80} is no name of a trust root: a-z, 0-9, - and _ are, up to 63")

    @property
    def folder(self) -> str:
        """The name of its folder in the state directory."""
        if not self.configured:
            return self.name  # a newer package brings a newer root.json of the same repository
        origin = hashlib.sha256(self.url.encode() + b" " + self.bootstrap).hexdigest()
        return f"{self.name}-{origin[:16]}"


def shipped_repositories() -> dict[str, TufRepository]:
    """Return the repositories that are known without configuration, by name. Reads what the package brings along."""
    # When sigstore 4.5.1, whose data it is, was uploaded to PyPI: see roots/README.md.
    trusted = Shipped(_resource(PUBLIC_GOOD, DOCUMENT), datetime(2026, 10, 20, 15, 12, 48, tzinfo=UTC))
    return {
        PUBLIC_GOOD: TufRepository(
            PUBLIC_GOOD, "https://tuf-repo-cdn.sigstore.dev", _resource(PUBLIC_GOOD, "root.json"), trusted
        ),
        GITHUB: TufRepository(GITHUB, "https://tuf-repo.github.com", _resource(GITHUB, "root.json")),
    }


def read_root(path: Path) -> StoredRoot:
    """Read a trusted_root.json of the operator's. Raises MalformedError, OSError where the file cannot be read."""
    document, modified = _read(path)
    try:
        return StoredRoot(TrustRoot.parse(document), modified, Source.FILE)
    except MalformedError as err:
        raise MalformedError(f"{path}: {err}") from err


class TrustStore:
    """One directory with a folder for each refreshed trust root; several processes may share it.

    A file is replaced by renaming a complete one, so a reader sees the old or the new. `on_fault` is told in one line
    of what cannot be read.
    """

    def __init__(self, folder: Path, on_fault: Callable[[str], None]) -> None:
        self._folder = folder
        self._on_fault = on_fault

    def load(self, repository: TufRepository) -> StoredRoot:
        """Return the newest that can be read; no network. Raises UnavailableError where there is none yet."""
        found = [*self._refreshed(repository), *_shipped(repository)]
        if not found:
            raise UnavailableError(
                f"the trust root {repository.name} is not here yet: it comes by the first refresh ({repository.url})"
            )
        # A package that is newer than the last refresh knows more than it (a machine without network that is upgraded).
        return max(found, key=lambda it: it.confirmed_at)

    def newer(self, repository: TufRepository, than: datetime | None) -> StoredRoot | None:
        """Return what a refresh, here or in another process, has confirmed after this time; None without any."""
        return next((it for it in self._refreshed(repository) if than is None or it.confirmed_at > than), None)

    def _refreshed(self, repository: TufRepository) -> Iterator[StoredRoot]:
        path = self._folder / repository.folder / DOCUMENT
        try:
            document, modified = _read(path)
            yield StoredRoot(TrustRoot.parse(document), modified, Source.REFRESHED)
        except FileNotFoundError:
            pass
        except (OSError, MalformedError) as err:
            self._on_fault(f"{path} is passed over: {err}")

    def document(self, folder: str) -> bytes | None:
        """Return the refreshed document as it lies there, None where there is none."""
        try:
            return _read(self._folder / folder / DOCUMENT)[0]
        except OSError:
            return None

    def metadata(self, folder: str) -> Path:
        """Return the folder for the repository's TUF metadata; it exists. Raises OSError."""
        path = self._folder / folder / "metadata"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def lock(self, folder: str) -> BinaryIO | None:
        """Take the right to refresh this trust root until the file is closed; None while another process has it.

        Raises OSError where the state directory cannot be written.
        """
        path = self.metadata(folder).parent / "lock"
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file

    def keep(self, folder: str, document: bytes, confirmed_at: datetime) -> None:
        """Store what was refreshed, and the time; the lock is held. Raises OSError, and then the old one stays."""
        # The TUF client does not flush what it writes, and in it is what older metadata is told by.
        for path in self.metadata(folder).rglob("*.json"):
            _flush(path)
        kept = self._folder / folder / DOCUMENT
        new = kept.with_name(f"{DOCUMENT}.new")
        new.write_bytes(document)
        os.utime(new, (confirmed_at.timestamp(), confirmed_at.timestamp()))
        _flush(new)
        new.replace(kept)
        _flush(kept.parent)


def _shipped(repository: TufRepository) -> Iterator[StoredRoot]:
    if repository.shipped is not None:
        yield StoredRoot(TrustRoot.parse(repository.shipped.document), repository.shipped.published, Source.SHIPPED)


def _read(path: Path) -> tuple[bytes, datetime]:
    with path.open("rb") as file:
        # One more than may be, so that too much is told from enough.
        document = file.read(TRUST_ROOT_BYTES_MAX + 1)
        return document, datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)


def _flush(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _resource(name: str, file: str) -> bytes:
    return resources.files("proxy.stores").joinpath("roots", name, file).read_bytes()
