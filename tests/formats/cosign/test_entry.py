"""A log entry is about one signature, one verifier and one content, or it counts for nothing."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sigstore.authority import Request
from support.sigstore.draft import Draft, Shape, file_of
from support.sigstore.encoding import base64_of, canonical, pem_of, spki_of
from support.sigstore.private import Sigstore
from support.vectors import CONFORMANCE, or_skipped

from proxy.crypto.keys import PublicKey
from proxy.demo.signing import SigningKey
from proxy.formats.cosign.bundle import FILE_BUNDLE_TYPES, Bundle, Message
from proxy.formats.cosign.dsse import Envelope
from proxy.formats.cosign.entry import LogEntry, Signed, check_binding
from proxy.formats.cosign.entry_body import EntryBody
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
from proxy.verdict import Failure, Reason

KEY, P384, OTHER_KEY = SigningKey.generate(), SigningKey.generate("P-384"), SigningKey.generate()
SIGSTORE = Sigstore.create()


@cache
def certificate_of(key):
    return SIGSTORE.certificate(Request(key=key, at=datetime(2026, 11, 20, tzinfo=UTC)))


CERTIFICATE, OTHER_CERTIFICATE = certificate_of(KEY), certificate_of(OTHER_KEY)
BLOB = file_of(b"what is signed").signed_by(KEY, CERTIFICATE)
STATEMENT = Draft(shape=Shape.BUNDLE, payload=b'{"a":"statement"}').signed_by(KEY, CERTIFICATE)
# kind: the draft, the version of Rekor, the kind asked of it
KINDS = {
    "hashedrekord 0.0.1": (BLOB, 1, "hashedrekord"),
    "hashedrekord 0.0.2": (BLOB, 2, None),
    "hashedrekord 0.0.2 of an envelope": (STATEMENT, 2, None),
    "dsse 0.0.1": (STATEMENT, 1, "dsse"),
    "intoto 0.0.2": (STATEMENT, 1, "intoto"),
}


def entry_of(body, kind=None, version=None):
    """Wrap a body, declared as what it is or as something else."""
    raw = body if isinstance(body, bytes) else canonical(body)
    return LogEntry(kind, version, b"i" * 32, 1, 1, b"", None, raw)


def signed_of(draft, content=None):
    """What the draft's entry must be about."""
    verifier = draft.certificate or draft.key.public
    if draft.shape.is_dsse:
        content = content or Envelope(draft.payload_type, draft.payload, draft.signature)
    return Signed(draft.signature, verifier, content or draft.payload)


def outcome(body, signed):
    """The reason why the entry is not about it, `malformed`, or None."""
    try:
        failure = check_binding(entry_of(body), signed)
    except MalformedError:
        return "malformed"
    return failure and failure.reason


@pytest.fixture(params=KINDS)
def made(request):
    """A draft, and the body of its entry, for every kind."""
    draft, version, kind = KINDS[request.param]
    return draft, draft.entry_body(version, kind)


class TestBinding:
    @pytest.mark.parametrize("key", [KEY, P384], ids=["p256", "p384"])
    @pytest.mark.parametrize("certified", [True, False], ids=["certificate", "key"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_an_entry_about_this_very_signature(self, kind, certified, key):
        draft, version, name = KINDS[kind]
        certificate = certificate_of(key) if certified else None
        draft = draft.signed_by(key, certificate)
        body = draft.entry_body(version, name)
        assert check_binding(entry_of(body), signed_of(draft)) is None
        assert check_binding(entry_of(body, body["kind"], body["apiVersion"]), signed_of(draft)) is None

    @pytest.mark.parametrize(("version", "kind"), [(1, "hashedrekord"), (2, None)])
    def test_where_only_the_digest_is_known(self, version, kind):
        digest = Digest.of(BLOB.payload)
        assert check_binding(entry_of(BLOB.entry_body(version, kind)), signed_of(BLOB, digest)) is None
        other = Digest.of(b"other")
        assert "content" in check_binding(entry_of(BLOB.entry_body(version, kind)), signed_of(BLOB, other)).detail
        by_sha384 = replace(BLOB, hashing="sha384")
        failure = check_binding(entry_of(by_sha384.entry_body(version, kind)), signed_of(BLOB, digest))
        assert "content" in failure.detail

    def test_another_signature_of_the_same_payload(self, made):
        draft, body = made
        again = draft.signed_by(KEY, CERTIFICATE)
        assert again.signature != draft.signature
        assert "signature" in check_binding(entry_of(body), signed_of(again)).detail

    def test_the_same_signature_under_another_certificate(self, made):
        draft, body = made
        for certificate in (OTHER_CERTIFICATE, CERTIFICATE + b" ", None):
            failure = check_binding(entry_of(body), signed_of(replace(draft, certificate=certificate)))
            assert (failure.reason, "certificate" in failure.detail) == (Reason.LOG_NOT_PROVEN, True)

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_same_signature_under_another_key(self, kind):
        draft, version, name = KINDS[kind]
        body = replace(draft, certificate=None).entry_body(version, name)
        for verifier in (OTHER_KEY.public, CERTIFICATE, spki_of(KEY)):
            failure = check_binding(entry_of(body), replace(signed_of(draft), verifier=verifier))
            assert "key" in failure.detail

    def test_another_payload(self, made):
        draft, body = made
        failure = check_binding(entry_of(body), signed_of(replace(draft, payload=draft.payload + b" ")))
        assert "content" in failure.detail

    def test_what_is_no_envelope(self):
        for kind in ("dsse", "intoto"):
            body = STATEMENT.entry_body(1, kind)
            for content in (STATEMENT.payload, Digest.of(STATEMENT.payload)):
                failure = check_binding(entry_of(body), signed_of(STATEMENT, content))
                assert "envelope" in failure.detail
        # As sigstore-go: Rekor 1 has kinds of their own for envelopes.
        body = STATEMENT.entry_body(1, "hashedrekord")
        assert "envelope" in check_binding(entry_of(body), signed_of(STATEMENT)).detail

    def test_another_payload_type(self):
        envelope = Envelope("text/plain", STATEMENT.payload, STATEMENT.signature)
        assert (
            "type" in check_binding(entry_of(STATEMENT.entry_body(1, "intoto")), signed_of(STATEMENT, envelope)).detail
        )
        failure = check_binding(entry_of(STATEMENT.entry_body(2)), signed_of(STATEMENT, envelope))
        assert "content" in failure.detail

    @pytest.mark.parametrize(
        ("kind", "version"), [("dsse", "0.0.1"), ("hashedrekord", "0.0.2"), ("", ""), ("Hashedrekord", "0.0.1")]
    )
    def test_declared_as_another_kind(self, kind, version):
        failure = check_binding(entry_of(BLOB.entry_body(1, "hashedrekord"), kind, version), signed_of(BLOB))
        assert (failure.reason, "declared" in failure.detail) == (Reason.LOG_NOT_PROVEN, True)

    @pytest.mark.parametrize(
        ("kind", "version"),
        [("dsse", "0.0.2"), ("intoto", "0.0.1"), ("rekord", "0.0.1"), ("hashedrekord", "0.0.3"), ("x" * 99, "\u00e9")],
    )
    def test_kinds_that_are_not_read(self, kind, version):
        failure = check_binding(entry_of({"kind": kind, "apiVersion": version}), signed_of(BLOB))
        assert failure.reason is Reason.UNSUPPORTED
        assert failure.detail.isascii()
        assert len(failure.detail) < 120


def at(*path, put):
    """Make a change: this value at this path of a body."""

    def change(body):
        body = json.loads(canonical(body))
        *way, last = path
        place = body
        for name in way:
            place = place[name]
        place[last] = put(place.get(last) if isinstance(place, dict) else place[last])
        return body

    return change


def pem(make):
    """Make a change to the PEM of a hashedrekord."""
    return at(*PEM, put=lambda value: base64_of(make(base64.b64decode(value))))


def named(name, changes):
    """Run a test for each change, by its name."""
    return pytest.mark.parametrize(name, list(changes.values()), ids=list(changes))


PEM = ("spec", "signature", "publicKey", "content")
SIGNATURE = ("spec", "signature", "content")
HASH = ("spec", "data", "hash")


class TestBodies:
    @named(
        "change",
        {
            "a second certificate": pem(lambda one: one + pem_of(OTHER_CERTIFICATE)),
            "a certificate before": pem(lambda one: pem_of(OTHER_CERTIFICATE) + one),
            "a line before": pem(lambda one: b"\n" + one),
            "a comment": pem(lambda one: b"comment\n" + one),
            "a line after": pem(lambda one: one + b"\n"),
            "headers": pem(lambda one: one.replace(b"-\n", b"-\nProc-Type: 4,ENCRYPTED\n\n", 1)),
            "lines of Windows": pem(lambda one: one.replace(b"\n", b"\r\n")),
            "another label": pem(lambda one: one.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE")),
            "labels that differ": pem(lambda one: one.replace(b"END CERTIFICATE", b"END PUBLIC KEY")),
            "too much padding": pem(lambda one: one.replace(b"\n-----END", b"=\n-----END")),
            "nothing in the PEM": pem(lambda _: b"-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n"),
            "an empty line": pem(lambda one: one.replace(b"-\n", b"-\n\n", 1)),
            "no PEM": pem(lambda _: b""),
            "DER": pem(lambda _: CERTIFICATE),
            "a line feed in base64": at(*PEM, put=lambda value: value + "\n"),
            "no padding": at(*SIGNATURE, put=lambda _: "AAA"),
            "URL-safe base64": at(*SIGNATURE, put=lambda _: "-_-_"),
            "a format": at("spec", "signature", "format", put=lambda _: "x509"),
            "a URL": at("spec", "data", "url", put=lambda _: "https://a.test"),
            "SHA-1": at(*HASH, "algorithm", put=lambda _: "sha1"),
            "another spelling": at(*HASH, "algorithm", put=lambda _: "SHA256"),
            "no algorithm": at(*HASH, "algorithm", put=lambda _: None),
            "no hash": at("spec", "data", put=lambda _: {}),
            "no object": at("spec", put=lambda _: []),
            "an unknown member": at("more", put=lambda _: 1),
            "a kind that is no text": at("kind", put=lambda _: 1),
            "no version": at("apiVersion", put=lambda _: None),
            "two documents": lambda body: canonical(body) + b"{}",
            "a member twice": lambda body: canonical(body).replace(b'"spec":', b'"spec":{},"spec":'),
            "another case": lambda body: canonical(body).replace(b'"spec"', b'"Spec"'),
            "nothing": lambda _: b"",
            "a list": lambda _: b"[]",
            "no UTF-8": lambda _: b"\xff",
        },
    )
    def test_a_hashedrekord_that_is_malformed(self, change):
        body = BLOB.entry_body(1, "hashedrekord")
        assert outcome(body, signed_of(BLOB)) is None
        assert outcome(change(body), signed_of(BLOB)) == "malformed"

    @named(
        "put",
        {
            "upper case": str.upper,
            "a space": lambda value: value + " ",
            "an algorithm": lambda value: f"sha256:{value}",
            "nothing": lambda _: "",
        },
    )
    def test_a_digest_is_in_lower_case_hex(self, put):
        change = at(*HASH, "value", put=put)
        assert outcome(change(BLOB.entry_body(1, "hashedrekord")), signed_of(BLOB)) is Reason.LOG_NOT_PROVEN

    def test_a_pem_may_be_one_long_line(self):
        long_line = b"-----BEGIN CERTIFICATE-----\n%b\n-----END CERTIFICATE-----" % base64.b64encode(CERTIFICATE)
        assert outcome(pem(lambda _: long_line)(BLOB.entry_body(1, "hashedrekord")), signed_of(BLOB)) is None

    @named(
        "put",
        {
            "two": lambda value: value | {"publicKey": {"rawBytes": base64_of(spki_of(KEY))}},
            "none": lambda _: {"keyDetails": "PKIX_ECDSA_P256_SHA_256"},
            "no details": lambda value: {"x509Certificate": value["x509Certificate"]},
            "empty": lambda value: value | {"x509Certificate": {}},
        },
    )
    def test_rekor_2_has_one_verifier(self, put):
        change = at("spec", "hashedRekordV002", "signature", "verifier", put=put)
        assert outcome(change(BLOB.entry_body(2)), signed_of(BLOB)) == "malformed"

    @pytest.mark.parametrize(
        ("kind", "details", "fits"),
        [
            ("P-256", "PKIX_ECDSA_P256_SHA_256", True),
            ("P-256", "PKIX_ED25519", False),
            ("P-256", "PKIX_ECDSA_P384_SHA_384", False),
            ("P-256", "no such", False),
            ("P-384", "PKIX_ECDSA_P384_SHA_256", True),
            ("P-521", "PKIX_ECDSA_P521_SHA_512", True),
            ("RSA-2048", "PKIX_RSA_PKCS1V15_2048_SHA256", True),
            ("RSA-2048", "PKIX_RSA_PSS_2048_SHA256", True),
            ("RSA-2048", "PKIX_RSA_PKCS1V15_3072_SHA256", False),
            ("Ed25519", "PKIX_ED25519_PH", True),
        ],
    )
    def test_rekor_2_says_the_same_of_the_key_as_the_key(self, kind, details, fits):
        draft = file_of(b"what is signed").signed_by(SigningKey.generate(kind))
        change = at("spec", "hashedRekordV002", "signature", "verifier", "keyDetails", put=lambda _: details)
        assert (outcome(change(draft.entry_body(2)), signed_of(draft)) is None) is fits

    @pytest.mark.parametrize("count", [0, 2, 9])
    @pytest.mark.parametrize(
        ("kind", "path"),
        [("dsse", ("spec", "signatures")), ("intoto", ("spec", "content", "envelope", "signatures"))],
        ids=["dsse", "intoto"],
    )
    def test_an_envelope_has_one_signature(self, kind, path, count):
        change = at(*path, put=lambda value: value * count)
        assert outcome(change(STATEMENT.entry_body(1, kind)), signed_of(STATEMENT)) == "malformed"

    @named(
        "value",
        {"no text": base64_of(b"\xff"), "once": base64_of(STATEMENT.signature), "empty base64": "=", "a number": 1},
    )
    def test_intoto_has_base64_twice(self, value):
        change = at("spec", "content", "envelope", "signatures", 0, "sig", put=lambda _: value)
        assert outcome(change(STATEMENT.entry_body(1, "intoto")), signed_of(STATEMENT)) == "malformed"

    def test_intoto_may_keep_the_payload(self):
        change = at("spec", "content", "envelope", "payload", put=lambda _: "any")
        assert outcome(change(STATEMENT.entry_body(1, "intoto")), signed_of(STATEMENT)) is None

    @given(
        kind=st.sampled_from(sorted(KINDS)),
        place=st.integers(0, 4000),
        cut=st.integers(0, 6),
        put=st.binary(max_size=4),
    )
    def test_whatever_the_bytes_nothing_else_is_raised_or_proven(self, kind, place, cut, put):
        draft, version, name = KINDS[kind]
        good = canonical(draft.entry_body(version, name))
        place %= len(good)
        changed = good[:place] + put + good[place + cut :]
        if outcome(changed, signed_of(draft)) is None:
            # What is not compared may change, as the hash of the envelope; what is said of the signature may not.
            assert EntryBody.parse(changed) == EntryBody.parse(good)


def conformance():
    """The bundles of the conformance suite, with the key that each is verified with."""
    return sorted(path.parent for path in CONFORMANCE.glob("*/bundle.sigstore.json"))


# Of the cases that must fail, those that fail here: an entry about something else.
OF_SOMETHING_ELSE = {
    "dsse-mismatch-envelope_fail",
    "managed-key-no-key_fail",
    "rekor2-dsse-invalid-sig_fail",
    "rekor2-dsse-mismatch-envelope_fail",
    "rekor2-dsse-mismatch-sig_fail",
    "signature-mismatch_fail",
    "wrong-hashedrekord-cert-and-sig_fail",
    "wrong-hashedrekord-entry_fail",
    "wrong-material_fail",
}


@pytest.mark.parametrize("folder", or_skipped(conformance()), ids=lambda folder: folder.name)
def test_conformance(folder):
    try:
        bundle = Bundle.parse((folder / "bundle.sigstore.json").read_bytes(), FILE_BUNDLE_TYPES)
    except MalformedError:
        assert folder.name.endswith("_fail")
        return
    content = bundle.content
    if isinstance(content, Message):
        own = folder / "artifact"
        content = (own if own.exists() else CONFORMANCE / "a.txt").read_bytes()
    key = folder / "key.pub"
    verifier = PublicKey.parse(key.read_bytes()) if key.exists() else bundle.certificate or OTHER_KEY.public
    found = [check_binding(entry, Signed(bundle.content.signature, verifier, content)) for entry in bundle.entries]
    assert any(isinstance(one, Failure) for one in found) is (folder.name in OF_SOMETHING_ELSE)
