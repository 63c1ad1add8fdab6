"""What Docker's classic store can use; the rest it gives up, and asks Docker Hub."""

import json

import pytest

from proxy.demo.images import image, index
from proxy.front.agents import Docker
from proxy.front.usable import LAYERS_MAX, Config, read_config, why_unusable, why_unusable_config
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
from proxy.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Manifest
from proxy.oci.platforms import Platform


def docker(platform: str, version: tuple[int, int] | None = (20, 10), build: int | None = None) -> Docker:
    return Docker(named=True, version=version, platform=Platform.parse(platform), build=build)


OLD, NEW = docker("linux/amd64"), docker("linux/amd64", (29, 0))
SILENT, TOOL = Docker(named=True, version=(20, 10)), Docker(named=False)
IMAGE, LISTED = image("usable"), image("listed", docker=True)


def manifest(changes=None, *, of=IMAGE) -> Manifest:
    body = json.dumps(json.loads(of.body) | (changes or {})).encode()
    return Manifest.parse(Digest.of(body), of.media_type, body)


def an_index(*platforms, media_type=OCI_INDEX, **members) -> Manifest:
    """Return an index of one entry for each platform, which may be anything; None leaves it out."""
    entry = {"mediaType": IMAGE.media_type, "digest": str(IMAGE.digest), "size": len(IMAGE.body)}
    entries = [entry if one is None else {**entry, "platform": one} for one in platforms]
    body = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries} | members).encode()
    return Manifest.parse(Digest.of(body), media_type, body)


def on(os: str, architecture: str, variant: str = "", **more: object) -> dict[str, object]:
    return {"os": os, "architecture": architecture, **({"variant": variant} if variant else {}), **more}


ARM, ARM64 = docker("linux/arm"), docker("linux/arm64")
SERVER2019 = docker("windows/amd64", (24, 0), 17763)


@pytest.mark.parametrize(
    ("client", "platforms", "fits"),
    [
        (OLD, [on("linux", "amd64")], True),
        (OLD, [on("linux", "arm64"), on("linux", "amd64")], True),
        (OLD, [on("linux", "x86_64")], True),
        (OLD, [on("Linux", "AMD64")], True),
        (OLD, [on("linux", "amd64", "v1")], True),
        (OLD, [on("linux", "386")], False),
        (NEW, [on("linux", "386")], True),
        (docker("linux/amd64", None), [on("linux", "386")], False),
        (docker("linux/386"), [on("linux", "386")], True),
        (docker("linux/386"), [on("linux", "amd64")], False),
        (OLD, [on("linux", "arm64")], False),
        (OLD, [on("linux", "amd64", "v3")], False),
        (NEW, [on("linux", "amd64", "v3")], False),
        (OLD, [on("windows", "amd64")], False),
        (OLD, [on("linux", "")], False),
        (OLD, [on("", "amd64")], False),
        (OLD, [on("unknown", "unknown")], False),
        (OLD, [], False),
        (NEW, [], False),
        (OLD, [None], False),
        (OLD, [{}], False),
        (NEW, [None], True),
        (NEW, [{}], True),
        (docker("linux/amd64", None), [None], False),
        (OLD, [None, on("linux", "amd64")], True),
        (OLD, [on("linux", "amd64"), on("linux", 7)], False),
        (OLD, [on("linux", "amd64"), "linux/amd64"], False),
        (OLD, [on("linux", "amd64", **{"os.features": "x"})], False),
        (OLD, [on("linux", "amd64", **{"os.features": ["x"]})], True),
        (NEW, [on("linux", "amd64", **{"os.features": ["x"]})], False),
        (NEW, [on("linux", "amd64", **{"os.features": []})], True),
        (docker("linux/amd64", None), [on("linux", "amd64", **{"os.features": ["x"]})], False),
        (NEW, [on("linux", "amd64", **{"os.features": ["x"]}), on("linux", "amd64")], True),
        (NEW, [{"os.version": "1"}], False),
        (NEW, [{"os.features": []}], False),
        (NEW, [{"features": []}], False),
        (NEW, [{"os.version": "", "features": None}], True),
        (ARM, [on("linux", "arm", "v7")], True),
        (ARM, [on("linux", "arm", "v6")], True),
        (ARM, [on("linux", "arm")], True),
        (ARM, [on("linux", "arm", "v8")], False),
        (ARM, [on("linux", "armhf")], True),
        (ARM, [on("linux", "armv7l")], False),
        (ARM, [on("linux", "arm64")], False),
        (ARM64, [on("linux", "arm64", "v8")], True),
        (ARM64, [on("linux", "arm64")], True),
        (ARM64, [on("linux", "arm", "v7")], False),
        (docker("linux/arm64", (23, 0)), [on("linux", "arm", "v7")], True),
        (ARM64, [on("linux", "arm64", "v9")], False),
        (docker("linux/s390x"), [on("linux", "s390x")], True),
        (SERVER2019, [on("windows", "amd64", **{"os.version": "10.0.17763.5"})], True),
        (SERVER2019, [on("windows", "amd64", **{"os.version": "10.0.14393.1"})], True),
        (SERVER2019, [on("windows", "amd64")], True),
        (SERVER2019, [on("windows", "amd64", **{"os.version": "10.0.20348.1"})], False),
        (SERVER2019, [on("windows", "amd64", **{"os.version": "10.0"})], False),
        (SERVER2019, [on("windows", "arm64")], False),
        (SERVER2019, [on("windows", "x86_64")], False),
        (SERVER2019, [on("windows", "AMD64")], False),
        (SERVER2019, [on("Windows", "amd64")], True),
        (SERVER2019, [on("linux", "amd64")], False),
        (SERVER2019, [None], False),
        (docker("windows/amd64", (24, 0)), [on("windows", "amd64", **{"os.version": "10.0.17763.5"})], False),
        (SILENT, [on("linux", "amd64")], False),
        (TOOL, [on("linux", "arm64")], True),
        (TOOL, [], False),
    ],
)
def test_an_index(client, platforms, fits):
    for media_type in (OCI_INDEX, DOCKER_LIST):
        assert (why_unusable(an_index(*platforms, media_type=media_type), client) is None) is fits


@pytest.mark.parametrize("client", [OLD, NEW])
@pytest.mark.parametrize(
    ("kind", "platform", "fits"),
    [
        (OCI_MANIFEST, on("linux", "amd64"), True),
        (DOCKER_MANIFEST, on("linux", "amd64"), True),
        (OCI_INDEX, on("linux", "amd64"), False),
        (DOCKER_LIST, on("linux", "amd64"), False),
        ("application/vnd.oci.image.layer.v1.tar", on("linux", "amd64"), False),
        (OCI_INDEX, on("linux", "arm64"), True),
        (OCI_INDEX, on("unknown", "unknown"), True),
    ],
)
def test_an_entry_that_is_no_image(client, kind, platform, fits):
    """Docker cannot be held in an index of an index; one for others does not matter."""
    document = json.loads(an_index(on("linux", "amd64"), platform).body)
    document["manifests"][1]["mediaType"] = kind
    for entries in (document["manifests"], document["manifests"][::-1]):
        body = json.dumps(document | {"manifests": entries}).encode()
        assert (why_unusable(Manifest.parse(Digest.of(body), OCI_INDEX, body), client) is None) is fits


@pytest.mark.parametrize("client", [OLD, NEW, TOOL])
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}, "its config is"),
        ({"config": {"mediaType": "application/vnd.oci.empty.v1+json"}}, "its config is"),
        ({"config": {"mediaType": "application/vnd.docker.plugin.v1+json"}}, "its config is"),
        ({"config": {"mediaType": "application/octet-stream"}}, None),
        ({"layer": "application/vnd.oci.image.layer.v1.tar"}, None),
        ({"layer": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"}, None),
        ({"layer": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}, None),
        ({"layer": "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"}, "a layer is"),
        ({"layer": "application/vnd.cncf.helm.chart.content.v1.tar+gzip"}, "a layer is"),
        ({"layer": "application/vnd.dsse.envelope.v1+json"}, "a layer is"),
        ({"layer": "APPLICATION/VND.OCI.IMAGE.LAYER.V1.TAR"}, "a layer is"),
        ({"config": {"platform": {"os": "linux"}}}, None),
        ({"config": {"platform": "linux"}}, "platform"),
    ],
)
def test_a_manifest(client, changes, why):
    document = json.loads(IMAGE.body)
    document["config"] |= changes.get("config", {})
    if "layer" in changes:
        document["layers"][1]["mediaType"] = changes["layer"]
    found = why_unusable(manifest(document), client)
    assert found is None if why is None else why in found


@pytest.mark.parametrize(
    ("client", "fits"), [(OLD, False), (docker("linux/amd64", None), False), (NEW, True), (TOOL, True)]
)
@pytest.mark.parametrize(
    "kind", ["application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.docker.image.rootfs.diff.tar.zstd"]
)
def test_zstd_since_docker_23(client, fits, kind):
    document = json.loads(IMAGE.body)
    document["layers"][0]["mediaType"] = kind
    assert (why_unusable(manifest(document), client) is None) is fits


@pytest.mark.parametrize(("count", "fits"), [(0, True), (LAYERS_MAX, True), (LAYERS_MAX + 1, False)])
def test_as_many_layers_as_docker_stacks(count, fits):
    layers = json.loads(IMAGE.body)["layers"][:1] * count
    assert (why_unusable(manifest({"layers": layers}), OLD) is None) is fits


@pytest.mark.parametrize("of", [LISTED, index([LISTED])], ids=["manifest", "list"])
def test_docker_types_are_stated(of):
    made = an_index(on("linux", "amd64"), media_type=DOCKER_LIST) if of.children else manifest(of=of)
    body = json.dumps({name: value for name, value in json.loads(made.body).items() if name != "mediaType"}).encode()
    assert why_unusable(made, OLD) is None
    assert "media type" in why_unusable(Manifest.parse(Digest.of(body), made.media_type, body), OLD)


CONFIG = json.loads(IMAGE.blobs[0])


def read(**changes: object) -> Config:
    return read_config(json.dumps(CONFIG | changes).encode(), 1000)


STEP = {"created": "2026-01-01T00:00:00Z", "created_by": "x"}


@pytest.mark.parametrize(
    ("changes", "client", "why"),
    [
        ({}, OLD, None),
        ({}, TOOL, None),
        ({"os": ""}, OLD, None),
        ({"os": None}, OLD, None),
        ({"os": "LINUX"}, OLD, None),
        ({"os": "windows"}, OLD, "for 'windows'"),
        ({"os": "windows"}, TOOL, None),
        ({"os": "linux"}, SERVER2019, "for 'linux'"),
        ({"os": "windows", "os.version": "10.0.20348.1"}, SERVER2019, "for Windows '10.0.20348.1'"),
        ({"os": "", "os.version": "10.0.20348.1"}, SERVER2019, "for Windows '10.0.20348.1'"),
        ({"os": "windows", "os.version": "10.0.17763.1"}, docker("windows/amd64", (24, 0)), "for Windows"),
        ({"os": "windows", "os.version": "10.0.17763.1"}, SERVER2019, None),
        ({"os": "windows", "os.version": None}, SERVER2019, None),
        ({"os.version": "10.0.20348.1"}, OLD, None),
        ({"architecture": "riscv64"}, OLD, None),
        ({"rootfs": {"type": "layers", "diff_ids": [f"sha256:{64 * '0'}"]}}, OLD, "1 layers"),
        ({"rootfs": {}}, OLD, "0 layers"),
        ({"history": None}, OLD, None),
        ({"history": [STEP] * 3}, OLD, "history"),
        ({"history": [*[STEP] * 2, STEP | {"empty_layer": True}]}, OLD, None),
        ({"created": "2026-01-01T00:00:00.123+01:00"}, OLD, None),
    ],
)
def test_a_config(changes, client, why):
    found = why_unusable_config(manifest(), read(**changes), client)
    assert found is None if why is None else why in found


@pytest.mark.parametrize(
    "changes",
    [
        {"rootfs": None},
        {"rootfs": []},
        {"rootfs": {"diff_ids": "x"}},
        {"rootfs": {"diff_ids": [1]}},
        {"os": 7},
        {"os": 0},
        {"rootfs": {"diff_ids": {}}},
        {"OS": "windows"},
        {"history": {}},
        {"history": ["x"]},
        {"created": "yesterday"},
        {"created": "2026-02-30T00:00:00Z"},
        {"created": "2026-01-01T24:00:00Z"},
        {"created": "2026-01-01T00:00:00+24:00"},
        {"architecture": 7},
        {"author": []},
        {"Size": 1.0},
        {"Size": True},
        {"Size": 2**63},
        {"os.features": "x"},
        {"rootfs": {"type": 7, "diff_ids": []}},
        {"rootfs": {"diff_ids": [None]}},
        {"rootfs": {"diff_ids": ["sha256:x"]}},
        {"rootfs": {"diff_ids": [f"sha256:{64 * 'A'}"]}},
        {"rootfs": {"diff_ids": [f"sha512:{128 * '0'}"]}},
        {"rootfs": {"diff_ids": [64 * "0"]}},
        {"history": [None]},
        {"history": [STEP | {"empty_layer": "true"}]},
        {"history": [STEP | {"created": "never"}]},
        {"history": [STEP | {"comment": 7}]},
        {"config": []},
        {"config": {"Labels": {"a": 7}}},
        {"config": {"Labels": ["a"]}},
        {"config": {"Env": "A=b"}},
        {"config": {"Env": [7]}},
        {"config": {"Cmd": {"a": "b"}}},
        {"config": {"Entrypoint": [["a"]]}},
        {"config": {"ExposedPorts": ["80/tcp"]}},
        {"config": {"Volumes": {"/a": True}}},
        {"config": {"Tty": "no"}},
        {"config": {"StopTimeout": "10s"}},
        {"config": {"Healthcheck": {"Interval": "10s"}}},
        {"config": {"Healthcheck": {"Test": "true"}}},
        {"container_config": {"User": 0}},
        {"created": 7},
    ],
)
def test_a_config_that_docker_cannot_read(changes):
    with pytest.raises(MalformedError):
        read(**changes)


PROCESS = {
    "Labels": {"a": "b", "c": None},
    "Env": ["A=b"],
    "Cmd": "a",
    "Entrypoint": ["a", "b"],
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/a": None},
    "Tty": False,
    "StopTimeout": 10,
    "Healthcheck": {"Test": ["NONE"], "Interval": 10**10, "Retries": 3},
    "User": "",
    "Memory": "of an early Docker",
}


@pytest.mark.parametrize(
    "changes",
    [
        {"config": PROCESS, "container_config": PROCESS},
        {"config": None, "container_config": {}, "created": None, "author": None, "Size": 0, "os.features": ["x"]},
        {"config": dict.fromkeys(PROCESS), "history": [STEP | {"comment": "", "empty_layer": False, "more": 7}]},
        {"created": "2024-02-29T23:59:59.999999999-07:00", "moby.buildkit.buildinfo.v1": "e30="},
    ],
)
def test_a_config_that_docker_can_read(changes):
    assert read(**changes).layers == len(CONFIG["rootfs"]["diff_ids"])


UNKNOWN = docker("linux/amd64", None)


@pytest.mark.parametrize("part", ["config", "container_config"])
@pytest.mark.parametrize(
    ("process", "fits"),
    [
        ({"ExposedPorts": {"8000-8010/tcp": {}}}, False),
        ({"ExposedPorts": {"http/tcp": {}}}, False),
        ({"ExposedPorts": {"65536": {}}}, False),
        ({"ExposedPorts": {"80/tcp": {}, "/tcp": {}}}, False),
        ({"ExposedPorts": {f"{'9' * 5000}": {}}}, False),
        ({"ExposedPorts": {" 80": {}}}, False),
        ({"ExposedPorts": {"+80": {}}}, False),
        ({"ExposedPorts": {"80/tcp": {}, "53/UDP": None, "080": {}, "65535/": {}, "": {}}}, True),
        ({"ExposedPorts": None, "Cmd": None}, True),
        ({"Cmd": "/bin/true"}, False),
        ({"Entrypoint": "/bin/true"}, False),
        ({"Shell": "/bin/sh"}, False),
        ({"Cmd": ["/bin/true"], "Entrypoint": [], "Shell": ["/bin/sh", None]}, True),
    ],
)
def test_configs_that_docker_does_not_read_since_29(part, process, fits):
    config = read(**{part: process})
    for client, is_fit in ((OLD, True), (docker("linux/amd64", (28, 5)), True), (NEW, fits), (UNKNOWN, fits)):
        found = why_unusable_config(manifest(), config, client)
        assert found is None if is_fit else "since 29" in found


@pytest.mark.parametrize(
    ("version", "fits"), [((1, 13), False), ((18, 6), False), ((18, 9), True), ((29, 0), True), (None, True)]
)
def test_oci_since_docker_18_09(version, fits):
    client = docker("linux/amd64", version)
    for made in (manifest(), an_index(on("linux", "amd64"))):
        assert (why_unusable(made, client) is None) is fits
    for made in (manifest(of=LISTED), an_index(on("linux", "amd64"), media_type=DOCKER_LIST)):
        assert why_unusable(made, client) is None
