"""Signers that sign with cosign: what each kind of them wants, and what is said where it is written wrongly."""

import json
from datetime import UTC, datetime

import pytest
from support.config import CATCH_ALL, KEY, RULE, mistakes, settings
from support.sigstore.private import Sigstore

from proxy.config.trust_roots import KnownRoot
from proxy.crypto.window import Window
from proxy.demo.signing import SigningKey
from proxy.formats.cosign.identity import Identity
from proxy.formats.cosign.proof import Demands
from proxy.formats.cosign.trust_root import NO_TRUST_ROOT, TrustRoot
from proxy.stores.trust import Source

ACTIONS = "https://token.actions.githubusercontent.com"
APP = "https://github.com/org/app"
BUILD = f"{APP}/.github/workflows/build.yml@"
SHARED = "https://github.com/org/shared/.github/workflows/sign.yaml@"
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"
MAIN, TAG = "refs/heads/main", "refs/tags/v1.2"
GITLAB = "https://gitlab.com"
PIPELINE = f"{GITLAB}/group/sub/app//.gitlab-ci.yml@"
GITHUB = 'type = "github-actions"\nrepository = "org/app"'
ED25519 = SigningKey.generate("Ed25519").public_pem.decode()
KEYLESS = 'type = "cosign-keyless"\nissuer = "https://i.test"\nsubject = "a@b.test"'


def built(folder, text, *others):
    return settings(folder, *others, f"[signers.release]\n{text}", RULE)


def signer(folder, text, *others):
    return built(folder, text, *others).signers["release"]


def claims(ref=MAIN, repository=APP, **more):
    return {"source_repository_uri": repository, "source_repository_ref": ref, **more}


@pytest.mark.parametrize(
    ("text", "subject", "issuer", "says", "wanted"),
    [
        (GITHUB, BUILD + MAIN, ACTIONS, claims(), True),
        (GITHUB, BUILD + TAG, ACTIONS, claims(TAG), True),
        (GITHUB, BUILD + MAIN, "https://github.com", claims(), False),
        (GITHUB, BUILD + MAIN, ACTIONS, {}, False),
        (GITHUB, BUILD + MAIN, ACTIONS, claims(repository="https://github.com/org/other"), False),
        (GITHUB, BUILD.replace("org", "evil") + MAIN, ACTIONS, claims(), False),
        (GITHUB, BUILD.replace("github.com", "githubxcom") + MAIN, ACTIONS, claims(), False),
        (GITHUB, f"{APP}/.github/workflows/@x/y.yml@{MAIN}", ACTIONS, claims(), False),
        (GITHUB + '\nworkflow = "build.yml"', BUILD + TAG, ACTIONS, claims(TAG), True),
        (GITHUB + '\nworkflow = "other.yml"', BUILD + TAG, ACTIONS, claims(TAG), False),
        (GITHUB + f'\nworkflow = "build.yml"\nref = "{MAIN}"', BUILD + MAIN, ACTIONS, claims(), True),
        (GITHUB + f'\nworkflow = "build.yml"\nref = "{MAIN}"', BUILD + MAIN + "x", ACTIONS, claims(), False),
        (GITHUB + f'\nworkflow = "build.yml"\nref = "{MAIN}"', BUILD + MAIN, ACTIONS, claims(TAG), False),
        (GITHUB + '\nref_pattern = "refs/tags/v[0-9.]+"', BUILD + TAG, ACTIONS, claims(TAG), True),
        (GITHUB + '\nref_pattern = "refs/tags/v[0-9.]+"', BUILD + TAG, ACTIONS, claims(TAG + "-rc"), False),
        (
            GITHUB + f'\nworkflow = "org/shared/.github/workflows/sign.yaml"\nref = "{MAIN}"',
            SHARED + TAG,
            ACTIONS,
            claims(),
            True,
        ),
        (
            GITHUB + f'\nworkflow = "org/shared/.github/workflows/sign.yaml"\nref = "{MAIN}"',
            BUILD + MAIN,
            ACTIONS,
            claims(),
            False,
        ),
        (
            GITHUB + '\nclaims = { runner_environment = "github-hosted" }',
            BUILD + MAIN,
            ACTIONS,
            claims(runner_environment="github-hosted"),
            True,
        ),
        (
            GITHUB + '\nclaims = { runner_environment = "github-hosted" }',
            BUILD + MAIN,
            ACTIONS,
            claims(runner_environment="self-hosted"),
            False,
        ),
        (
            GITHUB + '\nclaim_patterns = { runner_environment = ".*-hosted" }',
            BUILD + MAIN,
            ACTIONS,
            claims(runner_environment="self-hosted"),
            True,
        ),
        (
            'type = "gitlab-ci"\nproject = "group/sub/app"',
            PIPELINE + MAIN,
            GITLAB,
            claims(repository=f"{GITLAB}/group/sub/app"),
            True,
        ),
        (
            'type = "gitlab-ci"\nproject = "group/sub"',
            PIPELINE + MAIN,
            GITLAB,
            claims(repository=f"{GITLAB}/group/sub/app"),
            False,
        ),
        (
            f'type = "gitlab-ci"\nproject = "group/sub/app"\nref = "{TAG}"',
            PIPELINE + TAG,
            GITLAB,
            claims(TAG, f"{GITLAB}/group/sub/app"),
            True,
        ),
        (
            f'type = "gitlab-ci"\nproject = "group/sub/app"\nref = "{TAG}"',
            PIPELINE + MAIN,
            GITLAB,
            claims(MAIN, f"{GITLAB}/group/sub/app"),
            False,
        ),
        ('type = "google"\nemail = "a@b.test"', "a@b.test", "https://accounts.google.com", {}, True),
        ('type = "google"\nemail = "a@b.test"', "a@b.test", "https://accounts.google.com.evil.test", {}, False),
        (KEYLESS, "a@b.test", "https://i.test", {}, True),
        (KEYLESS, "A@b.test", "https://i.test", {}, False),
        (
            'type = "cosign-keyless"\nissuer_pattern = "https://i[.]test/.+"\nsubject_pattern = ".*@b[.]test"',
            "x@b.test",
            "https://i.test/7",
            {},
            True,
        ),
        (
            'type = "cosign-keyless"\nissuer_pattern = "https://i[.]test/.+"\nsubject_pattern = ".*@b[.]test"',
            "x@b.test.evil",
            "https://i.test/7",
            {},
            False,
        ),
    ],
)
def test_whom_each_kind_wants(tmp_path, text, subject, issuer, says, wanted):  # noqa: PLR0913, PLR0917 (a table)
    failure = signer(tmp_path, text).wanted.who.check(Identity(subject, issuer, says))
    assert (failure is None) is wanted, failure


@pytest.mark.parametrize(
    ("text", "demands", "relaxations"),
    [
        (GITHUB, Demands(), ()),
        (GITHUB + "\nrequire_timestamp = true", Demands(timestamp=True), ()),
        (GITHUB + "\ninsecure_no_log = true", Demands(log=False), ("signers.release: insecure_no_log = true",)),
        (
            GITHUB + "\ninsecure_no_certificate_log = true",
            Demands(certificate_log=False),
            ("signers.release: insecure_no_certificate_log = true",),
        ),
        (
            GITHUB + "\ninsecure_allow_certificate_chain = true",
            Demands(lone_certificate=False),
            ("signers.release: insecure_allow_certificate_chain = true",),
        ),
        (f'type = "cosign-key"\nkey = """{KEY}"""\nrequire_log = true', Demands(certificate_log=False), ()),
    ],
)
def test_what_must_be_proven(tmp_path, text, demands, relaxations):
    made = built(tmp_path, text)
    assert made.signers["release"].wanted.demands == demands
    assert made.relaxations == relaxations
    assert made.trust_roots.keys() == {"public-good"}
    assert made.trust_roots["public-good"].stored.source is Source.SHIPPED


def test_a_key_may_have_been_in_use_for_a_while(tmp_path):
    end = datetime(2027, 1, 1, tzinfo=UTC)
    only_end = signer(tmp_path, f'type = "cosign-key"\nkey = """{KEY}"""\nvalid_until = 2027-01-01T01:00:00+01:00')
    assert only_end.wanted.who.window.covers(end)
    assert not only_end.wanted.who.window.covers(end.replace(second=1))
    both = "valid_from = 2026-01-01T00:00:00Z\nvalid_until = 2027-01-01T00:00:00Z"
    made = signer(tmp_path, f'type = "cosign-key"\nkey = """{KEY}"""\n{both}')
    assert made.wanted.who.window == Window(datetime(2026, 1, 1, tzinfo=UTC), end)
    assert made.wanted.root == NO_TRUST_ROOT


@pytest.mark.parametrize("hashing", ["sha256", "sha384", "sha512"])
def test_a_key_may_sign_with_another_hash(tmp_path, hashing):
    made = built(tmp_path, f'type = "cosign-key"\nkey = """{KEY}"""\nhash = "{hashing}"')
    assert made.signers["release"].wanted.who.hashing == hashing
    assert made.who["release"][0].endswith(f", signing with {hashing}")
    assert made.relaxations == ()
    usual = signer(tmp_path, f'type = "cosign-key"\nkey = """{KEY}"""')
    assert made.signers["release"].fingerprint != usual.fingerprint


@pytest.mark.parametrize("setting", ["valid_until = {}-01-01T00:00:00Z", 'hash = "sha{}"'])
def test_one_key_counts_once_whenever_and_however_it_was_in_use(tmp_path, setting):
    values = (2027, 2028) if "valid" in setting else (384, 512)
    one, other = (
        f'[signers.{name}]\ntype = "cosign-key"\nkey = """{KEY}"""\n{setting.format(value)}'
        for name, value in zip(("one", "other"), values, strict=True)
    )
    rule = RULE.replace('"release"', '"2 of (one, other)"')
    assert any("one signature would count twice" in it for it in mistakes(tmp_path, one, other, rule, CATCH_ALL))


def test_where_to_look(tmp_path):
    made = signer(tmp_path, GITHUB + '\nsignature_repository = "org/sigs"\nsignature_tag_prefix = "app-"').discovery
    assert (str(made.signature_repository), made.tag_prefix, made.attestations) == ("docker.io/org/sigs", "app-", False)
    attested = signer(tmp_path, GITHUB + '\nattestation = { predicate = "spdxjson" }')
    assert attested.discovery.attestations
    assert attested.wanted.attestation.predicate_type == "https://spdx.dev/Document"


def test_an_attestation_with_everything(tmp_path):
    made = signer(
        tmp_path,
        GITHUB
        + '\n[signers.release.attestation]\npredicate = "slsaprovenance1"\nbuilder_pattern = "https://b[.]test/.+"\n'
        'build_type = "https://t.test"\nsource = "https://github.com/org/app"\nsource_ref = "refs/heads/main"\n'
        'max_age = "7d"\nconditions = ["predicate_type.size() > 1", "true"]',
    )
    assert [type(one).__name__ for one in made.wanted.attestation.conditions] == [
        *["Stated"] * 4,
        "MaxAge",
        *["CelCondition"] * 2,
    ]


def test_the_fingerprint_covers_what_is_attested_and_the_trust_root(tmp_path):
    (tmp_path / "root.json").write_text(json.dumps(Sigstore.create().trusted_root()))
    private = '[trust_roots.private]\nfile = "root.json"'
    texts = [
        GITHUB,
        GITHUB + '\nworkflow = "x.yml"',
        GITHUB + '\nattestation = { predicate = "spdxjson" }',
        GITHUB + '\nattestation = { predicate = "spdxjson", max_age = "7d" }',
        GITHUB + '\nattestation = { predicate = "spdxjson", conditions = ["true"] }',
        GITHUB + '\nattestation = { predicate = "spdxjson", conditions = ["!false"] }',
        GITHUB + "\nrequire_timestamp = true",
        GITHUB + "\ninsecure_allow_certificate_chain = true",
        GITHUB + '\nsignature_tag_prefix = "x-"',
        GITHUB + '\ntrust_root = "private"',
    ]
    fingerprints = [signer(tmp_path, text, private).fingerprint for text in texts]
    assert len(set(fingerprints)) == len(texts)
    assert fingerprints == [signer(tmp_path, text, private).fingerprint for text in texts]


def test_another_trust_root_makes_other_rules(tmp_path):
    root = TrustRoot.parse(json.dumps(Sigstore.create().trusted_root()).encode())
    made = built(tmp_path, GITHUB, f'[signers.other]\ntype = "cosign-key"\nkey = """{KEY}"""')
    other = made.trusting("public-good", root)
    assert other.signers["release"].wanted.root == root
    assert other.signers["other"] == made.signers["other"]
    fingerprints = [[rule.fingerprint for rule in one.rules] for one in (made, other)]
    assert [a == b for a, b in zip(*fingerprints, strict=True)] == [False, True]
    assert made.trusting("unknown", root).signers == made.signers


def test_a_root_that_is_not_here_yet_proves_nothing(tmp_path):
    made = built(tmp_path, GITHUB + '\ntrust_root = "github"')
    assert made.trust_roots == {"github": KnownRoot(None, made.trust_roots["github"].repository)}
    assert made.signers["release"].wanted.root == NO_TRUST_ROOT
    assert made.warnings == ("trust_roots.github: is not here yet, and proves nothing until its first refresh",)


def test_a_repository_of_that_name_begins_with_nothing(tmp_path):
    (tmp_path / "root.json").write_text('{"signed": {"_type": "root"}}')
    table = '[trust_roots.public-good]\ntuf_url = "https://t.test/"\ntuf_root = "root.json"'
    known = built(tmp_path, GITHUB, table).trust_roots["public-good"]
    assert (known.stored, known.repository.url, known.repository.shipped) == (None, "https://t.test", None)
    assert known.repository.folder != "public-good"


def test_a_root_need_not_be_refreshed(tmp_path):
    made = built(tmp_path, GITHUB, "[trust_roots.public-good]\nrefresh = false")
    assert made.trust_roots["public-good"].repository is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('type = "github-actions"', "signers.x.repository: is missing"),
        ('type = "github-actions"\nrepository = "org"', "repository 'org' is not of the form owner/name"),
        (GITHUB + '\nworkflow = "build"', "workflow 'build' is neither a file (release.yml) nor a path"),
        (GITHUB + '\nref = "a"\nref_pattern = "b"', "ref and ref_pattern exclude each other (write one of them)"),
        (GITHUB + '\nref_pattern = "("', "the pattern '(' is not RE2's"),
        (GITHUB + '\nclaims = { who = "me" }', "'who' is no claim of a certificate (claims: build_config_digest"),
        (GITHUB + '\nclaims = { source_repository_uri = "x" }', "claim source_repository_uri is wanted twice"),
        (GITHUB + '\ntrust_root = "compny"', "trust root 'compny' is not defined (add [trust_roots.compny])"),
        (
            GITHUB + "\ninsecure_no_lgo = true",
            "signers.x.insecure_no_lgo: there is no such key (did you mean 'insecure_no_log'?)",
        ),
        (
            GITHUB + '\nattestation = { predicate = "slsa" }',
            "'slsa' is no predicate type (write its URI, or one of custom",
        ),
        (
            GITHUB + '\nattestation = { predicat = "slsa" }',
            "signers.x.attestation.predicat: there is no such key (did you mean 'predicate'?)",
        ),
        (GITHUB + '\nattestation = "spdx"', "signers.x.attestation: should be a table"),
        (GITHUB + '\nattestation = { predicate = "spdx", builder = "b" }', "has no builder that is known"),
        (GITHUB + '\nattestation = { predicate = "vuln", conditions = ["1 +"] }', "signers.x"),
        (
            GITHUB + '\nattestation = { predicate = "vuln" }\nannotations = { a = "b" }',
            "annotations are signed with signatures",
        ),
        ('type = "gitlab-ci"\nproject = "app"', "project 'app' is not of the form group/name"),
        ('type = "cosign-keyless"\nsubject = "a"', "names no issuer (write issuer, or issuer_pattern"),
        ('type = "cosign-keyless"\nissuer = "a"', "names no subject (write subject, or subject_pattern"),
        (
            f'type = "cosign-key"\nkey = """{KEY}"""\nvalid_from = "2026-01-01"',
            "signers.x.valid_from: should be a date and time with zone",
        ),
        (
            f'type = "cosign-key"\nkey = """{KEY}"""\nvalid_from = 2026-01-01T00:00:00',
            "should be a date and time with zone",
        ),
        (
            f'type = "cosign-key"\nkey = """{KEY}"""\nvalid_until = 9999-12-31T23:59:59-23:59',
            "signers.x.valid_until: is a time that no calendar has",
        ),
        (
            f'type = "cosign-key"\nkey = """{KEY}"""\nvalid_from = {LATE}\nvalid_until = {EARLY}',
            "valid_until is before valid_from, so that nothing counts (swap them)",
        ),
        (f'type = "cosign-key"\nkey = """{KEY}"""\nhash = "md5"', "signers.x.hash: "),
        (f'type = "cosign-key"\nkey = """{KEY}"""\nhash = "SHA512"', "signers.x.hash: "),
        (f'type = "cosign-key"\nkey = """{ED25519}"""\nhash = "sha512"', "this is an Ed25519 key (leave it out)"),
        (GITHUB + '\nhash = "sha512"', "signers.x.hash: "),
        (GITHUB + '\nsignature_tag_prefix = "../x?"', "signature_tag_prefix '../x?' does not fit before a tag"),
        (GITHUB + f'\nsignature_tag_prefix = "{"a" * 54}"', "does not fit before a tag"),
        *[
            (GITHUB + f'\nserver = "{server}"', f"server '{server}' is not of the form https://host")
            for server in ("https://github.com/", "github.com", "http s://x", "https://")
        ],
        ('type = "gitlab-ci"\nproject = "g/app"\nserver = "https://gitlab.com/"', "is not of the form https://host"),
    ],
)
def test_mistakes(tmp_path, text, found):
    said = mistakes(tmp_path, f"[signers.x]\n{text}", CATCH_ALL)
    assert any(found in one for one in said), said


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[trust_roots.x]", "trust_roots.x: says not where it comes from (write either file, or tuf_url and tuf_root)"),
        ('[trust_roots.x]\nfile = "absent"', "trust_roots.x: "),
        ('[trust_roots.x]\nfile = "root.json"\ntuf_url = "https://t.test"', "is a file or a TUF repository, not both"),
        ('[trust_roots.x]\ntuf_url = "https://t.test"', "says not where it comes from"),
        ('[trust_roots.public-good]\ntuf_url = "https://t.test"', "says not where it comes from"),
        ('[trust_roots.x]\nfile = "root.json"', "trust_roots.x: "),
        ('[trust_roots.x]\nflie = "root.json"', "trust_roots.x.flie: there is no such key (did you mean 'file'?)"),
        ('[trust_roots.x]\ntuf_url = "t.test"\ntuf_root = "root.json"', "tuf_url 't.test' is no URL (write it as in"),
        ('[trust_roots.x]\ntuf_url = "https://t.test"\ntuf_root = "root.json"', "is no root of a TUF repository"),
        ('[trust_roots.x]\ntuf_url = "https://t.test"\ntuf_root = "absent"', "absent: no such file"),
        ('[trust_roots."X y"]\ntuf_url = "https://t.test"\ntuf_root = "root.json"', "is no name of a trust root"),
    ],
)
def test_mistakes_in_trust_roots(tmp_path, text, found):
    (tmp_path / "root.json").write_text("{}")
    said = mistakes(tmp_path, text, CATCH_ALL)
    assert any(found in one for one in said), said


@pytest.mark.parametrize(
    ("without", "settings_of_it", "says"),
    [
        ("tlogs", "", ["no transparency log"]),
        ("tlogs", "insecure_no_log = true\n", []),
        ("ctlogs", "", ["no certificate log"]),
        ("ctlogs", "insecure_no_certificate_log = true\n", []),
        ("certificateAuthorities", "", ["no certificate authority"]),
        ("timestampAuthorities", "", []),
        ("timestampAuthorities", "require_timestamp = true\n", ["no timestamp authority"]),
    ],
)
def test_what_a_trust_root_cannot_prove_is_said(tmp_path, without, settings_of_it, says):
    (tmp_path / "root.json").write_text(json.dumps(Sigstore.create().trusted_root(**{without: []})))
    private = '[trust_roots.private]\nfile = "root.json"'
    made = built(tmp_path, f'{GITHUB}\n{settings_of_it}trust_root = "private"', private)
    assert [text for text in made.warnings if "nothing counts" in text] == [
        f"signers.release: nothing counts, for its trust root has {what}; {hint}"
        for what in says
        for hint in [made.warnings[0].partition("; ")[2]]
    ]
