"""A certificate is logged if a log of the trust root promised so, at a time at which the trust root believes it."""
# ruff: noqa: S303 (a weak hash on purpose: it must be refused)

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384
from hypothesis import given
from hypothesis import strategies as st
from support.certificates import (
    NOW,
    YEARS,
    der,
    key,
    make_ca,
    make_leaf,
    make_sct,
    sct_list,
    spki,
)
from support.vectors import VECTORS, or_skipped

from proxy.crypto.chain import CODE_SIGNING, Authority, issuer_at, parse_certificate
from proxy.crypto.keys import PublicKey
from proxy.crypto.sct import SCTS_MAX, CertificateLogged, check_scts
from proxy.crypto.tlog import TransparencyLog
from proxy.crypto.window import Window
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.verdict import Failure, Reason

MILLISECOND = timedelta(milliseconds=1)
P384 = ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)
ED = ed25519.Ed25519PrivateKey.generate()
ISSUER = make_ca("issuing")
BARE = make_leaf("issuing")
OTHER = make_leaf("issuing", public=key("other leaf").public_key())


def log(log_key, start=NOW - YEARS, end=None):
    return TransparencyLog(
        "log.example", hashlib.sha256(spki(log_key)).digest(), PublicKey.parse_der(spki(log_key)), Window(start, end)
    )


LOG, SECOND_LOG = log(key("log")), log(key("second log"))


def sct(log_key=None, precertificate=BARE, issuer_key=None, moment=NOW, **changes):
    return make_sct(log_key or key("log"), precertificate, issuer_key or key("issuing"), moment, **changes)


def leaf_with(*scts, **changes):
    return make_leaf("issuing", extensions=[sct_list(*scts)], **changes)


def ecdsa(log_key, algorithm):
    return lambda data: log_key.sign(data, ec.ECDSA(algorithm))


def flipped(raw):
    return raw[:-1] + bytes([raw[-1] ^ 1])


GOOD, FORGED, UNKNOWN = sct(), flipped(sct()), sct(key("unknown"))
SECOND = sct(key("second log"))


def rsa_sct(algorithm=b"\x04\x01", digest=None):
    return sct(RSA, algorithm=algorithm, sign=lambda data: RSA.sign(data, padding.PKCS1v15(), digest or SHA256()))


@pytest.mark.parametrize(
    ("scts", "logs", "by"),
    [
        ([GOOD], [LOG], LOG),
        ([GOOD], [SECOND_LOG, LOG], LOG),
        ([GOOD, GOOD], [LOG], LOG),
        ([UNKNOWN, GOOD], [LOG], LOG),
        ([GOOD, UNKNOWN], [LOG], LOG),
        ([GOOD, SECOND], [SECOND_LOG, LOG], LOG),
        ([GOOD, SECOND], [SECOND_LOG], SECOND_LOG),
        ([GOOD, flipped(SECOND)], [LOG], LOG),
        ([GOOD] * SCTS_MAX, [LOG], LOG),
        ([sct(extensions=b"anything")], [LOG], LOG),
        ([sct(P384)], [log(P384)], log(P384)),
        ([rsa_sct()], [log(RSA)], log(RSA)),
        ([GOOD], [log(key("log"), NOW, NOW)], log(key("log"), NOW, NOW)),
        ([GOOD], [log(key("log"), NOW - YEARS, NOW - MILLISECOND), LOG], LOG),
        ([GOOD, sct(moment=NOW - YEARS)], [log(key("log"), NOW)], log(key("log"), NOW)),
    ],
)
def test_logged_certificates(scts, logs, by):
    assert check_scts(leaf_with(*scts), ISSUER, logs) == CertificateLogged(by, NOW)


def test_the_time_is_that_of_the_sct_to_the_millisecond():
    moment = NOW + 123 * MILLISECOND
    assert check_scts(leaf_with(sct(moment=moment)), ISSUER, [LOG]).logged_at == moment


def test_the_ca_may_have_any_accepted_key():
    issuer = make_ca("other", own_key=P384, signer=P384)
    bare = make_leaf("other", signer=P384, algorithm=SHA384())
    leaf = make_leaf("other", signer=P384, algorithm=SHA384(), extensions=[sct_list(sct(None, bare, P384))])
    assert isinstance(check_scts(leaf, issuer, [LOG]), CertificateLogged)
    assert isinstance(check_scts(leaf, ISSUER, [LOG]), Failure)


FORGERY = "an SCT is not what the log 'log.example' signed for this certificate"


@pytest.mark.parametrize(
    ("leaf", "logs", "detail"),
    [
        (BARE, [LOG], "the certificate has no SCT: nothing shows that it was logged"),
        (leaf_with(GOOD), [], "none of the certificate's SCTs is by a log of the trust root"),
        (leaf_with(UNKNOWN), [LOG], "none of the certificate's SCTs is by a log of the trust root"),
        (leaf_with(sct(moment=NOW - YEARS - MILLISECOND)), [LOG], "does not believe the log"),
        (leaf_with(GOOD), [log(key("log"), NOW - YEARS, NOW - MILLISECOND)], "does not believe the log"),
        (leaf_with(GOOD), [log(key("log"), NOW + MILLISECOND)], "does not believe the log"),
        (leaf_with(GOOD, SECOND), [log(key("log"), NOW + MILLISECOND)], "does not believe the log"),
        # Another certificate's, another issuer's, and what was changed in it.
        (leaf_with(sct(None, OTHER)), [LOG], FORGERY),
        (leaf_with(GOOD, public=key("other leaf").public_key()), [LOG], FORGERY),
        (leaf_with(sct(issuer_key=key("stranger"))), [LOG], FORGERY),
        (leaf_with(GOOD[:33] + flipped(GOOD[33:41]) + GOOD[41:]), [LOG], FORGERY),
        (leaf_with(GOOD[:41] + b"\x00\x01x" + GOOD[43:]), [LOG], FORGERY),
        (leaf_with(sct(sign=lambda _: b"")), [LOG], FORGERY),
        # A forged one of a known log spoils a good one, of that log or another.
        (leaf_with(FORGED), [LOG], FORGERY),
        (leaf_with(GOOD, FORGED), [LOG], FORGERY),
        (leaf_with(GOOD, flipped(SECOND)), [LOG, SECOND_LOG], FORGERY),
        # Algorithms: only SHA-256, and as declared.
        (leaf_with(sct(P384, sign=ecdsa(P384, SHA384()))), [log(P384)], FORGERY),
        (leaf_with(sct(P384, algorithm=b"\x05\x03", sign=ecdsa(P384, SHA384()))), [log(P384)], FORGERY),
        (leaf_with(sct(sign=ecdsa(key("log"), SHA1()))), [LOG], FORGERY),
        (leaf_with(sct(algorithm=b"\x02\x03", sign=ecdsa(key("log"), SHA1()))), [LOG], FORGERY),
        (leaf_with(sct(algorithm=b"\x04\x01")), [LOG], FORGERY),
        (leaf_with(rsa_sct(b"\x04\x03")), [log(RSA)], FORGERY),
        (leaf_with(rsa_sct(b"\x02\x01", SHA1())), [log(RSA)], FORGERY),
        (leaf_with(sct(ED, sign=ED.sign)), [log(ED)], FORGERY),
        # A key under the name of another log.
        (leaf_with(GOOD), [TransparencyLog("log.example", LOG.log_id, SECOND_LOG.key, LOG.window)], FORGERY),
    ],
)
def test_unlogged_certificates(leaf, logs, detail):
    found = check_scts(leaf, ISSUER, logs)
    assert found.reason is Reason.UNTRUSTED_CERTIFICATE
    assert detail in found.detail


@pytest.mark.parametrize(
    "extension",
    [
        sct_list(GOOD, behind=b"\x00"),
        sct_list(GOOD + b"\x00"),
        sct_list(GOOD[:-1]),
        sct_list(GOOD, b""),
        sct_list(b"\x01" + GOOD[1:]),
        sct_list(sct(algorithm=b"\x04\x07")),
        sct_list(sct(algorithm=b"\x08\x03")),
    ],
)
def test_lists_that_cannot_be_read(extension):
    raw = der(make_leaf("issuing", extensions=[extension]))
    with pytest.raises(MalformedError, match=r"^it is not a readable"):
        parse_certificate(raw, "it")


def test_a_time_that_nothing_can_have():
    never = GOOD[:33] + b"\xff" * 8 + GOOD[41:]
    with pytest.raises(MalformedError, match="behind the year 9999"):
        check_scts(leaf_with(never), ISSUER, [LOG])


def test_a_list_without_end():
    with pytest.raises(OverLimitError, match="more than 32 SCTs"):
        check_scts(leaf_with(*[GOOD] * (SCTS_MAX + 1)), ISSUER, [LOG])


LOGGED = leaf_with(GOOD)


@given(st.data())
def test_a_changed_certificate_is_logged_nowhere_and_breaks_nothing(data):
    good = der(LOGGED)
    start, cut = data.draw(st.integers(0, 1000)), data.draw(st.integers(0, 3))
    raw = good[:start] + data.draw(st.binary(max_size=3)) + good[start + cut :]
    try:
        leaf = parse_certificate(raw, "it")
        found = check_scts(leaf, ISSUER, [LOG])
    except MalformedError:
        return
    # The SCT does not cover the CA's signature.
    assert isinstance(found, Failure) or leaf.tbs_certificate_bytes == LOGGED.tbs_certificate_bytes


def vectors(pattern):
    """Every file of this pattern."""
    return sorted(VECTORS.glob(pattern))


def certificates_in(value):
    """Every leaf certificate in the JSON of a bundle, of a manifest or of a registry's content, in DER."""
    match value:
        case {"mediaType": str(), "verificationMaterial": {"certificate": {"rawBytes": raw}}}:
            yield base64.b64decode(raw)
        case {"verificationMaterial": {"x509CertificateChain": {"certificates": [{"rawBytes": raw}, *_]}}}:
            yield base64.b64decode(raw)
        case {"dev.sigstore.cosign/certificate": pem}:
            yield der(x509.load_pem_x509_certificate(pem.encode()))
        case dict():
            for one in value.values():
                yield from certificates_in(one)
        case list():
            for one in value:
                yield from certificates_in(one)
        case str() if len(value) % 4 == 0 and value.startswith("ey"):
            yield from certificates_in(json.loads(base64.b64decode(value)))
        case _:
            return


def window(raw):
    start, end = (raw.get(one) and datetime.fromisoformat(raw[one]).astimezone(UTC) for one in ("start", "end"))
    return Window(start, end)


def trust(path):
    root = json.loads(path.read_bytes())
    authorities = [
        Authority(
            tuple(parse_certificate(base64.b64decode(c["rawBytes"]), "CA") for c in one["certChain"]["certificates"]),
            window(one["validFor"]),
        )
        for one in root["certificateAuthorities"]
    ]
    logs = [
        TransparencyLog(
            one["baseUrl"],
            base64.b64decode(one["logId"]["keyId"]),
            PublicKey.parse_der(base64.b64decode(one["publicKey"]["rawBytes"])),
            window(one["publicKey"]["validFor"]),
        )
        for one in root["ctlogs"]
    ]
    return authorities, logs


def judged(path, root):
    """What comes of every certificate of the file: "ok", or which check failed."""
    authorities, logs = trust(root)
    for raw in certificates_in(json.loads(path.read_bytes())):
        leaf = parse_certificate(raw, "it")
        issuer = issuer_at(leaf, authorities, leaf.not_valid_before_utc, CODE_SIGNING)
        if isinstance(issuer, Failure):
            yield "chain"
        else:
            yield "sct" if isinstance(check_scts(leaf, issuer, logs), Failure) else "ok"


# Of all that was recorded and tampered with, these are wrong in their certificates; every other one is good.
WRONG = {
    "invalid-ct-key_fail": "sct",
    "keyless-other-instance-bundle-rekor2-tsa": "chain",
    "keyless-other-instance-legacy-rekor1": "chain",
    "tampered-keyless-bundle-sct-missing": "sct",
    "tampered-keyless-bundle-sct-other-certificate": "sct",
    "tampered-keyless-legacy-own-ca": "chain",
    "tampered-keyless-legacy-sct-missing": "sct",
    "tampered-keyless-legacy-sct-other-log": "sct",
    "tampered-trust-window-certificateauthorities-legacy": "chain",
    "tampered-trust-window-ctlogs-bundle": "sct",
    "tampered-trust-window-ctlogs-legacy": "sct",
}


@pytest.mark.parametrize(
    "path",
    or_skipped(
        vectors("sigstore-conformance/*/bundle*.json")
        + [root.with_name("registry.json") for root in vectors("cosign/*/trusted_root.json")]
    ),
    ids=lambda path: path.parent.name,
)
def test_recorded_certificates(path):
    own = path.with_name("trusted_root.json")
    root = own if own.exists() else VECTORS / "sigstore-conformance" / "production_trusted_root.json"
    wrong = WRONG.get(path.parent.name)
    assert set(judged(path, root)) in ([{wrong}] if wrong else [{"ok"}, set()])
