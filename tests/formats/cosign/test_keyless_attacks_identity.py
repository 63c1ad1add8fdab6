"""Attacks of docs/threats.md on who signed: each is refused for its reason, and its harmless twin is not."""

from dataclasses import replace

import pytest
from cryptography import x509
from support.sigstore.authority import IDENTITY, ISSUER, other_name
from support.sigstore.trial import AT, REQUEST, SIGSTORE, SOMEBODY, Attack, begun, trial

from proxy.formats.cosign.identity import CLAIM_BYTES_MAX, WantedIdentity
from proxy.formats.cosign.patterns import Exact, Pattern
from proxy.verdict import Reason

ANYBODY = WantedIdentity(Exact(ISSUER), Pattern.parse(".*"))
OURS = WantedIdentity(Exact(ISSUER), Pattern.parse(".*@private[.]test"))
MAIN = replace(SOMEBODY, claims=(("source_repository_ref", Exact("refs/heads/main")),))
WORKFLOW = "https://git.test/org/app/.github/workflows/release.yml@refs/heads/main"


def attack(number, what, says, *trials, reason=Reason.UNTRUSTED_SIGNER):
    return Attack(number, what, reason, says, *trials)


def named(*names, who=SOMEBODY, **changes):
    """Sign as somebody with these names in the certificate, all else by the rules."""
    given = [email(one) if isinstance(one, str) and "://" not in one else one for one in names or (IDENTITY,)]
    return lambda: trial(SIGSTORE.sign(begun(), replace(REQUEST, names=given, **changes), AT), who=who)


def wanted(subject, issuer=ISSUER, **claims):
    return WantedIdentity(Exact(issuer), Exact(subject), tuple((name, Exact(value)) for name, value in claims.items()))


def issued(newer=ISSUER, older=ISSUER, who=SOMEBODY, **claims):
    """Sign with these two claims of the issuer, and others by number."""
    numbered = {int(name.removeprefix("claim_")): value for name, value in claims.items()}
    return named(who=who, issuer=newer, issuer_v1=older, claims=numbered)


def email(text):
    """An address whatever stands in it."""
    return x509.RFC822Name._init_without_validation(text)


def uri(text):
    return x509.UniformResourceIdentifier(text)


GOOD = named()
MALFORMED = {"reason": Reason.MALFORMED}
LONG = "x" * (CLAIM_BYTES_MAX - 4)

OTHERS = [
    attack("A17", what, "subject is", named(name), GOOD)
    for what, name in {
        "longer-at-the-end": f"{IDENTITY}.evil.test",
        "longer-at-the-start": f"x{IDENTITY}",
        "shorter": IDENTITY[:-1],
        "in-another-case": IDENTITY.upper(),
        "with-a-blank-behind": f"{IDENTITY} ",
    }.items()
]
PATTERNS = [
    *(
        attack("A17", f"pattern-{what}", "subject is", named(name, who=OURS), named(IDENTITY, who=OURS))
        for what, name in {
            "longer-at-the-end": "x@private.test.evil.test",
            "dot-is-a-dot": "x@privateXtest",
            "second-domain": "x@evil.test@private.testing",
        }.items()
    ),
    attack(
        "A17",
        "pattern-across-lines",
        "cannot be shown",
        named("x@evil.test\nx@private.test", who=OURS),
        named(who=OURS),
        **MALFORMED,
    ),
    attack(
        "A17",
        "no-wildcard-in-an-exact-text",
        "subject is",
        named("cixprivate.test@a"),
        named(".*@b", who=wanted(".*@b")),
    ),
]

ISSUERS = [
    attack("A32", "another-issuer", "issuer is", issued("https://evil.test", "https://evil.test"), GOOD),
    attack("A32", "issuer-with-a-slash-behind", "issuer is", issued(f"{ISSUER}/", f"{ISSUER}/"), GOOD),
    attack(
        "A32", "older-issuer-evil", "two issuers", issued(older="https://evil.test"), issued(older=None), **MALFORMED
    ),
    attack("A32", "newer-issuer-evil", "two issuers", issued("https://evil.test"), issued(None), **MALFORMED),
    attack("A32", "older-issuer-empty", "two issuers", issued(older=""), GOOD, **MALFORMED),
    attack("A32", "newer-issuer-empty", "two issuers", issued(""), GOOD, **MALFORMED),
    attack("A32", "no-issuer", "no issuer", issued(None, None), GOOD, **MALFORMED),
    attack("A32", "empty-issuer", "no issuer", issued("", ""), GOOD, **MALFORMED),
    attack(
        "A32", "issuer-raw-where-der-is-due", "not a DER UTF8String", issued(ISSUER.encode(), None), GOOD, **MALFORMED
    ),
    attack("A32", "issuer-with-bytes-behind", "not a DER UTF8String", issued(b"\x0c\x01x\0", None), GOOD, **MALFORMED),
    attack(
        "A32", "issuer-of-another-string-type", "not a DER UTF8String", issued(b"\x13\x01x", None), GOOD, **MALFORMED
    ),
    attack("A32", "issuer-of-bad-utf-8", "not a DER UTF8String", issued(b"\x0c\x01\xff", None), GOOD, **MALFORMED),
    attack("A32", "issuer-der-where-raw-is-due", "two issuers", issued(older=b"\x0c\x01x"), GOOD, **MALFORMED),
    attack("A32", "issuer-not-utf-8", "not UTF-8", issued(None, b"\xff"), GOOD, **MALFORMED),
    attack("A32", "issuer-with-a-nul", "cannot be shown", issued(f"{ISSUER}\0", f"{ISSUER}\0"), GOOD, **MALFORMED),
    attack(
        "A13",
        "issuer-huge",
        "longer than",
        issued("x" * CLAIM_BYTES_MAX, None),
        issued(LONG, None, wanted(IDENTITY, LONG)),
        **MALFORMED,
    ),
]

NAMES = [
    attack("A32", "two-names", "2 subject alternative names", named(IDENTITY, "evil@evil.test"), GOOD, **MALFORMED),
    attack(
        "A32", "two-names-of-two-types", "2 subject alternative names", named(IDENTITY, WORKFLOW), GOOD, **MALFORMED
    ),
    attack("A32", "the-same-name-twice", "2 subject alternative names", named(IDENTITY, IDENTITY), GOOD, **MALFORMED),
    attack("A32", "no-name", "0 subject alternative names", lambda: trial(_nameless()), GOOD, **MALFORMED),
    attack("A32", "name-of-a-host", "of type DNSName", named(x509.DNSName("private.test")), GOOD, **MALFORMED),
    attack(
        "A32",
        "other-name-of-another-kind",
        "of type OtherName",
        named(x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9"), b"\x0c\x03a!b"), who=ANYBODY),
        named(other_name("a!b"), who=ANYBODY),
        **MALFORMED,
    ),
    attack("A32", "name-with-a-nul", "cannot be shown", named(f"{IDENTITY}\0.evil.test"), GOOD, **MALFORMED),
    attack(
        "A32",
        "uri-as-address",
        "not of the type",
        named(email(WORKFLOW), who=wanted(WORKFLOW)),
        named(uri(WORKFLOW), who=wanted(WORKFLOW)),
        **MALFORMED,
    ),
    attack("A32", "address-as-uri", "not of the type", named(uri(IDENTITY)), GOOD, **MALFORMED),
    attack("A32", "address-as-user-name", "not of the type", named(other_name(IDENTITY)), GOOD, **MALFORMED),
    attack(
        "A32",
        "uri-as-user-name",
        "not of the type",
        named(other_name(WORKFLOW), who=wanted(WORKFLOW)),
        named(uri(WORKFLOW), who=wanted(WORKFLOW)),
        **MALFORMED,
    ),
    attack(
        "A32",
        "user-name-as-address",
        "not of the type",
        named(email("a!b"), who=wanted("a!b")),
        named(other_name("a!b"), who=wanted("a!b")),
        **MALFORMED,
    ),
    attack(
        "A32",
        "user-name-without-a-domain",
        "not of the type",
        named(other_name("a"), who=ANYBODY),
        named(other_name("a!b"), who=ANYBODY),
        **MALFORMED,
    ),
    attack("A32", "empty-address", "not of the type", named(email(""), who=ANYBODY), GOOD, **MALFORMED),
    attack("A32", "empty-user-name", "not of the type", named(other_name(""), who=ANYBODY), GOOD, **MALFORMED),
    attack(
        "A32",
        "letters-that-look-alike",
        "subject is",
        named(other_name("\N{CYRILLIC SMALL LETTER A}!b"), who=wanted("a!b")),
        named(other_name("a!b"), who=wanted("a!b")),
    ),
    attack(
        "A32",
        "letters-that-turn-round",
        "cannot be shown",
        named(other_name("a!b\N{RIGHT-TO-LEFT OVERRIDE}"), who=ANYBODY),
        named(other_name("a!b"), who=ANYBODY),
        **MALFORMED,
    ),
]

CLAIMS = [
    attack(
        "A32",
        "claim-missing",
        "source_repository_ref is missing",
        named(who=MAIN),
        issued(who=MAIN, claim_14="refs/heads/main"),
    ),
    attack(
        "A32",
        "claim-of-another-value",
        "source_repository_ref is",
        issued(who=MAIN, claim_14="refs/heads/mainx"),
        issued(who=MAIN, claim_14="refs/heads/main"),
    ),
    attack(
        "A32",
        "claim-by-its-deprecated-number",
        "source_repository_ref is missing",
        issued(who=MAIN, claim_6="refs/heads/main"),
        issued(who=MAIN, claim_14="refs/heads/main", claim_6="anything"),
    ),
    attack(
        "A32",
        "claim-with-bytes-behind",
        "not a DER UTF8String",
        issued(claim_14=b"\x0c\x01x\0"),
        issued(claim_14="x"),
        **MALFORMED,
    ),
    attack(
        "A32", "claim-huge", "longer than", issued(claim_20="x" * CLAIM_BYTES_MAX), issued(claim_20=LONG), **MALFORMED
    ),
    attack("A32", "deprecated-claim-not-utf-8", "not UTF-8", issued(claim_3=b"\xff"), issued(claim_3="x"), **MALFORMED),
]


def _nameless():
    """No name at all, where another certificate of the same key has one."""
    return SIGSTORE.sign(begun(), replace(REQUEST, names=()), AT)


@pytest.mark.parametrize("one", [*OTHERS, *PATTERNS, *ISSUERS, *NAMES, *CLAIMS], ids=str)
def test_attack(one):
    one.check()


def test_a_refusal_tells_who_it_was_once_that_is_proven():
    finding = named("somebody@else.test")().finding()
    assert dict(finding.proven)["subject"] == "somebody@else.test"
    assert dict(finding.proven)["issuer"] == ISSUER


def test_a_refusal_does_not_tell_what_is_not_proven():
    """A certificate of nobody's says who it likes."""
    finding = trial(SIGSTORE.sign(begun(), REQUEST, AT, logs=())).finding()
    assert finding.proven == ()
