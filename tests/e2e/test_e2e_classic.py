"""Docker's classic store where it would give up Sealgate for Docker Hub: configs that fail, images that it cannot use.

Docker Hub has another image under each tag, and counts what it is asked.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import pytest
from e2e import content, lab
from e2e.clients import CLIENTS, Client, dockerd
from e2e.flaky import Flaky, flaky
from e2e.lab import Outcome
from e2e.sandbox import Box, Ended
from e2e.stage import Stage, put_signature

from proxy.demo.images import Image
from proxy.demo.signing import SigningKey, bundle_signature
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor

pytestmark = pytest.mark.skipif(
    bool(os.environ.get("SEALGATE_E2E_CONTAINERD_STORE")), reason="the containerd image store is another client"
)
(DOCKER,) = (client for client in CLIENTS if client.name == "docker")
FAULTS = ["missing", "limited", "failing", "cut", "wrong", "slow"]
ONE, TWO = "", "workers = 2\n"
# So long is nothing asked of Docker Hub, where Docker waits.
WAITS_SECONDS = 12


@dataclass
class Setting:
    """Sealgate before a registry that fails as it is told, and Docker Hub, which has something else to offer."""

    stage: Stage
    upstream: Flaky
    folder: Path

    def put(self, name: str, image: Image, *, signed: bool = True) -> content.Named:
        """Put an image there, signed or not, and another at Docker Hub."""
        named = content.Named(f"library/{name}", "1", image)
        named.put(self.upstream.shelf)
        if signed:
            subject = Descriptor(image.media_type, image.digest, len(image.body))
            put_signature(self.upstream.shelf, named.repository, bundle_signature(self.stage.key, subject))
        replace(content.single(f"{name}-of-the-hub"), repository=named.repository).put(self.stage.lab.shelf)
        return named

    @contextmanager
    def sealgate(self, more: str = "", server: str = "", key: bytes | None = None) -> Iterator[str]:
        """Run Sealgate; the state is kept from one run to the next."""
        pem = self.stage.key.public_pem if key is None else key
        with lab.sealgate(self.stage.lab.tools, self.folder, 5030, self.upstream.url, pem, more, server) as url:
            yield url


@pytest.fixture
def setting(the_stage: Stage, tmp_path: Path) -> Iterator[Setting]:
    """Begin with a registry that has nothing, and a hub that was asked nothing."""
    the_stage.lab.hub.settle()
    with flaky() as upstream:
        yield Setting(the_stage, upstream, tmp_path / "sealgate")


def blob(image: content.Named, body: bytes) -> str:
    return f"/v2/{image.repository}/blobs/{Digest.of(body)}"


def padded(name: str) -> Image:
    """Return an image with a config of 400 KB."""
    made = content.single(name).image
    config = json.loads(made.blobs[0])
    config["config"]["Labels"]["pad"] = "x" * 400_000
    body = json.dumps(config).encode()
    manifest = json.loads(made.body)
    manifest["config"] |= {"digest": str(Digest.of(body)), "size": len(body)}
    return Image(made.media_type, json.dumps(manifest).encode(), (body, *made.blobs[1:]))


def pull_for(box: Box, reference: str, seconds: float) -> Ended:
    return box.run("docker", "-H", f"unix://{box.folder}/docker.sock", "pull", reference, seconds=seconds)


# The config of an accepted image


@pytest.mark.parametrize(
    ("how", "by", "server"),
    list(zip(FAULTS, ["by_tag", "by_digest"] * 3, [ONE, TWO, TWO, ONE, ONE, TWO], strict=True)),
)
def test_an_accepted_image_whose_config_cannot_be_had_is_held(setting: Setting, how: str, by: str, server: str) -> None:
    image = setting.put("configless", content.single("configless").image)
    setting.upstream.faults[blob(image, image.image.blobs[0])] = how
    with setting.sealgate(server=server) as url:
        record = setting.stage.lab.pull(f"config {how}", DOCKER, url, image, by)
        assert record.outcome is Outcome.HELD, str(record)
        assert "sealgate: " in record.pull.output, str(record)
        setting.upstream.faults.clear()
        if how != "slow":  # which is still on its way
            record = setting.stage.lab.pull(f"config {how}, repaired", DOCKER, url, image, by)
            assert record.outcome is Outcome.OK, str(record)


@pytest.mark.parametrize(
    ("more", "server", "large"),
    [("", ONE, True), ("", TWO, False), ("[cache]\nsize = 0\n", ONE, False), ("[cache]\nsize = 0\n", TWO, True)],
)
def test_its_twin_arrives(setting: Setting, more: str, server: str, large: bool) -> None:  # noqa: FBT001 (a table)
    image = setting.put("twin", padded("twin") if large else content.single("twin").image)
    with setting.sealgate(more, server) as url:
        record = setting.stage.lab.pull("config", DOCKER, url, image, "by_tag")
    assert record.outcome is Outcome.OK, str(record)


def test_a_platform_whose_config_cannot_be_had_is_held(setting: Setting) -> None:
    image = setting.put("configless-multi", content.multi("configless-multi").image)
    setting.upstream.faults[blob(image, image.own_platform.blobs[0])] = "failing"
    with setting.sealgate() as url:
        record = setting.stage.lab.pull("config of a platform", DOCKER, url, image, "by_tag")
    assert record.outcome is Outcome.HELD, str(record)


# What it cannot use


def chart(image: Image) -> tuple[str, bytes]:
    document = json.loads(image.body)
    document["mediaType"] = OCI_MANIFEST
    document["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
    return OCI_MANIFEST, json.dumps(document).encode()


def layer_type(kind: str, image: Image) -> tuple[str, bytes]:
    document = json.loads(image.body)
    document["mediaType"] = OCI_MANIFEST
    document["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json"
    for layer in document["layers"]:
        layer["mediaType"] = kind
    return OCI_MANIFEST, json.dumps(document).encode()


def entries(*platforms: object, image: Image) -> tuple[str, bytes]:
    entry = {"mediaType": image.media_type, "digest": str(image.digest), "size": len(image.body)}
    listed = [entry if platform is None else entry | {"platform": platform} for platform in platforms]
    return OCI_INDEX, json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}).encode()


def nested(image: Image) -> tuple[str, bytes, Image]:
    """Return an index whose entry for this platform is an index."""
    own = {"os": "linux", "architecture": content.ARCHITECTURE}
    inner = Image(*entries(own, image=image), image.blobs, (image,))
    return *entries(own, image=inner), inner


def nested_as_image(image: Image) -> tuple[str, bytes, Image]:
    """Return an index whose entry says that it is an image, and is an index."""
    media_type, body, inner = nested(image)
    document = json.loads(body)
    document["manifests"][0]["mediaType"] = OCI_MANIFEST
    return media_type, json.dumps(document).encode(), inner


def config_of(image: Image, **changes: object) -> tuple[str, bytes, Image]:
    """Return an index with the image by another config."""
    config = json.dumps(json.loads(image.blobs[0]) | changes).encode()
    document = json.loads(image.body)
    document["config"] |= {"digest": str(Digest.of(config)), "size": len(config)}
    made = Image(image.media_type, json.dumps(document).encode(), (config, *image.blobs[1:]), ())
    return *entries({"os": "linux", "architecture": content.ARCHITECTURE}, image=made), made


def rooted(image: Image, *diff_ids: str) -> tuple[str, bytes, Image]:
    return config_of(image, rootfs={"type": "layers", "diff_ids": list(diff_ids)})


def on_this(image: Image, **members: object) -> tuple[str, bytes]:
    return entries({"os": "linux", "architecture": content.ARCHITECTURE, **members}, image=image)


UNUSABLE = {
    "layers of another algorithm": lambda image: rooted(image, *["sha512:" + 128 * "0"] * len(image.blobs[1:])),
    "nested index": nested,
    "nested index, listed as an image": nested_as_image,
    "label that is a number": lambda image: config_of(image, config={"Labels": {"version": 7}}),
    "time that does not exist": lambda image: config_of(image, created="2026-02-30T00:00:00Z"),
    "32 bit": lambda image: entries({"os": "linux", "architecture": "386"}, image=image),
    "chart": chart,
    "encrypted": lambda image: layer_type("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", image),
    "wasm": lambda image: layer_type("application/vnd.wasm.content.layer.v1+wasm", image),
    "empty index": lambda image: entries(image=image),
    "other platform": lambda image: entries({"os": "linux", "architecture": "s390x"}, image=image),
    "other system": lambda image: entries({"os": "windows", "architecture": content.ARCHITECTURE}, image=image),
    "unreadable platform": lambda image: entries(
        {"os": "linux", "architecture": content.ARCHITECTURE}, {"os": "linux", "architecture": 7}, image=image
    ),
}


@pytest.mark.parametrize(
    ("make", "server"), list(zip(UNUSABLE.values(), cycle([ONE, TWO]), strict=False)), ids=UNUSABLE
)
def test_a_tag_that_moves_to_what_docker_cannot_use_is_held(setting: Setting, make, server: str) -> None:
    base = content.single("moved").image
    image = setting.put("moved", base)
    with setting.sealgate('[lifetimes]\ntag = "1s"\n', server) as url:
        record = setting.stage.lab.pull("usable", DOCKER, url, image, "by_tag")
        assert record.outcome is Outcome.OK, str(record)
        media_type, body, *children = make(base)
        listed = tuple(children or [base]) if media_type == OCI_INDEX else ()
        moved = setting.put("moved", Image(media_type, body, base.blobs, listed))
        box_lab = setting.stage.lab
        box_lab.hub.settle()
        with box_lab.box() as box, dockerd(box, url) as docker:
            pulled = docker("pull", moved.by_tag)
            for _ in range(20):  # until the tag is asked for anew
                if pulled.code:
                    break
                docker("rmi", moved.by_tag)
                pulled = docker("pull", moved.by_tag)
        assert box_lab.hub.settle() == [], pulled.output
    assert pulled.code, pulled.output
    assert "this Docker cannot use it" in pulled.output, pulled.output


NEWER = {
    "ports that are a range": lambda image: config_of(image, config={"ExposedPorts": {"8000-8010/tcp": {}}}),
    "command that is no list": lambda image: config_of(image, config={"Cmd": "/bin/true"}),
    "features of the system": lambda image: on_this(image, **{"os.features": ["x"]}),
    "version and no system": lambda image: entries({"os.version": "1"}, image=image),
    "list of no features": lambda image: entries({"os.features": []}, image=image),
}


@pytest.mark.parametrize("make", NEWER.values(), ids=NEWER)
def test_what_newer_versions_do_not_read(setting: Setting, make) -> None:
    """Held, or the image arrives."""
    base = content.single("newer").image
    media_type, body, *children = make(base)
    listed = tuple(children or [base]) if media_type == OCI_INDEX else ()
    image = setting.put("newer", Image(media_type, body, base.blobs, listed))
    with setting.sealgate() as url, setting.stage.lab.box() as box, dockerd(box, url) as docker:
        pulled = docker("pull", image.by_tag)
    assert setting.stage.lab.hub.settle() == [], pulled.output
    assert not pulled.code or "this Docker cannot use it" in pulled.output, pulled.output


@pytest.mark.parametrize("how", ["cut", "wrong"])
def test_a_layer_that_cannot_be_had(setting: Setting, how: str) -> None:
    image = setting.put("layerless", content.single("layerless").image)
    setting.upstream.faults[blob(image, image.image.blobs[1])] = how
    with setting.sealgate() as url, setting.stage.lab.box() as box, dockerd(box, url):
        pulled = pull_for(box, image.by_tag, 150)
    assert setting.stage.lab.hub.settle() == [], pulled.output
    assert pulled.code, pulled.output


MIRRORS = [client for client in CLIENTS if client.name in {"containerd mirror", "podman mirror", "skopeo mirror"}]


@pytest.mark.parametrize("client", MIRRORS, ids=lambda client: client.name)
def test_other_clients_do_not_ask_the_hub_for_what_they_cannot_use(setting: Setting, client: Client) -> None:
    """They give an accepted image up, and do not begin again elsewhere."""
    with setting.sealgate() as url:
        for number, make in enumerate((UNUSABLE | NEWER).values()):
            base = content.single("unusable").image
            media_type, body, *children = make(base)
            listed = tuple(children or [base]) if media_type == OCI_INDEX else ()
            image = setting.put(f"unusable{number}", Image(media_type, body, base.blobs, listed))
            record = setting.stage.lab.pull("unusable", client, url, image, "by_tag")
            assert not record.hub, str(record)


def test_all_tags_are_held_where_their_list_cannot_be_had(setting: Setting) -> None:
    image, hub = setting.put("all", content.single("all").image), setting.stage.lab.hub
    with setting.sealgate() as url, setting.stage.lab.box() as box, dockerd(box, url) as docker:
        pulled = docker("pull", "--all-tags", f"docker.io/{image.repository}")
    assert pulled.code, pulled.output
    assert hub.settle() == [], pulled.output


# The config of a refused image, whose manifest Docker kept


@pytest.mark.parametrize(
    ("how", "known", "large"),
    [
        ("missing", True, True),
        ("limited", False, True),
        ("failing", True, False),
        ("cut", False, False),
        ("wrong", True, True),
        ("slow", False, True),
    ],
)
def test_docker_waits_for_the_config_of_a_refused_image_that_it_had(
    setting: Setting,
    how: str,
    known: bool,  # noqa: FBT001 (a table)
    large: bool,  # noqa: FBT001 (a table)
) -> None:
    """It was allowed, and is refused by a new policy; `docker rmi` left the manifest."""
    image = setting.put("kept", padded("kept") if large else content.single("kept").image)
    the_lab = setting.stage.lab
    with the_lab.box() as box:
        with setting.sealgate() as url, dockerd(box, url) as docker:
            assert docker("pull", image.by_digest).code == 0
            assert docker("rmi", image.by_digest).code == 0
        if not known:
            setting.folder = setting.folder.with_name("another")
        with setting.sealgate(key=SigningKey.generate().public_pem) as url, dockerd(box, url) as docker:
            setting.upstream.faults[blob(image, image.image.blobs[0])] = how
            waiting = pull_for(box, image.by_digest, WAITS_SECONDS)
            assert the_lab.hub.settle() == [], waiting.output
            assert waiting.code is None or "sealgate: " in waiting.output, waiting.output
            setting.upstream.faults.clear()
            pulled = docker("pull", image.by_digest)
    assert the_lab.hub.settle() == [], pulled.output
    assert pulled.code, pulled.output
    assert "sealgate: " in pulled.output, pulled.output
