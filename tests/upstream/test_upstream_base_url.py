"""Registries below a path of a host: every request, the scope of tokens, Links and signatures."""

import json

import pytest
from support.faulty import Reply, faulty
from support.upstreams import REGISTRY, REPOSITORY, MadeTime, upstream_at

from proxy.demo.images import image
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError, NotFoundError
from proxy.oci.manifest import OCI_INDEX, Descriptor
from proxy.oci.reference import Reference, Repository
from proxy.upstream.base_url import BaseUrl
from proxy.upstream.endpoint import Credentials, Endpoint
from proxy.upstream.table import Upstreams

IMAGE = image("web")
TAG = Reference(REPOSITORY, tag="v1")
GOOD = Reply(200, {"Content-Type": IMAGE.media_type}, IMAGE.body)
BLOB = b"a layer"
DIGEST = Digest.of(BLOB)
SECRET = Credentials("ann", "s3cret")
ALPINE = Repository("docker.io", "library/alpine")


@pytest.mark.parametrize(
    ("text", "root", "repository"),
    [
        ("https://harbor.corp", "https://harbor.corp/v2/", "library/alpine"),
        ("https://harbor.corp/", "https://harbor.corp/v2/", "library/alpine"),
        ("https://harbor.corp/v2", "https://harbor.corp/v2/", "library/alpine"),
        ("https://harbor.corp/v2/", "https://harbor.corp/v2/", "library/alpine"),
        ("https://harbor.corp/v2/dockerhub", "https://harbor.corp/v2/", "dockerhub/library/alpine"),
        ("https://harbor.corp/dockerhub/", "https://harbor.corp/v2/", "dockerhub/library/alpine"),
        ("https://harbor.corp:443//dockerhub", "https://harbor.corp/v2/", "dockerhub/library/alpine"),
        ("http://127.0.0.1:5000/a/b__c-d.e", "http://127.0.0.1:5000/v2/", "a/b__c-d.e/library/alpine"),
        ("https://art.corp/api/docker/Hub_1/v2", "https://art.corp/api/docker/Hub_1/v2/", "library/alpine"),
        ("https://nexus.corp/repository/hub/v2/x", "https://nexus.corp/repository/hub/v2/", "x/library/alpine"),
        ("https://h.corp/v2/v2", "https://h.corp/v2/", "v2/library/alpine"),
    ],
)
def test_where_requests_go(text, root, repository):
    base = BaseUrl.parse(text)
    assert base.path(ALPINE) == repository
    assert str(base.url(ALPINE, "manifests/v1")) == f"{root}{repository}/manifests/v1"


@pytest.mark.parametrize(
    "path",
    [
        "/..",
        "/../x",
        "/x/../y",
        "/v2/../y",
        "/./x",
        "/%64ocker",
        "/x%2Fy",
        "/x%2f..%2fy",
        "/Dockerhub",
        "/-x",
        "/x:y",
        "/x@y",
        "/x y",
        "/x;y",
        "/x\\y",
        "/\xe9",
        "/x/...",
        "/" + "a" * 300,
        "/x?y=z",
        "/x#y",
        "/?",
    ],
)
def test_paths_that_are_refused(path):
    with pytest.raises(MalformedError):
        BaseUrl.parse(f"https://harbor.corp{path}")


async def test_every_request_has_the_prefix():
    below = "/v2/hub/cache/team/app"
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    listing = Reply(200, {"Content-Type": OCI_INDEX}, json.dumps(index).encode())
    answers = {
        f"{below}/manifests/v1": GOOD,
        f"{below}/blobs/{DIGEST}": Reply(200, {}, BLOB),
        f"{below}/referrers/{DIGEST}": listing,
        f"{below}/tags/list": Reply(200, {}, b'{"tags": ["v1"]}'),
    }
    async with faulty(answers) as (server, url), upstream_at(f"{url}/hub/cache") as upstream:
        await upstream.manifest(TAG)
        await upstream.resolve(TAG)
        await upstream.blob(REPOSITORY, Descriptor("application/x", DIGEST, len(BLOB)), 100)
        await upstream.head_blob(REPOSITORY, DIGEST)
        async with upstream.open_blob(REPOSITORY, DIGEST) as blob:
            assert b"".join([chunk async for chunk in blob.chunks]) == BLOB
        await upstream.referrers(REPOSITORY, DIGEST)
        assert (await upstream.tags(REPOSITORY))[0] == ["v1"]
    assert {seen.path for seen in server.seen} == set(answers)


@pytest.mark.parametrize(
    "link", ["</v2/hub/team/app/tags/list?last=a>", "</v2/team/app/tags/list?last=a>", "<?last=a>", "<{url}/x?last=a>"]
)
async def test_the_next_page_is_where_the_first_is(link):
    """Some registries name it as they know themselves, without what stands before them."""
    path = "/v2/hub/team/app/tags/list"
    async with faulty({}) as (server, url), upstream_at(f"{url}/hub") as upstream:
        first = Reply(200, {"Link": f'{link.format(url=url)}; rel="next"'}, b'{"tags": ["a"]}')
        server.answers[path] = [first, Reply(200, {}, b'{"tags": ["b"]}')]
        tags, following = await upstream.tags(REPOSITORY)
        assert tags == ["a"]
        assert (await upstream.tags(REPOSITORY, None, following))[0] == ["b"]
    assert [seen.target for seen in server.seen] == [path, f"{path}?last=a"]


async def test_tokens_are_for_the_repository_as_it_is_called_there():
    """Both when the challenge names no scope, and unasked for the next repository."""
    first, second = "/v2/hub/team/app/manifests/v1", "/v2/hub/team/other/manifests/v1"
    other = Reference(Repository(REGISTRY, "team/other"), tag="v1")
    async with faulty({}) as (server, url), upstream_at(f"{url}/v2/hub", credentials=SECRET) as upstream:
        server.answers |= {
            first: [Reply(401, {"WWW-Authenticate": f'Bearer realm="{url}/token"'})],
            f"{first} Bearer abc": [GOOD],
            f"{second} Bearer abc": [GOOD],
            "/token": [Reply(200, {}, b'{"token": "abc"}')],
        }
        await upstream.manifest(TAG)
        await upstream.manifest(other)
        scopes = [seen.query["scope"] for seen in server.seen if seen.path == "/token"]
    assert scopes == ["repository:hub/team/app:pull", "repository:hub/team/other:pull"]


async def test_the_challenge_is_asked_for_where_the_api_is():
    path = "/api/docker/Hub/v2/team/app/manifests/v1"
    async with faulty({}) as (server, url), upstream_at(f"{url}/api/docker/Hub/v2", credentials=SECRET) as upstream:
        server.answers |= {
            path: [Reply(401), GOOD],
            "/api/docker/Hub/v2/": [Reply(401, {"WWW-Authenticate": "Basic realm=x"})],
        }
        assert (await upstream.manifest(TAG)).digest == IMAGE.digest


async def test_errors_name_the_repository_as_the_policy_does():
    async with faulty({}) as (_, url), upstream_at(f"{url}/hub") as upstream:
        with pytest.raises(NotFoundError, match="has no manifest team/app:v1"):
            await upstream.manifest(TAG)


async def test_signatures_below_a_path_of_their_own():
    async with faulty({"/v2/sigs/team/app/manifests/v1": GOOD}) as (_, url):
        signatures = Endpoint(REGISTRY, f"{url}/v2/sigs")
        mirror = Endpoint(REGISTRY, f"{url}/v2/mirror", signatures=signatures)
        async with Upstreams([mirror], MadeTime().backoff()) as upstreams:
            with pytest.raises(NotFoundError):
                await upstreams.manifest(TAG)
            assert (await upstreams.canonical.manifest(TAG)).digest == IMAGE.digest


async def test_credentials_stay_at_the_host():
    """The path in `url` makes no other host of the same domain the registry."""
    async with faulty({"/v2/hub/team/app/manifests/v1": GOOD}) as (away, there):
        answer = Reply(307, {"Location": f"{there}/v2/hub/team/app/manifests/v1"})
        async with faulty({}) as (server, url), upstream_at(f"{url}/v2/hub", credentials=SECRET) as upstream:
            server.answers["/v2/hub/team/app/manifests/v1"] = [Reply(401, {"WWW-Authenticate": "Basic"}), answer]
            assert (await upstream.manifest(TAG)).digest == IMAGE.digest
    assert [seen.authorization for seen in away.seen] == [None]
