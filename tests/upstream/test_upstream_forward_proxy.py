"""Forward proxies: the environment as Go reads it, a setting of each upstream, and nothing else of the environment."""

import time

import pytest
from support.faulty import Reply, faulty
from support.forward import forward
from support.tls import make_tls
from support.upstreams import REGISTRY, REPOSITORY, MadeTime, upstream_at
from yarl import URL

from proxy.demo.images import image
from proxy.oci.errors import MalformedError, UnavailableError
from proxy.oci.reference import Reference
from proxy.upstream.answers import TransientError
from proxy.upstream.dialling import Guard
from proxy.upstream.endpoint import Credentials, Endpoint
from proxy.upstream.forward_proxy import Proxies, Proxy
from proxy.upstream.pool import Pool
from proxy.upstream.tls import Contexts

IMAGE = image("web")
TAG = Reference(REPOSITORY, tag="v1")
MANIFEST = "/v2/team/app/manifests/v1"
GOOD = Reply(200, {"Content-Type": IMAGE.media_type}, IMAGE.body)
SECRET = Credentials("ann", "s3cret-pass")
BOTH = {"HTTP_PROXY": "http://plain.corp:3128", "HTTPS_PROXY": "http://tls.corp:3128"}


def with_password(url: str) -> str:
    return url.replace("://", "://bob:p%40ss-word@")


# base64 of bob:p@ss-word
SHOWN = "Basic Ym9iOnBAc3Mtd29yZA=="


@pytest.mark.parametrize(
    ("no_proxy", "direct", "proxied"),
    [
        ("", ["http://localhost", "https://127.0.0.1:5000", "https://[::1]"], ["https://a.corp", "https://10.0.0.1"]),
        ("*", ["https://a.corp", "http://b.corp", "https://10.0.0.1"], []),
        ("x.corp,*", ["https://a.corp"], []),
        (
            "a.corp",
            ["https://a.corp", "https://x.a.corp", "https://A.CORP.", "https://a.corp:444"],
            ["https://ba.corp"],
        ),
        (".a.corp", ["https://x.a.corp"], ["https://a.corp"]),
        ("*.a.corp", ["https://x.a.corp"], ["https://a.corp"]),
        ("A.Corp.", ["https://a.corp"], ["https://b.corp"]),
        ("a.corp:443", ["https://a.corp", "https://x.a.corp:443"], ["https://a.corp:444", "http://a.corp"]),
        ("a.corp:80", ["http://a.corp"], ["https://a.corp"]),
        (" a.corp , b.corp\tc.corp ,,", ["https://a.corp", "https://b.corp", "https://c.corp"], ["https://d.corp"]),
        ("10.0.0.0/8", ["https://10.1.2.3", "https://10.1:5000"], ["https://11.1.2.3", "https://a.corp"]),
        ("10.1.2.3", ["https://10.1.2.3", "https://10.1.2.3:8443"], ["https://10.1.2.4"]),
        ("10.1.2.3:8443", ["https://10.1.2.3:8443"], ["https://10.1.2.3"]),
        ("fd00::/8", ["https://[fd00::1]:5000"], ["https://[2606::1]"]),
        ("[fd00::1]:5000", ["https://[fd00::1]:5000"], ["https://[fd00::1]"]),
        ("[fd00::1]", ["https://[fd00::1]"], ["https://[fd00::2]"]),
        ("corp", ["https://a.corp"], ["https://a.corpx"]),
        (":80, ., *., 10.0.0.0/99", [], ["http://a.corp", "https://10.1.2.3"]),
    ],
)
def test_exceptions(no_proxy, direct, proxied):
    for variable in ("NO_PROXY", "no_proxy"):
        proxies = Proxies.of_environment({**BOTH, variable: no_proxy})
        assert [url for url in direct if proxies.for_url(URL(url)) is not None] == []
        assert [url for url in proxied if proxies.for_url(URL(url)) is None] == []


@pytest.mark.parametrize(
    ("environment", "http", "https"),
    [
        ({}, None, None),
        (BOTH, "http://plain.corp:3128", "http://tls.corp:3128"),
        ({"https_proxy": "tls.corp:3128"}, None, "http://tls.corp:3128"),
        ({"http_proxy": "https://plain.corp/"}, "https://plain.corp", None),
        ({"HTTPS_PROXY": "http://a.corp", "https_proxy": "http://b.corp"}, None, "http://a.corp"),
        ({"HTTPS_PROXY": "", "https_proxy": "http://b.corp"}, None, "http://b.corp"),
        ({"ALL_PROXY": "http://a.corp"}, None, None),
        ({"HTTPS_PROXY": "http://ann:s3cret@[fd00::1]:3128"}, None, "http://[fd00::1]:3128"),
    ],
)
def test_the_environment(environment, http, https):
    proxies = Proxies.of_environment(environment)
    for url, expected in (("http://a.test", http), ("https://a.test", https)):
        found = proxies.for_url(URL(url))
        assert (str(found.url) if found else None) == expected
    assert "s3cret" not in repr(proxies)


@pytest.mark.parametrize(
    "text",
    [
        "socks5://ann:s3cret@a.corp:1080",
        "http://",
        "http://ann:s3cret@a.corp/path",
        "http://ann:s3cret@a.corp?x",
        "http://ann:s3cret@a.corp:port",
        "http://ann%3Ax:s3cret@a.corp",
        "http://ann:s3cret%0A@a.corp",
        "http://[s3cret",
    ],
)
def test_what_is_no_proxy(text):
    with pytest.raises(MalformedError) as caught:
        Proxy.parse(text)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(MalformedError, match="the environment variable https_proxy") as caught:
        Proxies.of_environment({"https_proxy": text})
    assert "s3cret" not in str(caught.value)


async def test_a_tunnel_for_https(tmp_path):
    tls = make_tls(tmp_path)
    async with forward() as (proxy, there), faulty({MANIFEST: GOOD}, tls.context) as (server, url):
        proxies = Proxies(always=Proxy.parse(with_password(there)))
        async with upstream_at(url, ca_file=tls.certificate, proxies=proxies) as upstream:
            assert (await upstream.manifest(TAG)).digest == IMAGE.digest
    assert proxy.asked == [f"CONNECT {url.removeprefix('https://')} HTTP/1.1"]
    assert proxy.authorizations == [SHOWN]
    assert [seen.headers.get("proxy-authorization") for seen in server.seen] == [None]


async def test_a_tunnel_through_a_proxy_with_tls(tmp_path):
    """`ca_file` is for both: the registry's certificate and the proxy's."""
    tls = make_tls(tmp_path)
    async with forward(tls=tls.context) as (proxy, there), faulty({MANIFEST: GOOD}, tls.context) as (_, url):
        proxies = Proxies(always=Proxy.parse(there))
        async with upstream_at(url, ca_file=tls.certificate, proxies=proxies) as upstream:
            assert (await upstream.manifest(TAG)).digest == IMAGE.digest
    assert len(proxy.asked) == 1


async def test_plain_http_is_asked_of_the_proxy():
    async with forward() as (proxy, there), faulty({MANIFEST: GOOD}) as (server, url):
        proxies = Proxies(always=Proxy.parse(with_password(there)))
        async with upstream_at(url, proxies=proxies) as upstream:
            assert (await upstream.manifest(TAG)).digest == IMAGE.digest
    assert proxy.asked == [f"GET {url}{MANIFEST} HTTP/1.1"]
    assert proxy.authorizations == [SHOWN]
    assert len(server.seen) == 1


async def test_token_service_and_storage_are_asked_through_it_too():
    """By names that only the proxy can resolve."""
    async with forward() as (proxy, there), faulty({}) as (server, url):
        registry, port = f"http://registry.corp.test:{URL(url).port}", URL(url).port
        server.answers |= {
            MANIFEST: [Reply(401, {"WWW-Authenticate": f'Bearer realm="http://auth.corp.test:{port}/token"'})],
            f"{MANIFEST} Bearer abc": [Reply(307, {"Location": f"http://storage.test:{port}/blob"})],
            "/token": [Reply(200, {}, b'{"token": "abc"}')],
            "/blob": [GOOD],
        }
        proxies = Proxies(always=Proxy.parse(there))
        async with upstream_at(registry, proxies=proxies, insecure_http=True, credentials=SECRET) as upstream:
            assert (await upstream.manifest(TAG)).digest == IMAGE.digest
    hosts = [URL(line.split(" ")[1]).host for line in proxy.asked]
    assert hosts == ["registry.corp.test", "auth.corp.test", "registry.corp.test", "storage.test"]
    assert [seen.authorization for seen in server.seen if seen.path == "/blob"] == [None]


@pytest.mark.parametrize("location", ["http://10.0.0.1/x", "http://127.1/x", "http://[64:ff9b::a00:1]/x"])
async def test_internal_addresses_are_refused_as_written(location):
    """The proxy dials; it must not be led inwards by what can be seen here."""
    async with forward() as (proxy, there), faulty({MANIFEST: Reply(307, {"Location": location})}) as (_, url):
        registry = f"http://registry.test:{URL(url).port}"
        proxies = Proxies(always=Proxy.parse(there))
        async with upstream_at(registry, proxies=proxies, insecure_http=True) as upstream:
            with pytest.raises(UnavailableError, match="redirects to the internal address"):
                await upstream.manifest(TAG)
    assert len(proxy.asked) == 1


async def test_a_request_to_the_proxys_own_port_is_no_way_in():
    """It is resolved as the proxy, and then seen not to be asked as one."""
    async with forward() as (proxy, there):
        endpoint = Endpoint(REGISTRY, "https://registry.test", proxies=Proxies(https=Proxy.parse(there)))
        async with Pool(Guard(endpoint), Contexts(endpoint, time.monotonic), 1, 5, 5) as pool:
            with pytest.raises(UnavailableError, match="internal address"):
                await pool.request("GET", URL(there), {})
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (407, UnavailableError, "the proxy to registry.test wants a user name and password"),
        (403, UnavailableError, "the proxy to registry.test answered 403: it does not let us through"),
        (502, TransientError, "the proxy to registry.test answered 502"),
    ],
)
async def test_a_proxy_that_does_not(status, error, text):
    async with forward(status) as (_, there):
        proxies = Proxies(always=Proxy.parse(with_password(there)))
        async with upstream_at("https://registry.test", proxies=proxies) as upstream:
            with pytest.raises(UnavailableError, match=text) as caught:
                await upstream.manifest(TAG)
    assert type(caught.value) is error
    assert "ss-word" not in str(caught.value)


async def test_a_proxy_that_is_not_there():
    proxies = Proxies(always=Proxy.parse("http://bob:s3cret@127.0.0.1:1"))
    async with upstream_at("https://registry.test", MadeTime(), proxies=proxies) as upstream:
        with pytest.raises(UnavailableError, match=r"could not be reached: .* \(the proxy 127\.0\.0\.1\)") as caught:
            await upstream.manifest(TAG)
    assert "s3cret" not in str(caught.value)


async def test_nothing_else_of_the_environment_is_used(monkeypatch, tmp_path):
    """aiohttp's own reading of it would send the passwords of a .netrc to whatever host is in it."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ann password s3cret\n")
    netrc.chmod(0o600)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("NETRC", str(netrc))
    async with faulty({MANIFEST: GOOD}) as (server, url), upstream_at(url) as upstream:
        assert (await upstream.manifest(TAG)).digest == IMAGE.digest
    assert [seen.authorization for seen in server.seen] == [None]
