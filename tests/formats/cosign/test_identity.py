"""Who a certificate names: every claim by its name, and what a policy compares."""

from dataclasses import replace

import pytest
from cryptography import x509
from support.sigstore.authority import IDENTITY, ISSUER, other_name
from support.sigstore.trial import REQUEST, SIGSTORE

from proxy.formats.cosign.identity import CLAIM_NAMES, Identity, WantedIdentity
from proxy.formats.cosign.patterns import Exact, Pattern

# fulcio, docs/oid-info.md
NAMES = {
    2: "github_workflow_trigger",
    3: "github_workflow_sha",
    4: "github_workflow_name",
    5: "github_workflow_repository",
    6: "github_workflow_ref",
    9: "build_signer_uri",
    10: "build_signer_digest",
    11: "runner_environment",
    12: "source_repository_uri",
    13: "source_repository_digest",
    14: "source_repository_ref",
    15: "source_repository_identifier",
    16: "source_repository_owner_uri",
    17: "source_repository_owner_identifier",
    18: "build_config_uri",
    19: "build_config_digest",
    20: "build_trigger",
    21: "run_invocation_uri",
    22: "source_repository_visibility_at_signing",
    23: "deployment_environment",
    24: "token_subject",
}
ANY = Pattern.parse(".*")


def read(**changes):
    return Identity.read(x509.load_der_x509_certificate(SIGSTORE.certificate(replace(REQUEST, **changes))))


def test_every_claim_has_its_name():
    claims = {number: f"value {number}" for number in NAMES}
    assert read(claims=claims).claims == {name: claims[number] for number, name in NAMES.items()}
    assert frozenset(NAMES.values()) == CLAIM_NAMES


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        (IDENTITY, IDENTITY),
        ("https://git.test/org/app/.github/workflows/a.yml@refs/heads/main",) * 2,
        ("spiffe://private.test/ci",) * 2,
        (other_name("somebody!private.test"), "somebody!private.test"),
        (other_name("j\N{LATIN SMALL LETTER O WITH DIAERESIS}rg!private.test"), "j\xf6rg!private.test"),
    ],
)
def test_names(name, subject):
    assert read(names=(name,)) == Identity(subject, ISSUER)


@pytest.mark.parametrize(("older", "newer"), [(ISSUER, ISSUER), (ISSUER, None), (None, ISSUER)])
def test_issuers(older, newer):
    assert read(issuer_v1=older, issuer=newer).issuer == ISSUER


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (WantedIdentity(Exact(ISSUER), Exact(IDENTITY)), None),
        (WantedIdentity(ANY, ANY, (("build_trigger", Exact("push")), ("runner_environment", ANY))), None),
        (WantedIdentity(Exact("x"), Exact("x")), "issuer is"),
        (WantedIdentity(ANY, Exact("x")), "subject is"),
        (WantedIdentity(ANY, ANY, (("build_trigger", Exact("x")),)), "build_trigger is 'push'"),
        (WantedIdentity(ANY, ANY, (("build_trigger", ANY), ("token_subject", ANY))), "token_subject is missing"),
    ],
)
def test_all_that_is_wanted_is_compared(wanted, says):
    failure = wanted.check(read(claims={20: "push", 11: "self-hosted"}))
    assert (failure is None) if says is None else says in failure.detail
