"""The set-up of a fresh clone: which package index it asks, and to whom it shows that index's credentials."""

import http.server
import importlib.util
import ssl
import subprocess
import sys
import threading
import urllib.error
from base64 import b64encode
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "tools" / "bootstrap.py")
bootstrap = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(bootstrap)

CORP = "https://packages.example/simple"


@pytest.fixture
def home(tmp_path, monkeypatch):
    read = bootstrap.configparser.RawConfigParser.read

    def without_the_machines(parser, files, encoding):
        return read(parser, [file for file in files if not str(file).startswith("/etc/")], encoding)

    monkeypatch.setattr(bootstrap.configparser.RawConfigParser, "read", without_the_machines)
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "index"),
    [
        ({}, bootstrap.PYPI),
        ({"PIP_INDEX_URL": CORP}, CORP),
        ({"PIP_INDEX_URL": f" {CORP}/ "}, CORP),
        ({"PIP_INDEX_URL": ""}, bootstrap.PYPI),
        ({"UV_INDEX_URL": CORP}, CORP),
        ({"UV_DEFAULT_INDEX": CORP}, CORP),
        ({"PIP_INDEX_URL": CORP, "UV_INDEX_URL": "https://other.example"}, CORP),
    ],
)
def test_the_environment_names_the_index(home, environment, index):
    assert bootstrap.configured_index(environment, home) == index


@pytest.mark.parametrize("place", [".pip/pip.conf", ".config/pip/pip.conf", "elsewhere.conf"])
@pytest.mark.parametrize(
    ("content", "index"),
    [
        (f"[global]\nindex-url = {CORP}/\n", CORP),
        (f"[global]\nindex-url = https://other.example\n[install]\nindex-url = {CORP}\n", CORP),
        ("[global]\ntimeout = 60\n", bootstrap.PYPI),
        (
            "[global]\nindex-url = https://me:50%25@packages.example/simple\n",
            "https://me:50%25@packages.example/simple",
        ),
    ],
)
def test_the_configuration_of_pip_names_the_index(home, place, content, index):
    (home / place).parent.mkdir(parents=True, exist_ok=True)
    (home / place).write_text(content)
    environment = {"PIP_CONFIG_FILE": str(home / "elsewhere.conf")} if place == "elsewhere.conf" else {}
    assert bootstrap.configured_index(environment, home) == index
    assert bootstrap.configured_index({"PIP_INDEX_URL": "https://first.example"}, home) == "https://first.example"
    assert bootstrap.configured_index({"PIP_CONFIG_FILE": "/dev/null"}, home) == bootstrap.PYPI


def test_a_configuration_of_pip_that_cannot_be_read_is_one_clear_error(home):
    (home / ".pip").mkdir()
    (home / ".pip/pip.conf").write_text("no section\n")
    with pytest.raises(SystemExit) as ended:
        bootstrap.configured_index({}, home)
    assert str(ended.value).startswith("sealgate: error: the configuration of pip cannot be read")
    assert "sealgate: hint: " in str(ended.value)


@pytest.fixture
def index():
    """A server that keeps the Authorization headers and answers with the path, a redirect, or nothing at all."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            found = not self.path.startswith("/away")
            body = self.path.encode() if found else b""
            self.send_response(200 if found else 302)
            if not found:
                self.send_header("Location", "/here")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


def test_credentials_in_the_address_are_sent_as_basic_and_not_along_with_a_redirect(index, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    address, seen = index
    expected = "Basic " + b64encode(b"me:s3:cret").decode()
    assert bootstrap.fetch(f"http://me:s3%3Acret@{address}/uv/") == (f"http://{address}/uv/", b"/uv/")
    assert bootstrap.fetch(f"http://me:s3%3Acret@{address}/away")[1] == b"/here"
    assert bootstrap.fetch(f"http://{address}/uv/")[1] == b"/uv/"
    assert seen == [expected, expected, None, None]


@pytest.mark.parametrize(("url", "tries"), [("https://packages.example", 2), ("https://me:secret@packages.example", 1)])
def test_credentials_are_never_shown_to_a_server_that_cannot_be_authenticated(monkeypatch, url, tries):
    contexts = []

    def unknown_authority(_request, *, timeout, context=None):
        assert timeout
        contexts.append(context)
        raise urllib.error.URLError(ssl.SSLCertVerificationError("unknown authority"))

    monkeypatch.setattr(bootstrap.urllib.request, "urlopen", unknown_authority)
    with pytest.raises(urllib.error.URLError):
        bootstrap.fetch(url)
    assert len(contexts) == tries
    assert contexts[0] is None


@pytest.mark.parametrize(
    ("href", "target"),
    [
        ("../../files/uv.whl", "https://me:secret@packages.example/files/uv.whl"),
        ("https://packages.example/uv.whl", "https://me:secret@packages.example/uv.whl"),
        ("https://elsewhere.example/uv.whl", "https://elsewhere.example/uv.whl"),
        ("http://packages.example/uv.whl", "http://packages.example/uv.whl"),
        ("https://packages.example:8443/uv.whl", "https://packages.example:8443/uv.whl"),
    ],
)
def test_a_file_gets_the_credentials_of_the_index_only_at_the_same_origin(href, target):
    own = "https://me:secret@packages.example/simple"
    assert bootstrap._beside(own, "https://packages.example/simple/uv/", href) == target


@pytest.mark.parametrize("index", [bootstrap.PYPI, CORP])
@pytest.mark.parametrize(("certificates", "trusted"), [(["company.pem"], "true"), ([], None)])
def test_the_authorities_of_the_machine_are_trusted_where_it_has_any(
    monkeypatch, tmp_path, index, certificates, trusted
):
    """Behind a company's proxy that opens TLS, only the machine knows the authority."""
    for name in certificates:
        (tmp_path / name).touch()
    paths = ssl.get_default_verify_paths()._replace(cafile=None, capath=str(tmp_path))
    monkeypatch.setattr(bootstrap.ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.delenv("UV_SYSTEM_CERTS", raising=False)
    seen = []
    monkeypatch.setattr(bootstrap, "_run", lambda _command, environment: seen.append(environment))
    bootstrap.install_packages(Path("uv"), tmp_path, index, dev=False)
    assert {one.get("UV_SYSTEM_CERTS") for one in seen} == {trusted}


def test_an_index_that_is_away_is_one_clear_error_without_its_password(tmp_path):
    done = subprocess.run(  # noqa: S603 (the script of this project)
        [sys.executable, ROOT / "tools" / "bootstrap.py", tmp_path / "venv"],
        env={"PIP_INDEX_URL": "http://me:secret@127.0.0.1:1/simple", "HOME": str(tmp_path), "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    first, second, third = done.stderr.splitlines()
    assert first.startswith("sealgate: setting up ")
    assert second == (
        "sealgate: error: the package index http://127.0.0.1:1/simple cannot be used: [Errno 111] Connection refused"
    )
    assert third.startswith("sealgate: hint: ")
    assert "secret" not in done.stderr
    assert not (tmp_path / "venv").exists()
