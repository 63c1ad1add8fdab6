"""The command line: exit codes, what stands on which stream, and the form of errors."""

import importlib.abc
import inspect
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from queue import Queue

import pytest

from proxy import __version__
from proxy.__main__ import main as program
from proxy.cli import commands
from proxy.cli import main as cli
from proxy.demo.signing import SigningKey
from proxy.formats.api import UntrustedSignature
from proxy.gate import Candidate, Examination
from proxy.oci.digest import Digest
from proxy.oci.errors import UnavailableError, UnknownUpstreamError
from proxy.oci.reference import Repository
from proxy.policy import plain
from proxy.stores.database import StoreError
from proxy.verdict import Accepted, Evidence, InsecureUnverified, Reason, Refused, Rejection, Subject, Undetermined

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SUBJECT = Subject(Repository("docker.io", "library/app"), Digest.of(b"app"), "1")
EVIDENCE = Evidence("cosign", "release", "sha256-1.sig", "key 0123", NOW, (("env", "prod"),))
REJECTION = Rejection(Reason.UNTRUSTED_SIGNER, "no \x1b[2Jtrust", "release", "sha256-2.sig")
VERDICTS = {
    "accepted": Accepted(SUBJECT, "all", (EVIDENCE,), NOW),
    "insecure_unverified": InsecureUnverified(SUBJECT, "all", NOW),
    "refused": Refused(SUBJECT, "all", (REJECTION, Rejection(Reason.NOT_SIGNED, "not signed")), NOW),
    "undetermined": Undetermined(SUBJECT, "all", "the registry is away"),
}
EXITS = {"accepted": 0, "insecure_unverified": 0, "refused": 1, "undetermined": 3}


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "config.toml"
    pem = SigningKey.generate().public_pem.decode()
    file.write_text(
        f'[server]\nstate_dir = "state"\n[upstreams."docker.io"]\n[upstreams."ghcr.io"]\nusername = "u"\n'
        f'password_env = "SECRET"\n[signers.release]\ntype = "cosign-key"\nkey = """{pem}"""\n'
        '[[rules]]\nname = "all"\nimages = ["**"]\nrequire = "release"\nmode = "warn"\n'
        '[[rules]]\nname = "gone"\nimages = ["quay.io/**"]\nrequire = "refuse"\n'
    )
    return file


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    monkeypatch.delenv("SEALGATE_CONFIG", raising=False)


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = cli.run([str(one) for one in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def verify(run, config, monkeypatch):
    def call(outcome):
        sees(monkeypatch, outcome)
        return run("verify", "app:1", "--config", config)

    return call


def sees(monkeypatch, outcome):
    async def verify(settings, reference):
        assert settings.upstreams
        if isinstance(outcome, Exception):
            raise outcome
        sees.asked = str(reference)
        return outcome

    monkeypatch.setattr(commands.application, "verify", verify)


def examination(verdict):
    signature = UntrustedSignature("bundle", "sha256:5", b"")
    candidates = (Candidate("release", signature, EVIDENCE), Candidate("release", signature, REJECTION))
    return Examination(verdict, candidates, (Rejection(Reason.CORRUPT, "other bytes"),), ("the fallback tag",))


@pytest.mark.parametrize("word", VERDICTS)
def test_verify_exits_with_the_verdict(run, config, monkeypatch, word):
    sees(monkeypatch, examination(VERDICTS[word]))
    code, out, err = run("verify", "app:1", "--config", config)
    assert (code, err) == (EXITS[word], "")
    assert sees.asked == "docker.io/library/app:1"
    for text in (str(SUBJECT), word.replace("_", " "), "bundle", "other bytes", "the fallback tag"):
        assert text in out
    assert "\x1b" not in out


@pytest.mark.parametrize("word", VERDICTS)
def test_verify_prints_json(run, config, monkeypatch, word):
    sees(monkeypatch, examination(VERDICTS[word]))
    code, out, _ = run("verify", "app:1", "--config", config, "--json")
    seen = json.loads(out)
    assert code == EXITS[word]
    assert (seen["verdict"], seen["rule"], seen["image"], seen["tag"]) == (word, "all", "docker.io/library/app", "1")
    assert [one["counted"] for one in seen["candidates"]] == [True, False]
    assert seen["candidates"][0]["evidence"]["signed_at"] == plain.moment(NOW)
    assert seen["candidates"][1]["rejection"]["reason"] == "untrusted_signer"
    assert seen["unreached"] == ["the fallback tag"]
    assert len(seen["evidence"]) == (word == "accepted")
    assert len(seen["rejections"]) == 2 * (word == "refused")
    assert (seen["cause"] is not None) == (word == "undetermined")


def test_verify_without_candidates_shows_none(run, config, monkeypatch):
    sees(monkeypatch, Examination(VERDICTS["refused"]))
    assert "does not count" not in run("verify", "app:1", "--config", config)[1]


@pytest.mark.parametrize(("outcome", "code"), [("accepted", 1), ("insecure_unverified", 1), ("undetermined", 3)])
def test_verify_says_why_an_accepted_image_is_not_served(verify, outcome, code):
    seen = replace(examination(VERDICTS[outcome]), withheld="its layer 0123 is to be fetched from http://a.example")
    got, out, _ = verify(seen)
    assert got == code
    assert "not served" in out
    assert "its layer 0123 is to be fetched from http://a.example (server.external_urls)" in out


@pytest.mark.parametrize(
    ("failure", "code", "hint"),
    [
        (UnavailableError("the registry is away"), 3, None),
        (UnknownUpstreamError("registry quay.io is not configured here"), 2, "sealgate check-config"),
        (OSError("disk is full"), 2, None),
        (StoreError("state.db: is not a store"), 2, None),
    ],
)
def test_what_goes_wrong_is_an_error_and_a_hint(verify, failure, code, hint):
    got, out, err = verify(failure)
    assert (got, out) == (code, "")
    assert err.splitlines()[0] == f"sealgate: error: {failure}"
    assert ("sealgate: hint: " in err) is (hint is not None)
    assert (hint or "") in err


_IN_USE = "another program listens there, perhaps another sealgate: stop it, or give this one another port"


@pytest.mark.parametrize(
    ("failure", "lines"),
    [
        (
            OSError(28, "No space left on device", "/state"),
            ["error: /state: no space left on device", "hint: make room on this disk, or name another place"],
        ),
        (OSError(5, "input/output error"), ["error: input/output error"]),
        (
            OSError(98, "Address already in use", "server.listen 127.0.0.1:5000"),
            ["error: server.listen 127.0.0.1:5000: address already in use", f"hint: {_IN_USE}"],
        ),
        (ExceptionGroup("tasks", [OSError(98, "Address in use")]), ["error: address in use", f"hint: {_IN_USE}"]),
        (
            ExceptionGroup("tasks", [ExceptionGroup("more", [OSError(5, "One")]), OSError(6, "Two")]),
            ["error: one", "error: two"],
        ),
    ],
)
def test_errors_of_the_system_are_lines_and_hints(verify, failure, lines):
    assert verify(failure) == (2, "", "".join(f"sealgate: {line}\n" for line in lines))


@pytest.mark.parametrize("bug", [ZeroDivisionError(), ExceptionGroup("tasks", [OSError(), ZeroDivisionError()])])
def test_a_bug_crashes(verify, bug):
    with pytest.raises(type(bug)):
        verify(bug)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "missing command"),
        (["serv"], "no such command"),
        (["verify"], "missing argument"),
        (["verify", "UPPER", "--config", "CONFIG"], "UPPER"),
        (["serve", "--confg", "x"], "no such option"),
        (["serve", "--config", "/nonexistent/config.toml"], "/nonexistent/config.toml"),
        (["client-config", "rkt", "--endpoint", "http://a:1"], "rkt"),
        (["client-config", "docker"], "endpoint"),
        (["client-config", "docker", "--endpoint", "a:1"], "endpoint 'a:1' is not http"),
        (["client-config", "docker", "--endpoint", "http://a:1", "--registry", "a/b"], "not a host name"),
        (["client-config", "docker", "--endpoint", "https://a:1", "--ca", "/nonexistent"], "cannot be read"),
    ],
)
def test_usage_errors_have_our_form(run, config, arguments, says):
    code, out, err = run(*[str(config) if one == "CONFIG" else one for one in arguments])
    assert (code, out) == (2, "")
    error, hint = err.splitlines()
    assert error.startswith("sealgate: error: ")
    assert hint.startswith("sealgate: hint: ")
    assert says in error
    for line in (error, hint):
        text = line.split(": ", 2)[2]
        assert not text.endswith(".")
        assert not (text[0].isupper() and text[1].islower())


def test_every_mistake_of_a_configuration_has_its_lines(run, config):
    config.write_text('[server]\nlisten = 5\nrefuse = "x"\n')
    code, _, err = run("check-config", "--config", config)
    assert code == 2
    assert sum(line.startswith("sealgate: error: ") for line in err.splitlines()) > 1
    assert "server.listen" in err


def test_check_config_says_what_it_means(run, config):
    code, out, err = run("check-config", "--config", config)
    assert (code, err) == (0, "")
    for text in ("http://127.0.0.1:5000", "docker.io (default)", "https://ghcr.io", "quay.io/**", "release"):
        assert text in out
    assert "insecure: rule 'all': mode = \"warn\"" in out
    assert "warning: rule 'gone'" in out
    assert "hunter2" not in out


def test_check_config_prints_json(run, config):
    _, out, _ = run("check-config", "--config", config, "--json")
    read = json.loads(out)
    assert read["upstreams"]["ghcr.io"] == {
        "url": "https://ghcr.io",
        "credentials": True,
        "insecure_http": False,
        "signatures": None,
    }
    assert [rule["name"] for rule in read["rules"]] == ["all", "gone"]
    assert read["server"]["workers"] == 1
    assert read["relaxations"] == ["rule 'all': mode = \"warn\""]
    (who,) = read["signers"]["release"]["who"]
    assert who.startswith("ECDSA P-256 key sha256:")
    assert read["trust_roots"] == {}
    assert "hunter2" not in out


LIMITS = {"tag_max_stale": "10m", "accepted_max_stale": "36h", "trust_root_max_age": "90s"}


@pytest.mark.parametrize("limits", [LIMITS, {"accepted_max_stale": "7d"}, {}], ids=["all", "one", "none"])
def test_check_config_says_how_late_a_rules_answers_may_be(run, config, limits):
    written = "".join(f'{name} = "{time}"\n' for name, time in limits.items())
    config.write_text(config.read_text().replace('mode = "warn"\n', f'mode = "warn"\n{written}'))
    _, out, _ = run("check-config", "--config", config, "--json")
    told = json.loads(out)["rules"][0]
    assert {name: told[name] for name in LIMITS} == dict.fromkeys(LIMITS) | limits
    _, out, _ = run("check-config", "--config", config)
    table = out.partition("warning")[0]
    for name in LIMITS:
        assert (f"{name} {limits.get(name)}" in table, name in table) == (name in limits, name in limits)


EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


@pytest.mark.parametrize(("until", "warned"), [("2020-12-31T00:00:00Z", True), ("2999-12-31T00:00:00Z", False)])
def test_check_config_warns_of_what_expires(run, config, until, warned):
    config.write_text(config.read_text().replace('"cosign-key"', f'"cosign-key"\nvalid_until = {until}', 1))
    code, out, _ = run("check-config", "--config", config, "--json")
    assert code == 0
    expired = "signers.release.valid_until: expired at 2020-12-31T00:00:00Z: signatures without a proven time"
    assert any(one.startswith(expired) for one in json.loads(out)["warnings"]) is warned


def test_check_config_says_whose_signatures_count_and_by_which_trust_root(run):
    code, out, _ = run("check-config", "--config", str(EXAMPLE))
    assert code == 0
    for text in ("public-good", "shipped", "tuf-repo-cdn.sigstore.dev", "attests https://slsa.dev/provenance/v1"):
        assert text in out
    _, out, _ = run("check-config", "--config", str(EXAMPLE), "--json")
    read = json.loads(out)
    assert read["trust_roots"]["public-good"]["source"] in {"shipped", "refreshed"}
    assert read["signers"]["ci"]["trust_root"] == "public-good"


def test_the_configuration_may_be_named_by_the_environment(run, config, monkeypatch):
    monkeypatch.setenv("SEALGATE_CONFIG", str(config))
    assert run("check-config")[0] == 0


def test_client_config_prints_files_and_statements(run):
    code, out, err = run("client-config", "docker", "--endpoint", "http://127.0.0.1:5000")
    assert (code, err) == (0, "")
    for text in (": sealed", ": held", "==> /etc/docker/daemon.json <==", "[host]", "egress", "tcp dport 5000 accept"):
        assert text in out


def test_client_config_prints_json(run):
    _, out, _ = run("client-config", "podman", "--endpoint", "http://127.0.0.1:5000", "--registry", "ghcr.io", "--json")
    made = json.loads(out)
    assert (made["client"], made["setups"][0]["hold"]) == ("podman", "sealed")
    assert 'prefix = "ghcr.io"' in made["setups"][0]["files"][0]["content"]


def test_client_config_writes_below_a_folder(run, tmp_path):
    call = ["client-config", "containerd", "--endpoint", "http://127.0.0.1:5000", "--write", tmp_path]
    code, _, err = run(*call)
    written = tmp_path / "etc/containerd/certs.d/_default/hosts.toml"
    assert code == 0
    assert f"sealgate: wrote {written}" in err
    assert 'server = "http://127.0.0.1:5000"' in written.read_text()


def test_a_ca_is_read_from_this_machine(run, tmp_path):
    ca = tmp_path / "ca.pem"
    call = ["client-config", "docker", "--endpoint", "https://a:1", "--ca", ca]
    ca.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    assert "==> /etc/docker/certs.d/a:1/ca.crt <==" in run(*call)[1]
    ca.write_text("x" * (1024 * 1024 + 1))
    code, _, err = run(*call)
    assert code == 2
    assert "is larger than" in err


@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_version(run, flag):
    code, out, _ = run("version", *flag)
    assert code == 0
    assert __version__ in out


def test_serve_says_where_on_a_terminal_only(run, config, monkeypatch):
    def serve(load, ready):
        ready(commands.application.Addresses("http://127.0.0.1:1", "http://127.0.0.1:2"))
        assert load().server

    monkeypatch.setattr(commands.application, "serve", serve)
    assert run("serve", "--config", config) == (0, "", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert "http://127.0.0.1:2" in run("serve", "--config", config)[2]


def test_what_newcomers_try(run, config):
    assert run("--version") == run("version")
    assert run("-h") == run("--help")
    assert "Exit codes: 0 ok or accepted" in run("--help")[1]
    code, out, err = run("verify", "https://docker.io/app:1", "--config", config)
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "sealgate: error: 'https://docker.io/app:1' is a URL and no image name",
        "sealgate: hint: leave out the part up to ://",
    ]


@pytest.mark.parametrize("command", [["--help"], ["verify", "--help"], ["cache", "ls", "--help"]])
def test_no_help_names_a_type_of_a_flag(run, command):
    code, out, _ = run(*command)
    assert code == 0
    assert "--help" in out
    assert "<bool>" not in out


def test_an_interrupt_is_130(run, config, monkeypatch):
    sees(monkeypatch, KeyboardInterrupt())
    monkeypatch.setattr(commands, "load", _interrupt)
    assert run("verify", "app:1", "--config", config)[0] == 130


def _interrupt(_path):
    raise KeyboardInterrupt


def test_a_spinner_only_on_a_terminal(run, config, monkeypatch):
    sees(monkeypatch, examination(VERDICTS["accepted"]))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert "looking for signatures" in run("verify", "app:1", "--config", config)[2]


def test_what_takes_long_is_told_without_a_terminal_too(monkeypatch):
    told = Queue()
    monkeypatch.setattr(cli.render, "QUIET_SECONDS", 0)
    monkeypatch.setattr(cli.render, "note", told.put)
    with cli.render.busy("looking for signatures"):
        assert told.get(timeout=30) == "still looking for signatures"


def test_what_is_quick_is_not_told(capsys):
    with cli.render.busy("looking for signatures"):
        pass
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("command", [["-m", "proxy"], [Path(sys.executable).with_name("sealgate")]])
def test_the_program_is_there_under_both_names(command):
    program = [sys.executable, *command] if command[0] == "-m" else command
    done = subprocess.run([*program, "version"], capture_output=True, text=True, check=True, timeout=30)  # noqa: S603
    assert done.stdout.startswith(f"sealgate {__version__}")


@pytest.mark.parametrize("arguments", [["version"], ["client-config", "docker", "--endpoint", "http://a:1", "--json"]])
def test_a_reader_that_goes_away_is_no_error(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(  # noqa: S603 (our own program)
        [sys.executable, "-m", "proxy", *arguments], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=30
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_reader_that_went_away_leaves_nothing_to_flush(monkeypatch):
    class Gone(io.StringIO):
        def write(self, _text):
            raise BrokenPipeError

        def fileno(self):
            return -1

    put = []
    monkeypatch.setattr(sys, "stdout", Gone())
    monkeypatch.setattr(cli.os, "dup2", lambda *ends: put.append(ends[1]))
    assert (cli.run(["version"]), put) == (141, [-1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_program_can_be_ended_quietly_while_it_starts(number):
    """The imports are the first second; here they never end."""
    endless = "import importlib.abc, os, signal, sys, time\n" + inspect.getsource(_EndsNever) + _START
    done = subprocess.run(  # noqa: S603 (our own program)
        [sys.executable, "-c", endless, str(int(number))], capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (-number, b"", b"")


class _EndsNever(importlib.abc.MetaPathFinder):
    def find_spec(self, name, _path=None, _target=None):
        if name == "proxy.cli.main":
            os.kill(os.getpid(), int(sys.argv[1]))
            time.sleep(60)


_START = """
from proxy.__main__ import main
sys.meta_path.insert(0, _EndsNever())
main()
"""


def test_main_leaves_with_the_code(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sealgate", "verify"])
    with pytest.raises(SystemExit) as left:
        program()
    assert left.value.code == 2
    assert "missing argument" in capsys.readouterr().err


def test_no_stdout_at_all_is_no_error():
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -m proxy version >&-', sys.executable],
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("verify", "a", "b"), "too many arguments: (b)", "sealgate verify --help says what there is"),
        (("check-config", "my.toml"), "too many arguments: (my.toml)", "sealgate check-config --config my.toml"),
        (("check-config", "-f", "my.toml"), "no such option: -f", "sealgate check-config --config FILE"),
        (("-c", "my.toml", "serve"), "no such option: -c", "after the command: sealgate COMMAND --config FILE"),
        (("verify", "a", "--insecure"), "no such option: --insecure", "ca_file in [upstreams] names the registry's"),
        (("verify", "--key", "cosign.pub", "a"), "no such option: --key", "[signers.NAME]"),
        (("serve", "--port", "5000"), "no such option: --port", "listen is in the configuration, [server]"),
        (("serve", "--zzz"), "no such option: --zzz", "sealgate serve --help says what there is"),
        (("client-config",), "missing argument 'client'. Choose from: docker, containerd, podman", "--help"),
        (("client-config", "dockr"), "invalid value for 'client': 'dockr' is not one of 'docker', ", "--help"),
        (("verify", "a b", "-c"), "option '-c' requires an argument", "--help"),
        (("verify-bundle", "gone", "--bundle", "gone", "--key", "gone"), "gone: no such file", "check the path"),
        (
            ("client-config", "podman", "--endpoint", "http://0.0.0.0:5000"),
            "can be asked at none",
            "as the nodes reach it",
        ),
        (
            ("client-config", "podman", "--endpoint", "http://x"),
            "registry name 'x' needs a dot or a port",
            "as the nodes",
        ),
        (
            ("client-config", "podman", "--endpoint", "https://[::]:5000"),
            "can be asked at none",
            "as the nodes reach it",
        ),
    ],
)
def test_mistakes_on_the_command_line_are_two_lines_in_our_words(run, arguments, message, hint):
    code, out, err = run(*arguments)
    first, second = err.splitlines()
    assert (code, out) == (2, "")
    assert first.startswith("sealgate: error: ")
    assert message in first
    assert second.startswith("sealgate: hint: ")
    assert hint in second
    assert "Value error" not in err


@pytest.mark.parametrize(
    ("image", "message", "hint"),
    [
        ("Alpine", "repository name 'library/Alpine' has upper case letters", "write it in lower case"),
        ("a b", "repository name 'library/a b' breaks the pattern of names", "it may have a-z and 0-9"),
        ("alpine@sha256:abc", "does not have 64 lower-case hex digits", "write it as for docker pull"),
    ],
)
def test_names_that_are_none_say_what_a_name_may_have(run, config, image, message, hint):
    code, _, err = run("verify", image, "--config", config)
    first, second = err.splitlines()
    assert code == 2
    assert message in first
    assert hint in second


def test_a_registry_that_cannot_be_reached_says_so_without_words_of_python(run, config, tmp_path):
    text = config.read_text().replace('[upstreams."docker.io"]', '[upstreams."docker.io"]\nurl = "http://127.0.0.1:1"')
    config.write_text(text)
    code, _, err = run("verify", "alpine", "--config", config)
    assert code == 3
    assert err.splitlines() == [
        "sealgate: error: docker.io could not be reached: connection refused (127.0.0.1)",
        "sealgate: hint: check its url and ca_file in [upstreams], the proxy and the network of this machine",
    ]
