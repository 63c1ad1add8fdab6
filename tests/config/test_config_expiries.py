"""When certificates, keys and trust roots end, and who is warned before."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from support.tls import make_tls

from proxy.config.expiries import WARNED_BEFORE, Expiry, expiries, expiry_warnings, root_end
from proxy.crypto.window import Window
from proxy.formats.cosign.trust_root import NO_TRUST_ROOT, TrustRoot

START = datetime(2020, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 12, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    """A log or an authority, as far as its end is concerned."""

    window: Window
    chain: tuple = ()


@dataclass(frozen=True)
class Certificate:
    not_valid_after_utc: datetime


def year(number):
    return datetime(number, 1, 1, tzinfo=UTC)


def entry(end=None, *certificates):
    return Entry(Window(START, end and year(end)), tuple(Certificate(year(one)) for one in certificates))


@pytest.mark.parametrize(
    ("sections", "end"),
    [
        ({}, None),
        ({"logs": [entry()]}, None),
        ({"logs": [entry(2024), entry()]}, None),
        ({"logs": [entry(2024), entry(2030)]}, 2030),
        ({"certificate_authorities": [entry(None, 2031, 2034)]}, 2031),
        ({"certificate_authorities": [entry(2029, 2031, 2034)]}, 2029),
        ({"certificate_authorities": [entry(2022, 2031), entry(None, 2040)]}, 2040),
        ({"certificate_authorities": [entry(None, 2040)], "timestamp_authorities": [entry(None, 2035)]}, 2035),
        ({"certificate_logs": [entry(2028)], "logs": [entry()], "timestamp_authorities": [entry(None, 2035)]}, 2028),
    ],
)
def test_a_trust_root_ends_where_the_last_of_a_kind_does(sections, end):
    root = TrustRoot("x", **{name: tuple(entries) for name, entries in sections.items()})
    assert root_end(root) == (end and year(end))


def test_a_trust_root_that_trusts_nobody_has_no_end():
    assert root_end(NO_TRUST_ROOT) is None


def test_the_first_certificate_of_a_file_that_ends_counts(tmp_path):
    (one,) = expiries(make_tls(tmp_path).certificate, {}, {})
    assert one == Expiry("tls", "server", "server.tls_certificate", datetime(2120, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "content", [None, b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_cannot_be_read_is_a_mistake_elsewhere(tmp_path, content):
    path = tmp_path / "tls.crt"
    if content is not None:
        path.write_bytes(content)
    assert list(expiries(path, {}, {})) == []


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (timedelta(days=-1), "server.tls_certificate: expired at 2026-11-30T00:00:00Z: clients refuse it from then on"),
        (timedelta(days=5), "server.tls_certificate: expires at 2026-12-06T00:00:00Z, in 5 days: clients refuse it"),
        (WARNED_BEFORE, "server.tls_certificate: expires at 2026-12-31T00:00:00Z, in 30 days: clients refuse it"),
        (WARNED_BEFORE + timedelta(seconds=1), None),
    ],
)
def test_who_is_warned_and_when(left, words):
    said = expiry_warnings([Expiry("tls", "server", "server.tls_certificate", NOW + left)], NOW)
    assert [one[: len(words or "")] for one in said] == ([words] if words else [])


@pytest.mark.parametrize("kind", ["tls", "key", "trust_root"])
def test_each_kind_says_what_to_do(kind):
    (said,) = expiry_warnings([Expiry(kind, "x", "where", NOW)], NOW)
    assert said.startswith("where: expires at ")
    assert said.count(": ") == 2
