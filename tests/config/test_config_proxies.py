"""`proxy` of upstreams and trust roots, and the environment where it is not given."""

import pytest
from support.config import mistakes, settings
from support.tls import make_tls
from yarl import URL

HUB = '[upstreams."docker.io"]\n'
ROOTS = '[signers.ci]\ntype = "github-actions"\nrepository = "a/b"\n'
RULE = '[[rules]]\nname = "app"\nimages = ["org/app"]\nrequire = "ci"\n'
VARIABLES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("key", "environment", "expected"),
    [
        ("", {}, None),
        ('proxy = "http://ann:s3cret@proxy.corp:3128"', {}, "http://proxy.corp:3128"),
        ('proxy = "proxy.corp:3128"', {"HTTPS_PROXY": "http://other"}, "http://proxy.corp:3128"),
        ('proxy = "proxy.corp:3128"', {"NO_PROXY": "*"}, "http://proxy.corp:3128"),
        ("", {"HTTPS_PROXY": "http://ann:s3cret@other"}, "http://other"),
        ("", {"HTTPS_PROXY": "http://other", "NO_PROXY": "docker.io,sigstore.dev"}, None),
        ('proxy = "none"', {"HTTPS_PROXY": "http://other"}, None),
    ],
)
def test_who_is_asked_through_which_proxy(tmp_path, monkeypatch, key, environment, expected):
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    made = settings(tmp_path, HUB, key, "[trust_roots.public-good]", key, ROOTS, RULE)
    hub, root = made.upstreams["docker.io"], made.trust_roots["public-good"].repository
    found = hub.proxies.for_url(URL(hub.url))
    assert (str(found.url) if found else None, root.proxy) == (expected, expected)
    assert "s3cret" not in repr(made)
    assert (root.proxy_authorization is not None) == any("s3cret" in one for one in (key, *environment.values()))


def test_client_certificates(tmp_path):
    tls = make_tls(tmp_path)
    made = settings(tmp_path, HUB, 'client_certificate = "tls.crt"\nclient_key = "tls.key"').upstreams["docker.io"]
    assert (made.client_certificate, made.client_key) == (tls.certificate, tls.key)


def test_the_registry_of_signatures_has_its_own(tmp_path):
    table = 'signatures = { url = "https://signatures.corp", proxy = "proxy.corp" }'
    made = settings(tmp_path, HUB, 'url = "https://mirror.corp"', 'proxy = "none"', table).upstreams["docker.io"]
    assert made.proxies.for_url(URL(made.url)) is None
    assert made.signatures.proxies.for_url(URL(made.signatures.url)).url == URL("http://proxy.corp")


def test_whom_a_refresh_trusts(tmp_path):
    tls = make_tls(tmp_path)
    made = settings(tmp_path, "[trust_roots.public-good]", 'ca_file = "tls.crt"', ROOTS, RULE)
    assert made.trust_roots["public-good"].repository.ca_file == tls.certificate


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (HUB + 'proxy = "socks5://ann:s3cret@a"', '"docker.io": proxy is not the URL of an HTTP proxy (write http://h'),
        (HUB + 'client_key = "absent"', '"docker.io": client_certificate and client_key go together (give both'),
        (HUB + 'client_key = "absent"\nclient_certificate = "absent"', "/absent: no such file or directory"),
        (HUB + "proxy = 1", '"docker.io".proxy: should be a text'),
        (
            "[trust_roots.public-good]\nproxy = 'ftp://ann:s3cret@a'",
            "public-good: proxy is not the URL of an HTTP proxy",
        ),
        ("[trust_roots.public-good]\nca_file = 'absent'", "public-good: "),
    ],
)
def test_mistakes(tmp_path, text, mistake):
    found = [one for one in mistakes(tmp_path, text) if mistake in one]
    assert found
    assert "s3cret" not in str(found)


def test_a_mistake_in_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://ann:s3cret@a")
    found = str(mistakes(tmp_path, HUB))
    assert "the environment variable HTTPS_PROXY is not the URL of an HTTP proxy" in found
    assert "s3cret" not in found
