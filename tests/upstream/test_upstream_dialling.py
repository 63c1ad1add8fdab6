"""What is dialled: the addresses behind the names that a registry leads to."""

import asyncio
import socket
import time

import pytest
from support.faulty import Reply, faulty
from support.forward import forward
from support.tls import make_tls
from support.upstreams import REGISTRY, REPOSITORY, MadeTime, upstream_at
from yarl import URL

from proxy.demo.images import image
from proxy.oci.errors import UnavailableError
from proxy.oci.reference import Reference
from proxy.upstream.dialling import Guard
from proxy.upstream.endpoint import Credentials, Endpoint
from proxy.upstream.forward_proxy import Proxies, Proxy
from proxy.upstream.pool import Pool
from proxy.upstream.tls import Contexts

IMAGE = image("web")
TAG = Reference(REPOSITORY, tag="v1")
MANIFEST = "/v2/team/app/manifests/v1"
GOOD = Reply(200, {"Content-Type": IMAGE.media_type}, IMAGE.body)
HERE = "127.0.0.1"
PUBLIC = "1.1.1.1"
SECRET = Credentials("ann", "s3cret")


@pytest.fixture
def names(monkeypatch):
    """A DNS of names ending in `.test`: the answers of each, one after the other, the last one for ever."""
    known = {"registry.test": [[HERE]]}
    asked = []

    def getaddrinfo(host, port, *args, **options):
        asked.append(host)
        answers = known[host.rstrip(".")]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    known["asked"] = asked
    return known


def at(url: str, host: str = "registry.test") -> str:
    return str(URL(url).with_host(host))


async def pull(url, location, **members):
    time = MadeTime()
    async with upstream_at(url, time, insecure_http=True, **members) as upstream:
        manifest = await upstream.manifest(TAG)
    assert time.slept == []
    return manifest


@pytest.mark.parametrize(
    ("addresses", "members", "passes"),
    [
        pytest.param([HERE], {}, True, id="same machine as the registry"),
        pytest.param(["10.0.0.1"], {}, False, id="private"),
        pytest.param(["169.254.169.254"], {}, False, id="metadata service"),
        pytest.param(["10.0.0.1", "fd00::1"], {}, False, id="all of several"),
        pytest.param(["10.0.0.1", HERE], {}, True, id="one of several"),
        pytest.param(["::ffff:10.0.0.1"], {}, False, id="IPv4-mapped"),
        pytest.param(["64:ff9b::a00:1"], {}, False, id="NAT64"),
        pytest.param([HERE], {"redirect_hosts": frozenset({"storage.test"})}, True, id="configured"),
    ],
)
async def test_names_that_redirects_lead_to(names, addresses, members, passes):
    names["storage.test"] = [addresses]
    async with faulty({"/blob": GOOD}) as (storage, there):
        location = f"{at(there, 'storage.test')}/blob"
        async with faulty({MANIFEST: Reply(307, {"Location": location})}) as (_, url):
            if passes:
                assert (await pull(at(url), location, **members)).digest == IMAGE.digest
            else:
                with pytest.raises(UnavailableError, match=r"'storage\.test', a name for an internal address"):
                    await pull(at(url), location, **members)
                assert storage.seen == []


async def test_a_name_is_resolved_once_for_each_connection(names):
    """DNS rebinding: the answer that is checked is the one that is dialled."""
    names["storage.test"] = [[HERE], ["10.0.0.1"]]
    async with faulty({"/blob": GOOD}) as (_, there):
        location = f"{at(there, 'storage.test')}/blob"
        async with faulty({MANIFEST: Reply(307, {"Location": location})}) as (_, url):
            assert (await pull(at(url), location)).digest == IMAGE.digest
    assert names["asked"].count("storage.test") == 1


async def test_a_registry_may_be_anywhere_and_redirect_to_itself(names):
    async with faulty({MANIFEST: Reply(307, {"Location": "/blob"}), "/blob": GOOD}) as (_, url):
        assert (await pull(at(url), "/blob")).digest == IMAGE.digest
        assert (await pull(url, "/blob")).digest == IMAGE.digest


@pytest.mark.parametrize(("address", "passes"), [(HERE, True), ("10.0.0.1", False)])
async def test_names_of_token_services(names, address, passes):
    names["auth.registry.test"] = [[address]]
    token = Reply(200, {}, b'{"token": "abc"}')
    async with faulty({"/token": token}) as (service, there):
        challenge = f'Bearer realm="{at(there, "auth.registry.test")}/token"'
        answers = {MANIFEST: Reply(401, {"WWW-Authenticate": challenge}), f"{MANIFEST} Bearer abc": GOOD}
        async with faulty(answers) as (_, url):
            if passes:
                assert (await pull(at(url), None, credentials=SECRET)).digest == IMAGE.digest
            else:
                with pytest.raises(UnavailableError, match="or token_realms"):
                    await pull(at(url), None, credentials=SECRET)
                assert service.seen == []


async def test_a_peer_that_is_not_where_it_may_be_is_sent_nothing():
    """Addresses that are written as such are not resolved, so the connection itself is looked at."""
    guard = Guard(Endpoint(REGISTRY, "https://registry.example"))
    async with (
        faulty({"/x": GOOD}) as (server, url),
        Pool(guard, Contexts(guard.endpoint, time.monotonic), 1, 5, 5) as pool,
    ):
        with pytest.raises(UnavailableError, match="internal address"):
            await pool.request("GET", URL(url) / "x", {})
        await asyncio.sleep(0)
        assert server.seen == []


async def test_a_name_that_has_no_address(names):
    names["registry.test"] = [[]]
    with pytest.raises(UnavailableError, match="could not be found in the DNS"):
        await pull("http://registry.test:5000", None)


@pytest.mark.parametrize(
    ("registry_at", "storage_at", "then_at", "passes"),
    [
        (PUBLIC, PUBLIC, PUBLIC, True),
        (PUBLIC, PUBLIC, "10.0.0.1", False),
        (PUBLIC, "10.0.0.1", None, False),
        (PUBLIC, HERE, None, False),
        ("10.0.0.1", "10.0.0.2", "10.0.0.3", True),
        ("10.0.0.1", PUBLIC, PUBLIC, True),
        ("10.0.0.1", PUBLIC, "10.0.0.3", False),
        ("10.0.0.1", HERE, None, False),
        ("10.0.0.1", "169.254.169.254", None, False),
        (HERE, HERE, HERE, True),
        (HERE, "10.0.0.1", None, False),
        ("169.254.0.1", "169.254.169.254", None, False),
        ("0.0.0.0", "0.0.0.0", None, False),  # noqa: S104
    ],
)
def test_who_may_lead_into_which_network(registry_at, storage_at, then_at, passes):
    registry, storage, then = URL("https://registry.test"), URL("https://storage.test"), URL("https://then.test")
    guard = Guard(Endpoint(REGISTRY, str(registry)))
    guard.reached(registry, registry_at)
    guard.lead(registry, storage)
    if then_at is None:
        assert guard.permits("storage.test", 443, storage_at) is passes
        return
    guard.reached(storage, storage_at)
    guard.lead(storage, then)
    assert guard.permits("then.test.", 443, then_at) is passes


@pytest.mark.parametrize(
    ("host", "port", "permitted"),
    [
        ("registry.test", 443, True),
        ("REGISTRY.test.", 9000, True),
        ("storage.corp", 443, True),
        ("minio.corp", 9000, True),
        ("minio.corp", 9001, False),
        ("fd00::1", 9000, True),
        ("login.corp", 443, True),
        ("other.corp", 443, False),
    ],
)
def test_hosts_that_may_be_internal_in_any_case(host, port, permitted):
    storage = frozenset({"Storage.corp", "minio.corp:9000", "[fd00::1]:9000"})
    endpoint = Endpoint(
        REGISTRY, "https://registry.test", redirect_hosts=storage, token_realms=frozenset({"login.corp"})
    )
    assert Guard(endpoint).permits(host, port, "10.0.0.1") is permitted


async def test_a_proxy_may_be_anywhere(names):
    """Its name is resolved here, and is none that the registry could choose."""
    names["proxy.test"] = [[HERE]]
    async with forward() as (proxy, there), faulty({MANIFEST: GOOD}) as (_, url):
        proxies = Proxies(always=Proxy.parse(at(there, "proxy.test")))
        registry = at(url, "registry.example")
        assert (await pull(registry, None, proxies=proxies)).digest == IMAGE.digest
        assert proxy.asked == [f"GET {registry}{MANIFEST} HTTP/1.1"]
        names["storage.test"] = [["10.0.0.1"]]
        elsewhere = Proxies(https=Proxy.parse("http://storage.test:1"))
        with pytest.raises(UnavailableError, match="internal address"):
            await pull_by_redirect(url, "http://storage.test:2/x", proxies=elsewhere)


async def pull_by_redirect(url, location, **members):
    async with faulty({MANIFEST: Reply(307, {"Location": location})}) as (_, registry):
        assert registry != url
        return await pull(registry, location, **members)


async def test_a_link_local_registry_with_its_zone_is_itself():
    guard = Guard(Endpoint(REGISTRY, "https://[fe80::1%25eth0]:5000"))
    guard.reached(URL("https://[fe80::1%25eth0]:5000/v2/"), "fe80::1%eth0")


async def test_tls_is_not_needed_for_any_of_it(names, tmp_path):
    """A certificate does not make an internal host a place to be led to."""
    tls = make_tls(tmp_path)
    names["storage.test"] = [["10.0.0.1"]]
    answers = {MANIFEST: Reply(307, {"Location": "https://storage.test/x"})}
    async with faulty(answers, tls.context) as (_, url), upstream_at(url, ca_file=tls.certificate) as upstream:
        with pytest.raises(UnavailableError, match="internal address"):
            await upstream.manifest(TAG)
