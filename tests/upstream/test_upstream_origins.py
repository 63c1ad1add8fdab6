"""Where requests and credentials may go: the table."""

import pytest
from yarl import URL

from proxy.oci.errors import MalformedError, UnavailableError, UpstreamDeniedError
from proxy.upstream.addresses import Place
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.origins import is_loopback, origin_of, read_origin, redirect_target, token_service

HUB = "https://registry-1.docker.io"


@pytest.mark.parametrize(
    ("registry", "realm", "allowed"),
    [
        (HUB, "https://auth.docker.io/token", True),
        (HUB, "https://docker.io/token", True),
        (HUB, "https://x.registry-1.docker.io/token", True),
        (HUB, "https://AUTH.docker.io/token", True),
        (HUB, "https://auth.docker.io:8443/token", True),
        (HUB, "https://auth.docker.io.evil.example/token", False),
        (HUB, "https://evildocker.io/token", False),
        (HUB, "https://evil.io/token", False),
        (HUB, "http://auth.docker.io/token", False),
        (HUB, "https://user@auth.docker.io/token", False),
        (HUB, "https://user:pass@auth.docker.io/token", False),
        (HUB, "ftp://auth.docker.io/token", False),
        (HUB, "/token", False),
        (HUB, "", False),
        (HUB, "https://[bad/token", False),
        (HUB, "https://127.0.0.1/token", False),
        (HUB, "https://auth%2Edocker.io/token", False),
        (HUB, "https://aut\uff48.docker.io/token", False),
        (HUB, "https://auth..docker.io/token", False),
        (HUB, "https://auth.docker.io./token", True),
        ("https://ghcr.io", "https://ghcr.io/token", True),
        ("https://ghcr.io", "https://auth.ghcr.io/token", True),
        ("https://ghcr.io", "https://other.io/token", False),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("https://foo.co.uk", "https://foo.co.uk/token", True),
        ("https://foo.co.uk", "https://bar.co.uk/token", False),
        ("https://registry.foo.co.uk", "https://auth.foo.co.uk/token", True),
        ("https://registry.foo.co.uk", "https://auth.bar.co.uk/token", False),
        ("https://127.0.0.1:5000", "https://127.0.0.1:5001/token", True),
        ("https://10.1.2.3", "https://9.1.2.3/token", False),
        ("https://10.1.2.3", "https://x.10.1.2.3/token", False),
        ("https://registry", "https://registry/token", True),
        ("https://registry", "https://auth.registry/token", False),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", True),
        ("http://127.0.0.1:5000", "https://127.0.0.1:5001/token", True),
        ("http://registry.corp.example", "http://auth.corp.example/token", False),
    ],
)
def test_token_services(registry, realm, allowed):
    if allowed:
        assert token_service(realm, URL(registry), frozenset(), plain=False) == URL(realm)
    else:
        with pytest.raises(UpstreamDeniedError, match=URL(registry).host):
            token_service(realm, URL(registry), frozenset(), plain=False)


@pytest.mark.parametrize(
    ("realm", "realms", "plain", "allowed"),
    [
        ("https://login.example/t", {"login.example"}, False, True),
        ("https://login.example:8443/t", {"login.example:8443"}, False, True),
        ("https://login.example/t", {"login.example:8443"}, False, False),
        ("https://x.login.example/t", {"login.example"}, False, False),
        ("http://login.example/t", {"login.example"}, False, False),
        ("http://login.example/t", {"login.example"}, True, True),
    ],
)
def test_listed_token_services(realm, realms, plain, allowed):
    registry = URL("http://registry.corp.example" if plain else "https://registry.corp.example")
    if allowed:
        assert token_service(realm, registry, realms, plain=plain) == URL(realm)
    else:
        with pytest.raises(UpstreamDeniedError):
            token_service(realm, registry, realms, plain=plain)


@pytest.mark.parametrize(
    ("registry", "location", "leads"),
    [
        (HUB, "https://cdn.example/x?sig=a%2Fb", "https://cdn.example/x?sig=a%2Fb"),
        (HUB, "/other?x=%20", f"{HUB}/other?x=%20"),
        (HUB, "other", f"{HUB}/v2/other"),
        (HUB, "//cdn.example/x", "https://cdn.example/x"),
        (HUB, "https://1.1.1.1/x", "https://1.1.1.1/x"),
        (HUB, "http://cdn.example/x", None),
        (HUB, "http://registry-1.docker.io/x", None),
        (HUB, "https://localhost/x", None),
        (HUB, "https://LOCALHOST./x", None),
        (HUB, "https://x.localhost/x", None),
        (HUB, "https://127.0.0.1/x", None),
        (HUB, "https://127.1/x", None),
        (HUB, "https://2130706433/x", None),
        (HUB, "https://0x7f000001/x", None),
        (HUB, "https://1.0x7f/x", None),
        (HUB, "https://[::1]/x", None),
        (HUB, "https://[::ffff:127.0.0.1]/x", None),
        (HUB, "https://[fe80::1]/x", None),
        (HUB, "https://[fd00::1]/x", None),
        (HUB, "https://0.0.0.0/x", None),
        (HUB, "https://10.0.0.1/x", None),
        (HUB, "https://100.64.0.1/x", None),
        (HUB, "https://169.254.169.254/latest/meta-data", None),
        (HUB, "https://minio.corp:9000@evil.example/x", None),
        (HUB, "https:///x", f"{HUB}/x"),
        (HUB, "file:///etc/passwd", None),
        (HUB, "https://[::]/x", None),
        (HUB, "https://[::ffff:0:0]/x", None),
        (HUB, "https://[64:ff9b::a9fe:a9fe]/x", None),
        (HUB, "https://[64:ff9b::808:808]/x", "https://[64:ff9b::808:808]/x"),
        (HUB, "https://[2002:a00:1::1]/x", None),
        (HUB, "https://[fe80::1%25eth0]/x", None),
        (HUB, "https://[2606:4700::1%25eth0]/x", None),
        (HUB, "https://127.0.0.1./x", None),
        (HUB, "https://127%2E0.0.1/x", None),
        (HUB, "https://%31%32%37.0.0.1/x", None),
        (HUB, "https://local%68ost/x", None),
        (HUB, "https://cdn..example/x", None),
        (HUB, "https://xn--cdn-9z0a.example/x", "https://xn--cdn-9z0a.example/x"),
        (HUB, "https://a_b.example/x", "https://a_b.example/x"),
        (HUB, "https://cdn.example/é", None),
        (HUB, "https://cdn.example/a b", None),
        (HUB, "https://cdn.example:0x50/", None),
        (HUB, "", None),
        ("http://127.0.0.1:5000", "http://127.0.0.1:6000/x", "http://127.0.0.1:6000/x"),
        ("http://127.0.0.1:5000", "http://[::1]:6000/x", "http://[::1]:6000/x"),
        ("http://127.0.0.1:5000", "https://cdn.example/x", "https://cdn.example/x"),
        ("http://127.0.0.1:5000", "http://cdn.example/x", None),
        ("http://127.0.0.1:5000", "http://169.254.169.254/x", None),
        ("https://10.0.0.1", "https://10.0.0.2/x", "https://10.0.0.2/x"),
        ("https://10.0.0.1", "https://127.0.0.1/x", None),
        ("https://10.0.0.1", "https://127.1/x", None),
        ("https://10.0.0.1", "https://0.0.0.0/x", None),
        ("https://10.0.0.1", "https://0x7f.1/x", None),
        ("https://10.0.0.1", "https://[::ffff:10.0.0.2]/x", "https://[::ffff:10.0.0.2]/x"),
        ("https://169.254.0.1", "https://169.254.169.254/x", None),
        ("https://169.254.0.1", "https://169.254.0.1/x", "https://169.254.0.1/x"),
    ],
)
def test_redirects(registry, location, leads):
    origin = URL(registry)
    if leads is None:
        with pytest.raises(UnavailableError, match=r"redirects to"):
            redirect_target(origin / "v2/", location, origin, frozenset(), plain=False)
    else:
        assert str(redirect_target(origin / "v2/", location, origin, frozenset(), plain=False)) == leads


@pytest.mark.parametrize(
    ("registry", "location", "hosts", "plain", "allowed"),
    [
        ("https://registry.corp.example", "https://10.0.0.9:9000/x", {"10.0.0.9"}, False, True),
        ("https://registry.corp.example", "https://10.0.0.9:9000/x", {"10.0.0.9:9000"}, False, True),
        ("https://registry.corp.example", "https://10.0.0.9:9001/x", {"10.0.0.9:9000"}, False, False),
        ("https://registry.corp.example", "http://10.0.0.9/x", {"10.0.0.9"}, True, False),
        ("http://registry.corp.example", "http://storage.corp.example/x", set(), True, True),
        ("http://registry.corp.example", "http://storage.corp.example/x", set(), False, False),
    ],
)
def test_redirects_that_are_configured(registry, location, hosts, plain, allowed):
    origin = URL(registry)
    if allowed:
        assert str(redirect_target(origin, location, origin, hosts, plain=plain)) == location
    else:
        with pytest.raises(UnavailableError):
            redirect_target(origin, location, origin, hosts, plain=plain)


@pytest.mark.parametrize(
    ("current", "place", "allowed"),
    [
        ("https://10.0.0.1", None, True),
        ("https://cdn.example", None, False),
        ("https://cdn.example", Place.PRIVATE, True),
        ("https://cdn.example", Place.LOOPBACK, False),
    ],
)
def test_the_server_that_redirects_decides_not_the_registry(current, place, allowed):
    registry = URL("https://10.0.0.1")
    try:
        redirect_target(URL(current), "https://10.0.0.9/x", registry, frozenset(), plain=False, place=place)
    except UnavailableError:
        assert not allowed
    else:
        assert allowed


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104
        ("registry.example", False),
    ],
)
def test_loopback(host, loopback):
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("url", [HUB, f"{HUB}/", "http://127.0.0.1:5000", "https://[::1]:5000", "HTTPS://Ghcr.io:443"])
def test_urls_of_registries(url):
    assert read_origin(url) == URL(str(URL(url).origin()))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://ghcr.io:443", "https://ghcr.io/v2/", True),
        ("http://127.0.0.1:80", "http://127.0.0.1/v2/", True),
        ("https://GHCR.io", "https://ghcr.io:443/v2/?n=1", True),
        ("https://ghcr.io:80", "https://ghcr.io", False),
        ("http://ghcr.io", "https://ghcr.io", False),
        ("https://ghcr.io", "https://ghcr.io:8443", False),
        ("https://ghcr.io", "https://ghcr.io.example", False),
    ],
)
def test_origins(one, other, same):
    """Else a registry that is configured with its default port is taken for another when it asks for a token."""
    assert (read_origin(one) == origin_of(URL(other))) is same


@pytest.mark.parametrize(
    "url",
    [
        "ghcr.io",
        "ftp://ghcr.io",
        "https://",
        "https://a:b@ghcr.io",
        "https://a@ghcr.io",
        f"{HUB}?x=y",
        f"{HUB}?",
        "http://127.1:5000",
        "http://0x7f.0.0.1:5000",
        "https://2130706433",
        f"{HUB}#x",
        "https://[x",
    ],
)
def test_what_is_no_url_of_a_registry(url):
    with pytest.raises(MalformedError):
        read_origin(url)


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"name": "docker.io", "url": HUB}, None),
        ({"name": "ghcr.io", "url": "https://ghcr.io"}, None),
        ({"name": "demo.test", "url": "http://127.0.0.1:5000"}, None),
        ({"name": "corp.test", "url": "http://registry.corp", "insecure_http": True}, None),
        ({"name": "corp.test", "url": "http://registry.corp"}, "set insecure_http"),
        ({"name": "corp.test", "url": HUB, "redirect_hosts": {"a.corp", "A.corp:9000", "10.0.0.7:9000"}}, None),
        ({"name": "corp.test", "url": HUB, "token_realms": {"fd00::1", "[fd00::1]", "[fd00::1]:9000"}}, None),
        (
            {"name": "corp.test", "url": HUB, "redirect_hosts": {"https://a.corp"}},
            "redirect_hosts: 'https://a.corp' is",
        ),
        ({"name": "corp.test", "url": HUB, "redirect_hosts": {"a.corp/path"}}, "is not a host"),
        ({"name": "corp.test", "url": HUB, "redirect_hosts": {"*.corp"}}, "is not a host"),
        ({"name": "corp.test", "url": HUB, "token_realms": {""}}, "token_realms: '' is not a host"),
        ({"name": "corp.test", "url": HUB, "token_realms": {"a.corp:port"}}, "is not a host"),
        ({"name": "corp.test", "url": HUB, "token_realms": {"[fd00::1]x"}}, "is not a host"),
        ({"name": "corp.test", "url": HUB, "token_realms": {"10.0.0.0/8"}}, "is not a host"),
        ({"name": "index.docker.io", "url": HUB}, "write 'docker.io'"),
        ({"name": "a/b", "url": HUB}, "is not a host name"),
        ({"name": "ghcr.io", "url": "ghcr.io"}, "not an http or https URL"),
    ],
)
def test_endpoints(members, text):
    if text is None:
        assert Endpoint(**members).name == members["name"]
    else:
        with pytest.raises(MalformedError, match=text):
            Endpoint(**members)
