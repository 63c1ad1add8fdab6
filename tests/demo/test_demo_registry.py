"""The embedded registry answers as the distribution specification says."""

import json
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from proxy.demo.images import descriptor, image
from proxy.demo.registry import Registry, serve
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_INDEX, OCI_MANIFEST

IMAGE = image("web")
SIGNATURE = "application/vnd.example.signature"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


async def read(http, method, url, **options):
    async with http.request(method, url, **options) as response:
        return response.status, response.headers, await response.read()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("reference", ["v1", str(IMAGE.digest)])
async def test_manifest_by_tag_and_digest(http, method, reference):
    registry = Registry()
    IMAGE.add_to(registry, "team/app", "v1")
    async with serve(registry) as url:
        status, headers, body = await read(http, method, f"{url}/v2/team/app/manifests/{reference}")
    assert status == 200
    assert headers["Docker-Content-Digest"] == str(IMAGE.digest)
    assert headers["Content-Type"] == OCI_MANIFEST
    assert headers["Content-Length"] == str(len(IMAGE.body))
    assert body == (IMAGE.body if method == "GET" else b"")
    assert registry.requests == [(method, f"/v2/team/app/manifests/{reference}")]


@pytest.mark.parametrize(
    ("range_header", "status", "content_range", "body"),
    [
        (None, 200, None, b"0123456789"),
        ("bytes=2-4", 206, "bytes 2-4/10", b"234"),
        ("bytes=7-", 206, "bytes 7-9/10", b"789"),
        ("bytes=-2", 206, "bytes 8-9/10", b"89"),
        ("bytes=0-99", 206, "bytes 0-9/10", b"0123456789"),
        ("bytes=10-", 416, "bytes */10", None),
        ("bytes=x", 416, "bytes */10", None),
    ],
)
async def test_blob_and_ranges(http, range_header, status, content_range, body):
    registry = Registry()
    digest = registry.add_blob("app", b"0123456789")
    headers = {"Range": range_header} if range_header else {}
    async with serve(registry) as url:
        answer = await read(http, "GET", f"{url}/v2/app/blobs/{digest}", headers=headers)
    assert answer[0] == status
    assert answer[1].get("Content-Range") == content_range
    assert body is None or answer[2] == body


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/", 200, None),
        ("/v2/app/manifests/v1", 200, None),
        ("/v2/app/manifests/v2", 404, "MANIFEST_UNKNOWN"),
        ("/v2/other/manifests/v1", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/app/blobs/sha256:{'0' * 64}", 404, "BLOB_UNKNOWN"),
        ("/v2/app/tags/list", 200, None),
        ("/v2/other/tags/list", 404, "NAME_UNKNOWN"),
    ],
)
async def test_known_and_unknown(http, path, status, code):
    registry = Registry()
    IMAGE.add_to(registry, "app", "v1")
    async with serve(registry) as url:
        answer = await read(http, "GET", url + path)
    assert answer[0] == status
    assert code is None or json.loads(answer[2])["errors"][0]["code"] == code


async def pages(http, url, path):
    found = []
    while path:
        status, headers, body = await read(http, "GET", url + path)
        assert status == 200
        found.append(json.loads(body))
        link = re.fullmatch(r'<(.*)>; rel="next"', headers.get("Link", ""))
        path = link and link[1]
    return found


@pytest.mark.parametrize(
    ("page_size", "query", "expected"),
    [
        (None, "", [["a", "b", "c"]]),
        (2, "", [["a", "b"], ["c"]]),
        (None, "?n=1", [["a"], ["b"], ["c"]]),
        (2, "?n=9&last=a", [["b", "c"]]),
        (None, "?n=0", [[]]),
        (None, "?n=x", [["a", "b", "c"]]),
    ],
)
async def test_tags_in_pages(http, page_size, query, expected):
    registry = Registry(page_size=page_size)
    for tag in "cab":
        IMAGE.add_to(registry, "app", tag)
    async with serve(registry) as url:
        assert [page["tags"] for page in await pages(http, url, f"/v2/app/tags/list{query}")] == expected


def artifact(kind, note, **members):
    document = {"schemaVersion": 2, "subject": descriptor(OCI_MANIFEST, IMAGE.body), "annotations": {"note": note}}
    return json.dumps(document | {"artifactType": kind} | members).encode()


async def test_referrers_are_computed_paged_and_filtered(http):
    registry = Registry(page_size=2)
    IMAGE.add_to(registry, "app", "v1")
    for note in "abc":
        registry.add_manifest("app", OCI_MANIFEST, artifact(SIGNATURE, note))
    registry.add_manifest("app", OCI_MANIFEST, artifact(None, "d", config={"mediaType": "application/vnd.old"}))
    for odd in (b"not json", b"[]", b'{"subject": 1}'):
        registry.add_manifest("app", OCI_MANIFEST, odd)
    path = f"/v2/app/referrers/{IMAGE.digest}"
    async with serve(registry) as url:
        everything = await pages(http, url, path)
        filtered = await pages(http, url, f"{path}?artifactType=application/vnd.old")
        status, headers, body = await read(http, "GET", f"{url}{path}?artifactType=nothing&from=x")
    assert [[d["annotations"]["note"] for d in page["manifests"]] for page in everything] == [["a", "b"], ["c", "d"]]
    assert [[d["artifactType"] for d in page["manifests"]] for page in filtered] == [["application/vnd.old"]]
    assert (status, headers["Content-Type"], headers["OCI-Filters-Applied"]) == (200, OCI_INDEX, "artifactType")
    assert json.loads(body)["manifests"] == []


async def test_registry_without_referrers_api(http):
    async with serve(Registry(referrers_api=False)) as url:
        assert (await read(http, "GET", f"{url}/v2/app/referrers/{IMAGE.digest}"))[0] == 404


@pytest.mark.parametrize(("user", "status"), [(("ann", "secret"), 200), (("ann", "wrong"), 401), (None, 401)])
async def test_basic_credentials(http, user, status):
    registry = Registry(credentials=("ann", "secret"))
    IMAGE.add_to(registry, "app", "v1")
    auth = aiohttp.encode_basic_auth(*user) if user else ""
    async with serve(registry) as url:
        answer = await read(http, "GET", f"{url}/v2/app/manifests/v1", headers={"Authorization": auth})
    assert answer[0] == status
    assert answer[1].get("WWW-Authenticate") == (None if status == 200 else 'Basic realm="registry"')


async def test_token_counts_for_its_repository_only(http):
    registry = Registry(token_auth=True)
    for repository in ("app", "other"):
        IMAGE.add_to(registry, repository, "v1")
    async with serve(registry) as url:
        status, headers, _ = await read(http, "GET", f"{url}/v2/app/manifests/v1")
        challenge = dict(re.findall(r'(\w+)="([^"]*)"', headers["WWW-Authenticate"]))
        assert status == 401
        query = {"service": challenge["service"], "scope": challenge["scope"]}
        token = json.loads((await read(http, "GET", challenge["realm"], params=query))[2])["token"]
        bearer = {"Authorization": f"Bearer {token}"}
        asked = [f"{url}/v2/", f"{url}/v2/app/manifests/v1", f"{url}/v2/other/manifests/v1"]
        assert [(await read(http, "GET", path, headers=bearer))[0] for path in asked] == [200, 200, 401]
        assert (await read(http, "GET", f"{url}/v2/"))[1]["WWW-Authenticate"].endswith('service="demo"')


async def test_token_service_wants_the_credentials(http):
    async with serve(Registry(token_auth=True, credentials=("ann", "secret"))) as url:
        auth = aiohttp.encode_basic_auth("ann", "secret")
        assert (await read(http, "GET", f"{url}/token"))[0] == 401
        assert (await read(http, "GET", f"{url}/token", headers={"Authorization": auth}))[0] == 200


async def test_manifests_are_addressed_by_their_sha256():
    assert Registry().add_manifest("app", OCI_MANIFEST, b"anything") == Digest.of(b"anything")
