"""The registry API as clients meet it: real connections, a registry on loopback, signatures as cosign writes them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError, ClientSession, web
from support.stack import STRANGER, listening, rule, running, sign

from proxy.demo.images import Image, image, index
from proxy.demo.registry import Registry, serve
from proxy.front.refusals import Form
from proxy.front.server import IMAGE_TEXT_MAX
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_INDEX
from proxy.policy.model import Mode

CONTAINERS_IMAGE = {"Docker_Distribution_API_Version": "registry/2.0"}
GOOD, BAD, MULTI, DOCKER = (
    image("good"),
    image("bad"),
    index([image("multi", architecture=one) for one in ("amd64", "arm64")]),
    image("docker", docker=True),
)


def registry(**options: bool) -> Registry:
    made = Registry(**options)
    for name, one, kind in (("good", GOOD, "bundle"), ("multi", MULTI, "bundle"), ("docker", DOCKER, "classic")):
        one.add_to(made, f"library/{name}", "1")
        sign(made, f"library/{name}", one.media_type, one.body, kind=kind)
    BAD.add_to(made, "library/bad", "1")
    GOOD.add_to(made, "library/stranger", "1")
    sign(made, "library/stranger", GOOD.media_type, GOOD.body, key=STRANGER)
    return made


@pytest.fixture
async def stack():
    async with AsyncExitStack() as closing:
        url = await closing.enter_async_context(serve(registry()))
        yield await closing.enter_async_context(running(url))


def manifest_path(name: str, one: Image | None = None, ns: str = "") -> str:
    return f"/v2/library/{name}/manifests/{one.digest if one else 1}{ns}"


def blob_path(name: str, blob: bytes, ns: str = "") -> str:
    return f"/v2/library/{name}/blobs/{Digest.of(blob)}{ns}"


async def test_ping(stack):
    status, response, body = await stack.get("/v2/")
    assert (status, body) == (200, b"{}")
    assert response.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


@pytest.mark.parametrize(("headers", "challenged"), [({}, False), (CONTAINERS_IMAGE, True)])
async def test_a_login_is_refused_and_a_pull_that_brings_credentials_is_not(stack, headers, challenged):
    """A 200 to a login would say that a password was checked; Docker sends none where nothing asks for it."""
    status, response, _ = await stack.get("/v2/", **headers)
    assert (status, "WWW-Authenticate" in response.headers) == (200, challenged)
    status, response, body = await stack.get("/v2/", Authorization="Basic dTpw", **headers)
    assert (status, "WWW-Authenticate" in response.headers) == (403, False)
    assert "no password is checked" in json.loads(body)["errors"][0]["message"]
    assert (await stack.get(manifest_path("good"), Authorization="Basic dTpw", **headers))[0] == 200
    assert (await stack.get(blob_path("good", GOOD.blobs[1]), Authorization="Basic Og==", **headers))[0] == 200


@pytest.mark.parametrize(("name", "one"), [("good", GOOD), ("multi", MULTI), ("docker", DOCKER)])
@pytest.mark.parametrize("by_digest", [False, True])
@pytest.mark.parametrize("ns", ["", "?ns=docker.io"])
async def test_a_signed_image_is_served_with_what_clients_rely_on(stack, name, one, by_digest, ns):
    path = manifest_path(name, one if by_digest else None, ns)
    head_status, head, head_body = await stack.get(path, "HEAD")
    status, response, body = await stack.get(path)
    assert (head_status, status, head_body, body) == (200, 200, b"", one.body)
    assert response.headers["Docker-Content-Digest"] == str(one.digest)
    assert response.headers["Content-Type"] == one.media_type
    assert response.headers["ETag"] == f'"{one.digest}"'
    assert response.headers.get("OCI-Namespace") == (ns.removeprefix("?ns=") or None)
    same = ("Content-Type", "Content-Length", "Docker-Content-Digest", "ETag", "Docker-Distribution-Api-Version")
    assert {name: head.headers[name] for name in same} == {name: response.headers[name] for name in same}
    assert response.headers["Content-Length"] == str(len(one.body))


async def test_a_warm_pull_asks_nobody():
    made = registry()
    async with serve(made) as url, running(url) as stack:
        await stack.get(manifest_path("good"))
        asked = len(made.requests)
        for method in ("GET", "GET", "HEAD", "HEAD"):
            status, _, _ = await stack.get(manifest_path("good"), method)
            assert status == 200
        assert len(made.requests) == asked
        stack.clock.advance(61)
        await stack.get(manifest_path("good"))
        assert made.requests[asked:] == [("HEAD", "/v2/library/good/manifests/1")]


@pytest.mark.parametrize(("length", "is_warm"), [(1, True), (900, True), (1024, False), (7_000, False)])
async def test_a_long_request_line_is_not_remembered(stack, length, is_warm):
    """Else a client fills the memory with what it asks, for what is counted is what is answered."""
    path = f"{manifest_path('good')}?x={'x' * length}"
    for _ in range(2):
        assert (await stack.get(path))[0] == 200
    assert (("warm", "GET", 200) in stack.watch.answers) is is_warm


async def test_a_whole_pull_of_a_multi_arch_image(stack):
    await stack.get(manifest_path("multi"))
    for child in MULTI.children:
        status, _, body = await stack.get(manifest_path("multi", child))
        assert (status, body) == (200, child.body)
        for blob in child.blobs:
            status, response, body = await stack.get(blob_path("multi", blob))
            assert (status, body) == (200, blob)
            assert response.headers["Content-Length"] == str(len(blob))
            assert (await stack.get(blob_path("multi", blob), "HEAD"))[0] == 200
    assert stack.watch.bytes_sent == sum(len(blob) for child in MULTI.children for blob in child.blobs)


async def test_a_child_by_itself_is_refused_before_its_index_was_judged(stack):
    status, _, _ = await stack.get("/v2/docker.io" + manifest_path("multi", MULTI.children[0])[3:])
    assert status == 403


@pytest.mark.parametrize(
    ("name", "words"), [("bad", "not signed"), ("stranger", "signed, but by nobody this rule trusts")]
)
async def test_a_refusal_explains_itself_to_who_has_nowhere_else_to_go(stack, name, words):
    status, response, body = await stack.get(f"/v2/docker.io/library/{name}/manifests/1")
    error = json.loads(body)["errors"][0]
    assert (status, error["code"]) == (403, "DENIED")
    assert error["message"] == response.reason
    assert error["message"].startswith(f"sealgate: docker.io/library/{name}:1 refused by rule all: {words} (id id")


@pytest.mark.parametrize(
    ("method", "ns", "headers", "status"),
    [
        ("HEAD", "", {}, 300),
        ("GET", "", {}, 307),
        ("HEAD", "?ns=docker.io", {}, 300),
        ("GET", "?ns=docker.io", {}, 200),
        ("GET", "", {"Docker_Distribution_API_Version": "registry/2.0"}, 200),
    ],
)
async def test_a_refusal_holds_on_a_mirror(stack, method, ns, headers, status):
    got, response, body = await stack.get(manifest_path("bad", ns=ns), method, **headers)
    assert got == status
    assert body != BAD.body
    assert "Docker-Content-Digest" not in response.headers
    assert stack.watch.refusals == [("docker.io/library/bad:1", "not_signed", "hold")]
    assert stack.watch.answers == [("manifests", method, 403, "refused")]


async def test_a_broken_trailer_ends_the_connection(stack):
    host, port = stack.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    request = f"GET {manifest_path('bad', ns='?ns=docker.io')} HTTP/1.1\r\nHost: x\r\nUser-Agent: containerd/v2\r\n\r\n"
    writer.write(request.encode() * 2)
    head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    for field in (b"Transfer-Encoding: chunked", b"Connection: close", b"Server: sealgate"):
        assert field in head
    end, new, old = rest.decode().rstrip("\r\n").split("\r\n")
    assert end == "0"
    assert new.startswith("[sealgate: docker.io/library/bad:1 refused by rule all: not signed (id id")
    assert old.startswith("sealgate, docker.io/library/bad=1 refused by rule all, not signed (id id")


async def test_plain_refusals_if_so_configured():
    async with serve(registry()) as url, running(url, form=Form.PLAIN) as stack:
        assert (await stack.get(manifest_path("bad")))[0] == 403


@pytest.mark.parametrize("name", ["nowhere", "good"])
async def test_what_is_not_there_holds_too(stack, name):
    """Else a client with credentials of its own would get it behind our back."""
    path = f"/v2/library/{name}/manifests/{'1' if name == 'nowhere' else 'no-such-tag'}"
    status, response, _ = await stack.get(path, "HEAD")
    assert status == 300
    assert "not found" in response.reason
    status, _, body = await stack.get("/v2/docker.io" + path[3:])
    assert (status, json.loads(body)["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize(
    ("path", "method", "status", "code"),
    [
        ("/v2/Bad/manifests/1", "GET", 307, None),
        ("/v2/docker.io/Bad/manifests/1", "GET", 400, "NAME_INVALID"),
        ("/v2/docker.io/app/manifests/sha256:abc", "GET", 400, "NAME_INVALID"),
        ("/v2/docker.io/app/manifests/-tag", "GET", 400, "NAME_INVALID"),
        ("/v2/docker.io/app/blobs/sha256:abc", "GET", 400, "NAME_INVALID"),
        ("/v2/_catalog", "GET", 404, "UNSUPPORTED"),
        ("/v2/app/blobs/uploads/", "POST", 405, "UNSUPPORTED"),
        ("/v2/app/manifests/1", "PUT", 405, "UNSUPPORTED"),
        ("/v2/app/manifests/1", "DELETE", 405, "UNSUPPORTED"),
        ("/v2/docker.io/app/tags/list?n=x", "GET", 400, "NAME_INVALID"),
        ("/v2/docker.io/app/tags/list?last=-", "GET", 400, "NAME_INVALID"),
    ],
)
async def test_requests_that_cannot_be_served(stack, path, method, status, code):
    got, _, body = await stack.get(path, method)
    assert got == status
    if code:
        assert json.loads(body)["errors"][0]["code"] == code


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/v2/a%2fb/manifests/1", "GET", {}, 307),
        ("/v2/a%2fb/manifests/1", "HEAD", {}, 300),
        ("/v2/a//b/manifests/1", "GET", {}, 307),
        ("/v2/library/good/manifests/1/", "GET", {}, 307),
        ("/v2/library/good/manifests/", "HEAD", {}, 300),
        (f"/v2/library/good/manifests/{GOOD.digest}/", "HEAD", {}, 307),
        (f"/v2/library/good/blobs/{GOOD.digest}/", "GET", {}, 307),
        ("/v2/library/good/manifests/1?ns=docker.io&ns=docker.io", "HEAD", {}, 300),
        ("/v2/library/good/manifests/1?ns=docker.io&ns=docker.io", "GET", {}, 200),
        ("/v2/library/good/manifests/1?ns", "GET", {}, 200),
        (f"/v2/library/good/blobs/{GOOD.digest}?ns=a&ns=b", "GET", {}, 200),
        ("/v2/a%2fb/manifests/1", "GET", {"Docker_Distribution_API_Version": "registry/2.0"}, 200),
        ("/v2/library/Good/manifests/1", "GET", {}, 307),
    ],
)
async def test_what_cannot_be_read_holds_too(stack, path, method, headers, status):
    got, response, body = await stack.get(path, method, **headers)
    said = (response.reason or "") + body.decode() + response.headers.get("Location", "")
    assert got == status
    assert "sealgate: " in said
    assert "(id id" in said
    assert [(label, form) for _, label, form in stack.watch.refusals] == [("name_invalid", "hold")]


DOCKER_AGENT = "docker/20.10.24 go/go1.19.8 git-commit/5d6db84 kernel/6.1.0 os/linux arch/amd64 UpstreamClient(x)"
STORE_AGENT = "docker/29.0.0 go/go1.25.1 os/linux arch/amd64 containerd-client/v2.3.3 storage-driver/overlayfs"
# What Docker asks its mirror for when told to pull docker.io/NAME, and whether that must be taken for its mirror's.
MAYBE_AT_THE_HUB = [
    ("localhost/app", "", True),
    ("localhost/library/app", "", True),
    ("with.dot/app", "", True),
    ("a_b.c/app", "", True),  # no host name at all
    ("ghcr.io/org/app", "", True),
    ("ghcr.io:443/org/app", "", True),
    ("registry.example:5000/app", "", True),
    ("docker.io/library/bad", "", False),
    ("docker.io/library/bad", STORE_AGENT, False),
    ("docker.io/library/bad", DOCKER_AGENT, True),
    ("index.docker.io/library/bad", DOCKER_AGENT, True),
    ("localhost/app", DOCKER_AGENT, True),
    ("with.dot/app", DOCKER_AGENT, True),
]


@pytest.mark.parametrize(("name", "agent", "held"), MAYBE_AT_THE_HUB)
@pytest.mark.parametrize("reference", ["manifests/1", f"manifests/{BAD.digest}", f"blobs/{Digest.of(BAD.blobs[1])}"])
async def test_a_registry_in_the_path_proves_no_explicit_name(stack, name, agent, held, reference):
    for method in ("GET", "HEAD"):
        status, response, body = await stack.get(f"/v2/{name}/{reference}", method, User_Agent=agent)
        assert (status in {300, 307}) is held, (method, status)
        if method == "GET":
            said = response.headers.get("Location", "") + body.decode()
            assert "sealgate: " in said
            assert said.startswith("denied") is held
    assert {form for _, _, form in stack.watch.refusals} == {"hold" if held else "plain"}


async def test_what_is_written_of_a_name_is_bounded(stack):
    for path in (
        f"/v2/app/manifests/1?ns={'n' * 7_000}",
        f"/v2/{'n' * 7_000}/manifests/1",
        f"/v2/{'n/' * 3_000}/manifests/",
    ):
        assert (await stack.get(path, "HEAD"))[0] == 300
    assert len(stack.watch.refusals) == 3
    assert max(len(image) for image, _, _ in stack.watch.refusals) == IMAGE_TEXT_MAX


async def test_an_unknown_registry_is_never_dialled_and_held(stack):
    status, response, _ = await stack.get("/v2/app/manifests/1?ns=169.254.169.254", "HEAD")
    assert status == 300
    assert "not configured here" in response.reason


# Blobs


async def test_a_blob_before_its_manifest_is_refused(stack):
    status, response, _ = await stack.get(blob_path("good", GOOD.blobs[1]))
    assert status == 307
    assert "pull the image's manifest first" in response.headers["Location"]


async def test_a_layer_of_a_refused_image_is_refused_and_its_config_let_through(stack):
    await stack.get(manifest_path("bad"))
    config, layer = BAD.blobs[:2]
    assert (await stack.get(blob_path("bad", config)))[::2] == (200, config)
    status, response, _ = await stack.get(blob_path("bad", layer))
    assert status == 307
    assert response.headers["Location"].startswith("refused by: sealgate: docker.io/library/bad@sha256:")
    assert (await stack.get(blob_path("bad", layer, "?ns=docker.io")))[2] != layer
    assert (await stack.get(blob_path("bad", config, "?ns=docker.io")))[2] != config
    assert (await stack.get("/v2/docker.io" + blob_path("bad", config)[3:]))[0] == 403
    assert (await stack.get(blob_path("bad", config), "HEAD"))[0] == 300


async def test_dockers_classic_store_is_held_though_it_asks_for_blobs_only(stack):
    """It kept the manifest after `docker rmi`; nothing was asked here before."""
    assert (await stack.get(blob_path("bad", BAD.blobs[0])))[0] == 200
    assert (await stack.get(blob_path("bad", BAD.blobs[1])))[0] == 307


@pytest.mark.parametrize("cut", [1, 10, 700])
async def test_a_transfer_is_resumed_by_range(stack, cut):
    layer = GOOD.blobs[1]
    await stack.get(manifest_path("good"))
    status, response, body = await stack.get(blob_path("good", layer), Range=f"bytes={cut}-")
    assert (status, body) == (206, layer[cut:])
    assert response.headers["Content-Range"] == f"bytes {cut}-{len(layer) - 1}/{len(layer)}"


async def test_ranges_that_are_odd(stack):
    layer = GOOD.blobs[1]
    await stack.get(manifest_path("good"))
    for odd in ("bytes=0-1,3-4", "bytes=-5", "pages=1-2", "bytes=x-"):
        assert (await stack.get(blob_path("good", layer), Range=odd))[::2] == (200, layer)
    status, response, _ = await stack.get(blob_path("good", layer), Range="bytes=999999-")
    assert (status, response.headers["Content-Range"]) == (416, f"bytes */{len(layer)}")


# Signature artefacts


async def test_signatures_can_be_read_and_permit_nothing(stack):
    tag = f"sha256-{DOCKER.digest.hex}.sig"
    status, _, body = await stack.get(f"/v2/library/docker/manifests/{tag}")
    assert status == 200
    for blob in (json.loads(body)["config"], *json.loads(body)["layers"]):
        assert (await stack.get(f"/v2/library/docker/blobs/{blob['digest']}"))[0] == 200
    listed = json.loads((await stack.get(f"/v2/library/good/referrers/{GOOD.digest}"))[2])["manifests"]
    status, _, body = await stack.get(f"/v2/library/good/manifests/{listed[0]['digest']}")
    assert status == 200
    bundle = json.loads(body)["layers"][0]
    assert (await stack.get(f"/v2/library/good/blobs/{bundle['digest']}"))[0] == 200


async def test_a_layer_that_is_called_a_signature_does_not_leave():
    made = registry()
    layer = BAD.blobs[1]
    document = json.loads(BAD.body)
    document["layers"] = [document["layers"][0] | {"mediaType": "application/vnd.dsse.envelope.v1+json"}]
    decoy = json.dumps(document).encode()
    made.add_manifest("library/bad", BAD.media_type, decoy, "decoy")
    async with serve(made) as url, running(url) as stack:
        assert (await stack.get("/v2/library/bad/manifests/decoy"))[0] == 307
        status, response, body = await stack.get(blob_path("bad", layer))
        assert (status, body) == (307, b"")
        assert "not signed" in response.headers["Location"]


async def test_referrers_are_merged_filtered_and_always_answered():
    made = registry(referrers_api=False)
    child = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [_referrer("a"), _referrer("b")]})
    made.add_manifest("library/good", OCI_INDEX, child.encode(), f"sha256-{GOOD.digest.hex}")
    async with serve(made) as url, running(url) as stack:
        path = f"/v2/library/good/referrers/{GOOD.digest}"
        status, response, body = await stack.get(path)
        assert (status, response.headers["Content-Type"]) == (200, OCI_INDEX)
        assert [one["artifactType"] for one in json.loads(body)["manifests"]] == ["application/a", "application/b"]
        assert "OCI-Filters-Applied" not in response.headers
        _, response, body = await stack.get(path + "?artifactType=application%2Fb")
        assert [one["artifactType"] for one in json.loads(body)["manifests"]] == ["application/b"]
        assert response.headers["OCI-Filters-Applied"] == "artifactType"
        status, _, body = await stack.get(f"/v2/library/good/referrers/{BAD.digest}")
        assert (status, json.loads(body)["manifests"]) == (200, [])


def _referrer(name: str) -> dict[str, object]:
    return {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": str(Digest.of(name.encode())),
        "size": 1,
        "artifactType": f"application/{name}",
        "annotations": {"n": name},
    }


async def test_tags_page_by_page(stack):
    status, response, body = await stack.get("/v2/library/docker/tags/list?n=1&ns=docker.io")
    assert (status, len(json.loads(body)["tags"])) == (200, 1)
    assert json.loads(body)["name"] == "library/docker"
    link = response.headers["Link"]
    assert link.startswith("</v2/library/docker/tags/list?n=1&last=")
    assert link.endswith('&ns=docker.io>; rel="next"')
    _, response, body = await stack.get(link[1 : link.index(">")])
    assert len(json.loads(body)["tags"]) == 1


# Modes


@pytest.mark.parametrize(("mode", "warned"), [(Mode.WARN, True), (Mode.AUDIT, False)])
async def test_warn_says_so_and_audit_does_not(mode, warned):
    async with serve(registry()) as url, running(url, rule(mode=mode)) as stack:
        for _ in range(2):
            status, response, body = await stack.get(manifest_path("bad"))
            assert (status, body) == (200, BAD.body)
            assert ("not signed" in response.headers.get("Warning", "")) is warned
        assert stack.watch.unverified == ["docker.io/library/bad:1"] * 2
        assert "Warning" not in (await stack.get(manifest_path("good")))[1].headers


# Upstreams that lie, fail or are slow


class Lying:
    """Answers manifests truly and blobs as it is told."""

    def __init__(self, made: Registry, headers: dict[str, str], chunks: list[bytes], status: int = 200) -> None:
        self.true = made
        self.headers, self.chunks, self.status = headers, chunks, status

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(status=self.status, headers=self.headers)
        await response.prepare(request)
        for chunk in self.chunks:
            await response.write(chunk)
        request.transport.close()
        return response


LAYER = GOOD.blobs[1]
WRONG = bytes(reversed(LAYER))
BIG = b"\0" * 300_000


@pytest.mark.parametrize(
    ("headers", "chunks", "status", "held"),
    [
        ({"Content-Length": str(len(LAYER) + 1)}, [LAYER + b"x"], 200, True),
        ({"Content-Length": str(len(WRONG))}, [WRONG], 200, False),
        ({"Content-Length": str(len(WRONG))}, [WRONG[:5], WRONG[5:]], 200, False),
        ({"Content-Length": str(len(LAYER))}, [LAYER[:-1]], 200, False),
        ({}, [LAYER + b"x"], 200, False),
        ({}, [LAYER[:-1]], 200, False),
        ({"Content-Length": "0"}, [], 404, True),
        ({"Content-Length": "0"}, [], 500, True),
    ],
)
async def test_a_wrong_blob_never_ends_as_complete(headers, chunks, status, held):
    made = registry()
    lying = Lying(made, headers, chunks, status)
    async with AsyncExitStack() as closing:
        true = await closing.enter_async_context(serve(made))
        session = await closing.enter_async_context(running(true))

        async def some(request: web.BaseRequest) -> web.StreamResponse:
            if "/blobs/" in request.path and request.path.endswith(str(Digest.of(LAYER))):
                return await lying(request)
            _, response, body = await session.get("" + request.raw_path, request.method)
            return web.Response(body=body, status=response.status, headers={"Content-Type": response.content_type})

        session.url = true
        between = await closing.enter_async_context(listening(some))
        stack = await closing.enter_async_context(running(between))
        assert (await stack.get(manifest_path("good")))[0] == 200
        async with stack.ask(blob_path("good", LAYER)) as response:
            if held:
                assert response.status == 307
                assert "no such process" in response.headers["Location"]
            else:
                assert response.status == 200
                with pytest.raises((ClientPayloadError, ClientConnectionError)):
                    await response.read()
                assert len(stack.watch.cuts) == 1
        if status == 200 and not held:
            # Docker tries five times and then goes to Docker Hub: an answer that it can read is there before.
            for _ in range(2):
                with suppress(ClientPayloadError, ClientConnectionError):
                    await stack.get(blob_path("good", LAYER))
            assert (await stack.get(blob_path("good", LAYER)))[0] == 307


async def test_a_mistake_of_ours_in_the_middle_of_a_body_cuts_it(stack, monkeypatch):
    """What has begun can no longer be answered otherwise; it must not look complete, and operators must hear of it."""

    async def broken(chunks: AsyncIterator[bytes], _: Digest) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            yield chunk[: len(LAYER) // 2]
            raise ZeroDivisionError

    monkeypatch.setattr("proxy.front.blobs.verified", broken)
    assert (await stack.get(manifest_path("good")))[0] == 200
    for path in (blob_path("good", LAYER), blob_path("good", LAYER, "?ns=docker.io")):
        async with stack.ask(path) as response:
            assert response.status == 200
            with pytest.raises((ClientPayloadError, ClientConnectionError)):
                await response.read()
    assert (
        stack.watch.cuts == [f"docker.io/library/good@{Digest.of(LAYER)}: the transfer failed: ZeroDivisionError"] * 2
    )
    assert [status for kind, _, status, _ in stack.watch.answers if kind == "blobs"] == [200, 200]
    assert stack.watch.bytes_sent == 2 * (len(LAYER) // 2)


async def test_an_upstream_that_is_down_holds_in_its_own_words():
    async with running("http://127.0.0.1:9") as stack:
        status, response, _ = await stack.get(manifest_path("good"), "HEAD")
        assert status == 300
        assert "could not be verified now" in response.reason
        status, response, body = await stack.get("/v2/docker.io" + manifest_path("good")[3:])
        assert (status, json.loads(body)["errors"][0]["code"]) == (503, "UNAVAILABLE")
        assert response.headers["Retry-After"] == "5"


async def test_every_request_is_counted(stack):
    await stack.get("/v2/")
    await stack.get(manifest_path("good"))
    await stack.get(manifest_path("bad"), "HEAD")
    await stack.get("/nowhere")
    assert stack.watch.answers == [
        ("ping", "GET", 200, "served"),
        ("manifests", "GET", 200, "served"),
        ("manifests", "HEAD", 403, "refused"),
        ("unsupported", "GET", 404, "not_found"),
    ]


async def test_a_mistake_of_ours_holds_too(stack, monkeypatch):
    """A client that sees a plain 500 would go to the next registry."""

    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("proxy.gate.gate.Gate.pull", broken)
    status, response, _ = await stack.get(manifest_path("good"), "HEAD")
    assert status == 300
    assert "internal error" in response.reason
    assert "ZeroDivisionError" in stack.watch.cuts[0]


async def test_an_answer_comes_in_time_and_the_work_goes_on(monkeypatch):
    monkeypatch.setattr("proxy.front.server.MANIFEST_SECONDS", 0.05)
    answered = asyncio.Event()
    made = registry()
    async with AsyncExitStack() as closing:
        true = await closing.enter_async_context(serve(made))
        plain = await closing.enter_async_context(ClientSession())

        async def slow(request: web.BaseRequest) -> web.StreamResponse:
            await answered.wait()
            async with plain.get(true + request.raw_path) as response:
                headers = {"Content-Type": response.headers["Content-Type"]}
                return web.Response(body=await response.read(), status=response.status, headers=headers)

        between = await closing.enter_async_context(listening(slow))
        stack = await closing.enter_async_context(running(between))
        status, response, _ = await stack.get(manifest_path("good"), "HEAD")
        assert status == 300
        assert "the answer takes too long" in response.reason
        monkeypatch.setattr("proxy.front.server.MANIFEST_SECONDS", 20)
        answered.set()
        assert (await stack.get(manifest_path("good"), "HEAD"))[0] == 200
        asked = [path for _, path in made.requests]
        assert asked.count("/v2/library/good/manifests/1") == 1


async def test_an_old_client_gets_its_connection_closed(stack):
    """What is warm is sent as it is only to who keeps the connection."""
    await stack.get(manifest_path("good"))
    for headers in ({}, {"Connection": "close"}):
        status, response, body = await stack.get(manifest_path("good"), **headers)
        assert (status, body) == (200, GOOD.body)
    assert response.headers["Connection"] == "close"


async def test_a_large_manifest_is_served_but_not_kept_as_bytes():
    made = registry()
    document = json.loads(GOOD.body) | {"annotations": {"pad": "x" * 100_000}}
    large = json.dumps(document).encode()
    GOOD.add_to(made, "library/large")
    made.add_manifest("library/large", GOOD.media_type, large, "1")
    sign(made, "library/large", GOOD.media_type, large)
    async with serve(made) as url, running(url) as stack:
        for _ in range(2):
            assert (await stack.get("/v2/library/large/manifests/1"))[::2] == (200, large)


async def test_a_client_that_takes_nothing_is_let_go(monkeypatch):
    monkeypatch.setattr("proxy.front.sending.CLIENT_STALL_SECONDS", 0)
    large = image("large", layer_bytes=32 * 1024 * 1024, layers=1)
    made = registry()
    large.add_to(made, "library/large", "1")
    sign(made, "library/large", large.media_type, large.body)
    async with serve(made) as url, running(url) as stack:
        await stack.get("/v2/library/large/manifests/1")
        host, port = stack.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(f"GET {blob_path('large', large.blobs[1])} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        while not any(kind == "blobs" for kind, *_ in stack.watch.answers):  # noqa: ASYNC110 (the front tells nobody else)
            await asyncio.sleep(0.01)
        writer.close()
        assert stack.watch.cuts == []
        assert 0 < stack.watch.bytes_sent < 32 * 1024 * 1024


async def test_a_client_that_leaves_in_mid_blob_is_no_mistake_of_ours():
    large = image("large", layer_bytes=32 * 1024 * 1024, layers=1)
    made = registry()
    large.add_to(made, "library/large", "1")
    sign(made, "library/large", large.media_type, large.body)
    async with serve(made) as url, running(url) as stack:
        await stack.get("/v2/library/large/manifests/1")
        async with stack.ask(blob_path("large", large.blobs[1])) as response:
            await response.content.readexactly(100_000)
            response.close()
        while not any(kind == "blobs" for kind, *_ in stack.watch.answers):  # noqa: ASYNC110 (the front tells nobody else)
            await asyncio.sleep(0.01)
        assert stack.watch.cuts == []
        assert stack.watch.refusals == []


async def test_a_client_that_asks_and_does_not_read_is_waited_for():
    """Warm manifests go straight to the transport, whose buffer must not grow with every request."""
    document = json.loads(GOOD.body) | {"annotations": {"pad": "x" * 60_000}}
    body = json.dumps(document).encode()
    made = registry()
    GOOD.add_to(made, "library/wide")
    made.add_manifest("library/wide", GOOD.media_type, body, "1")
    sign(made, "library/wide", GOOD.media_type, body)
    asked = 500  # 30 MB of answers: more than all buffers between us and a client take
    async with serve(made) as url, running(url) as stack:
        await stack.get("/v2/library/wide/manifests/1")
        host, port = stack.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(b"GET /v2/library/wide/manifests/1 HTTP/1.1\r\nHost: x\r\n\r\n" * asked)
        before = -1
        while before != (before := len(stack.watch.answers)):  # noqa: ASYNC110 (until it stands still)
            await asyncio.sleep(0.2)
        assert before < asked
        read = 0
        while read < asked * len(body):
            read += len(await reader.read(1 << 20))
        writer.close()


async def test_a_tag_that_is_called_uploads_is_judged_like_any_other():
    made = registry()
    BAD.add_to(made, "library/bad", "uploads")
    async with serve(made) as url, running(url) as stack:
        assert (await stack.get("/v2/library/bad/manifests/uploads"))[0] == 307
        assert (await stack.get("/v2/library/bad/manifests/uploads", "HEAD"))[0] == 300


async def test_a_digest_that_is_asked_for_by_head_alone_is_held():
    """Docker asks so for content that it has under another name, and takes anything below 400 as a yes."""
    async with serve(registry()) as url, running(url) as stack:
        status, response, _ = await stack.get(manifest_path("bad", BAD), "HEAD")
        assert status == 307
        assert "[no such process]" in response.headers["Location"]
