"""trusted_root.json: both versions, every section optional, strict where it would be read in two ways."""

import json
from datetime import UTC, datetime

import pytest
from support.sigstore.encoding import base64_of
from support.sigstore.trial import AT, SIGSTORE
from support.vectors import CONFORMANCE, needed

from proxy.formats.cosign.trust_root import ENTRIES_MAX, NO_TRUST_ROOT, TRUST_ROOT_BYTES_MAX, TrustRoot
from proxy.oci.errors import MalformedError, OverLimitError

SECTIONS = {
    "tlogs": "logs",
    "ctlogs": "certificate_logs",
    "certificateAuthorities": "certificate_authorities",
    "timestampAuthorities": "timestamp_authorities",
}


def parse(document):
    return TrustRoot.parse(json.dumps(document).encode())


def changed(*path, value, version="0.1"):
    """The private root with one member set, or taken out where the value is Ellipsis."""
    document = json.loads(json.dumps(SIGSTORE.trusted_root(version)))
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


@pytest.mark.parametrize("version", ["0.1", "0.2"])
def test_both_versions(version):
    root = parse(SIGSTORE.trusted_root(version))
    assert [one.origin for one in root.logs] == ["rekor.private.test", "rekor2.private.test"]
    assert [len(getattr(root, section)) for section in SECTIONS.values()] == [2, 1, 1, 1]
    assert root.ignored == ()
    assert root.logs[0].window.covers(AT)
    assert root.logs[1].hint == SIGSTORE.rekor2.log_id[:4]


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("value", [..., None, []], ids=["missing", "null", "empty"])
def test_every_section_is_optional(section, value):
    root = parse(changed(section, value=value))
    assert getattr(root, SECTIONS[section]) == ()


def test_it_is_equal_by_its_document():
    assert parse(SIGSTORE.trusted_root()) == parse(SIGSTORE.trusted_root())
    assert parse(SIGSTORE.trusted_root()) != parse(SIGSTORE.trusted_root("0.2"))
    assert NO_TRUST_ROOT.logs == ()


LOG, KEY = ("tlogs", 0), ("tlogs", 0, "publicKey")
RAW = base64_of(b"a key of the future")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (changed(*KEY, "rawBytes", value=RAW), "tlogs[0]: not a readable public key"),
        (changed(*LOG, "hashAlgorithm", value="SHA3_256"), "tlogs[0]: hash algorithm 'SHA3_256'"),
        (changed(*LOG, "logId", value=...), "tlogs[0]: it has neither"),
        (changed(*LOG, "baseUrl", value="https://[a"), "tlogs[0]: baseUrl"),
        (changed("ctlogs", 0, "publicKey", "rawBytes", value=RAW), "ctlogs[0]: not a readable"),
        (changed("certificateAuthorities", 0, "certChain", "certificates", value=[]), "certificateAuthorities[0]: the"),
        (
            changed("certificateAuthorities", 0, "certChain", "certificates", 0, "rawBytes", value=RAW),
            "certificateAuthorities[0]: certificate 1",
        ),
        (changed("timestampAuthorities", 0, "certChain", "certificates", value=[]), "timestampAuthorities[0]: the"),
    ],
)
def test_what_is_not_known_is_left_out_and_named(document, says):
    """A log with a new kind of key must not take from us the logs that are known."""
    (ignored,) = parse(document).ignored
    assert ignored.startswith(says)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "has no mediaType"),
        (changed("mediaType", value="application/vnd.dev.sigstore.trustedroot.v0.9+json"), "v0.1 and v0.2 are read"),
        (changed("more", value=1), "unknown member 'more'"),
        (changed("tlogs", value={}), "is not a list"),
        (changed(*KEY, "validFor", value=...), "has no validFor"),
        (changed(*KEY, "validFor", value={}), "has no start"),
        (changed(*KEY, "validFor", "start", value="yesterday"), "is not a time"),
        (changed(*KEY, "validFor", "start", value="2026-01-01T00:00:00"), "has no time zone"),
        (changed(*KEY, "validFor", "start", value="0001-01-01T00:00:00+14:00"), "is not a time"),
        (changed(*KEY, "validFor", "end", value="9999-12-31T23:59:59-14:00"), "is not a time"),
    ],
)
def test_what_cannot_be_read_is_refused(document, says):
    with pytest.raises(MalformedError) as raised:
        parse(document)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    "document",
    [
        b" " * (TRUST_ROOT_BYTES_MAX + 1),
        json.dumps(changed("tlogs", value=SIGSTORE.trusted_root()["tlogs"] * ENTRIES_MAX)).encode(),
    ],
    ids=["bytes", "entries"],
)
def test_it_is_bounded(document):
    with pytest.raises(OverLimitError):
        TrustRoot.parse(document)


def test_a_log_named_by_its_hint_alone():
    document = changed("tlogs", 1, "logId", value=..., version="0.2")
    log = parse(document).logs[1]
    assert log.log_id == log.hint == SIGSTORE.rekor2.log_id[:4]


def test_times_are_utc():
    document = changed(*KEY, "validFor", value={"start": "2026-01-01T02:00:00.5+02:00"})
    window = parse(document).logs[0].window
    assert (window.start, window.end) == (datetime(2026, 1, 1, 0, 0, 0, 500_000, UTC), None)


def test_the_public_root():
    needed()
    root = TrustRoot.parse((CONFORMANCE / "production_trusted_root.json").read_bytes())
    assert root.ignored == ()
    assert "rekor.sigstore.dev" in {one.origin for one in root.logs}
