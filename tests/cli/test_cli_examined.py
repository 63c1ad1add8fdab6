"""What `sealgate verify` shows of candidates: what was proven, what failed, and nothing that a terminal obeys."""

import io
from dataclasses import replace

import pytest
from rich.console import Console
from support.stores import KEYLESS, PROVEN, accepted, evidence, key, refused

from proxy.cli.examined import examination
from proxy.formats.api import UntrustedSignature
from proxy.gate import Candidate, Examination
from proxy.verdict import Reason, Rejection

HERE = "sha256:" + "0a" * 32
FACTS = (
    ("subject", "someone@example.com"),
    ("issuer", "https://issuer.example"),
    ("source_repository_ref", "refs/heads/main"),
    ("time by log rekor.example", "2026-11-21T12:00:00+00:00"),
    ("log_index", "7"),
)
ACCEPTED, REFUSED = accepted(key(), proof=KEYLESS), refused(key(), rejections=[PROVEN])


def candidate(finding, location=HERE, kind="cosign-bundle", signer="release"):
    return Candidate(signer, UntrustedSignature(kind, location, b""), finding)


def shown(seen):
    terminal = Console(file=(out := io.StringIO()), width=80, soft_wrap=True, color_system=None)
    terminal.print(*examination(seen), sep="\n")
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert max(map(len, lines)) <= 80
    return lines


@pytest.mark.parametrize(
    ("seen", "block"),
    [
        (
            Examination(ACCEPTED, (candidate(replace(KEYLESS, proven=FACTS)),)),
            [
                "release, cosign-bundle: counts",
                f"  {HERE}",
                "  by      sha256:00",
                "  proven  subject: someone@example.com",
                "          issuer: https://issuer.example",
                "          source_repository_ref: refs/heads/main",
                "          time by log rekor.example: 2026-11-21T12:00:00+00:00",
                "          log_index: 7",
                "          team: a",
            ],
        ),
        (
            Examination(ACCEPTED, (candidate(evidence(), "sha256-0a.sig layer 1", "cosign-classic"),)),
            ["release, cosign-classic: counts", "  sha256-0a.sig layer 1", "  by  sha256:00"],
        ),
        (
            Examination(REFUSED, (candidate(PROVEN),)),
            [
                "release, cosign-bundle: does not count",
                f"  {HERE}",
                "  why     another subject is wanted (untrusted_signer)",
                "  proven  subject: someone@example.com",
                "          issuer: https://issuer.example",
                "          log_index: 7",
            ],
        ),
        (
            Examination(REFUSED, (candidate(Rejection(Reason.MALFORMED, "no \x1b[2Jbundle"), "a\x1b\nb", "k\x07"),)),
            ["release, k?: does not count", "  a??b", "  why  no ?[2Jbundle (malformed)"],
        ),
    ],
    ids=["identity", "key", "rejected", "hostile"],
)
def test_a_candidate_is_a_block(seen, block):
    lines = shown(seen)
    assert lines[lines.index("") + 1 :] == block


def test_candidates_of_which_the_same_came_are_one_block():
    findings = [Rejection(Reason.UNTRUSTED_SIGNER, "not signed by this key", "release", str(n)) for n in range(3)]
    seen = Examination(
        REFUSED,
        (
            *(candidate(one, one.signature) for one in findings),
            candidate(findings[0], "0", signer="other"),
            candidate(PROVEN),
        ),
    )
    lines = shown(seen)
    start = lines.index("release, cosign-bundle: does not count")
    assert lines[start : start + 5] == [
        lines[start],
        "  0",
        "  1",
        "  2",
        "  why  not signed by this key (untrusted_signer)",
    ]
    assert sum(line.endswith(": does not count") for line in lines) == 3


def test_first_comes_who_signed_or_why_not():
    assert "signed by  release: someone@example.com (cosign, at 2026-11-21T12:00:00+00:00)" in shown(
        Examination(ACCEPTED)
    )
    assert "because  release: another subject is wanted (untrusted_signer)" in shown(Examination(REFUSED))
