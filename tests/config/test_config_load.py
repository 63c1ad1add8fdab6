"""What a configuration becomes, and that the example is one."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from support.config import CATCH_ALL, KEY, RULE, SIGNER, mistakes, new_key, settings
from support.policy import NOW

from proxy.config import load
from proxy.config.attestations import AttestationTable
from proxy.config.doubts import TRUST_ROOT_AGE_USUAL
from proxy.config.load import KINDS
from proxy.config.schema import Address, Cache, File, LifetimeTable, Limits, RuleTable, Server, Upstream
from proxy.config.trust_roots import TrustRootTable
from proxy.formats.cosign.proof import NO_DEMANDS
from proxy.front.external import ExternalUrls
from proxy.front.refusals import Form
from proxy.oci.reference import Repository
from proxy.policy.evaluate import Lifetimes
from proxy.policy.model import Mode, OnOutage, Refuse
from proxy.stores.trust_refresh import INTERVAL_SECONDS

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


def test_defaults(tmp_path):
    made = settings(tmp_path)
    assert (str(made.server.listen), str(made.server.admin_listen)) == ("127.0.0.1:5000", "127.0.0.1:5001")
    assert made.server.refusal is Form.HOLD
    assert made.server.state_dir == Path("/var/lib/sealgate")
    assert {name: one.url for name, one in made.upstreams.items()} == {"docker.io": "https://registry-1.docker.io"}
    assert (made.tag_lifetime, made.lifetimes) == (timedelta(seconds=60), Lifetimes())
    assert [rule.require for rule in made.rules] == [Refuse()]
    assert (made.warnings, made.relaxations) == ((), ())


def test_the_example_is_a_configuration():
    made = load(EXAMPLE)
    assert made.warnings == ()
    assert made.server == Server(state_dir=str(made.server.state_dir))
    assert (made.lifetimes, made.cache, made.limits) == (Lifetimes(), Cache(), Limits())
    assert made.rules.match(Repository.parse("ghcr.io/example/a/b")).name == "company"
    assert made.rules.match(Repository.parse("ghcr.io/example/sandbox/b")).mode is Mode.WARN


TABLES = [
    File,
    Server,
    Upstream,
    TrustRootTable,
    AttestationTable,
    RuleTable,
    LifetimeTable,
    Cache,
    Limits,
    *KINDS.values(),
]


@pytest.mark.parametrize("table", TABLES)
def test_the_example_explains_every_key(table):
    text = EXAMPLE.read_text()
    for key in table.model_fields:
        assert re.search(rf"^(# )?({key} = |\[+([a-z.]+\.)?{key}\b)", text, re.MULTILINE), key


# A commented table, with its header and its keys; or one commented key of a table that is there.
COMMENTED = re.compile(r"^# \[.*(?:\n# .*)*|^# [a-z_]+ = .*$", re.MULTILINE)
# What such a key may be refused for: a file, a variable or a partner that is not there, or one that it excludes.
EXCUSES = "no such file|go together|needs either|exclude each other|not both|no rule asks"


def test_what_the_example_comments_out_is_right_too(tmp_path):
    text = EXAMPLE.read_text()
    found = [match.group() for match in COMMENTED.finditer(text)]
    assert len(found) > 45
    for part in found:
        plain = "\n".join(
            line.removeprefix("# ") if re.match(r"# (\[|[a-z_]+ = )", line) else line for line in part.splitlines()
        )
        for mistake in mistakes(tmp_path, text.replace(part, plain)):
            assert re.search(EXCUSES, mistake), mistake


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ('"0B"', 0),
        ("0", 0),
        ('"7KiB"', 7168),
        ('"500MiB"', 500 * 2**20),
        ('"20GiB"', 20 * 2**30),
        ('"1TiB"', 2**40),
        ('"1048576TiB"', 2**60),
    ],
)
def test_sizes(tmp_path, text, size):
    assert settings(tmp_path, f"[cache]\nsize = {text}").cache == Cache(size=size and text.strip('"'))
    assert settings(tmp_path, f"[cache]\nsize = {text}").cache.size == size


@pytest.mark.parametrize(
    "text", ["1", "false", '"20"', '"20GB"', '"20 GiB"', '"1.5GiB"', '"-1GiB"', '""', '"1048577TiB"', "20.0", '"٣GiB"']
)
def test_what_is_no_size(tmp_path, text):
    (mistake,) = mistakes(tmp_path, f"[cache]\nsize = {text}", CATCH_ALL)
    assert mistake.startswith("cache.size")


def test_server(tmp_path):
    made = settings(
        tmp_path,
        '[server]\nlisten = "[::1]:0"\nadmin_listen = "localhost:0"\nstate_dir = "state"\nrefusal = "plain"\n'
        'default_upstream = "GHCR.io"\nlog_level = "debug"\n[upstreams."ghcr.io"]',
    )
    assert made.server.listen == Address("::1", 0)
    assert str(made.server.listen) == "[::1]:0"
    assert made.server.state_dir == tmp_path / "state"
    assert made.server.refusal is Form.PLAIN
    assert made.server.default_upstream == "ghcr.io"
    assert made.warnings == ()


@pytest.mark.parametrize(
    ("text", "kind", "relaxations"),
    [
        ("", ExternalUrls.REFUSE, ()),
        ('external_urls = "refuse"', ExternalUrls.REFUSE, ()),
        (
            'external_urls = "insecure_allow"',
            ExternalUrls.INSECURE_ALLOW,
            ('server.external_urls = "insecure_allow"',),
        ),
    ],
)
def test_content_that_is_fetched_elsewhere(tmp_path, text, kind, relaxations):
    made = settings(tmp_path, f"[server]\n{text}")
    assert made.server.external_urls is kind
    assert made.relaxations == relaxations


def test_external_urls_has_no_other_value(tmp_path):
    (mistake,) = mistakes(tmp_path, '[server]\nexternal_urls = "allow"', CATCH_ALL)
    assert mistake.startswith("server.external_urls")


def test_tls(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "proxy")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), NOW, NOW)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    (tmp_path / "tls.crt").write_bytes(certificate)
    (tmp_path / "tls.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    given = '[server]\nlisten = "0.0.0.0:443"\ntls_certificate = "tls.crt"\ntls_key = "tls.key"'
    made = settings(tmp_path, given, '[upstreams."docker.io"]\nca_file = "tls.crt"')
    assert made.server.tls_certificate == tmp_path / "tls.crt"
    assert made.upstreams["docker.io"].ca_file == tmp_path / "tls.crt"
    assert made.warnings == ()
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    (tmp_path / "tls.key").write_bytes(encrypted)
    (mistake,) = mistakes(tmp_path, given, CATCH_ALL)
    assert "is encrypted" in mistake


def test_signers_and_rules(tmp_path):
    (tmp_path / "ci.pub").write_text(new_key())
    made = settings(
        tmp_path,
        SIGNER,
        '[signers.ci]\ntype = "cosign-key"\nkey_file = "ci.pub"\nannotations = { stage = "prod" }\n'
        'signature_repository = "org/signatures"',
        '[[rules]]\nname = "app"\nimages = ["org/app", "org/app-*"]\nrequire = "1 of (release, ci)"\nmode = "audit"\n'
        'on_outage = "insecure_allow"',
    )
    rule = made.rules.match(Repository.parse("org/app-x"))
    assert (rule.name, str(rule.require), rule.mode) == ("app", "1 of (release, ci)", Mode.AUDIT)
    assert rule.on_outage is OnOutage.INSECURE_ALLOW
    assert rule.signers.keys() == {"release", "ci"}
    assert rule.signers["ci"] == made.signers["ci"]
    assert made.signers["ci"].wanted.annotations == (("stage", "prod"),)
    assert made.signers["ci"].discovery.signature_repository == Repository.parse("org/signatures")
    assert made.signers["ci"].wanted.demands == NO_DEMANDS
    assert rule.signers["release"].wanted.who.key != rule.signers["ci"].wanted.who.key


def test_one_key_under_two_names_is_fine_where_nothing_is_counted(tmp_path):
    stage = f'[signers.stage]\ntype = "cosign-key"\nkey = """{KEY}"""\nannotations = {{ stage = "prod" }}'
    assert settings(tmp_path, SIGNER, stage, RULE.replace('"release"', '"release and stage"')).signers


def test_upstreams(tmp_path, monkeypatch):
    monkeypatch.setenv("REGISTRY_PASSWORD", "from-environment")
    (tmp_path / "password").write_text("from-file\n")
    made = settings(
        tmp_path,
        '[upstreams."docker.io"]\nusername = "robot"\npassword_file = "password"',
        '[upstreams."ghcr.io"]\nusername = "robot"\npassword_env = "REGISTRY_PASSWORD"\ntoken_realms = ["login.io"]\n'
        'redirect_hosts = ["10.0.0.1:9000"]\ndenied_is_absent = false',
        '[upstreams."registry.intern:5000"]\nurl = "http://10.0.0.1:5000"\ninsecure_http = true',
    )
    hub, ghcr, intern = made.upstreams.values()
    assert (hub.credentials.password, ghcr.credentials.password) == ("from-file", "from-environment")
    assert (ghcr.url, ghcr.token_realms, ghcr.redirect_hosts) == ("https://ghcr.io", {"login.io"}, {"10.0.0.1:9000"})
    assert [one.denied_is_absent for one in (hub, ghcr, intern)] == [True, False, True]
    assert (intern.name, intern.url) == ("registry.intern:5000", "http://10.0.0.1:5000")
    assert made.relaxations == ('upstreams."registry.intern:5000": insecure_http = true',)
    assert "from-" not in repr(made)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("90s", 90), ("10m", 600), ("24h", 86400), ("7d", 604800), ("30d", 2592000)]
)
def test_durations(tmp_path, text, seconds):
    made = settings(tmp_path, f'[lifetimes]\ntag = "{text}"\naccepted = "{text}"\nrefused = "{text}"')
    duration = timedelta(seconds=seconds)
    assert (made.tag_lifetime, made.lifetimes) == (duration, Lifetimes(duration, duration))


def test_every_relaxation_is_listed(tmp_path):
    """A39: a mode or an exception that nobody remembers."""
    rules = [
        '[[rules]]\nname = "a"\nimages = ["a"]\nrequire = "insecure_allow_unverified"',
        '[[rules]]\nname = "b"\nimages = ["b"]\nrequire = "release"\nmode = "warn"\non_outage = "insecure_allow"',
        '[[rules]]\nname = "c"\nimages = ["c"]\nrequire = "release"\nmode = "enforce"\non_outage = "refuse"',
    ]
    assert settings(tmp_path, SIGNER, *rules).relaxations == (
        "rule 'a': require = \"insecure_allow_unverified\"",
        "rule 'b': on_outage = \"insecure_allow\"",
        "rule 'b': mode = \"warn\"",
    )


@pytest.mark.parametrize(
    ("parts", "warning"),
    [
        (['[server]\nlisten = "0.0.0.0:5000"'], "server.listen: reachable from other machines without TLS"),
        (['[server]\nadmin_listen = "[::]:5001"'], "server.admin_listen: status page and metrics are reachable"),
        ([SIGNER], "signers.release: no rule asks for this signer"),
        ([SIGNER, RULE.replace("org/app", "ghcr.io/a/*")], "rule 'app': ghcr.io/a/* never matches: registry ghcr.io"),
    ],
)
def test_warnings(tmp_path, parts, warning):
    (found,) = settings(tmp_path, *parts).warnings
    assert found.startswith(warning)


def test_what_a_rule_bounds_in_an_outage(tmp_path):
    text = RULE + 'tag_max_stale = "10m"\naccepted_max_stale = "7d"\ntrust_root_max_age = "14d"\n'
    app, rest = settings(tmp_path, SIGNER, text).rules
    assert (app.tag_max_stale, app.accepted_max_stale, app.trust_root_max_age) == (
        timedelta(minutes=10),
        timedelta(days=7),
        timedelta(days=14),
    )
    assert (rest.tag_max_stale, rest.accepted_max_stale, rest.trust_root_max_age) == (timedelta(0), timedelta(0), None)


KEYLESS = '[signers.release]\ntype = "cosign-keyless"\nissuer = "https://a.example"\nsubject = "b"\n'


@pytest.mark.parametrize(
    ("signer", "age", "warned"),
    [
        (KEYLESS, "2d", None),
        (KEYLESS, "47h", "trust_root_max_age is less than 2d: trust roots are refreshed once a day"),
        (SIGNER, "2d", "trust_root_max_age limits nothing, for none of its signers relies on a trust root"),
    ],
)
def test_a_limit_on_the_trust_root_that_makes_no_sense(tmp_path, signer, age, warned):
    made = settings(tmp_path, signer, RULE, f'trust_root_max_age = "{age}"')
    found = [text for text in made.warnings if "trust_root_max_age" in text]
    assert [warned is not None] * len(found) == [text.startswith(f"rule 'app': {warned}") for text in found]
    assert len(found) == (warned is not None)


def test_what_is_usual_is_two_refreshes():
    assert TRUST_ROOT_AGE_USUAL.total_seconds() == 2 * INTERVAL_SECONDS
