"""A signer is what the policy says of it, and answers anything."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cosign import KEY, NOW, REPOSITORY, SIGNER, STRANGER, SUBJECT, encoded, key_signer

from proxy.demo.signing import simple_signing_payload
from proxy.formats.api import UntrustedSignature
from proxy.formats.cosign.conditions import WantedPredicate
from proxy.formats.cosign.identity import WantedIdentity
from proxy.formats.cosign.patterns import Exact
from proxy.formats.cosign.shapes import Kind
from proxy.formats.cosign.simplesigning import CERTIFICATE, SIGNATURE
from proxy.verdict import Evidence, Reason, Rejection

PAYLOAD = simple_signing_payload(SUBJECT.digest)


def test_the_fingerprint_covers_everything():
    variants = [
        SIGNER,
        replace(SIGNER, name="other"),
        key_signer(STRANGER.public),
        key_signer(KEY.public, {"a": "b"}),
        key_signer(KEY.public, {"a": "c"}),
        key_signer(KEY.public, {"a": "b", "c": "d"}),
        key_signer(KEY.public, repository=REPOSITORY),
    ]
    assert len({one.fingerprint for one in variants}) == len(variants)
    assert (
        key_signer(KEY.public, {"x": "1", "y": "2"}).fingerprint
        == key_signer(KEY.public, {"y": "2", "x": "1"}).fingerprint
    )


def test_no_form_binds_a_tag():
    """So one verdict serves all tags of a digest."""
    assert not SIGNER.binds_tag


def test_what_may_end_is_known():
    identity = WantedIdentity(Exact("https://issuer.example"), Exact("someone@example.com"))
    keyless = replace(SIGNER, wanted=replace(SIGNER.wanted, who=identity))
    attested = replace(keyless, wanted=replace(keyless.wanted, attestation=WantedPredicate("https://a.example")))
    assert [one.ends for one in (SIGNER, keyless, attested)] == [True, False, True]


def test_a_foreign_kind():
    finding = SIGNER.verify(SUBJECT, UntrustedSignature("notation", "here", b""), NOW)
    assert finding == Rejection(Reason.UNSUPPORTED, "candidates of kind 'notation' are not cosign's", "release", "here")


@pytest.mark.parametrize(("key", "counts"), [(KEY, True), (STRANGER, False)])
def test_a_certificate_beside_a_signature_by_key(key, counts):
    """`cosign sign --key --certificate` writes one; the key signed all the same."""
    annotations = {
        SIGNATURE: encoded(key.sign(PAYLOAD)),
        CERTIFICATE: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    }
    finding = SIGNER.verify(SUBJECT, UntrustedSignature(Kind.CLASSIC, "here", PAYLOAD, annotations), NOW)
    assert isinstance(finding, Evidence) is counts
    assert counts or finding.detail == "signed keyless, and this signer is a key"


def test_no_signature_annotation():
    finding = SIGNER.verify(SUBJECT, UntrustedSignature(Kind.CLASSIC, "here", PAYLOAD), NOW)
    assert finding.reason is Reason.MALFORMED


@given(kind=st.sampled_from(Kind), payload=st.binary(max_size=50), text=st.text(max_size=50))
def test_any_bytes_get_an_answer(kind, payload, text):
    annotations = dict.fromkeys([SIGNATURE, "dev.sigstore.cosign/bundle"], text)
    assert isinstance(SIGNER.verify(SUBJECT, UntrustedSignature(kind, "here", payload, annotations), NOW), Rejection)


def test_one_signature_is_told_from_others_wherever_it_lies():
    """So that in a threshold it counts once, for however many signers."""
    annotations = {SIGNATURE: encoded(KEY.sign(PAYLOAD))}
    found = [
        signer.verify(SUBJECT, UntrustedSignature(Kind.CLASSIC, place, PAYLOAD, annotations), NOW)
        for signer, place in ((SIGNER, "here"), (SIGNER, "there"), (replace(SIGNER, name="other"), "here"))
    ]
    again = UntrustedSignature(Kind.CLASSIC, "here", PAYLOAD, {SIGNATURE: encoded(KEY.sign(PAYLOAD))})
    assert len({one.signed for one in found}) == 1
    assert SIGNER.verify(SUBJECT, again, NOW).signed != found[0].signed
