"""What is shipped, what lies on disk, and which of them counts."""

import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from support.tuf import trust_root
from support.vectors import CONFORMANCE, needed
from tuf.api.metadata import Metadata

from proxy.formats.cosign.trust_root import TRUST_ROOT_BYTES_MAX, TrustRoot
from proxy.oci.errors import MalformedError, UnavailableError
from proxy.stores.trust import (
    DOCUMENT,
    GITHUB,
    PUBLIC_GOOD,
    Shipped,
    Source,
    TrustStore,
    TufRepository,
    read_root,
    shipped_repositories,
)

ROOTS = Path(__file__).parents[2] / "proxy" / "stores" / "roots"
PUBLISHED = datetime(2026, 10, 20, tzinfo=UTC)
DAY = timedelta(days=1)
OLD, NEW = trust_root(), trust_root("x")
WITH = TufRepository("private", "https://tuf.test", b"", Shipped(OLD, PUBLISHED))
WITHOUT = TufRepository("private", "https://tuf.test", b"")


@pytest.fixture
def store(tmp_path):
    return TrustStore(tmp_path / "trust", pytest.fail)


def keep(store, document, at, folder="private"):
    with store.lock(folder):
        store.keep(folder, document, at)


@pytest.mark.parametrize("name", [PUBLIC_GOOD, GITHUB])
def test_a_shipped_root_of_tuf_is_signed_by_its_own_threshold(name):
    repository = shipped_repositories()[name]
    root = Metadata.from_bytes(repository.bootstrap)
    assert root.signed.get_root_verification_result(None, root.signed_bytes, root.signatures)
    assert repository.url.startswith("https://")
    assert sha256(repository.bootstrap).hexdigest() in (ROOTS / "README.md").read_text("utf-8")


def test_the_public_good_root_works_without_network(store):
    stored = store.load(shipped_repositories()[PUBLIC_GOOD])
    assert (stored.source, stored.confirmed_at.date()) == (Source.SHIPPED, PUBLISHED.date())
    assert (len(stored.root.logs), len(stored.root.certificate_authorities)) == (2, 2)
    assert stored.root.certificate_logs
    assert stored.root.timestamp_authorities
    assert stored.root.ignored == ()
    assert stored.root.fingerprint in (ROOTS / "README.md").read_text("utf-8")


def test_the_public_good_root_is_the_one_that_conformance_is_tested_with():
    needed()
    vector = CONFORMANCE / "production_trusted_root.json"
    assert shipped_repositories()[PUBLIC_GOOD].shipped.document == vector.read_bytes()


def test_without_network_githubs_root_is_not_there(store):
    with pytest.raises(UnavailableError, match=r"github is not here yet: it comes by the first refresh \(https://tuf-"):
        store.load(shipped_repositories()[GITHUB])


@pytest.mark.parametrize(
    ("kept", "document", "source"),
    [(PUBLISHED + DAY, NEW, Source.REFRESHED), (PUBLISHED - DAY, OLD, Source.SHIPPED)],
)
def test_the_one_that_was_confirmed_last_counts(store, kept, document, source):
    keep(store, NEW, kept)
    stored = store.load(WITH)
    assert (stored.root, stored.source) == (TrustRoot.parse(document), source)
    assert stored.confirmed_at == (kept if source is Source.REFRESHED else PUBLISHED)


def test_what_is_kept_survives_a_restart_and_is_for_the_owner(store, tmp_path):
    keep(store, OLD, PUBLISHED)
    keep(store, NEW, PUBLISHED + DAY)
    again = TrustStore(tmp_path / "trust", pytest.fail)
    assert again.load(WITHOUT).root.fingerprint == sha256(NEW).hexdigest()
    assert again.document("private") == NEW
    assert again.document("other") is None
    assert stat.S_IMODE((tmp_path / "trust" / "private" / "metadata").stat().st_mode) == 0o700
    assert sorted(path.name for path in (tmp_path / "trust" / "private").iterdir()) == ["lock", "metadata", DOCUMENT]


@pytest.mark.parametrize("other", [{"url": "https://elsewhere.test"}, {"bootstrap": b"{}"}])
def test_what_another_repository_brought_is_not_believed(store, other):
    mine = replace(WITHOUT, configured=True)
    keep(store, NEW, PUBLISHED, mine.folder)
    assert store.load(mine).root == TrustRoot.parse(NEW)
    with pytest.raises(UnavailableError):
        store.load(replace(mine, **other))


@pytest.mark.parametrize("damage", [b"", NEW[:20], b"\x00" * 500, b" " * (TRUST_ROOT_BYTES_MAX + 1)])
def test_a_damaged_file_is_passed_over_and_told(tmp_path, damage):
    faults = []
    store = TrustStore(tmp_path, faults.append)
    keep(store, NEW, PUBLISHED + DAY)
    (tmp_path / "private" / DOCUMENT).write_bytes(damage)
    assert store.load(WITH).source is Source.SHIPPED
    with pytest.raises(UnavailableError):
        store.load(WITHOUT)
    assert len(faults) == 2
    assert faults[0].startswith(f"{tmp_path / 'private' / DOCUMENT} is passed over: ")


def test_what_is_no_file_is_passed_over_and_told(tmp_path):
    faults = []
    (tmp_path / "private" / DOCUMENT).mkdir(parents=True)
    assert TrustStore(tmp_path, faults.append).load(WITH).source is Source.SHIPPED
    assert len(faults) == 1


def test_a_write_that_fails_leaves_the_old_one(store, tmp_path, monkeypatch):
    keep(store, OLD, PUBLISHED)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        keep(store, NEW, PUBLISHED + DAY)
    assert store.load(WITHOUT).root == TrustRoot.parse(OLD)


def test_one_process_refreshes_at_a_time(store):
    with store.lock("private"):
        assert store.lock("private") is None
        with store.lock("other"):
            pass
    with store.lock("private") as lock:
        assert lock


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "A", "a b", "-a", "a" * 64, "a\n", "ä"])
def test_a_name_is_no_path(name):
    with pytest.raises(MalformedError, match="is no name of a trust root"):
        TufRepository(name, "https://tuf.test", b"")


def test_a_file_of_the_operator(tmp_path):
    path = tmp_path / "root.json"
    path.write_bytes(OLD)
    os.utime(path, (PUBLISHED.timestamp(), PUBLISHED.timestamp()))
    stored = read_root(path)
    assert (stored.root, stored.confirmed_at, stored.source) == (TrustRoot.parse(OLD), PUBLISHED, Source.FILE)


@pytest.mark.parametrize("document", [b"{}", b" " * (TRUST_ROOT_BYTES_MAX + 1)])
def test_a_file_that_is_no_trust_root_is_named(tmp_path, document):
    path = tmp_path / "root.json"
    path.write_bytes(document)
    with pytest.raises(MalformedError, match=r"/root\.json: "):
        read_root(path)
    with pytest.raises(FileNotFoundError):
        read_root(tmp_path / "none")
