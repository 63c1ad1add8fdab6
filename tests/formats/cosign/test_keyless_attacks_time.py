"""Attacks of docs/threats.md on when it was signed: each is refused for its reason, and its harmless twin is not."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.certificates import purposes
from support.sigstore.authority import Authority
from support.sigstore.draft import Shape
from support.sigstore.trial import (
    AT,
    BOTH,
    EITHER,
    ELSEWHERE,
    KEY,
    NOW,
    OTHER,
    REQUEST,
    SIGSTORE,
    STAMP,
    STRANGER,
    Attack,
    begun,
    bundle_with,
    by_key,
    made,
    root_of,
    trial,
)
from support.snapshot import OfType
from support.tsa import Tsa, make_key

from proxy.crypto.window import Window
from proxy.formats.cosign.proof import NO_DEMANDS
from proxy.verdict import Reason

TSA = SIGSTORE.tsa
SECOND, MINUTES, DAY = timedelta(seconds=1), timedelta(minutes=10), timedelta(days=1)
SHORT = replace(
    SIGSTORE, authority=Authority.create("P-256", name="short", intermediate_valid=Window(AT - DAY, AT + MINUTES))
)
# A certificate that outlives the intermediate that issued it.
LONG = replace(REQUEST, lifetime=2 * DAY)


def attack(number, what, says, *trials, reason=Reason.TIME_NOT_PROVEN):
    return Attack(number, what, reason, says, *trials)


def stamped(token, shape=Shape.BUNDLE, logs=("rekor2",), **given):
    """Sign and log, and add the token that a function makes for what is to be stamped."""

    def make():
        draft = made(shape, logs=logs)
        return trial(replace(draft, timestamps=(token(draft.to_be_stamped),)), **given)

    return make


def by_tsa(at=AT, tsa=TSA, **mutations):
    return lambda content: tsa.token(content, at, **mutations)


def logged(at, signer=REQUEST, shape=Shape.BUNDLE, **given):
    return lambda: trial(SIGSTORE.sign(begun(shape), signer, at), **given)


def timed(log, stamp, **given):
    """Log at one time, and stamp at another."""
    return lambda: trial(SIGSTORE.stamped(SIGSTORE.sign(begun(), REQUEST, log), stamp), **given)


def short_lived(at, **given):
    return lambda: trial(SHORT.stamped(SHORT.signed(begun(), LONG), at), root=root_of(SHORT), demands=STAMP, **given)


def windowed(**window):
    return root_of(timestampAuthorities=[replace(TSA, window=Window(**window))])


def promise_gone(document):
    del document["verificationMaterial"]["tlogEntries"][0]["inclusionPromise"]
    entry = document["verificationMaterial"]["tlogEntries"][0]
    entry["logIndex"] = entry["inclusionProof"]["logIndex"]


def integrated(seconds):
    def change(document):
        document["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = seconds

    return change


def in_window(start, end, at=AT, demands=BOTH):
    """Judge a signature by a key that was in use for a while."""
    return lambda: trial(
        SIGSTORE.sign(begun(), KEY, at, stamped=True), who=by_key(window=Window(start, end)), demands=demands
    )


def judged_at(now, window):
    made_by_key = trial(made(signer=KEY, logs=()), who=by_key(window=window), demands=NO_DEMANDS)
    return lambda: _At(made_by_key, now)


class _At:
    """A trial at another time than the others."""

    def __init__(self, one, now):
        self._one, self._now = one, now

    def reason(self):
        return self._one.reason(now=self._now)


ATT = OfType("https://slsa.dev/provenance/v1")
GOOD, GOOD_STAMP = logged(AT), stamped(by_tsa())
# The names and serial numbers of the authority's own certificates, and another key.
EVIL = Tsa.create("P-384")
LOOSE = Tsa.create(name="loose", extensions=(purposes(ExtendedKeyUsageOID.CODE_SIGNING),))

UNPROVEN = [
    attack("A3", "proof-alone", "neither the log nor", lambda: trial(bundle_with(made(), promise_gone)), GOOD),
    attack(
        "A3",
        "time-beside-a-proof-alone",
        "neither the log nor",
        lambda: trial(bundle_with(made(logs=("rekor2",)), integrated(str(int(AT.timestamp()))))),
        GOOD_STAMP,
    ),
    attack("A3", "rekor-2-without-timestamp", "neither the log nor", lambda: trial(made(logs=("rekor2",))), GOOD_STAMP),
    attack(
        "A3",
        "no-time-though-none-is-demanded",
        "neither the log nor",
        lambda: trial(made(logs=()), demands=EITHER),
        lambda: trial(made(logs=(), stamped=True), demands=EITHER),
    ),
    attack(
        "A3",
        "entry-of-an-unknown-log-tells-no-time",
        "neither the log nor",
        lambda: trial(ELSEWHERE.logged(made(logs=()), AT), demands=EITHER),
        lambda: trial(SIGSTORE.logged(made(logs=()), AT), demands=EITHER),
    ),
    attack(
        "A3",
        "timestamp-demanded-and-missing",
        "no timestamp",
        lambda: trial(made(), demands=BOTH),
        lambda: trial(made(stamped=True), demands=BOTH),
    ),
    attack(
        "A3",
        "timestamp-demanded-of-a-key-and-missing",
        "no timestamp",
        lambda: trial(made(signer=KEY), who=by_key(), demands=STAMP),
        lambda: trial(made(signer=KEY, stamped=True), who=by_key(), demands=STAMP),
    ),
]

CERTIFICATE_TIME = [
    *(
        attack("A3", what, "the certificate is valid", logged(bad), logged(good), reason=Reason.UNTRUSTED_CERTIFICATE)
        for what, bad, good in [
            ("logged-before-the-certificate", AT - SECOND, AT),
            ("logged-after-the-certificate", AT + MINUTES + SECOND, AT + MINUTES),
        ]
    ),
    attack(
        "A3",
        "logged-after-the-certificate-classic",
        "the certificate is valid",
        logged(AT + DAY, shape=Shape.SIG),
        logged(AT, shape=Shape.SIG),
        reason=Reason.UNTRUSTED_CERTIFICATE,
    ),
    *(
        attack(
            "A3",
            what,
            "the certificate is valid",
            timed(*bad),
            timed(AT, AT + MINUTES),
            reason=Reason.UNTRUSTED_CERTIFICATE,
        )
        for what, bad in [
            ("stamped-after-the-certificate", (AT, AT + DAY)),
            ("stamped-before-the-certificate", (AT, AT - DAY)),
            ("logged-too-late-and-stamped-in-time", (AT + DAY, AT)),
        ]
    ),
    attack(
        "A7",
        "expired-intermediate",
        "is valid from",
        short_lived(AT + MINUTES + SECOND),
        short_lived(AT + MINUTES),
        reason=Reason.UNTRUSTED_CERTIFICATE,
    ),
    attack(
        "A7",
        "expired-root",
        "is valid from",
        lambda: trial(
            ENDED.stamped(ENDED.signed(begun(), LONG), AT + MINUTES + SECOND), root=root_of(ENDED), demands=STAMP
        ),
        lambda: trial(ENDED.stamped(ENDED.signed(begun(), LONG), AT + MINUTES), root=root_of(ENDED), demands=STAMP),
        reason=Reason.UNTRUSTED_CERTIFICATE,
    ),
]
ENDED = replace(SIGSTORE, authority=Authority.create("P-256", name="ended", root_valid=Window(AT - DAY, AT + MINUTES)))

KEYS = [
    *(
        attack("A8", what, "when it was not in use", in_window(*bad), in_window(*good), reason=Reason.UNTRUSTED_SIGNER)
        for what, bad, good in [
            ("key-expired-before", (AT - DAY, AT - SECOND), (AT - DAY, AT)),
            ("key-not-yet-in-use", (AT + SECOND, None), (AT, None)),
        ]
    ),
    attack(
        "A8",
        "key-expired-and-no-time-proven",
        "when it was not in use",
        judged_at(NOW, Window(AT, NOW - SECOND)),
        judged_at(NOW, Window(AT, NOW)),
        reason=Reason.UNTRUSTED_SIGNER,
    ),
    attack(
        "A8",
        "time-that-is-not-demanded-does-not-count",
        "when it was not in use",
        in_window(AT, AT + DAY, demands=NO_DEMANDS),
        in_window(AT, AT + DAY, demands=STAMP),
        reason=Reason.UNTRUSTED_SIGNER,
    ),
]

STAMPS = [
    attack(
        "A10",
        "certificates-put-first",
        "not by an authority of the trust root",
        stamped(by_tsa(tsa=ELSEWHERE.tsa, certificates=(*TSA.certificate_chain, *ELSEWHERE.tsa.certificate_chain))),
        stamped(by_tsa(certificates=(*ELSEWHERE.tsa.certificate_chain, *TSA.certificate_chain))),
    ),
    attack(
        "A10",
        "leaf-with-the-same-names",
        "names another certificate",
        stamped(by_tsa(tsa=EVIL, certificates=tuple(EVIL.certificate_chain))),
        GOOD_STAMP,
    ),
    attack(
        "A10",
        "leaf-not-for-time-stamping",
        "not for time stamping alone",
        stamped(by_tsa(tsa=LOOSE), root=root_of(timestampAuthorities=[LOOSE])),
        GOOD_STAMP,
    ),
    attack(
        "A11",
        "signed-by-another-key",
        "not signed by the key",
        stamped(by_tsa(signing_key=make_key("P-256", "evil"))),
        GOOD_STAMP,
    ),
    attack("A11", "signature-empty", "not signed by the key", stamped(by_tsa(signature=b"")), GOOD_STAMP),
    attack(
        "A11",
        "of-another-signature",
        "of other content",
        stamped(lambda _: TSA.token(made(image=OTHER).signature, AT)),
        GOOD_STAMP,
    ),
    attack("A11", "of-the-payload", "of other content", stamped(lambda _: TSA.token(begun().payload, AT)), GOOD_STAMP),
    attack(
        "A11",
        "of-the-envelope-in-a-bundle",
        "of other content",
        lambda: trial(_with_token(made(logs=("rekor2",)), lambda draft: draft.envelope_bytes())),
        GOOD_STAMP,
    ),
    attack("A11", "not-granted", "not granted", stamped(by_tsa(status=2, granted=False)), GOOD_STAMP),
    attack("A11", "not-granted-but-there", "not granted", stamped(by_tsa(status=2)), stamped(by_tsa(status=1))),
    attack("A11", "junk", "timestamp", stamped(lambda _: b"junk"), GOOD_STAMP, reason=Reason.MALFORMED),
    attack("A11", "junk-behind", "timestamp", stamped(by_tsa(behind=b"\0")), GOOD_STAMP, reason=Reason.MALFORMED),
    attack(
        "A11",
        "junk-beside-a-promise",
        "timestamp",
        stamped(lambda _: b"junk", logs=("rekor1",)),
        stamped(by_tsa(), logs=("rekor1",)),
        reason=Reason.MALFORMED,
    ),
    *(
        attack(
            "A11",
            f"{what}-beside-a-promise-{shape.name}",
            says,
            stamped(bad, shape, ("rekor1",), **given),
            stamped(by_tsa(tsa=ELSEWHERE.tsa), shape, ("rekor1",), **given),
        )
        for shape, given in ((Shape.BUNDLE, {}), (Shape.SIG, {}), (Shape.ATT, {"attestation": ATT}))
        for what, says, bad in (
            ("of-other-content", "of other content", lambda _: TSA.token(b"x", AT)),
            ("of-another-key", "not signed by the key", by_tsa(signing_key=make_key("P-256", "evil"))),
            ("in-the-name-of-a-known-one", "names another certificate", by_tsa(tsa=EVIL)),
            ("not-granted", "not granted", by_tsa(tsa=ELSEWHERE.tsa, status=2)),
            ("of-two-signers", "has 2 signers", by_tsa(tsa=ELSEWHERE.tsa, signers=2)),
        )
    ),
    attack(
        "A11",
        "after-the-certificate-beside-a-promise",
        "the certificate is valid",
        stamped(by_tsa(AT + DAY), logs=("rekor1",)),
        stamped(by_tsa(AT + DAY, ELSEWHERE.tsa), logs=("rekor1",)),
        reason=Reason.UNTRUSTED_CERTIFICATE,
    ),
    *(
        attack(
            "A11",
            f"unknown-where-one-is-demanded-of-{what}",
            "not by an authority",
            lambda signer=signer, who=who: trial(strangely_stamped(made(signer=signer)), demands=BOTH, **who),
            lambda signer=signer, who=who: trial(
                strangely_stamped(made(signer=signer, stamped=True)), demands=BOTH, **who
            ),
        )
        for what, signer, who in (("an-identity", REQUEST, {}), ("a-key", KEY, {"who": by_key()}))
    ),
    attack(
        "A3",
        "unknown-beside-rekor-2",
        "neither the log nor a timestamp proves when",
        lambda: trial(strangely_stamped(made(logs=("rekor2",)))),
        lambda: trial(strangely_stamped(made(logs=("rekor2",), stamped=True), first=True)),
    ),
    attack(
        "A8",
        "unknown-time-of-a-key-that-was-in-use-then",
        "when it was not in use",
        lambda: trial(
            strangely_stamped(made(signer=KEY, logs=("rekor2",))), who=by_key(window=Window(AT - DAY, AT + DAY))
        ),
        lambda: trial(
            strangely_stamped(made(signer=KEY, logs=("rekor2",), stamped=True), first=True),
            who=by_key(window=Window(AT - DAY, AT + DAY)),
        ),
        reason=Reason.UNTRUSTED_SIGNER,
    ),
    attack(
        "A11",
        "good-one-beside-a-bad-one",
        "of other content",
        lambda: trial(replace(made(stamped=True), timestamps=(*made(stamped=True).timestamps, TSA.token(b"x", AT)))),
        lambda: trial(_stamped_twice()),
    ),
    attack("A13", "huge", "longer than", stamped(lambda _: b"0" * 100_000), GOOD_STAMP, reason=Reason.OVER_LIMIT),
    attack(
        "A22",
        "authority-retired-before",
        "does not believe the authority",
        stamped(by_tsa(), root=windowed(start=AT - DAY, end=AT - SECOND)),
        stamped(by_tsa(), root=windowed(start=AT - DAY, end=AT)),
    ),
    attack(
        "A22",
        "authority-not-yet-in-use",
        "does not believe the authority",
        stamped(by_tsa(), root=windowed(start=AT + SECOND)),
        stamped(by_tsa(), root=windowed(start=AT)),
    ),
    attack(
        "A31", "authority-of-another-instance", "not by an authority", stamped(by_tsa(tsa=ELSEWHERE.tsa)), GOOD_STAMP
    ),
    attack(
        "A31",
        "no-authority-in-the-trust-root",
        "not by an authority",
        stamped(by_tsa(), root=root_of(timestampAuthorities=[])),
        lambda: trial(made(), root=root_of(timestampAuthorities=[])),
    ),
]


def strangely_stamped(draft, *, first=False):
    """Add a timestamp by an authority that the trust root does not know, behind those there are or before them."""
    token = ELSEWHERE.tsa.token(draft.to_be_stamped, AT)
    return replace(draft, timestamps=(token, *draft.timestamps) if first else (*draft.timestamps, token))


def _with_token(draft, content):
    return replace(draft, timestamps=(TSA.token(content(draft), AT),))


def _stamped_twice():
    return SIGSTORE.stamped(SIGSTORE.stamped(made(), AT), AT + SECOND)


ENVELOPES = [
    attack(
        "A11",
        f"attestation-with-a-timestamp-of-its-payload-{name}",
        "of other content",
        lambda: trial(_with_token(made(Shape.ATT), lambda draft: draft.payload), attestation=ATT),
        lambda content=content: trial(_with_token(made(Shape.ATT), content), attestation=ATT),
    )
    for name, content in {
        "for-its-signature": lambda draft: draft.signature,
        "for-its-envelope": lambda draft: draft.envelope_bytes(),
    }.items()
]


@pytest.mark.parametrize("one", [*UNPROVEN, *CERTIFICATE_TIME, *KEYS, *STAMPS, *ENVELOPES], ids=str)
def test_attack(one):
    one.check()


def test_the_earliest_of_two_times_is_told():
    """Both hold; what is known is that it was signed before both."""
    for log, stamp, source in [(0, 60, "log rekor.private.test"), (60, 0, "timestamp authority")]:
        finding = timed(AT + log * SECOND, AT + stamp * SECOND)().finding()
        assert (finding.signed_at, finding.time_source) == (AT, source)


def test_an_unknown_stranger_of_a_key_is_refused_before_his_times():
    one = trial(made(signer=STRANGER, logs=("rekor2",)), who=by_key())
    assert one.reason()[0] is Reason.UNTRUSTED_SIGNER
