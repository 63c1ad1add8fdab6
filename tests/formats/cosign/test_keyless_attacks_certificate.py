"""Attacks of docs/threats.md on certificates: each is refused for its reason, and its harmless twin is not."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from support.sigstore.authority import Authority, Request
from support.sigstore.draft import Shape
from support.sigstore.encoding import base64_of, pem_of
from support.sigstore.logs import CertificateLog
from support.sigstore.trial import (
    AT,
    ELSEWHERE,
    KEY,
    REQUEST,
    SIGSTORE,
    STAMP,
    STRANGER,
    Attack,
    begun,
    bundle_with,
    by_key,
    made,
    noted,
    root_of,
    trial,
)

from proxy.crypto.window import Window
from proxy.demo.signing import SigningKey
from proxy.formats.cosign.proof import NO_DEMANDS, Demands
from proxy.verdict import Reason

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
UNLOGGED = Demands(certificate_log=False)
CA, CERTIFICATE_LOG = SIGSTORE.authority, SIGSTORE.certificate_log
# An authority of the attacker's own with the genuine one's names.
OWN_CA = Authority.create("P-256")
OTHER_LOG = CertificateLog(key=SigningKey.generate())
RSA_LOG = CertificateLog(key=SigningKey.generate("RSA-2048"))


def attack(number, what, says, *trials, reason=Reason.UNTRUSTED_CERTIFICATE):
    return Attack(number, what, reason, says, *trials)


def by(certificate, shape=Shape.BUNDLE, key=KEY, **given):
    """Sign for a certificate that a function makes, and have it logged."""
    return lambda: trial(SIGSTORE.logged(begun(shape).signed_by(key, certificate()), AT), **given)


def requested(**changes):
    return lambda: SIGSTORE.certificate(replace(REQUEST, **changes))


def with_scts(*make, authority=CA):
    """Issue a certificate with these SCTs: functions of the precertificate."""

    def issue():
        precertificate = authority.certificate(REQUEST)
        scts = [one(precertificate.tbs_certificate_bytes) for one in make]
        return authority.certificate(REQUEST, scts).public_bytes(Encoding.DER)

    return issue


def sct(log=CERTIFICATE_LOG, at=AT, extensions=b"", change=lambda one: one, key_hash=None):
    return lambda tbs: change(log.sct(tbs, key_hash or CA.key_hash, at, extensions))


def of_another(_):
    """An SCT that the log really signed, for another certificate."""
    return SIGSTORE.sct(Request(key=STRANGER, at=AT))


def as_sha512(one):
    at = one.index(b"\x04\x03")
    return one[:at] + b"\x06" + one[at + 1 :]


def windowed(section, part, start, end=None):
    return root_of(**{section: [replace(part, window=Window(start, end))]})


def own_authority():
    """All by the book, but for the authority's key; its SCT is the genuine log's."""
    return with_scts(sct(key_hash=OWN_CA.key_hash), authority=OWN_CA)()


def signed_by_its_own_key():
    """In the name of the authority."""
    return replace(CA, key=KEY).certificate(REQUEST).public_bytes(Encoding.DER)


def with_chain(shape=Shape.SIG):
    """The attacker's own CA beside its certificate, as cosign's annotation has it."""
    chain = b"".join(pem_of(one) for one in OWN_CA.certificate_chain).decode()
    draft = SIGSTORE.logged(begun(shape).signed_by(KEY, own_authority()), AT)
    return trial(noted(draft, chain=chain))


def chain_of(*certificates):
    def change(document):
        material = document["verificationMaterial"]
        material["x509CertificateChain"] = {"certificates": [{"rawBytes": base64_of(one)} for one in certificates]}

    return change


def swapped(shape):
    """Another's certificate beside a stranger's signature, which is logged under the stranger's own."""
    draft = made(shape, replace(REQUEST, key=STRANGER))
    return trial(replace(draft, certificate=SIGSTORE.certificate(REQUEST)))


def swapped_unlogged(shape):
    """The same where no log is asked for."""
    draft = SIGSTORE.stamped(begun(shape).signed_by(STRANGER, SIGSTORE.certificate(REQUEST)), AT)
    return trial(draft, demands=STAMP)


# As in GitHub's trust root: the certificate that issues is the second of its authority's chain.
SECOND_ISSUES = root_of(
    certificateAuthorities=[
        SimpleNamespace(
            certificate_chain=[Authority.create(name="below").certificate_chain[0], *CA.certificate_chain],
            window=CA.window,
        )
    ]
)
GOOD, GOOD_CLASSIC = by(requested()), by(requested(), Shape.SIG)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x" * 64)] * 600)

CHAIN = [
    attack("A30", "own-authority-of-the-same-name", "another key", by(own_authority), GOOD),
    attack(
        "A30", "own-authority-of-the-same-name-without-sct", "another key", by(own_authority, demands=UNLOGGED), GOOD
    ),
    *(
        attack(
            "A30",
            f"own-authority-with-the-name-of-the-second-of-a-chain-{shape.name}",
            "another key",
            by(own_authority, shape, root=SECOND_ISSUES),
            by(requested(), shape, root=SECOND_ISSUES),
        )
        for shape in (Shape.BUNDLE, Shape.SIG)
    ),
    attack(
        "A30", "own-chain-beside-it", "another key", with_chain, lambda: trial(noted(made(Shape.SIG), chain="junk"))
    ),
    attack("A30", "signed-by-its-own-key", "another key", by(signed_by_its_own_key), GOOD),
    attack(
        "A30",
        "root-as-certificate",
        "the certificate is that of a CA",
        by(lambda: CA.certificate_chain[1]),
        GOOD,
    ),
    attack(
        "A30",
        "intermediate-as-certificate",
        "the certificate is that of a CA",
        by(lambda: CA.certificate_chain[0]),
        GOOD,
    ),
    attack("A31", "authority-of-another-instance", "another key", by(lambda: ELSEWHERE.certificate(REQUEST)), GOOD),
    attack(
        "A31",
        "no-authority-in-the-trust-root",
        "not in the trust root",
        by(requested(), root=root_of(certificateAuthorities=[])),
        by(requested(), root=root_of(certificateAuthorities=[ELSEWHERE.authority, CA])),
    ),
    *(
        attack(
            "A22",
            what,
            "does not believe the authority",
            by(requested(), root=windowed("certificateAuthorities", CA, *bad)),
            by(requested(), root=windowed("certificateAuthorities", CA, *good)),
        )
        for what, bad, good in [
            ("authority-retired-before", (AT - DAY, AT - SECOND), (AT - DAY, AT)),
            ("authority-not-yet-in-use", (AT + SECOND,), (AT,)),
        ]
    ),
    attack("A30", "certificate-of-a-ca", "is that of a CA", by(requested(ca=True)), by(requested(ca=False))),
    attack(
        "A30",
        "not-for-code-signing",
        "is not for code signing",
        by(requested(usages=(ExtendedKeyUsageOID.SERVER_AUTH,))),
        by(requested(usages=(ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.SERVER_AUTH))),
    ),
    attack(
        "A30",
        "for-any-purpose",
        "is not for code signing",
        by(requested(usages=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,))),
        GOOD,
    ),
    attack(
        "A30",
        "for-time-stamping",
        "is not for code signing",
        by(requested(usages=(ExtendedKeyUsageOID.TIME_STAMPING,))),
        GOOD,
    ),
    attack("A30", "for-nothing", "no extended key usage", by(requested(usages=())), GOOD),
    attack(
        "A30", "key-not-for-signatures", "not for digital signatures", by(requested(key_usage="key_agreement")), GOOD
    ),
    attack("A30", "no-key-usage", "not for digital signatures", by(requested(key_usage=None)), GOOD),
    attack("A26", "huge-name", "longer than", by(requested(subject=NAME)), GOOD, reason=Reason.OVER_LIMIT),
    attack("A24", "junk", "readable X.509", by(lambda: b"junk"), GOOD, reason=Reason.MALFORMED),
    attack("A24", "empty", "readable X.509", by(lambda: b""), GOOD, reason=Reason.MALFORMED),
    attack(
        "A24",
        "junk-behind",
        "readable X.509",
        by(lambda: SIGSTORE.certificate(REQUEST) + b"\0"),
        GOOD,
        reason=Reason.MALFORMED,
    ),
]

SCTS = [
    attack("A35", "none", "no SCT", by(with_scts()), by(with_scts(), demands=UNLOGGED)),
    attack(
        "A35",
        "of-an-unknown-log",
        "none of the certificate's SCTs",
        by(with_scts(sct(OTHER_LOG))),
        by(with_scts(sct(OTHER_LOG), sct())),
    ),
    attack("A35", "of-another-certificate", "not what the log", by(with_scts(of_another)), GOOD),
    attack(
        "A35",
        "forged-beside-a-good-one",
        "not what the log",
        by(with_scts(sct(), of_another)),
        by(with_scts(sct(), sct())),
    ),
    attack(
        "A35",
        "forged-before-a-good-one",
        "not what the log",
        by(with_scts(of_another, sct())),
        by(with_scts(sct(OTHER_LOG), sct())),
    ),
    attack("A35", "of-another-issuer", "not what the log", by(with_scts(sct(key_hash=OWN_CA.key_hash))), GOOD),
    attack(
        "A35",
        "in-the-name-of-the-log",
        "not what the log",
        by(with_scts(sct(OTHER_LOG, change=lambda one: one[:1] + CERTIFICATE_LOG.log_id + one[33:]))),
        GOOD,
    ),
    attack("A35", "another-hash", "not what the log", by(with_scts(sct(change=as_sha512))), GOOD),
    attack(
        "A35", "signature-cut", "X.509", by(with_scts(sct(change=lambda one: one[:-1]))), GOOD, reason=Reason.MALFORMED
    ),
    attack(
        "A35",
        "extensions-edited",
        "not what the log",
        by(with_scts(sct(extensions=b"a", change=lambda one: one.replace(b"\0\1a", b"\0\1b")))),
        by(with_scts(sct(extensions=b"a"))),
    ),
    attack(
        "A35",
        "time-edited",
        "not what the log",
        by(with_scts(sct(change=lambda one: one[:40] + bytes([one[40] ^ 1]) + one[41:]))),
        GOOD,
    ),
    attack(
        "A35",
        "rsa-log-unknown",
        "none of the certificate's SCTs",
        by(with_scts(sct(RSA_LOG))),
        by(with_scts(sct(RSA_LOG)), root=root_of(ctlogs=[RSA_LOG])),
    ),
    attack(
        "A35",
        "no-certificate-logs-in-the-trust-root",
        "none of the certificate's SCTs",
        by(requested(), root=root_of(ctlogs=[])),
        by(requested(), root=root_of(ctlogs=[]), demands=UNLOGGED),
    ),
    *(
        attack(
            "A22",
            what,
            "does not believe the log",
            by(requested(), root=windowed("ctlogs", CERTIFICATE_LOG, *bad)),
            by(requested(), root=windowed("ctlogs", CERTIFICATE_LOG, *good)),
        )
        for what, bad, good in [
            ("certificate-log-retired-before", (AT - DAY, AT - SECOND), (AT - DAY, AT)),
            ("certificate-log-not-yet-in-use", (AT + SECOND,), (AT,)),
        ]
    ),
    attack(
        "A14",
        "endless",
        "more than 32 SCTs",
        by(with_scts(*[sct()] * 33)),
        by(with_scts(*[sct()] * 32)),
        reason=Reason.OVER_LIMIT,
    ),
]

SIGNATURES = [
    *(
        attack(
            "A1",
            f"certificate-of-another-{shape.name}",
            "another signer's certificate",
            lambda shape=shape: swapped(shape),
            by(requested(), shape),
            reason=Reason.LOG_NOT_PROVEN,
        )
        for shape in (Shape.SIG, Shape.BUNDLE)
    ),
    *(
        attack(
            "A36",
            f"certificate-of-another-unlogged-{shape.name}",
            "not by the certificate's key",
            lambda shape=shape: swapped_unlogged(shape),
            by(requested(), shape),
            reason=Reason.BAD_SIGNATURE,
        )
        for shape in (Shape.SIG, Shape.BUNDLE)
    ),
    *(
        attack(
            "A36",
            f"signature-{what}",
            "not by the certificate's key",
            lambda change=change: trial(_resigned(change)),
            GOOD,
            reason=Reason.BAD_SIGNATURE,
        )
        for what, change in {
            "empty": lambda _: b"",
            "zero": lambda _: b"\x30\x06\x02\x01\x00\x02\x01\x00",
            "with-a-byte-behind": lambda one: one + b"\0",
            "in-ber": lambda one: b"\x30\x81" + one[1:],
            "flipped": lambda one: one[:-1] + bytes([one[-1] ^ 1]),
        }.items()
    ),
    attack(
        "A36",
        "key-for-a-certificate",
        "signed by a key",
        lambda: trial(made(signer=KEY)),
        GOOD,
        reason=Reason.UNTRUSTED_SIGNER,
    ),
    attack(
        "A36",
        "certificate-for-a-key",
        "signed keyless",
        by(requested(), who=by_key(), demands=NO_DEMANDS),
        lambda: trial(made(signer=KEY), who=by_key(), demands=NO_DEMANDS),
        reason=Reason.UNTRUSTED_SIGNER,
    ),
]


def _resigned(change):
    """A signature that the log and the timestamp authority have really seen, and nobody made."""
    draft = begun().signed_by(KEY, SIGSTORE.certificate(REQUEST))
    return SIGSTORE.stamped(SIGSTORE.logged(replace(draft, signature=change(draft.signature)), AT), AT)


def chained(*links, leaf=None, **given):
    """A v0.3 bundle with a chain, before a trust root that has the root alone, and a signer that takes links."""

    def make():
        draft = SIGSTORE.logged(begun().signed_by(KEY, (leaf or requested())()), AT)

        def change(document):
            chain_of(draft.certificate, *links)(document)
            del document["verificationMaterial"]["certificate"]

        return trial(bundle_with(draft, change), **{"root": ROOT_ALONE, "demands": CHAINED} | given)

    return make


CHAINED = Demands(lone_certificate=False)
INTERMEDIATE, ANCHOR = CA.certificate_chain
ROOT_ALONE = root_of(certificateAuthorities=[SimpleNamespace(certificate_chain=[ANCHOR], window=CA.window)])
GOOD_CHAIN = chained(INTERMEDIATE)
CHAINS = [
    attack("A30", what, "insecure_allow_certificate_chain", bad, GOOD_CHAIN, reason=Reason.MALFORMED)
    for what, bad in (
        ("chain-without-the-setting", chained(INTERMEDIATE, demands=Demands())),
        ("chain-of-one-without-the-setting", chained(demands=Demands(), root=root_of())),
        ("chain-that-is-not-needed", chained(INTERMEDIATE, demands=UNLOGGED, root=root_of())),
    )
]
CHAINS += [
    attack("A30", f"chain-{what}", says, bad, good, reason=reason)
    for what, says, bad, good, reason in (
        ("missing", "not in the trust root", chained(), chained(root=root_of()), Reason.UNTRUSTED_CERTIFICATE),
        (
            "of-ones-own",
            "another key",
            chained(OWN_CA.certificate_chain[0], leaf=own_authority),
            GOOD_CHAIN,
            Reason.UNTRUSTED_CERTIFICATE,
        ),
        (
            "with-the-genuine-one-behind",
            "another key",
            chained(OWN_CA.certificate_chain[0], INTERMEDIATE, leaf=own_authority),
            chained(INTERMEDIATE, OWN_CA.certificate_chain[0]),
            Reason.UNTRUSTED_CERTIFICATE,
        ),
        ("with-its-root", "self-issued", chained(INTERMEDIATE, ANCHOR), GOOD_CHAIN, Reason.MALFORMED),
        (
            "with-a-root-of-ones-own",
            "self-issued",
            chained(*OWN_CA.certificate_chain, leaf=own_authority),
            GOOD_CHAIN,
            Reason.MALFORMED,
        ),
        ("with-a-leaf", "not that of a CA", chained(SIGSTORE.certificate(REQUEST)), GOOD_CHAIN, Reason.MALFORMED),
        ("with-junk", "not a readable", chained(INTERMEDIATE, b"junk"), GOOD_CHAIN, Reason.MALFORMED),
        (
            "of-a-signer-by-key",
            "signed keyless",
            chained(INTERMEDIATE, who=by_key()),
            GOOD_CHAIN,
            Reason.UNTRUSTED_SIGNER,
        ),
    )
]
FORMS = [
    attack(
        "A30",
        "chain-in-a-bundle",
        "insecure_allow_certificate_chain",
        lambda: trial(
            bundle_with(
                made(),
                lambda one: (
                    chain_of(SIGSTORE.certificate(REQUEST), *CA.certificate_chain)(one),
                    one["verificationMaterial"].pop("certificate"),
                ),
            )
        ),
        GOOD,
        reason=Reason.MALFORMED,
    ),
    attack(
        "A30",
        "chain-beside-the-certificate",
        "not one",
        lambda: trial(bundle_with(made(), chain_of(*OWN_CA.certificate_chain))),
        GOOD,
        reason=Reason.MALFORMED,
    ),
    attack(
        "A30",
        "chain-beside-a-key",
        "not one",
        lambda: trial(bundle_with(made(signer=KEY), chain_of(SIGSTORE.certificate(REQUEST))), who=by_key()),
        lambda: trial(made(signer=KEY), who=by_key()),
        reason=Reason.MALFORMED,
    ),
    *(
        attack(
            "A27",
            f"pem-{what}",
            "not one certificate in PEM",
            lambda change=change: trial(
                noted(made(Shape.SIG), certificate=change(pem_of(SIGSTORE.certificate(REQUEST)).decode()))
            ),
            GOOD_CLASSIC,
            reason=Reason.MALFORMED,
        )
        for what, change in {
            "twice": lambda pem: pem * 2,
            "with-text-before": lambda pem: "subject=somebody\n" + pem,
            "with-a-header": lambda pem: pem.replace("-----\n", "-----\nProc-Type: 4\n\n", 1),
            "of-another-kind": lambda pem: pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            "cut": lambda pem: pem[:-20],
            "blank": lambda _: " ",
        }.items()
    ),
    attack(
        "A27",
        "pem-of-bad-base64",
        "base64",
        lambda: trial(
            noted(made(Shape.SIG), certificate="-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n")
        ),
        GOOD_CLASSIC,
        reason=Reason.MALFORMED,
    ),
]


@pytest.mark.parametrize("one", [*CHAIN, *CHAINS, *SCTS, *SIGNATURES, *FORMS], ids=str)
def test_attack(one):
    one.check()
