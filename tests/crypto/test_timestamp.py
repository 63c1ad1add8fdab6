"""Timestamps count by the word of the trust root's authorities alone, and only as RFC 3161 has them."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509 import ExtendedKeyUsage, SubjectKeyIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st
from support.certificates import der, key, make_ca, make_leaf, named, purposes
from support.tsa import (
    ALWAYS,
    CONTENT_TYPE,
    DATA,
    MESSAGE_DIGEST,
    SIGNATURES,
    SIGNING_CERTIFICATE,
    SIGNING_CERTIFICATE_V2,
    SIGNING_TIME,
    Tsa,
    attribute,
    certificate_id,
    extension,
    hash_algorithm,
    integer,
    make_key,
    octets,
    oid,
    sequence,
    tagged,
    tlv,
)
from support.vectors import VECTORS, needed

from proxy.crypto.chain import CHAIN_LENGTH_MAX, parse_certificate
from proxy.crypto.cms import BAG_CERTIFICATES_MAX, TOKEN_BYTES_MAX, UntrustedSignedData
from proxy.crypto.timestamp import TimestampAuthority, UnknownAuthority, timestamp, token_time
from proxy.crypto.window import Window
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.verdict import Failure, Reason

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
CONTENT = b"a signature"
TSA = Tsa.create()
SIGNER = TSA.chain[0]
NULL = b"\x05\x00"
UNPROVEN, UNSUPPORTED = Reason.TIME_NOT_PROVEN, Reason.UNSUPPORTED
# What names the same issuer and serial number as the authority's own certificate, and is not it.
TWIN = Tsa.create(public=key("someone else").public_key())
STRANGER = Tsa.create(name="stranger")


def judge(tsa=TSA, at=AT, authorities=None, content=CONTENT, **mutations):
    token = tsa.token(CONTENT, at, **mutations)
    return timestamp(token, content, [tsa.authority()] if authorities is None else authorities)


ACCEPTED = {
    "nothing changed": {},
    "granted with changes": {"status": 1},
    "fractions of a second": {"at": AT.replace(microsecond=250000)},
    "NULL as parameters": {"parameters": NULL},
    "imprint SHA-384": {"imprint_hash": "sha384"},
    "imprint SHA-512": {"imprint_hash": "sha512"},
    "ECDSA with SHA-384": {"hash": "sha384"},
    "ECDSA with SHA-512": {"hash": "sha512"},
    "another hash listed too": {"listed": ("sha256", "sha512")},
    "key P-384": {"tsa": Tsa.create("P-384")},
    "key P-521 with SHA-512": {"tsa": Tsa.create("P-521"), "hash": "sha512"},
    "key RSA": {"tsa": Tsa.create("RSA 2048")},
    "key RSA with SHA-384": {"tsa": Tsa.create("RSA 2048"), "hash": "sha384"},
    "key RSA with SHA-512": {"tsa": Tsa.create("RSA 2048"), "hash": "sha512"},
    "key RSA, its algorithm without a hash": {
        "tsa": Tsa.create("RSA 2048"),
        "hash": "sha512",
        "algorithm": SIGNATURES["RSA", None],
    },
    "signer named by key id": {"by_key_id": True},
    "intermediates": {"tsa": Tsa.create(intermediates=2)},
    "accuracy, nonce and name": {
        "accuracy": sequence(integer(1)),
        "nonce": integer(2**63),
        "authority": tagged(0, tagged(4, named("tsa").public_bytes())),
    },
    "ordering": {"ordering": b"\x01\x01\xff"},
    "extension that is not critical": {"extensions": (extension("1.2.3", critical=False),)},
    "unknown signed attribute": {"attributes": {"1.2.3": (NULL,)}},
    "no signing time": {"attributes": {SIGNING_TIME: None}},
    "unsigned attributes": {"unsigned": tagged(1, attribute("1.2.3", NULL))},
    "revocation lists": {"revocations": tagged(1, sequence())},
    "certificate named by SHA-512": {
        "signing_certificate": (certificate_id(SIGNER, "sha512", written=hash_algorithm("sha512")),)
    },
    "SHA-256 written out": {
        "signing_certificate": (certificate_id(SIGNER, written=hash_algorithm("sha256")),),
    },
    "certificate named by issuer and serial too": {
        "signing_certificate": (
            certificate_id(SIGNER, issuer=SIGNER.issuer.public_bytes(), serial=SIGNER.serial_number),
        )
    },
    "certificates of the chain named too": {
        "signing_certificate": (certificate_id(SIGNER), certificate_id(TSA.chain[1]))
    },
    "both versions of signing certificate": {"attributes": {SIGNING_CERTIFICATE: (NULL,)}},
    "empty set of certificates": {"certificates": ()},
    "its certificates": {"certificates": TSA.certificate_chain},
    "its certificates, not sorted": {"certificates": TSA.certificate_chain[::-1]},
    "others' certificates": {"certificates": (*STRANGER.certificate_chain, der(TWIN.chain[0]), b"\x30\x00")},
    "as many certificates as may be": {"certificates": TSA.certificate_chain[:1] * BAG_CERTIFICATES_MAX},
    "another authority": {"authorities": [STRANGER.authority(), TSA.authority()]},
    "the same authority in a window before": {
        "authorities": [replace(TSA, window=Window(ALWAYS.start, AT - SECOND)).authority(), TSA.authority()]
    },
    "start of the window": {"tsa": replace(TSA, window=Window(AT))},
    "end of the window": {"tsa": replace(TSA, window=Window(AT - SECOND, AT))},
    "first second of the certificate": {"tsa": Tsa.create(start=AT)},
    "last second of the certificate": {"tsa": Tsa.create(end=AT)},
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_the_authoritys_word_counts(changes):
    assert judge(**changes) == changes.get("at", AT)


TIME_STAMPING, CODE_SIGNING = ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING
ALONE = "is not for time stamping alone, marked critical"
OTHER_CERTIFICATE = "signingCertificateV2 names another certificate"
NOT_SIGNED = "not signed by the key of its authority's certificate"
NO_AUTHORITY = "not by an authority of the trust root"
TWICE = "has not exactly one value"
INTERMEDIATE = Tsa.create(intermediates=1)

REFUSED = {
    "rejected": ({"status": 2}, UNPROVEN, "was not granted"),
    "rejected without token": ({"status": 2, "granted": False}, UNPROVEN, "was not granted"),
    "granted without token": ({"granted": False}, UNPROVEN, "was not granted"),
    "huge status": ({"status": 1 << 40000}, UNPROVEN, "was not granted"),
    "negative status": ({"status": -1}, UNPROVEN, "was not granted"),
    "not SignedData": ({"token_type": DATA}, UNPROVEN, "not of type SignedData"),
    "SignedData of version 1": ({"version": 1}, UNSUPPORTED, "not of version 3"),
    "SignedData of version 4": ({"version": 4}, UNSUPPORTED, "not of version 3"),
    "no signer": ({"signers": 0}, UNPROVEN, "has 0 signers"),
    "two signers": ({"signers": 2}, UNPROVEN, "has 2 signers"),
    "not a TSTInfo": ({"content_type": DATA}, UNPROVEN, "is not a TSTInfo"),
    "TSTInfo of version 2": ({"info_version": 2}, UNSUPPORTED, "TSTInfo is not of version 1"),
    "critical extension": (
        {"extensions": (extension("1.2.3", critical=False), extension("1.2.4", critical=True))},
        UNSUPPORTED,
        "has a critical extension",
    ),
    "imprint SHA-1": ({"imprint_hash": "sha1"}, UNSUPPORTED, "hash algorithm 1.3.14.3.2.26"),
    "hash with parameters": ({"parameters": integer(1)}, UNSUPPORTED, "hash algorithm"),
    "other content": ({"content": b"another signature"}, UNPROVEN, "message imprint"),
    "imprint is cut": ({"imprint": b""}, UNPROVEN, "message imprint"),
    "no authority": ({"authorities": []}, UNPROVEN, NO_AUTHORITY),
    "stranger": ({"tsa": STRANGER, "authorities": [TSA.authority()]}, UNPROVEN, NO_AUTHORITY),
    "stranger with its certificates": (
        {"tsa": STRANGER, "authorities": [TSA.authority()], "certificates": STRANGER.certificate_chain},
        UNPROVEN,
        NO_AUTHORITY,
    ),
    "signer named by an issuer that no library likes": (
        # A country of three letters, where two are allowed.
        {"signer": sequence(sequence(tlv(0x31, sequence(oid("2.5.4.6"), tlv(0x13, b"ABC")))), integer(1))},
        UNPROVEN,
        NO_AUTHORITY,
    ),
    "signer named by an unknown key id": ({"signer": tlv(0x80, b"\1" * 20)}, UNPROVEN, NO_AUTHORITY),
    "signer named by key id, the certificate has none": (
        {"tsa": Tsa.create(extensions=(purposes(TIME_STAMPING),), without=(SubjectKeyIdentifier,)), "by_key_id": True},
        UNPROVEN,
        NO_AUTHORITY,
    ),
    "same issuer and serial, another certificate": (
        {"tsa": TWIN, "authorities": [TSA.authority()], "certificates": TWIN.certificate_chain},
        UNPROVEN,
        OTHER_CERTIFICATE,
    ),
    "key of another": ({"signing_key": make_key("P-256", "stranger")}, UNPROVEN, NOT_SIGNED),
    "key of another kind": ({"signing_key": make_key("RSA 2048")}, UNPROVEN, NOT_SIGNED),
    "signature empty": ({"signature": b""}, UNPROVEN, NOT_SIGNED),
    "RSA signature empty": ({"tsa": Tsa.create("RSA 2048"), "signature": b""}, UNPROVEN, NOT_SIGNED),
    "SignerInfo of version 3": ({"signer_version": 3}, UNPROVEN, "SignerInfo has another version"),
    "SignerInfo by key id of version 1": (
        {"by_key_id": True, "signer_version": 1},
        UNPROVEN,
        "SignerInfo has another version",
    ),
    "hash not listed": ({"listed": ("sha512",)}, UNPROVEN, "does not list the hash algorithm"),
    "digest SHA-1": ({"hash": "sha1"}, UNSUPPORTED, "hash algorithm 1.3.14.3.2.26"),
    "algorithm of another hash": ({"algorithm": SIGNATURES["ECDSA", "sha384"]}, UNSUPPORTED, "signature algorithm"),
    "algorithm with SHA-1": ({"algorithm": SIGNATURES["ECDSA", "sha1"]}, UNSUPPORTED, "signature algorithm"),
    "algorithm unknown": ({"algorithm": "1.2.3"}, UNSUPPORTED, "signature algorithm 1.2.3 of"),
    "key Ed25519": ({"tsa": Tsa.create("Ed25519"), "hash": "sha512"}, UNSUPPORTED, "signature algorithm 1.3.101.112"),
    "no signed attributes": ({"without_attributes": True}, UNPROVEN, "lacks the signed attributes"),
    "no content type": ({"attributes": {CONTENT_TYPE: None}}, UNPROVEN, "lacks the signed attributes"),
    "no message digest": ({"attributes": {MESSAGE_DIGEST: None}}, UNPROVEN, "lacks the signed attributes"),
    "other content type": ({"attributes": {CONTENT_TYPE: (oid(DATA),)}}, UNPROVEN, "signed content type is another"),
    "other message digest": ({"attributes": {MESSAGE_DIGEST: (octets(b"\0" * 32),)}}, UNPROVEN, "signed digest"),
    "attribute without value": ({"attributes": {MESSAGE_DIGEST: ()}}, UNPROVEN, TWICE),
    "attribute with two values": ({"attributes": {SIGNING_TIME: (NULL, octets(b""))}}, UNPROVEN, TWICE),
    "attribute twice": ({"repeated": (attribute(SIGNING_CERTIFICATE_V2, NULL),)}, UNPROVEN, TWICE),
    "certificate not named": (
        {"attributes": {SIGNING_CERTIFICATE_V2: None}},
        UNPROVEN,
        "does not name its certificate",
    ),
    "certificate named by SHA-1 alone": (
        {
            "attributes": {
                SIGNING_CERTIFICATE_V2: None,
                SIGNING_CERTIFICATE: (sequence(sequence(certificate_id(SIGNER, "sha1"))),),
            }
        },
        UNPROVEN,
        "does not name its certificate",
    ),
    "certificate named by SHA-1": (
        {"signing_certificate": (certificate_id(SIGNER, "sha1", written=hash_algorithm("sha1")),)},
        UNSUPPORTED,
        "hash algorithm",
    ),
    "other certificate named": ({"signing_certificate": (certificate_id(TWIN.chain[0]),)}, UNPROVEN, OTHER_CERTIFICATE),
    "certificate named second": (
        {"signing_certificate": (certificate_id(TSA.chain[1]), certificate_id(SIGNER))},
        UNPROVEN,
        OTHER_CERTIFICATE,
    ),
    "certificate named with another serial": (
        {"signing_certificate": (certificate_id(SIGNER, issuer=SIGNER.issuer.public_bytes(), serial=1),)},
        UNPROVEN,
        OTHER_CERTIFICATE,
    ),
    "certificate named with another issuer": (
        {
            "signing_certificate": (
                certificate_id(SIGNER, issuer=SIGNER.subject.public_bytes(), serial=SIGNER.serial_number),
            )
        },
        UNPROVEN,
        OTHER_CERTIFICATE,
    ),
    "purpose not critical": ({"tsa": Tsa.create(critical=())}, UNPROVEN, ALONE),
    "no purpose": ({"tsa": Tsa.create(without=(ExtendedKeyUsage, x509.SubjectAlternativeName))}, UNPROVEN, ALONE),
    "another purpose": ({"tsa": Tsa.create(extensions=(purposes(CODE_SIGNING),))}, UNPROVEN, ALONE),
    "one purpose more": ({"tsa": Tsa.create(extensions=(purposes(TIME_STAMPING, CODE_SIGNING),))}, UNPROVEN, ALONE),
    "before the window": ({"tsa": replace(TSA, window=Window(AT + SECOND))}, UNPROVEN, "does not believe"),
    "after the window": ({"tsa": replace(TSA, window=Window(ALWAYS.start, AT - SECOND))}, UNPROVEN, "does not believe"),
    "before the certificate": ({"tsa": Tsa.create(start=AT + SECOND)}, UNPROVEN, "is valid from"),
    "after the certificate": ({"tsa": Tsa.create(end=AT - SECOND)}, UNPROVEN, "is valid from"),
    "fraction after the certificate": (
        {"tsa": Tsa.create(end=AT), "at": AT.replace(microsecond=1)},
        UNPROVEN,
        "is valid from",
    ),
    "after the CA's certificate": (
        {"tsa": replace(TSA, chain=(SIGNER, make_ca("tsa root", end=AT - SECOND)))},
        UNPROVEN,
        "is valid from",
    ),
    "intermediate left out": (
        {"tsa": replace(INTERMEDIATE, chain=(INTERMEDIATE.chain[0], INTERMEDIATE.chain[2]))},
        UNPROVEN,
        "of the timestamp authority: the certificate is issued by",
    ),
    "CA of another": (
        {"tsa": replace(TSA, chain=(SIGNER, make_ca("tsa root", own_key=key("someone else"))))},
        UNPROVEN,
        "of the timestamp authority: ",
    ),
    "key that is too weak": (
        {"tsa": Tsa.create(public=make_key("RSA 1024").public_key()), "signing_key": make_key("RSA 1024")},
        UNPROVEN,
        "has a key that is not accepted",
    ),
}


@pytest.mark.parametrize(("changes", "reason", "detail"), REFUSED.values(), ids=REFUSED)
def test_nothing_else_counts(changes, reason, detail):
    found = judge(**changes)
    assert isinstance(found, Failure)
    assert found.reason is reason
    assert detail in found.detail


# Of nobody whom the trust root knows nothing is looked at, so that nothing of it can be wrong.
STRANGERS = {
    "other content": {"content": b"another signature"},
    "unreadable content": {"info": sequence() + b"\0"},
    "another purpose": {"content_type": DATA},
    "hash that is not accepted": {"hash": "sha1", "imprint_hash": "sha1"},
    "signature of another": {"signing_key": make_key("P-256", "somebody")},
    "its certificates": {"certificates": STRANGER.certificate_chain},
    "the certificates of one that is known": {"certificates": TSA.certificate_chain},
}


@pytest.mark.parametrize("authorities", [[], [TSA.authority()], [TimestampAuthority(TSA.chain[1:], ALWAYS)]])
@pytest.mark.parametrize("changes", STRANGERS.values(), ids=STRANGERS)
def test_what_a_stranger_says_is_not_looked_at(changes, authorities):
    assert isinstance(judge(STRANGER, authorities=authorities, **changes), UnknownAuthority)


@pytest.mark.parametrize("changes", STRANGERS.values(), ids=STRANGERS)
def test_what_one_that_is_known_says_is(changes):
    """Also where it is known by its CA alone."""
    for authorities in ([TSA.authority()], [TimestampAuthority(TSA.chain[1:], ALWAYS)]):
        try:
            found = judge(**{"certificates": TSA.certificate_chain} | changes, authorities=authorities)
        except MalformedError:
            continue
        expected = NO_AUTHORITY if changes.get("certificates") == STRANGER.certificate_chain else ""
        assert found == AT or (isinstance(found, Failure) and expected in found.detail)
        assert not isinstance(found, UnknownAuthority) or expected


MALFORMED = {
    "bytes behind the response": ({"behind": b"\0"}, "a timestamp is not readable"),
    "bytes behind the TSTInfo": ({"info": sequence() + b"\0"}, "TSTInfo is not readable"),
    "local time": ({"time": tlv(0x18, b"20260601120000")}, "TSTInfo is not readable"),
    "time with offset": ({"time": tlv(0x18, b"20260601120000+0100")}, "TSTInfo is not readable"),
    "fraction with a zero at its end": ({"time": tlv(0x18, b"20260601120000.50Z")}, "TSTInfo is not readable"),
    "year 0": ({"time": tlv(0x18, b"00000601120000Z")}, "TSTInfo is not readable"),
    "default written out": ({"ordering": b"\x01\x01\x00"}, "TSTInfo is not readable"),
    "signed content type is no name": ({"attributes": {CONTENT_TYPE: (NULL,)}}, "content type is not readable"),
    "signed digest is no octets": ({"attributes": {MESSAGE_DIGEST: (NULL,)}}, "message digest is not readable"),
    "signing certificate is no sequence": (
        {"attributes": {SIGNING_CERTIFICATE_V2: (NULL,)}},
        "signingCertificateV2 is not readable",
    ),
    "signing certificate names none": (
        {"attributes": {SIGNING_CERTIFICATE_V2: (sequence(sequence()),)}},
        "signingCertificateV2 names no certificate",
    ),
}


@pytest.mark.parametrize(("changes", "message"), MALFORMED.values(), ids=MALFORMED)
def test_what_cannot_be_read_is_said(changes, message):
    with pytest.raises(MalformedError, match=message):
        judge(**changes)


@pytest.mark.parametrize("token", [b"", b"\x30", b"\x30\x80\x00\x00", b"MII", sequence(sequence(integer(0)), NULL)])
def test_a_timestamp_is_der(token):
    with pytest.raises(MalformedError):
        timestamp(token, CONTENT, [TSA.authority()])


def test_a_token_is_bounded():
    # RSA, because its signatures are all of one length.
    tsa = Tsa.create("RSA 2048")
    authorities = [tsa.authority()]
    room = TOKEN_BYTES_MAX - len(tsa.token(CONTENT, AT, unsigned=tagged(1, octets(b" " * 8000))))
    token = tsa.token(CONTENT, AT, unsigned=tagged(1, octets(b" " * (8000 + room))))
    assert len(token) == TOKEN_BYTES_MAX
    assert timestamp(token, CONTENT, authorities) == AT
    with pytest.raises(OverLimitError, match=f"a timestamp is longer than {TOKEN_BYTES_MAX} bytes"):
        timestamp(token + b" ", CONTENT, authorities)
    with pytest.raises(OverLimitError, match=f"a timestamp token is longer than {TOKEN_BYTES_MAX} bytes"):
        token_time(b" " * (TOKEN_BYTES_MAX + 1), CONTENT, authorities)


def test_its_certificates_are_bounded():
    with pytest.raises(OverLimitError, match=f"more than {BAG_CERTIFICATES_MAX} certificates"):
        judge(certificates=TSA.certificate_chain[:1] * (BAG_CERTIFICATES_MAX + 1))


def test_certificates_without_end_are_counted_and_not_read(monkeypatch):
    read = []
    encode = asn1.encode_der
    counted = vars(asn1) | {"encode_der": lambda it: read.append(it) or encode(it)}
    monkeypatch.setattr("proxy.crypto.cms.asn1", SimpleNamespace(**counted))
    with pytest.raises(OverLimitError):
        UntrustedSignedData.parse(TSA.content_info(CONTENT, AT, certificates=[NULL] * 5000))
    assert len(read) == 1


def test_a_token_without_response_counts():
    assert token_time(TSA.content_info(CONTENT, AT), CONTENT, [TSA.authority()]) == AT
    with pytest.raises(MalformedError, match="token is not readable"):
        token_time(TSA.token(CONTENT, AT), CONTENT, [TSA.authority()])


class TestCasAlone:
    """Of some authorities a trust root has the CAs, and the certificate that signs comes with the timestamp."""

    CAS = (TimestampAuthority(TSA.chain[1:], ALWAYS),)
    OTHER_PURPOSE = make_leaf("tsa root", subject=named("tsa"), public=TSA.key.public_key(), start=ALWAYS.start)
    SELF_MADE = Tsa.create(name="tsa", signer=key("someone else"))

    @pytest.mark.parametrize("certificates", [TSA.certificate_chain, [b"\x30\x00", *TSA.certificate_chain[::-1]]])
    def test_one_that_it_issued_counts(self, certificates):
        assert judge(authorities=self.CAS, certificates=certificates) == AT

    @pytest.mark.parametrize(
        ("tsa", "certificates", "detail"),
        [
            (TSA, None, NO_AUTHORITY),
            (TSA, [b"\x30\x00"], NO_AUTHORITY),
            (TSA, STRANGER.certificate_chain, NO_AUTHORITY),
            (STRANGER, STRANGER.certificate_chain, NO_AUTHORITY),
            (TSA, [der(TWIN.chain[0]), *TSA.certificate_chain], OTHER_CERTIFICATE),
            (SELF_MADE, SELF_MADE.certificate_chain, "of the timestamp authority: "),
            (replace(TSA, chain=(OTHER_PURPOSE,)), [der(OTHER_PURPOSE)], ALONE),
        ],
    )
    def test_no_other_does(self, tsa, certificates, detail):
        found = judge(tsa, authorities=self.CAS, certificates=certificates)
        assert isinstance(found, Failure)
        assert found.reason is UNPROVEN
        assert detail in found.detail


@pytest.mark.parametrize("chain", [(), (SIGNER,)])
def test_an_authority_has_a_ca(chain):
    with pytest.raises(MalformedError, match="an authority without a certificate"):
        TimestampAuthority(chain, ALWAYS)


def test_an_authoritys_chain_is_bounded():
    with pytest.raises(OverLimitError):
        TimestampAuthority((SIGNER, *TSA.chain[1:] * (CHAIN_LENGTH_MAX + 1)), ALWAYS)


TOKENS = [TSA.token(CONTENT, AT, certificates=TSA.certificate_chain), TSA.token(CONTENT, AT, by_key_id=True)]
CUTS = st.tuples(st.integers(0, 3000), st.integers(0, 3), st.binary(max_size=3))


@settings(max_examples=600)
@given(st.sampled_from(TOKENS), st.lists(CUTS, min_size=1, max_size=3))
def test_a_mutation_is_refused_or_changes_nothing_that_counts(token, cuts):
    mutated = token
    for start, length, instead in cuts:
        mutated = mutated[: start % len(token)] + instead + mutated[start % len(token) + length :]
    for authorities in ([TSA.authority()], TestCasAlone.CAS):
        try:
            found = timestamp(mutated, CONTENT, authorities)
        except MalformedError:
            continue
        assert isinstance(found, Failure) or found == AT


# But for one that nobody signed: granted becomes granted with changes.
def test_no_bit_can_be_flipped():
    token = TSA.token(CONTENT, AT)
    status = token.index(integer(0)) + 2
    authorities = [TSA.authority()]
    found = {}
    for place, bit in ((place, bit) for place in range(len(token)) for bit in range(8)):
        flipped = bytearray(token)
        flipped[place] ^= 1 << bit
        try:
            found[place, bit] = timestamp(bytes(flipped), CONTENT, authorities)
        except MalformedError:
            continue
    assert {where for where, one in found.items() if not isinstance(one, Failure)} == {(status, 0)}


def recorded():
    needed()
    return VECTORS


def authorities_of(trusted_root):
    for entry in json.loads(trusted_root.read_bytes())["timestampAuthorities"]:
        chain = [base64.b64decode(one["rawBytes"]) for one in entry["certChain"]["certificates"]]
        ends = [entry["validFor"].get(name) for name in ("start", "end")]
        window = Window(*[datetime.fromisoformat(end) if end else None for end in ends])
        yield TimestampAuthority(tuple(parse_certificate(one, "a certificate") for one in chain), window)


def stamped_by(bundle):
    material = bundle.get("verificationMaterial", {}).get("timestampVerificationData") or {}
    signed = bundle.get("messageSignature") or {"signature": bundle["dsseEnvelope"]["signatures"][0]["sig"]}
    for one in material.get("rfc3161Timestamps", ()):
        yield base64.b64decode(one["signedTimestamp"]), base64.b64decode(signed["signature"])


CONFORMANCE = {
    "intoto-with-custom-trust-root": datetime(2023, 2, 1, tzinfo=UTC),
    "rekor2-dsse-happy-path": datetime(2026, 5, 13, 19, 23, 33, tzinfo=UTC),
    "rekor2-checkpoint-multiple-cosigs": datetime(2025, 6, 12, 12, 2, 20, tzinfo=UTC),
    "rekor2-timestamp-with-expired-cert-chain": datetime(2025, 8, 7, 15, 32, 26, tzinfo=UTC),
    "managed-key-no-key_fail": datetime(2025, 12, 18, 17, 4, 39, tzinfo=UTC),
    "rekor2-timestamp-outside-trust-root-tsa-validity_fail": "does not believe",
    "rekor2-timestamp-untrusted-tsa-with-embedded-cert_fail": NO_AUTHORITY,
}


@pytest.mark.parametrize(("case", "expected"), CONFORMANCE.items(), ids=CONFORMANCE)
def test_the_conformance_suite(case, expected):
    folder = recorded() / "sigstore-conformance" / case
    root = folder / "trusted_root.json"
    root = root if root.exists() else folder.parent / "production_trusted_root.json"
    [(token, signature)] = stamped_by(json.loads((folder / "bundle.sigstore.json").read_bytes()))
    found = timestamp(token, signature, list(authorities_of(root)))
    assert found == expected if isinstance(expected, datetime) else expected in found.detail


COSIGN = {
    "att-keyless-rekor2-tsa-slsa": None,
    "key-bundle-tlog-tsa": None,
    "key-bundle-tsa": None,
    "key-classic-tlog-tsa": None,
    "key-classic-tsa": None,
    "key-classic-tsa-other-instance": NO_AUTHORITY,
    "keyless-bundle-rekor1-tsa": None,
    "keyless-bundle-rekor2-tsa": None,
    "keyless-legacy-rekor1-tsa": None,
    "keyless-other-instance-bundle-rekor2-tsa": NO_AUTHORITY,
    "tampered-key-bundle-tsa-other-bytes": "message imprint",
    "tampered-keyless-rekor2-tsa-flipped": NOT_SIGNED,
    "tampered-trust-window-timestampauthorities-bundle": "does not believe",
}


def stamped_in(registry):
    for repository in registry.values():
        for blob in repository["blobs"].values():
            content = base64.b64decode(blob)
            if b"timestampVerificationData" in content:
                yield from stamped_by(json.loads(content))
        for manifest in repository["manifests"].values():
            for layer in json.loads(base64.b64decode(manifest["body"])).get("layers", ()):
                notes = layer.get("annotations", {})
                if stamp := notes.get("dev.sigstore.cosign/rfc3161timestamp"):
                    signature = notes["dev.cosignproject.cosign/signature"]
                    yield base64.b64decode(json.loads(stamp)["SignedRFC3161Timestamp"]), base64.b64decode(signature)


@pytest.mark.parametrize(("case", "expected"), COSIGN.items(), ids=COSIGN)
def test_what_cosign_wrote(case, expected):
    folder = recorded() / "cosign" / case
    authorities = list(authorities_of(folder / "trusted_root.json"))
    stamps = list(stamped_in(json.loads((folder / "registry.json").read_bytes())))
    assert stamps
    for token, signature in stamps:
        found = timestamp(token, signature, authorities)
        assert isinstance(found, datetime) if expected is None else expected in found.detail


# What other verifiers of Notation's world are tested with: tokens without response, of the message "notation".
TSPCLIENT = {
    "TimeStampToken": datetime(2021, 9, 17, 14, 9, 10, tzinfo=UTC),
    "SHA1TimeStampToken": "hash algorithm",
    "TimeStampTokenNoRoot": NO_AUTHORITY,
    "TimeStampTokenWithInvalidSignature": NOT_SIGNED,
    "TimeStampTokenWithInvalidSigningCertificateV1": MalformedError,
    "TimeStampTokenWithInvalidSigningCertificateV2": MalformedError,
    "TimeStampTokenWithInvalidTSTInfo": MalformedError,
    "TimeStampTokenWithInvalideContentType": "is not a TSTInfo",
    "TimeStampTokenWithMismatchCertHash": OTHER_CERTIFICATE,
    "TimeStampTokenWithSHA1CertHash": "hash algorithm 1.3.14.3.2.26",
    "TimeStampTokenWithSigningCertificateV1": NO_AUTHORITY,
    "TimeStampTokenWithSigningCertificateV1NoCert": MalformedError,
    "TimeStampTokenWithSigningCertificateV2NoCert": MalformedError,
    "TimeStampTokenWithTSTInfoVersion2": "TSTInfo is not of version 1",
    "TimeStampTokenWithValidAndInvalidSignerInfos": MalformedError,
    "TimeStampTokenWithWrongSigningCertificateV2IssuerChoiceTag": MalformedError,
    "TimeStampTokenWithoutCertificate": NO_AUTHORITY,
    "TimeStampTokenWithoutSigningCertificate": "does not name its certificate",
    "TimeStampTokenWithoutSigningCertificateV2IssuerSerial": NOT_SIGNED,
}


@pytest.mark.parametrize(("case", "expected"), TSPCLIENT.items(), ids=TSPCLIENT)
def test_tokens_of_public_authorities(case, expected):
    folder = recorded() / "tsa"
    good = UntrustedSignedData.parse((folder / "TimeStampToken.p7s").read_bytes())
    # Each is issued by the next; the last one is signed by the root, which is not among them.
    _, *cas = [parse_certificate(one, "a certificate") for one in good.certificates]
    authorities = [TimestampAuthority(tuple(cas), ALWAYS)]
    token = (folder / f"{case}.p7s").read_bytes()
    try:
        found = token_time(token, b"notation", authorities)
    except MalformedError:
        assert expected is MalformedError
    else:
        assert expected in found.detail if isinstance(found, Failure) else found == expected
