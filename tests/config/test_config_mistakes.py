"""Every mistake: where it is, what it is, and the likely fix."""

import os
from pathlib import Path

import pytest
from support.config import CATCH_ALL, RULE, SIGNER, mistakes, write
from support.tls import make_tls

from proxy.config import ConfigError, load
from proxy.config.load import CONFIG_BYTES_MAX

OTHER = SIGNER.replace("signers.release", "signers.other")
HUB = '[upstreams."docker.io"]\n'
X = '[signers.x]\ntype = "cosign-key"\n'
PRIVATE = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----"


def rule(**changes):
    keys = {"name": '"app"', "images": '["org/app"]', "require": '"release"', **changes}
    return "[[rules]]\n" + "\n".join(f"{key} = {value}" for key, value in keys.items() if value)


def with_rule(**changes):
    return SIGNER + rule(**changes)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[sever]", "sever: there is no such key (did you mean 'server'?)"),
        ("[[rule]]", "rule: there is no such key (did you mean 'rules'?)"),
        ("server = 1", "server: should be a table"),
        ("rules = 1", "rules: should be a list"),
        ("[upstreams]\nx = 1", "upstreams.x: should be a table"),
        ("[server]\nlisten_on = 1", "server.listen_on: there is no such key (did you mean 'listen'?)"),
        ("[server]\nzzz = 1", "server.zzz: there is no such key (keys here: admin_listen, "),
        ("[server]\nlisten = 5000", "server.listen: should be host and port (as in"),
        ('[server]\nlisten = ":5000"', "server.listen: should be host and port"),
        ('[server]\nlisten = "::1:5000"', "server.listen: should be host and port"),
        ('[server]\nlisten = "a:70000"', "server.listen: should be host and port"),
        ('[server]\nadmin_listen = "127.0.0.1:5000"', "server.admin_listen: is the same as listen"),
        ('[server]\nstate_dir = ""', "server.state_dir: should be a path"),
        ('[server]\nrefusal = "soft"', "server.refusal: should be 'hold' or 'plain'"),
        ('[server]\nlog_level = "all"', "server.log_level: should be 'debug', 'info', 'warning' or 'error'"),
        ("[server]\ndefault_upstream = 5", "server.default_upstream: should be a text in quotes"),
        ('[server]\ndefault_upstream = "a b"', "server.default_upstream: registry name 'a b' is not a host name"),
        ('[server]\ndefault_upstream = "docker.com"', "among the upstreams (did you mean 'docker.io'?)"),
        ('[server]\ntls_key = "a"', "server.tls_certificate: and tls_key go together"),
        ('[server]\ntls_key = "a"\ntls_certificate = "b"', "/b: no such file or directory"),
        (
            '[server]\ntls_key = "other"\ntls_certificate = "other"',
            "other has no certificate in PEM (it begins with BEGIN CERTIFICATE)",
        ),
        ("[upstreams.ghcr.io]", '(a name with a dot needs quotes: [upstreams."ghcr.io"])'),
        (HUB + 'password = "hunter2"', "(a password does not stand in the configuration:"),
        ('[upstreams."index.docker.io"]', "is not the canonical name (write 'docker.io')"),
        ('[upstreams."a_b"]', "upstreams.a_b: registry name 'a_b' is not a host name"),
        (
            HUB + 'url = "http://hub.example.com"',
            "is plain http and not loopback (use https, or set",
        ),
        (HUB + 'url = "ftp://x"', "is not an http or https URL"),
        (HUB + 'insecure_http = "yes"', '"docker.io".insecure_http: should be true or false'),
        (HUB + 'token_realms = "a"', '"docker.io".token_realms: should be a list'),
        (HUB + "token_realms = [1]", '"docker.io".token_realms[0]: should be a text'),
        (HUB + 'ca_file = "missing"', "/missing: no such file or directory"),
        (HUB + 'ca_file = "other"', "/other: has no certificate in PEM"),
        (HUB + 'username = "a"', "username needs either password_file or password_env"),
        (HUB + 'password_env = "A"', "username needs either password_file or password_env"),
        (
            HUB + 'username = "a"\npassword_env = "NOT_SET"',
            "the password in NOT_SET is empty or not",
        ),
        (HUB + 'username = "a"\npassword_file = "empty"', "/empty is empty or not there"),
        (HUB + 'username = "a"\npassword_file = "latin"', "/latin: is not UTF-8"),
        (HUB + 'username = "a"\npassword_file = "missing"', "/missing: no such file"),
        (HUB + 'username = "a:b"\npassword_file = "other"', "must not have a colon"),
        (
            "[signers.x]",
            "signers.x.type: is missing (kinds: cosign-key, cosign-keyless, github-actions, gitlab-ci, google)",
        ),
        ('[signers.x]\ntype = "cosign-kye"', "'cosign-kye' is no kind of signer (did you mean 'cosign-key'?)"),
        ("[signers.x]\ntype = 5", "signers.x.type: 5 is no kind of signer"),
        ('[signers.x]\ntype = "cosign-key"', "signers.x: needs either key_file or key (cosign public-key"),
        (X + 'key = "a"\nkey_file = "b"', "signers.x: needs either key_file or key"),
        (
            X + 'key_fil = "b"',
            "x.key_fil: there is no such key (did you mean 'key_file",
        ),
        (X + 'key_file = "missing"', "/missing: no such file or directory"),
        (X + 'key_file = "."', "is a directory"),
        (X + 'key_file = "long"', "/long: longer than 16384 bytes"),
        (X + 'key_file = "other"', "/other: one PEM block of a public key is wanted"),
        (X + 'key = "other"', "signers.x: key: one PEM block"),
        (X + f'key = """{PRIVATE}"""', "this is a private key: keep it secret"),
        (X + 'key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMe me@here"', "this is an SSH key (cosign signs with"),
        (X + 'key_file = "der"', "/der: this is DER (PEM is wanted (openssl pkey -pubin"),
        (
            with_rule(images='["ghcr.io/Org/app"]'),
            "repository name 'Org' has upper case letters (write it in lower case)",
        ),
        (with_rule(images='["ghcr.io/"]'), "repository name '' is empty"),
        ('[upstreams."Docker.io"]', "'Docker.io' is not the canonical name (write 'docker.io')"),
        (SIGNER + "annotations = { a = 1 }", "signers.release.annotations.a: should be a text"),
        (SIGNER + 'signature_repository = "a b"', "signers.release: repository name"),
        (SIGNER + 'signature_repository = "ghcr.io/a"', '.io is not among the upstreams (add [upstreams."ghcr.io"])'),
        (SIGNER.replace("release", "Release"), "signers.Release: 'Release' is no name"),
        (SIGNER.replace("release", "of"), "signers.of: 'of' is a word of the policy language"),
        (with_rule(name=None), "rules[0].name: is missing"),
        (with_rule(name='"A b"'), "rules[0].name (rule \"A b\"): 'A b' is no name for a rule"),
        (with_rule(name='"none"'), "'none' is no name for a rule"),
        (with_rule(name='"rest"'), 'rules[1].name (rule "rest"): another rule has this name (give each'),
        (with_rule(image='"a"'), "rules[0].image: there is no such key (did you mean 'images'?)"),
        (with_rule(images="[]"), 'rules[0].images (rule "app"): is empty, so that the rule never matches'),
        (with_rule(images='"a"'), 'rules[0].images: should be a list such as ["a", "b"]'),
        (with_rule(images='["a:1"]'), "rules[0].images[0] (rule \"app\"): pattern 'a:1' has a tag or a digest"),
        (
            with_rule(images='["a", "docker.io/library/a"]'),
            "is the same pattern (docker.io/library/a) as",
        ),
        (
            with_rule(images='["**"]'),
            "(rule \"rest\"): '**' is the same pattern (**) as one of rule 'app'",
        ),
        (
            with_rule(require='" "'),
            "rules[0].require (rule \"app\"): is empty (name a signer (release), or write 'refuse')",
        ),
        (with_rule(require='"release and"'), "column 12: expected the name of a signer"),
        (with_rule(require='"relase"'), "signer 'relase' is not defined (did you mean 'release'?)"),
        (
            with_rule(require='"x and release"'),
            "signer 'x' is not defined (there are: insecure_allow_",
        ),
        (OTHER + with_rule(require='"1 of (release, other)"'), "signers 'other' and 'release' want the same"),
        (with_rule(mode='"enforced"'), "rules[0].mode: should be 'enforce', 'warn' or 'audit'"),
        (with_rule(on_outage='"allow"'), "rules[0].on_outage: should be 'refuse' or 'insecure_allow'"),
        ("[lifetimes]\ntag = 60", "lifetimes.tag: should be a duration (as in"),
        ('[lifetimes]\ntag = "60"', "lifetimes.tag: should be a duration"),
        ('[lifetimes]\ntag = "1h30m"', "lifetimes.tag: should be a duration"),
        ('[lifetimes]\ntag = "0s"', "lifetimes.tag: is out of range (durations go from 1s to 30d)"),
        ('[lifetimes]\ntag = "31d"', "lifetimes.tag: is out of range"),
        ("[limits]\nverifications_at_once = 0", "limits.verifications_at_once: should be greater than or equal to 1"),
        ("[limits]\nverifications_at_once = true", "limits.verifications_at_once: should be a whole number"),
    ],
)
def test_says_where_what_and_how_to_mend_it(tmp_path, text, found):
    (tmp_path / "other").write_text("something else")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "der").write_bytes(bytes.fromhex("3059"))
    (tmp_path / "latin").write_bytes(b"\xe4")
    (tmp_path / "long").write_text("x" * 20000)
    said = mistakes(tmp_path, text, CATCH_ALL) if "rules" not in text or "[[" in text else mistakes(tmp_path, text)
    assert any(found in one for one in said), said
    assert "hunter2" not in str(said)
    assert "c2VjcmV0" not in str(said)


PRESET = '[signers.x]\ntype = "github-actions"\n'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # keys of other tools, and of other tables
        ("[server]\nport = 5000", "server.port: there is no such key (listen has host and port"),
        ('[server]\ntag = "60s"', "server.tag: there is no such key (it belongs in [lifetimes])"),
        ('[server]\nmode = "warn"', "server.mode: there is no such key (it belongs in [[rules]])"),
        ('listen = "127.0.0.1:5000"', "listen: there is no such key (it belongs in [server])"),
        (HUB + "insecure_skip_verify = true", "(certificates are always checked: ca_file names the registry's"),
        (HUB + "tls-verify = false", "(certificates are always checked: ca_file"),
        (HUB + 'token = "hunter2"', "token: there is no such key (write username with password_file or password_env)"),
        (HUB + 'prefix = "x"', "(the path is a part of url)"),
        (X + "ignore_tlog = true", "(a log entry is asked of a key by require_log = true;"),
        (X + 'public_key = "x"', "(write key for the PEM text, key_file for a path)"),
        ('[signers.x]\ntype = "cosign-keyless"\nidentity_regexp = ".*"', "subject_pattern an RE2 pattern"),
        (with_rule(signers='["release"]'), "rules[0].signers: there is no such key (write require, which names"),
        ("[cache]\nenabled = false", "(size = 0 keeps nothing)"),
        # tables and lists of tables
        ('[rules]\nname = "a"', 'rules: should be a list such as ["a", "b"] (each rule has a header of its own, in'),
        ('[[server]]\nlisten = "a:1"', "server: should be a table (write its header in single brackets: [server])"),
        ('[[upstreams]]\nname = "docker.io"', '(write its header in single brackets: [upstreams."NAME"])'),
        # words in another case, or of another tool
        ('[server]\nrefusal = "HOLD"', "should be 'hold' or 'plain' (did you mean 'hold'?)"),
        ('[server]\nlog_level = "warn"', "(did you mean 'warning'?)"),
        ("[server]\nlog_level = 10", "(config.example.toml explains every key)"),
        # addresses
        ('[server]\nlisten = "*:5000"', '"0.0.0.0:5000" is for all addresses of this machine'),
        ('[server]\nlisten = "256.1.1.1:5000"', "server.listen: has no address of this machine: '256.1.1.1'"),
        ('[server]\nlisten = "[:::]:5000"', "server.listen: has no address of this machine: ':::'"),
        # paths
        ('[server]\nstate_dir = "~/state"', "(neither ~ nor variables are replaced: write it out)"),
        ('[server]\nstate_dir = "${HOME}/state"', "(neither ~ nor variables are replaced: write it out)"),
        ("[server]\nstate_dir = 'C:\\state'", "server.state_dir: is a path of Windows"),
        ('[server]\nstate_dir = "other"', "/other is no directory (name another, or remove it)"),
        ('[server]\naudit_log = "."', "is a directory (name a file: "),
        ('[server]\naudit_log = "stdout"', "(leave it out for standard error;"),
        (X + 'key_file = "awskms:///alias/x"', "should be a file, and is a URL (nothing is fetched: save it"),
        (X + 'key_file = "fifo"', "/fifo: is a named pipe, which may never end (name a file)"),
        (HUB + 'ca_file = "fifo"', "/fifo: is a named pipe, which may never end (name a file)"),
        # certificates and keys
        ('[server]\ntls_key = "tls.crt"\ntls_certificate = "tls.key"', "(are certificate and key swapped?)"),
        ('[server]\ntls_key = "tls.key"\ntls_certificate = "der"', "/der is DER or PKCS #12 (PEM is wanted"),
        ('[server]\ntls_key = "der"\ntls_certificate = "tls.crt"', "/der is DER or PKCS #12 (PEM is wanted"),
        ('[server]\ntls_key = "other"\ntls_certificate = "tls.crt"', "/other has no private key in PEM"),
        ('[server]\ntls_key = "secret"\ntls_certificate = "tls.crt"', "/secret is encrypted (openssl pkey -in"),
        ('[server]\ntls_key = "strange.key"\ntls_certificate = "tls.crt"', "is not that of the certificate in"),
        ('[server]\ntls_key = "tls.key"\ntls_certificate = "damaged"', "(one of them is damaged)"),
        (HUB + 'ca_file = "der"', "/der: has no certificate in PEM (it is DER: openssl x509"),
        (
            X + 'key = "cosign.pub"',
            "0 are there (it begins with -----BEGIN PUBLIC KEY-----, and key_file is for a path)",
        ),
        # registries
        (HUB + 'url = "ghcr.io"', "'ghcr.io' is not an http or https URL (write https:// before the host)"),
        (HUB + 'url = "https://gh cr.io"', "has no host name between https:// and the path"),
        (HUB + 'url = "https://*.ghcr.io"', "has no host name between https:// and the path"),
        (HUB + 'url = "https://ghcr.io:x"', "is not a URL (write https://HOST or https://HOST:PORT)"),
        (HUB + 'url = "https://ghcr.io?x=1"', "(leave out what begins with ? or #)"),
        (HUB + 'username = ""\npassword_file = "other"', "username needs either password_file or password_env"),
        (HUB + 'username = "a"\npassword_env = "$TOKEN"', "password_env is the name of an environment variable ("),
        (HUB + 'username = "a"\npassword_env = ""', "password_env is the name of an environment variable ("),
        # identities
        (PRESET + 'repository = "org/app.git"', "is not of the form owner/name (without https://, .git and *)"),
        (PRESET + 'repository = "org/*"', "is not of the form owner/name (without https://, .git and *)"),
        (PRESET + 'repository = "a/b"\nworkflow = ".github/workflows/x.yml"', "is written without these folders"),
        (
            '[signers.x]\ntype = "google"\nemail = "*@example.com"',
            "is no address (patterns are for type cosign-keyless",
        ),
        # expressions and patterns
        (with_rule(require='"release && other"'), 'found \'&\' (as in "release", "release and (ci or qa)"'),
        (with_rule(require='"Release"'), "names and words in lower case"),
        (with_rule(images='["org/(a|b)"]'), "breaks the pattern of names (it may have a-z and 0-9, and between"),
        (with_rule(images='["org/a**"]'), '(as in "org/app", "ghcr.io/org/*" (one part) or "ghcr.io/**"'),
    ],
)
def test_knows_what_was_meant(tmp_path, text, found):
    for name, folder in (("tls", tmp_path), ("strange", tmp_path / "other-pair")):
        folder.mkdir(exist_ok=True)
        make_tls(folder)
        if name == "strange":
            (folder / "tls.key").rename(tmp_path / "strange.key")
    (tmp_path / "other").write_text("something else")
    (tmp_path / "der").write_bytes(bytes.fromhex("3059"))
    (tmp_path / "secret").write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMA==\n-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    (tmp_path / "damaged").write_text("-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n")
    os.mkfifo(tmp_path / "fifo")
    said = mistakes(tmp_path, text, "" if text.startswith("[rules]") else CATCH_ALL)
    assert any(found in one for one in said), said
    assert "hunter2" not in str(said)


@pytest.mark.parametrize("parts", [[], [SIGNER, RULE], ['[[rules]]\nname = "a"\nimages = ["*"]\nrequire = "refuse"']])
def test_a_rule_for_everything_is_mandatory(tmp_path, parts):
    said = mistakes(tmp_path, *parts)[-1]
    assert said.startswith("rules: no rule matches everything ('**') (add a rule for all other images:\n[[rules]]\n")
    added = said.partition("images:\n")[2].removesuffix(")")
    assert not any("no rule matches everything" in one for one in mistakes(tmp_path, *parts, added))


def test_all_mistakes_at_once(tmp_path):
    said = mistakes(
        tmp_path,
        '[server]\nlisten = 1\n[upstreams."docker.io"]\nurl = "x"\n[lifetimes]\ntag = 1\n[limits]\nx = 1',
        '[signers.x]\ntype = "y"',
        rule(require='"x or y"'),
        rule(mode="1"),
        CATCH_ALL,
    )
    places = [one.partition(":")[0] for one in said]
    assert places == [
        "server.listen",
        'upstreams."docker.io"',
        "signers.x.type",
        'rules[0].require (rule "app")',
        "rules[1].mode",
        "lifetimes.tag",
        "limits.x",
    ]


def test_a_wrong_rule_is_not_also_blamed_for_a_missing_one(tmp_path):
    assert len(mistakes(tmp_path, CATCH_ALL + 'mode = "x"')) == 1


def test_a_wrong_signer_is_not_also_undefined(tmp_path):
    said = mistakes(tmp_path, X, rule(require='"x"'), CATCH_ALL)
    assert [one.partition(":")[0] for one in said] == ["signers.x"]


def test_one_mistake_is_one_line_and_a_hint(tmp_path):
    path = write(tmp_path, "[sever]", CATCH_ALL)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: sever: there is no such key"
    assert caught.value.hint == "did you mean 'server'?"


def test_several_mistakes_are_a_list_with_their_hints(tmp_path):
    path = write(tmp_path, "[sever]\n[limit]", CATCH_ALL)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).splitlines() == [
        f"{path}: 2 mistakes",
        "  sever: there is no such key",
        "      did you mean 'server'?",
        "  limit: there is no such key",
        "      did you mean 'limits'?",
    ]
    assert caught.value.hint == "config.example.toml explains every key"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"a = ", "is not TOML: Invalid value"),
        (b"[server]\nlisten = 127.0.0.1:5000", "is not TOML: .*line 2, column"),
        (b"a = 1\na = 2", "is not TOML: Cannot overwrite a value"),
        (b"[a]\n[a]", r"is not TOML: Cannot declare \[a\] twice"),
        (b"[signers.a]\n[signers.a]", r"is not TOML: Cannot declare \[signers\.a\] twice"),
        (b"# \xff", r"is not UTF-8 \(byte 2\)"),
        (b"a = " + b"[" * 100_000, "is not TOML"),
        (b"a = " + b"1" * 5_000, "is not TOML"),
        (b"#" * (CONFIG_BYTES_MAX + 1), "longer than"),
    ],
)
def test_what_is_not_toml(tmp_path, content, found):
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=found) as caught:
        load(path)
    assert caught.value.file == path


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.toml: no such file") as caught:
        load(tmp_path / "gone.toml")
    assert "--config" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("a = 1\na = 2", "a key may stand only once in its table"),
        ("[a]\n[a]", "a table may stand only once: put its keys together"),
        ('a = "C:\\users"', "in 'single quotes' a backslash is an ordinary character"),
        ('a = "C:\\state"', "in 'single quotes' a backslash is an ordinary character"),
        ('a = "b\nc"', 'a text of more than one line stands in """three quotes"""'),
        ("server:\n  listen: x", "this is not YAML"),
        ('a = ["b" "c"]', "values of a list have a comma between them"),
        ("a = True", "texts need quotes"),
    ],
)
def test_what_was_meant_where_it_is_not_toml(tmp_path, content, hint):
    with pytest.raises(ConfigError, match="is not TOML") as caught:
        load(write(tmp_path, content))
    assert hint in caught.value.hint


def test_a_file_from_a_shell_is_read_though_it_is_a_pipe(tmp_path):
    read, written = os.pipe()
    os.write(written, f'[server]\nstate_dir = "{tmp_path}/state"\n{CATCH_ALL}'.encode())
    os.close(written)
    try:
        assert load(Path(f"/dev/fd/{read}")).rules
    finally:
        os.close(read)
