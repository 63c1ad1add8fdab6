"""A certificate counts if an authority of the trust root issued it for this purpose, and all of it was valid then."""
# ruff: noqa: S303, S505 (weak keys and hashes on purpose: they must be refused)

import re
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA224, SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import assume, given
from hypothesis import strategies as st
from support.certificates import (
    MINUTES,
    NOW,
    YEARS,
    akid,
    der,
    key,
    make_ca,
    make_leaf,
    named,
    purposes,
    unknown,
    usage,
)

from proxy.crypto.chain import (
    CERTIFICATE_BYTES_MAX,
    CHAIN_LENGTH_MAX,
    CODE_SIGNING,
    TIME_STAMPING,
    Authority,
    issuer_at,
    parse_certificate,
    with_links,
)
from proxy.crypto.window import Window
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.verdict import Failure, Reason

SECOND = timedelta(seconds=1)
OPEN = Window(NOW - YEARS)
SERVER_AUTH, ANY = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
RSA = rsa.generate_private_key(65537, 2048)
PSS = padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32)
ED = ed25519.Ed25519PrivateKey.generate()
DSA = dsa.generate_private_key(1024)
SMALL = rsa.generate_private_key(65537, 1024)
SHA256_WITH_RSA, SHA1_WITH_RSA = (bytes.fromhex("2a864886f70d0101") + end for end in (b"\x0b", b"\x05"))

ROOT = make_ca("root")
ISSUING = make_ca("issuing", "root", path_length=0, extensions=[purposes(CODE_SIGNING)])
LEAF = make_leaf("issuing")
AUTHORITY = Authority((ISSUING, ROOT), OPEN)


def weakly_signed(certificate):
    """The same certificate with a signature by RSA and SHA-1, of the same length."""
    raw = der(certificate)
    weak = certificate.tbs_certificate_bytes.replace(SHA256_WITH_RSA, SHA1_WITH_RSA)
    signature = RSA.sign(weak, padding.PKCS1v15(), SHA1())
    raw = raw.replace(certificate.tbs_certificate_bytes, weak).replace(SHA256_WITH_RSA, SHA1_WITH_RSA)
    return x509.load_der_x509_certificate(raw.replace(certificate.signature, signature))


def issuing(**changes):
    return make_ca("issuing", "root", **changes)


def authority(*chain, window=OPEN):
    return Authority(chain or (ISSUING, ROOT), window)


def with_key(own_key, **signing):
    """A CA and what it issued, with this key."""
    ca = make_ca("other", own_key=own_key, signer=own_key, **signing)
    return make_leaf("other", signer=own_key, **signing), [authority(ca)]


def proven(leaf=LEAF, authorities=(AUTHORITY,), moment=NOW, purpose=CODE_SIGNING):
    return issuer_at(leaf, list(authorities), moment, purpose)


def refused(detail, *arguments, **named_arguments):
    found = proven(*arguments, **named_arguments)
    assert isinstance(found, Failure)
    assert found.reason is Reason.UNTRUSTED_CERTIFICATE
    assert re.search(detail, found.detail), found.detail
    assert found.detail.isascii()
    return True


def test_the_issuing_certificate_is_returned():
    assert proven() == ISSUING


@pytest.mark.parametrize(
    ("leaf", "authorities"),
    [
        (LEAF, [authority(ISSUING)]),
        (make_leaf("root"), [authority(ROOT)]),
        (LEAF, [authority(make_ca("issuing", own_key=key("stranger"))), AUTHORITY]),
        (LEAF, [authority(window=Window(NOW - YEARS, NOW - SECOND)), AUTHORITY]),
        (LEAF, [authority(issuing(without=[x509.KeyUsage]), ROOT)]),
        (LEAF, [authority(issuing(critical=[x509.ExtendedKeyUsage], extensions=[purposes(CODE_SIGNING)]), ROOT)]),
        (LEAF, [authority(ISSUING, make_ca("root", path_length=1))]),
        (LEAF, [authority(issuing(extensions=[unknown()]), ROOT)]),
        (LEAF, [authority(issuing(without=[x509.SubjectKeyIdentifier]), ROOT)]),
        (make_leaf("issuing", without=[x509.AuthorityKeyIdentifier]), [AUTHORITY]),
        (
            make_leaf("issuing", extensions=[x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(named("a"))], 1)]),
            [AUTHORITY],
        ),
        (make_leaf("issuing", critical=[x509.ExtendedKeyUsage]), [AUTHORITY]),
        (make_leaf("issuing", extensions=[x509.BasicConstraints(ca=False, path_length=None)]), [AUTHORITY]),
        (make_leaf("issuing", extensions=[purposes(SERVER_AUTH, CODE_SIGNING)]), [AUTHORITY]),
        (make_leaf("issuing", extensions=[unknown()]), [AUTHORITY]),
        (make_leaf("issuing", public=ec.generate_private_key(ec.SECP521R1()).public_key()), [AUTHORITY]),
        (make_leaf("issuing", public=RSA.public_key()), [AUTHORITY]),
        (make_leaf("issuing", public=ED.public_key()), [AUTHORITY]),
        (make_leaf("issuing", algorithm=SHA384()), [AUTHORITY]),
        (make_leaf("issuing", algorithm=SHA512()), [AUTHORITY]),
        with_key(ec.generate_private_key(ec.SECP384R1()), algorithm=SHA384()),
        with_key(RSA),
        with_key(RSA, algorithm=SHA384()),
        with_key(RSA, algorithm=SHA512()),
        with_key(RSA, rsa_padding=PSS),
        with_key(ED, algorithm=None),
    ],
)
def test_accepted_paths(leaf, authorities):
    assert proven(leaf, authorities) in [one.chain[0] for one in authorities]


def test_an_anchor_is_trusted_as_it_is():
    anchor = weakly_signed(make_ca("root", "nobody", own_key=key("root"), signer=RSA))
    assert proven(authorities=[authority(ISSUING, anchor)]) == ISSUING
    cross_signed = issuing(signer=key("stranger"))
    assert proven(authorities=[authority(cross_signed)]) == cross_signed


OTHER_SAN = x509.SubjectAlternativeName([x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7"), b"\x0c\x01a")])


def test_names_of_the_subject_are_not_looked_at():
    assert proven(make_leaf("issuing", extensions=[OTHER_SAN])) == ISSUING


@pytest.mark.parametrize(
    ("moment", "accepted"),
    [
        (NOW - SECOND / 1000, False),
        (NOW, True),
        (NOW + MINUTES, True),
        (NOW + MINUTES + SECOND / 1000, False),
    ],
)
def test_the_certificate_is_valid_from_its_first_second_to_its_last(moment, accepted):
    if accepted:
        assert proven(moment=moment) == ISSUING
    else:
        assert refused(
            r"^the certificate is valid from 2026-06-01T12:00:00Z to 2026-06-01T12:10:00Z, not at", moment=moment
        )


@pytest.mark.parametrize(
    ("window", "accepted"),
    [
        (Window(NOW, NOW), True),
        (Window(NOW), True),
        (Window(NOW + SECOND), False),
        (Window(NOW - YEARS, NOW - SECOND), False),
    ],
)
def test_the_window_of_the_authority_counts_at_both_ends(window, accepted):
    if accepted:
        assert proven(authorities=[authority(window=window)]) == ISSUING
    else:
        assert refused(
            "does not believe the authority of CA certificate 'CN=issuing'", LEAF, [authority(window=window)]
        )


@pytest.mark.parametrize(
    ("start", "end", "accepted"),
    [(NOW, NOW, True), (NOW - YEARS, NOW - SECOND, False), (NOW + SECOND, NOW + YEARS, False)],
)
@pytest.mark.parametrize("ca", ["issuing", "root"])
def test_every_ca_is_valid_at_that_moment(ca, start, end, accepted):
    made = {"issuing": {}, "root": {}} | {ca: {"start": start, "end": end}}
    one = authority(make_ca("issuing", "root", **made["issuing"]), make_ca("root", **made["root"]))
    if accepted:
        assert proven(authorities=[one]) == one.chain[0]
    else:
        assert refused(f"^CA certificate 'CN={ca}' is valid from", LEAF, [one])


@pytest.mark.parametrize(
    ("chain", "flaw"),
    [
        ([issuing(extensions=[x509.BasicConstraints(ca=False, path_length=None)]), ROOT], "not that of a CA"),
        ([issuing(without=[x509.BasicConstraints]), ROOT], "'CN=issuing' is not that of a CA"),
        ([ISSUING, make_ca("root", path_length=0)], "'CN=root' allows 0 CAs below it, there are 1"),
        ([issuing(extensions=[usage("digital_signature")]), ROOT], "not for signing certificates"),
        ([ISSUING, make_ca("root", extensions=[usage("crl_sign")])], "'CN=root' is not for signing certificates"),
        ([issuing(extensions=[unknown()], critical=[x509.UnrecognizedExtension]), ROOT], r"not supported, 1\.2\.3\.4"),
        (
            [
                issuing(
                    extensions=[x509.SubjectAlternativeName([x509.DNSName("a")])],
                    critical=[x509.SubjectAlternativeName],
                ),
                ROOT,
            ],
            r"not supported, 2\.5\.29\.17",
        ),
        ([issuing(extensions=[x509.NameConstraints([x509.DNSName("a")], None)]), ROOT], "constrains names"),
        ([make_ca("issuing", "root", own_key=SMALL), ROOT], "RSA keys of 1024 bits"),
        ([ISSUING, make_ca("other root")], "'CN=issuing' is not issued by CA certificate 'CN=other root'"),
        ([ISSUING, make_ca("root", own_key=key("stranger"))], r"'CN=issuing' is issued by another key .*identifier"),
        (
            [issuing(signer=key("stranger"), extensions=[akid(key("root"))]), ROOT],
            "not signed by CA certificate 'CN=root'",
        ),
        ([issuing(signer=RSA, extensions=[akid(key("root"))]), ROOT], "not signed by CA certificate 'CN=root'"),
        ([ROOT, ISSUING], "'CN=issuing' allows 0 CAs below it, there are 1"),
        ([issuing(signer=RSA), make_ca("root", own_key=RSA)], None),
        ([weakly_signed(make_ca("issuing", "root", signer=RSA)), make_ca("root", own_key=RSA)], "with an algorithm"),
    ],
)
def test_what_makes_an_authority_unusable(chain, flaw):
    found = authority(*chain).flaw
    assert found is flaw is None or re.search(flaw, found)


def test_the_flaw_of_an_authority_is_told():
    assert refused("'CN=root' allows 0 CAs below it", LEAF, [authority(ISSUING, make_ca("root", path_length=0))])


@pytest.mark.parametrize("count", [0, 1, CHAIN_LENGTH_MAX, CHAIN_LENGTH_MAX + 1])
def test_how_long_a_chain_may_be(count):
    if count == 0:
        with pytest.raises(MalformedError, match="an authority without a certificate"):
            Authority((), OPEN)
    elif count > CHAIN_LENGTH_MAX:
        with pytest.raises(OverLimitError, match="an authority with more than 10 certificates"):
            Authority((ROOT,) * count, OPEN)
    else:
        assert Authority((ROOT,) * count, OPEN).flaw is None


@pytest.mark.parametrize(
    ("leaf", "authorities", "detail"),
    [
        (LEAF, [], "issued by 'CN=issuing', which is not in the trust root"),
        (LEAF, [authority(ROOT)], "issued by 'CN=issuing', which is not in the trust root"),
        (make_leaf("other"), [AUTHORITY], "issued by 'CN=other', which is not in the trust root"),
        (make_leaf("issuing\n\u2028"), [authority(ROOT)], r"issued by 'CN=issuing\\n\\u2028'"),
        (make_leaf("x" * 64), [authority(ROOT)], "'CN=x{64}'"),
        # A chain of one's own with the same names (A30).
        (make_leaf("issuing", signer=key("stranger")), [AUTHORITY], "another key than that of .*'CN=issuing'"),
        (
            make_leaf("issuing", signer=key("stranger"), without=[x509.AuthorityKeyIdentifier]),
            [AUTHORITY],
            "^the certificate is not signed by CA certificate 'CN=issuing'",
        ),
        (make_leaf("issuing", signer=key("stranger"), extensions=[akid(key("issuing"))]), [AUTHORITY], "not signed by"),
        # The certificate that is the anchor itself, and one that it only looks like.
        (ROOT, [authority(ROOT)], "is that of a CA"),
        (ISSUING, [authority(ROOT)], "is that of a CA"),
        (
            weakly_signed(make_leaf("other", signer=RSA)),
            [authority(make_ca("other", own_key=RSA))],
            "with an algorithm",
        ),
        (make_leaf("issuing", algorithm=SHA224()), [AUTHORITY], "with an algorithm that is not accepted"),
        (
            make_leaf("other", signer=RSA, rsa_padding=PSS, algorithm=SHA224()),
            [authority(make_ca("other", own_key=RSA))],
            "with an algorithm that is not accepted",
        ),
        (make_leaf("issuing", start=NOW - YEARS, end=NOW - SECOND), [AUTHORITY], "^the certificate is valid from"),
        (
            make_leaf("issuing", extensions=[x509.BasicConstraints(ca=True, path_length=None)]),
            [AUTHORITY],
            "^the certificate is that of a CA",
        ),
        (
            make_leaf("issuing", extensions=[unknown()], critical=[x509.UnrecognizedExtension]),
            [AUTHORITY],
            r"critical extension that is not supported, 1\.2\.3\.4",
        ),
        (make_leaf("issuing", without=[x509.KeyUsage]), [AUTHORITY], "not for digital signatures"),
        (make_leaf("issuing", extensions=[usage("content_commitment")]), [AUTHORITY], "not for digital signatures"),
        (make_leaf("issuing", without=[x509.ExtendedKeyUsage]), [AUTHORITY], "has no extended key usage"),
        (make_leaf("issuing", extensions=[purposes(ANY)]), [AUTHORITY], "the certificate is not for code signing"),
        (make_leaf("issuing", extensions=[purposes(TIME_STAMPING)]), [AUTHORITY], "is not for code signing"),
        (
            LEAF,
            [authority(issuing(extensions=[purposes(TIME_STAMPING)]), ROOT)],
            "^CA certificate 'CN=issuing' is not for code signing",
        ),
        (LEAF, [authority(issuing(extensions=[purposes(ANY)]), ROOT)], "'CN=issuing' is not for code signing"),
        (
            LEAF,
            [authority(ISSUING, make_ca("root", extensions=[purposes(SERVER_AUTH)]))],
            "'CN=root' is not for code signing",
        ),
        (make_leaf("issuing", public=SMALL.public_key()), [AUTHORITY], "RSA keys of 1024 bits are not accepted"),
        (make_leaf("issuing", public=DSA.public_key()), [AUTHORITY], "DSA keys are not accepted"),
        (
            make_leaf("issuing", public=ec.generate_private_key(ec.SECP256K1()).public_key()),
            [AUTHORITY],
            "curve secp256k1",
        ),
    ],
)
def test_refused_paths(leaf, authorities, detail):
    assert refused(detail, leaf, authorities)


# A chain of three, as of GitHub's own instance, of which any may issue.
MIDDLE = make_ca("middle", "root", path_length=1)
LOWEST = make_ca("lowest", "middle", path_length=0)
THREE = (LOWEST, MIDDLE, ROOT)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("window", [OPEN, Window(NOW, NOW)])
def test_any_of_a_chain_may_issue(place, window):
    name = ("lowest", "middle", "root")[place]
    assert proven(make_leaf(name), [authority(*THREE, window=window)]) == THREE[place]


ENDED, NARROW = {"end": NOW - SECOND}, {"extensions": [purposes(TIME_STAMPING)]}


@pytest.mark.parametrize(
    ("issuer", "good", "bad", "detail"),
    [
        # What is below the issuer is not of the path, and may be as it is; what is above is.
        ("middle", {"lowest": ENDED}, {"middle": ENDED}, "'CN=middle' is valid from"),
        ("middle", {"lowest": NARROW}, {"root": NARROW}, "'CN=root' is not for code signing"),
        ("middle", {"lowest": {"without": [x509.BasicConstraints]}}, {"root": ENDED}, "'CN=root' is valid from"),
        ("root", {"middle": ENDED}, {"root": ENDED}, "'CN=root' is valid from"),
        (
            "middle",
            {"middle": {"path_length": 0}},
            {"middle": {"without": [x509.BasicConstraints]}},
            "not that of a CA",
        ),
        (
            "lowest",
            {"middle": {"path_length": 1}},
            {"middle": {"path_length": 0}},
            "allows 0 CAs below it, there are 1",
        ),
        ("middle", {"root": {"path_length": 1}}, {"root": {"path_length": 0}}, "allows 0 CAs below it, there are 1"),
        ("middle", {"lowest": {"signer": RSA}}, {"middle": {"signer": RSA}}, "another key|not signed by"),
    ],
)
def test_the_path_begins_at_the_issuer(issuer, good, bad, detail):
    def changed(changes):
        given = {"lowest": ("middle", 0), "middle": ("root", 1), "root": (None, None)}
        return authority(
            *(
                make_ca(name, above, **{"path_length": length} | changes.get(name, {}))
                for name, (above, length) in given.items()
            )
        )

    leaf = make_leaf(issuer)
    assert not isinstance(proven(leaf, [changed(good)]), Failure)
    assert refused(detail, leaf, [changed(bad)])


def test_a_window_is_that_of_the_whole_authority():
    assert refused("does not believe", make_leaf("middle"), [authority(*THREE, window=Window(NOW + SECOND))])


def test_the_name_of_any_of_a_chain_is_not_enough():
    """A30: a certificate authority of one's own with the name of the second."""
    mine = make_leaf("middle", signer=key("stranger"), extensions=[akid(key("middle"))])
    assert refused("not signed by CA certificate 'CN=middle'", mine, [authority(*THREE)])


LINK = make_ca("link", "root", path_length=0)
HIGH, LOW = make_ca("high", "issuing"), make_ca("low", "high")
WIDE = authority(issuing(path_length=None), make_ca("root"))


@pytest.mark.parametrize(
    ("leaf", "links", "authorities", "issuer"),
    [
        (make_leaf("link"), [LINK], [authority(ROOT)], LINK),
        (make_leaf("link"), [LINK], [AUTHORITY], LINK),
        (make_leaf("low"), [LOW, HIGH], [WIDE], LOW),
        (make_leaf("high"), [HIGH, LOW], [WIDE], HIGH),
        # What is not needed does no harm: a link that the trust root has, one that leads nowhere.
        (LEAF, [ISSUING], [AUTHORITY], ISSUING),
        (LEAF, [LINK], [AUTHORITY], ISSUING),
        (LEAF, [], [AUTHORITY], ISSUING),
    ],
)
def test_links_may_come_along(leaf, links, authorities, issuer):
    assert proven(leaf, with_links(authorities, leaf, links)) == issuer


@pytest.mark.parametrize(
    ("leaf", "links", "authorities", "detail"),
    [
        # Links are no anchors (A30), and what the trust root's CAs demand of those below holds for them.
        (make_leaf("link"), [make_ca("link", "nobody")], [AUTHORITY], "which is not in the trust root"),
        (make_leaf("link"), [make_ca("link", "root", signer=key("nobody"))], [AUTHORITY], "another key than that of"),
        (
            make_leaf("link"),
            [make_ca("link", "root", signer=key("nobody"), extensions=[akid(key("root"))])],
            [AUTHORITY],
            "is not signed by CA certificate 'CN=root'",
        ),
        (make_leaf("high"), [HIGH], [AUTHORITY], "allows 0 CAs below it, there are 1"),
        (make_leaf("low"), [LOW, make_ca("high", "issuing", path_length=0)], [WIDE], "allows 0 CAs below it"),
        (make_leaf("low"), [HIGH, LOW], [WIDE], "which is not in the trust root"),
        (make_leaf("low"), [LOW], [WIDE], "which is not in the trust root"),
        (make_leaf("link"), [make_ca("link", "root", end=NOW - SECOND)], [AUTHORITY], "'CN=link' is valid from"),
        (
            make_leaf("link"),
            [make_ca("link", "root", extensions=[purposes(SERVER_AUTH)])],
            [AUTHORITY],
            "not for code signing",
        ),
        (make_leaf("link"), [LINK], [authority(ROOT, window=Window(NOW + SECOND))], "does not believe"),
        (make_leaf("link", signer=key("nobody")), [LINK], [AUTHORITY], "another key than that of .*'CN=link'"),
    ],
)
def test_links_are_checked_like_the_trust_roots_own(leaf, links, authorities, detail):
    assert refused(detail, leaf, with_links(authorities, leaf, links))


@pytest.mark.parametrize(
    "link", [ROOT, make_ca("mine"), LEAF, make_ca("link", "root", without=[x509.BasicConstraints])]
)
def test_what_cannot_be_a_link(link):
    """As sigstore-go has it: an anchor that comes along, and what is no CA."""
    for links in ([link], [LINK, link]):
        with pytest.raises(MalformedError, match="self-issued or not that of a CA"):
            with_links([AUTHORITY], make_leaf("link"), links)


def test_a_path_with_links_is_bounded():
    long = [authority(*(ROOT,) * CHAIN_LENGTH_MAX)]
    assert with_links(long, LEAF, []) == long
    with pytest.raises(OverLimitError):
        with_links(long, LEAF, [ISSUING])


STRANGER = authority(make_ca("issuing", own_key=key("stranger")))
CLOSED = authority(window=Window(NOW - YEARS, NOW - SECOND))
UNUSABLE = authority(ISSUING, make_ca("root", path_length=0))
ELSEWHERE = authority(issuing(extensions=[purposes(TIME_STAMPING)]), ROOT)


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize(
    ("authorities", "detail"),
    [
        ([authority(ROOT), STRANGER], "another key"),
        ([STRANGER, UNUSABLE], "allows 0 CAs"),
        ([STRANGER, UNUSABLE, CLOSED], "does not believe"),
        ([STRANGER, UNUSABLE, CLOSED, ELSEWHERE], "is not for code signing"),
    ],
)
def test_the_authority_that_comes_furthest_is_told(authorities, detail, turn):
    assert refused(detail, LEAF, authorities[::turn])


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({}, None),
        ({"without": [x509.KeyUsage]}, None),
        ({"extensions": [purposes(TIME_STAMPING), usage("content_commitment")]}, None),
        ({"extensions": [purposes(TIME_STAMPING), usage("key_encipherment")]}, "not for digital signatures"),
        ({"extensions": [purposes(CODE_SIGNING)]}, "the certificate is not for time stamping"),
    ],
)
def test_time_stamping(changes, detail):
    leaf = make_leaf("root", **{"extensions": [purposes(TIME_STAMPING)]} | changes)
    if detail:
        assert refused(detail, leaf, [authority(ROOT)], purpose=TIME_STAMPING)
    else:
        assert proven(leaf, [authority(ROOT)], purpose=TIME_STAMPING) == ROOT


@pytest.mark.parametrize("certificate", [LEAF, ISSUING, ROOT, make_leaf("issuing", extensions=[OTHER_SAN])])
def test_a_certificate_is_read(certificate):
    assert parse_certificate(der(certificate), "it") == certificate


# An ECDSA signature that ends in a zero bit, so that the count of unused bits may lie.
EVEN = next(raw for raw in (der(make_leaf("issuing")) for _ in range(200)) if raw[-1] % 2 == 0)
SIGNATURE = x509.load_der_x509_certificate(EVEN).signature


TWICE = der(make_leaf("issuing", extensions=[unknown("1.2.3.4"), unknown("1.2.3.5")])).replace(
    b"\x2a\x03\x05", b"\x2a\x03\x04"
)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x30\x00",
        der(LEAF) + b"\x00",
        der(LEAF) * 2,
        der(LEAF)[:-1],
        LEAF.public_bytes(Encoding.PEM),
        TWICE,
        der(LEAF).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"),
        der(LEAF).replace(b"\x81\x13someone@example.com", b"\x83\x13someone@example.com"),
        der(LEAF).replace(b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x70"),
        der(LEAF).replace(b"\x2a\x86\x48\xce\x3d\x04\x03\x02", b"\x2a\x86\x48\xce\x3d\x04\x03\x70"),
        EVEN.replace(b"\x00" + SIGNATURE, b"\x01" + SIGNATURE),
        # A negative serial number.
        der(LEAF).replace(b"\x02\x09\x00", b"\x02\x09\x80"),
        # The name of the issuer as a bit string.
        der(LEAF).replace(b"\x55\x04\x03\x0c\x07", b"\x55\x04\x03\x03\x07"),
    ],
)
def test_what_is_no_certificate(raw):
    assert raw != der(LEAF)
    with pytest.raises(MalformedError, match=r"^the thing is not a readable X\.509 certificate"):
        parse_certificate(raw, "the thing")


def test_a_certificate_without_end():
    with pytest.raises(OverLimitError, match=r"^the thing is longer than the 32768 bytes"):
        parse_certificate(bytes(CERTIFICATE_BYTES_MAX + 1), "the thing")
    big = make_leaf("issuing", extensions=[unknown(content=bytes(CERTIFICATE_BYTES_MAX - len(der(LEAF)) - 100))])
    assert proven(parse_certificate(der(big), "it")) == ISSUING


@given(st.data())
def test_a_changed_certificate_is_never_accepted_and_breaks_nothing(data):
    good = der(data.draw(st.sampled_from([LEAF, ISSUING])))
    start = data.draw(st.integers(0, len(good) - 1))
    cut = data.draw(st.integers(0, 3))
    new = data.draw(st.binary(max_size=3))
    raw = good[:start] + new + good[start + cut :]
    assume(raw != good)
    try:
        read = parse_certificate(raw, "it")
    except MalformedError:
        return
    assert isinstance(proven(read), Failure)
    proven(LEAF, [authority(read)])
    assert isinstance(authority(read, ROOT).flaw, str)
