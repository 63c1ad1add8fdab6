"""Docker's classic store as it speaks, before an upstream that fails: each answer that sends it to Docker Hub."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError, ClientSession, web
from support.content import opened, path_of
from support.stack import listening, rule, running, sign

from proxy.demo.images import Image, image, index
from proxy.demo.registry import Registry, serve
from proxy.front.configs import CONFIG_BYTES_MAX
from proxy.front.refusals import Form
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_INDEX, OCI_MANIFEST
from proxy.policy.match import Pattern
from proxy.policy.model import Refuse, Rule
from proxy.policy.rules import Rules

DOCKER = {"User_Agent": "docker/20.10.24 go/go1.19.8 kernel/6.1 os/linux arch/amd64 UpstreamClient()"}
CRANE = {"User_Agent": "crane/v0.20.2 go-containerregistry/v0.20.2"}
ROOMS = {"store": 100_000_000, "no room": 100, "no store": None}


def padded(seed: str, size: int) -> Image:
    """Return an image whose config is so large."""
    made = image(seed)
    config = json.loads(made.blobs[0])
    config["config"]["Labels"]["pad"] = "x" * size
    body = json.dumps(config).encode()
    manifest = json.loads(made.body)
    manifest["config"] |= {"digest": str(Digest.of(body)), "size": len(body)}
    return Image(made.media_type, json.dumps(manifest).encode(), (body, *made.blobs[1:]))


GOOD, LARGE, BAD, BAD_LARGE = image("good"), padded("large", 600_000), image("bad"), padded("bad-large", 600_000)
MULTI = index([image("multi", architecture=one) for one in ("amd64", "arm64")])
CONFIG, LAYER = GOOD.blobs[:2]
FAULTS = ["missing", "denied", "limited", "failing", "cut", "wrong", "short"]


class Flaky:
    """A registry in front of another, which fails in one way at the paths in `faults`."""

    def __init__(self, true: str) -> None:
        self.true = true
        self.faults: dict[str, str] = {}
        self.asked: list[str] = []

    def fails(self, how: str, name: str, blob: bytes) -> None:
        self.faults[f"/v2/library/{name}/blobs/{Digest.of(blob)}"] = how

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        how = self.faults.get(request.path)
        status = {"missing": 404, "denied": 403, "limited": 429, "failing": 503}.get(how)
        if status is not None:
            return web.Response(status=status)
        async with ClientSession() as session, session.request(request.method, self.true + request.raw_path) as answer:
            body = await answer.read()
        if how == "cut":
            return await self._cut(request, body)
        body = {"wrong": b"{" + body[:-1], "short": body[:-1]}.get(how, body)
        headers = {name: answer.headers[name] for name in ("Docker-Content-Digest",) if name in answer.headers}
        return web.Response(status=answer.status, body=body, content_type=answer.content_type, headers=headers)

    async def _cut(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[:50])
        request.transport.close()
        return response


def registry() -> Registry:
    made = Registry()
    for name, one in (("good", GOOD), ("large", LARGE), ("multi", MULTI)):
        one.add_to(made, f"library/{name}", "1")
        sign(made, f"library/{name}", one.media_type, one.body)
    for name, one in (("bad", BAD), ("bad-large", BAD_LARGE)):
        one.add_to(made, f"library/{name}", "1")
    return made


@asynccontextmanager
async def proxied(folder, room=100_000_000, made=None):
    made = made or registry()
    async with serve(made) as true:
        flaky = Flaky(true)
        with opened(folder, room or 1) as store:
            async with (
                listening(flaky.handle) as url,
                running(url, content=store if room is not None else None) as stack,
            ):
                stack.flaky, stack.store = flaky, store
                yield stack


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("proxy.front.configs.RETRY_SECONDS", (0.01,))
    monkeypatch.setattr("proxy.front.granting.CONFIG_RETRY_SECONDS", 0.01)
    monkeypatch.setattr("proxy.front.granting.CONFIG_RETRY_SECONDS_MAX", 0.05)


def manifest(name: str, one: Image | None = None) -> str:
    return f"/v2/library/{name}/manifests/{one.digest if one else 1}"


def blob(name: str, content: bytes) -> str:
    return f"/v2/library/{name}/blobs/{Digest.of(content)}"


async def held(stack, path: str, **headers: str) -> str:
    """Ask as Docker does, which repeats a HEAD as a GET; return what stops it."""
    assert (await stack.get(path, "HEAD", **headers))[0] in {300, 307}
    status, response, body = await stack.get(path, **headers)
    assert (status, body) == (307, b"")
    assert "no such process" in response.headers["Location"]
    return response.headers["Location"]


async def waits(stack, path: str, **headers: str) -> None:
    """See that there is no answer, and leave."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.4):
            await stack.get(path, **headers)


# No manifest without its config


@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
@pytest.mark.parametrize("how", FAULTS)
async def test_no_manifest_is_answered_whose_config_cannot_be_had(tmp_path, how, room):
    async with proxied(tmp_path, room) as stack:
        stack.flaky.fails(how, "good", CONFIG)
        for path in (manifest("good"), manifest("good", GOOD)):
            assert "the config of this image cannot be had" in await held(stack, path, **DOCKER)
            await held(stack, path)  # who does not say what it is may be Docker
        assert (await stack.get(manifest("good"), **CRANE))[0] == 200
        assert (await stack.get(manifest("good") + "?ns=docker.io"))[0] == 200
        assert (await stack.get("/v2/docker.io" + manifest("good")[3:], **CRANE))[0] == 200


@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
@pytest.mark.parametrize(("name", "one"), [("good", GOOD), ("large", LARGE)])
async def test_its_twin_is_answered_and_the_config_needs_no_upstream_then(tmp_path, name, one, room):
    async with proxied(tmp_path, room) as stack:
        for method in ("HEAD", "GET", "GET"):
            assert (await stack.get(manifest(name), method, **DOCKER))[0] == 200
        stack.flaky.fails("limited", name, one.blobs[0])
        assert (await stack.get(blob(name, one.blobs[0]), **DOCKER))[::2] == (200, one.blobs[0])
        assert (await stack.get(blob(name, one.blobs[1]), **DOCKER))[::2] == (200, one.blobs[1])
        assert stack.flaky.asked.count(blob(name, one.blobs[0])) == 1


async def test_nor_is_the_manifest_of_a_platform(tmp_path):
    child = MULTI.children[0]
    async with proxied(tmp_path) as stack:
        stack.flaky.fails("failing", "multi", child.blobs[0])
        assert (await stack.get(manifest("multi"), **DOCKER))[0] == 200
        await held(stack, manifest("multi", child), **DOCKER)
        stack.flaky.faults.clear()
        assert (await stack.get(manifest("multi", child), **DOCKER))[0] == 200


@pytest.mark.parametrize("lies", [True, False])
async def test_an_index_that_is_listed_as_an_image_is_held(lies):
    """Docker would take an index by any name, and goes on from whatever it then cannot have."""
    inner, made = index([GOOD]), Registry()
    entry = {"digest": str(inner.digest), "size": len(inner.body), "platform": {"os": "linux", "architecture": "amd64"}}
    entry["mediaType"] = OCI_MANIFEST if lies else OCI_INDEX
    outer = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    Image(OCI_INDEX, outer, (), (inner,)).add_to(made, "library/nested", "1")
    sign(made, "library/nested", OCI_INDEX, outer)
    by_tag, by_digest = "/v2/library/nested/manifests/1", f"/v2/library/nested/manifests/{inner.digest}"
    async with serve(made) as url, running(url) as stack:
        assert (await stack.get(by_tag, **CRANE))[0] == 200
        assert (await stack.get(by_digest, **CRANE))[0] == 200
        if lies:
            assert "names an image" in await held(stack, by_digest, **DOCKER)
        else:
            assert (await stack.get(by_digest, **DOCKER))[0] == 200
            assert "no image for" in await held(stack, by_tag, **DOCKER)


@pytest.mark.parametrize("signed", [True, False])
async def test_only_an_index_that_is_served_makes_an_image_of_another(signed):
    """Who may push cannot keep a signed index from Docker by an unsigned one; and a signed one counts at once."""
    inner, made = index([GOOD]), Registry()
    entry = {"digest": str(inner.digest), "size": len(inner.body), "platform": {"os": "linux", "architecture": "amd64"}}
    entry["mediaType"] = OCI_MANIFEST
    outer = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    inner.add_to(made, "library/nested", "inner")
    Image(OCI_INDEX, outer, (), (inner,)).add_to(made, "library/nested", "outer")
    sign(made, "library/nested", OCI_INDEX, inner.body)
    if signed:
        sign(made, "library/nested", OCI_INDEX, outer)
    by_digest = f"/v2/library/nested/manifests/{inner.digest}"
    async with serve(made) as url, running(url) as stack:
        for _ in range(2 * signed):  # the second time from memory, if at all
            assert (await stack.get(by_digest, **DOCKER))[0] == 200
        status = (await stack.get("/v2/library/nested/manifests/outer", **CRANE))[0]
        assert (status == 200) is signed
        if signed:
            assert "names an image" in await held(stack, by_digest, **DOCKER)
        else:
            assert (await stack.get(by_digest, **DOCKER))[0] == 200


async def test_a_slow_config_is_no_answer(tmp_path, monkeypatch):
    monkeypatch.setattr("proxy.front.server.MANIFEST_SECONDS", 0.2)
    never = asyncio.Event()

    async def hang(*_: object) -> bool:
        return await never.wait()

    monkeypatch.setattr("proxy.gate.transfers.Transfers.keep", hang)
    async with proxied(tmp_path) as stack:
        assert "takes too long" in await held(stack, manifest("good"), **DOCKER)


async def test_without_room_for_a_large_config_its_manifest_is_held(tmp_path):
    made, huge = registry(), padded("huge", CONFIG_BYTES_MAX)
    huge.add_to(made, "library/huge", "1")
    sign(made, "library/huge", huge.media_type, huge.body)
    async with proxied(tmp_path / "none", None, made) as stack:
        assert "no room" in await held(stack, manifest("huge"), **DOCKER)
    async with proxied(tmp_path / "some", made=made) as stack:
        for _ in range(2):
            assert (await stack.get(manifest("huge"), **DOCKER))[0] == 200
        assert (await stack.get(blob("huge", huge.blobs[0]), **DOCKER))[::2] == (200, huge.blobs[0])


@pytest.mark.parametrize("change", ["goes", "rots"])
async def test_what_is_remembered_of_a_manifest_does_not_outlive_its_config(tmp_path, change):
    async with proxied(tmp_path) as stack:
        for _ in range(3):
            assert (await stack.get(manifest("good"), **DOCKER))[0] == 200
        assert ("warm", "GET", 200) in stack.watch.answers
        stack.flaky.fails("failing", "good", CONFIG)
        path = path_of(stack.store, Digest.of(CONFIG))
        path.unlink()
        if change == "goes":
            await held(stack, manifest("good"), **DOCKER)
            stack.flaky.faults.clear()
            assert (await stack.get(manifest("good"), **DOCKER))[0] == 200
        else:
            path.write_bytes(CONFIG[:-1] + b"x")
            await waits(stack, blob("good", CONFIG), **DOCKER)
            await held(stack, manifest("good"), **DOCKER)


# A config that is asked for is waited for


@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)
@pytest.mark.parametrize("how", FAULTS)
@pytest.mark.parametrize("headers", [DOCKER, {}], ids=["docker", "unknown"])
async def test_a_config_that_cannot_be_had_is_waited_for(tmp_path, how, room, headers):
    async with proxied(tmp_path, room) as stack:
        await stack.get(manifest("good") + "?ns=docker.io", "HEAD")
        stack.flaky.fails(how, "good", CONFIG)
        await waits(stack, blob("good", CONFIG), **headers)
        with suppress(ClientConnectionError, ClientPayloadError):  # it is no answer to wait for, for who uses one only
            assert (await stack.get(blob("good", CONFIG), **CRANE))[0] == 307
        assert [form for _, _, form in stack.watch.refusals][:1] == ["hold"]
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(stack.get(blob("good", CONFIG), **headers))
            await asyncio.sleep(0.1)
            stack.flaky.faults.clear()
            assert (await asking)[::2] == (200, CONFIG)


@pytest.mark.parametrize("how", FAULTS)
@pytest.mark.parametrize(("name", "one"), [("bad", BAD), ("bad-large", BAD_LARGE)])
@pytest.mark.parametrize("known", [True, False])
async def test_so_is_that_of_a_refused_image_of_which_docker_has_the_manifest(tmp_path, how, name, one, known):
    config, layer = one.blobs[:2]
    async with proxied(tmp_path) as stack:
        if known:
            assert (await stack.get(manifest(name), **DOCKER))[0] == 307
        stack.flaky.fails(how, name, config)
        await waits(stack, blob(name, config), **DOCKER)
        assert (await stack.get(blob(name, layer), **DOCKER))[0] == 307
        stack.flaky.faults.clear()
        assert (await stack.get(blob(name, config), **DOCKER))[::2] == (200, config)
        assert (await stack.get(blob(name, config), **CRANE))[0] == 307


async def test_one_that_is_let_through_to_nobody_is_waited_for_too(tmp_path):
    """What unpacks as well, or is larger than what is looked at; and anything of a repository that is not read."""
    archive = bytearray(BAD.blobs[0].ljust(600))
    archive[148:156] = b"        "
    made, huge = registry(), padded("huge", CONFIG_BYTES_MAX)
    huge.add_to(made, "library/bad")
    made.add_blob("library/bad", bytes(archive))
    made.add_blob("library/bad", b"[]")
    async with proxied(tmp_path, made=made) as stack:
        for content in (huge.blobs[0], bytes(archive)):
            await waits(stack, blob("bad", content), **DOCKER)
        assert (await stack.get(blob("bad", b"[]"), **DOCKER))[0] == 307  # nobody reads a list as a config
        stack.use(Rules([Rule("nothing", (Pattern.parse("**"),), Refuse())]))
        asked = len(stack.flaky.asked)
        await waits(stack, blob("good", CONFIG), **DOCKER)
        assert (await stack.get(blob("good", CONFIG)))[0] == 307
        assert len(stack.flaky.asked) == asked


async def test_a_layer_that_cannot_be_had_is_refused_at_once(tmp_path):
    async with proxied(tmp_path) as stack:
        assert (await stack.get(manifest("good"), **DOCKER))[0] == 200
        stack.flaky.fails("missing", "good", LAYER)
        status, response, _ = await stack.get(blob("good", LAYER), **DOCKER)
        assert (status, response.headers["Location"][:11]) == (307, "refused by:")


# What Docker cannot use


def charts(made: Registry) -> bytes:
    document = json.loads(GOOD.body)
    document["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
    return json.dumps(document).encode()


def foreign(made: Registry) -> bytes:
    return MULTI.body.replace(b'"amd64"', b'"s390x"')


def empty(made: Registry) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()


def windows(made: Registry) -> bytes:
    config = CONFIG.replace(b'"linux"', b'"windows"')
    made.add_blob("library/good", config)
    return GOOD.body.replace(str(Digest.of(CONFIG)).encode(), str(Digest.of(config)).encode()).replace(
        f'"size":{len(CONFIG)}'.encode(), f'"size":{len(config)}'.encode()
    )


@pytest.mark.parametrize("make", [charts, foreign, empty, windows])
async def test_a_tag_that_moves_to_what_docker_cannot_use_is_held(tmp_path, make):
    """Whoever may push, and sign nothing, moves a tag to another signed thing, and asks Docker Hub so."""
    made = registry()
    body = make(made)
    media_type = OCI_INDEX if make in {foreign, empty} else GOOD.media_type
    async with proxied(tmp_path, made=made) as stack:
        assert (await stack.get(manifest("good"), **DOCKER))[0] == 200
        for child in MULTI.children:
            child.add_to(made, "library/good")
        made.add_manifest("library/good", media_type, body, "1")
        sign(made, "library/good", media_type, body)
        assert (await stack.get(manifest("good"), **DOCKER))[::2] == (200, GOOD.body)  # for as long as the tag lives
        stack.clock.advance(61)
        assert "this Docker cannot use it" in await held(stack, manifest("good"), **DOCKER)
        assert stack.watch.refusals[-1][1:] == ("unusable", "hold")
        for headers in (CRANE, {"User_Agent": "podman", "Docker_Distribution_API_Version": "registry/2.0"}):
            assert (await stack.get(manifest("good"), **headers))[::2] == (200, body)
            await held(stack, manifest("good"), **DOCKER)  # what is remembered for others is not for Docker


async def test_a_signature_is_no_image(tmp_path):
    made = registry()
    sign(made, "library/good", GOOD.media_type, GOOD.body, kind="classic")
    tag = f"/v2/library/good/manifests/sha256-{GOOD.digest.hex}.sig"
    async with proxied(tmp_path, made=made) as stack:
        assert "cannot use it" in await held(stack, tag, **DOCKER)
        assert (await stack.get(tag))[0] == 200


async def test_an_index_for_other_dockers(tmp_path):
    async with proxied(tmp_path) as stack:
        for arch, status in (("amd64", 200), ("arm64", 200), ("ppc64le", 307)):
            agent = DOCKER["User_Agent"].replace("amd64", arch)
            assert (await stack.get(manifest("multi"), User_Agent=agent))[0] == status
        assert (await stack.get(manifest("multi"), User_Agent="docker/20.10.24"))[0] == 307


async def test_a_tag_list_that_fails_is_held_for_docker(tmp_path):
    """`docker pull --all-tags` begins with it, and goes on to Docker Hub."""
    async with proxied(tmp_path) as stack:
        stack.flaky.faults["/v2/library/good/tags/list"] = "failing"
        status, response, _ = await stack.get("/v2/library/good/tags/list", **DOCKER)
        assert (status, "no such process" in response.headers["Location"]) == (307, True)
        assert (await stack.get("/v2/library/good/tags/list"))[0] == 503


async def test_the_plain_form_holds_nobody_and_waits_for_nothing(tmp_path):
    made = registry()
    async with serve(made) as true:
        flaky = Flaky(true)
        async with listening(flaky.handle) as url, running(url, rule(), form=Form.PLAIN) as stack:
            flaky.fails("missing", "good", CONFIG)
            assert (await stack.get(manifest("good"), **DOCKER))[0] == 200
            assert (await stack.get(blob("good", CONFIG), **DOCKER))[0] == 404
