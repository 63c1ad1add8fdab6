"""Signature artefacts: by the types of all layers, and by what the layers are."""

import io
import json
import tarfile

import pytest
from support.artifacts import (
    CONFIG_TYPE,
    EMPTY_TYPE,
    NEVER,
    PAYLOAD,
    SPDX,
    SPDX_TYPE,
    config,
    document,
    of,
    parsed,
    signature,
)
from support.tar_text import as_json, blank

from proxy.oci.artifacts import (
    ARTIFACT_BLOB_BYTES_MAX,
    ARTIFACT_BYTES_MAX,
    ARTIFACT_LAYERS_MAX,
    document_subject,
    is_inert_blob,
    is_inert_config,
    is_signature_content,
    listed_subject,
    looks_like_referrers_list,
    looks_like_signature_artifact,
)
from proxy.oci.digest import Digest
from proxy.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Manifest

DSSE = "application/vnd.dsse.envelope.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def manifest(*types: str, size: int = 2) -> Manifest:
    entry = {"digest": str(Digest.of(b"{}")), "size": size}
    layers = [entry | {"mediaType": one} for one in types]
    config = entry | {"mediaType": "application/vnd.oci.empty.v1+json"}
    body = json.dumps({"schemaVersion": 2, "config": config, "layers": layers}).encode()
    return Manifest.parse(Digest.of(body), OCI_MANIFEST, body)


def index() -> Manifest:
    body = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    return Manifest.parse(Digest.of(body), OCI_INDEX, body)


@pytest.mark.parametrize(
    ("one", "looks"),
    [
        (manifest(DSSE), True),
        (manifest(DSSE, DSSE), True),
        (manifest(), False),
        (manifest(LAYER), False),
        (manifest(DSSE, LAYER), False),
        (manifest(*[DSSE] * (ARTIFACT_LAYERS_MAX + 1)), False),
        (manifest(DSSE, size=ARTIFACT_BLOB_BYTES_MAX), True),
        (manifest(DSSE, size=ARTIFACT_BLOB_BYTES_MAX + 1), False),
        (manifest(*[DSSE] * 4, size=ARTIFACT_BYTES_MAX // 4), True),
        (manifest(*[DSSE] * 5, size=ARTIFACT_BYTES_MAX // 4), False),
        (index(), False),
    ],
    ids=[
        "one",
        "two",
        "none",
        "layer",
        "both",
        "many",
        "large",
        "too large",
        "large together",
        "too large together",
        "index",
    ],
)
def test_types(one, looks):
    assert looks_like_signature_artifact(one) is looks


def header(name: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo(name))
    return made.getvalue()[:512]


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"mediaType": DOCKER_MANIFEST},
        {"artifactType": "a/b", "subject": of(OCI_MANIFEST, b"image"), "annotations": {"a": "b"}},
        {"subject": of(OCI_MANIFEST, b"image", artifactType="a/b", annotations={})},
        {"config": of(EMPTY_TYPE, b"{}", artifactType="a/b", data="e30=")},
        {"config": of(CONFIG_TYPE, config(PAYLOAD))},
        {"config": of("application/vnd.docker.container.image.v1+json", config(PAYLOAD))},
        {"config": of("application/vnd.dev.cosign.artifact.sig.v1+json", config(PAYLOAD))},
        {
            "config": of("application/vnd.cncf.notary.signature", b"{}"),
            "layers": [of("application/jose+json", b"{}", data="e30=")],
        },
    ],
)
def test_what_signing_tools_write(members):
    assert looks_like_signature_artifact(parsed(signature(**members)))


@pytest.mark.parametrize(
    "members",
    [
        {"x": 1},
        {"urls": []},
        {"platform": {}},
        {"data": "e30="},
        {"org.example.layers": None},
        {"rootfs": {}},
    ],
)
@pytest.mark.parametrize("where", ["manifest", "config", "layer", "subject"])
def test_any_other_member_makes_it_an_image(where, members):
    made = signature(subject=of(OCI_MANIFEST, b"image"))
    place = {"manifest": made, "config": made["config"], "layer": made["layers"][0], "subject": made["subject"]}[where]
    assert looks_like_signature_artifact(parsed(made))
    place |= members
    is_oras = where == "config" and "data" in members
    assert looks_like_signature_artifact(parsed(made)) is is_oras


@pytest.mark.parametrize(
    "media_type",
    ["application/vnd.cncf.helm.config.v1+json", "application/vnd.wasm.config.v0+json", "a/b", LAYER],
)
def test_what_another_config_is_for_is_not_known(media_type):
    assert not looks_like_signature_artifact(parsed(signature(config=of(media_type, b"{}"))))


SIGNED = parsed(signature())


def in_block() -> str:
    """A member of `config` whose text has a tar header in it, as a block of 512 bytes."""
    begin = len('{"architecture": "", "created": "')
    text = "a" * (512 - begin) + "b" * 148 + "%s" + "b" * 356
    return text % f"{8 * 32 + ord('b') * (148 + 356):06o}  "


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        config(PAYLOAD),
        config(PAYLOAD, architecture="unknown", os="unknown"),
        json.dumps({"rootfs": {"type": "layers", "diff_ids": [str(Digest.of(PAYLOAD))]}}).encode(),
    ],
)
def test_a_config_with_nothing_to_execute(content):
    assert is_inert_config(content, SIGNED)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\x1f\x8b",
        b'{"config":{},"config":{}}',
        *(config(PAYLOAD, config=one) for one in ({"Entrypoint": ["/x"]}, {"Env": []}, {"entrypoint": 1}, [], None)),
        config(PAYLOAD, Config={"Cmd": ["/x"]}),
        config(PAYLOAD, container_config={}),
        config(PAYLOAD, architecture="amd64"),
        config(PAYLOAD, os="linux"),
        config(PAYLOAD, os=["linux"]),
        config(PAYLOAD, variant=""),
        config(PAYLOAD, created=1),
        config(PAYLOAD, history={}),
        config(PAYLOAD, history=[1]),
        config(PAYLOAD, history=[{"created": NEVER, "created_by": "x"}]),
        config(PAYLOAD, history=[{"created": 1}]),
        config(),
        config(PAYLOAD, PAYLOAD),
        config(b"the layer of an image that was pulled before"),
        config(PAYLOAD, rootfs=None),
        config(PAYLOAD, rootfs={"type": "layers"}),
        as_json(b"x"),
        config(PAYLOAD, architecture="", created=in_block()),
    ],
)
def test_a_config_with_anything_else(content):
    assert not is_inert_config(content, SIGNED)


@pytest.mark.parametrize(
    ("content", "is_signature"),
    [
        (b'{"critical":{}}', True),
        (b'{"pad":"' + b"x" * 1000 + b'"}', True),
        (b'{"pad":"' + b"7" * 1000 + b'"}', True),
        (b"", False),
        (b"[]", False),
        (header("etc/passwd"), False),
        (as_json(b"plain"), False),
        (as_json("ä".encode(), signed=True), False),
        (blank(), False),
    ],
    ids=["small", "large", "digits", "empty", "list", "tar", "both", "both signed", "both blank"],
)
def test_content(content, is_signature):
    assert is_signature_content(content) is is_signature


# Documents about images, and lists of them


IMAGE = of(OCI_MANIFEST, b"image")
ABOUT = Digest.of(b"image")


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"annotations": None, "artifactType": None},
        {"layers": [of("application/vnd.cyclonedx+json", b"{}"), of("text/spdx", b"SPDXVersion: SPDX-2.3")]},
        {"layers": [of(SPDX_TYPE, SPDX), of(DSSE, PAYLOAD)]},
        {"layers": [of(EMPTY_TYPE, b"{}", data="e30=")]},
        {"config": of(EMPTY_TYPE, b"{}")},
    ],
)
def test_a_document_about_an_image(members):
    assert document_subject(parsed(document(IMAGE, SPDX_TYPE, SPDX, **members))) == ABOUT


@pytest.mark.parametrize(
    "members",
    [
        {"subject": None},
        {"mediaType": DOCKER_MANIFEST},
        {"config": of(EMPTY_TYPE, b"{ }")},
        {"config": of(CONFIG_TYPE, b"{}")},
        {"config": of(CONFIG_TYPE, config(SPDX))},
        {"config": of("application/vnd.cncf.notary.signature", b"{}")},
        {"layers": []},
        {"layers": [of(SPDX_TYPE, SPDX), of(LAYER, b"layer")]},
        {"layers": [of("application/octet-stream", SPDX)]},
        {"layers": [of("application/vnd.oci.image.layer.v1.tar", SPDX)]},
        {"layers": [of("application/spdx+json+gzip", SPDX)]},
        {"layers": [of(SPDX_TYPE, SPDX) | {"size": ARTIFACT_BLOB_BYTES_MAX + 1}]},
        {"layers": [of(SPDX_TYPE, SPDX, urls=["https://a.example/"])]},
        {"layers": [of(SPDX_TYPE, b"{} ", data="e30g")]},
        {"layers": [of(SPDX_TYPE, SPDX, platform={"os": "linux"})]},
        {"subject": IMAGE | {"platform": {"os": "linux"}}},
        {"x": 1},
    ],
)
def test_no_document_about_an_image(members):
    assert document_subject(parsed(document(IMAGE, SPDX_TYPE, SPDX, **members))) is None


def test_an_index_is_no_document():
    assert document_subject(index()) is None


TAG = f"sha256-{ABOUT.hex}"


def listing(*entries, **members):
    return parsed({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)} | members)


@pytest.mark.parametrize(
    "made",
    [
        listing(),
        listing(of(OCI_MANIFEST, b"a", artifactType="a/b", annotations={"c": "d"}), annotations={"e": "f"}),
        parsed({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": None}),
    ],
)
def test_a_list_of_referrers(made):
    assert looks_like_referrers_list(made)


@pytest.mark.parametrize(
    "made",
    [
        listing(x=1),
        listing(subject=IMAGE),
        listing(of(OCI_MANIFEST, b"a", platform={"os": "linux", "architecture": "amd64"})),
        listing(of(OCI_MANIFEST, b"a"), of(OCI_MANIFEST, b"b", urls=[])),
        listing(of(OCI_INDEX, b"a")),
        listing(of(DOCKER_MANIFEST, b"a")),
        parsed({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": []}),
        parsed(signature()),
    ],
)
def test_no_list_of_referrers(made):
    assert not looks_like_referrers_list(made)


def test_the_tag_of_a_list():
    assert listed_subject(TAG) == ABOUT
    others = ("v1", f"{TAG}.sig", TAG.upper(), TAG[:-1], f"x{TAG}", f"{TAG}\n", f"sha512-{ABOUT.hex}")
    assert [listed_subject(one) for one in others] == [None] * len(others)


@pytest.mark.parametrize(
    ("media_type", "content", "is_inert"),
    [
        (SPDX_TYPE, SPDX, True),
        (SPDX_TYPE, json.dumps({"x": [1] * 100_000}).encode(), True),
        (DSSE, json.dumps({"x": [1] * 100_000}).encode(), False),
        (SPDX_TYPE, json.dumps({"x": [1] * 200_000}).encode(), False),
        (SPDX_TYPE, b"SPDXVersion: SPDX-2.3", False),
        (SPDX_TYPE, b'{"a":1,"a":2}', False),
        (SPDX_TYPE, as_json(b"x"), False),
        (SPDX_TYPE, blank(), False),
        ("text/spdx", b"SPDXVersion: SPDX-2.3", True),
        ("text/plain", b"hello world", True),
        ("text/plain", b"x type=link link=/etc/passwd", False),
        ("text/spdx", header("etc/passwd"), False),
        ("text/spdx", b"\x1f\x8b\x08", False),
    ],
    ids=range(13),
)
def test_what_a_document_is(media_type, content, is_inert):
    made = parsed(document(IMAGE, media_type, content))
    assert is_inert_blob(content, made.layers[0], made) is is_inert


def test_a_config_is_read_as_one():
    made = parsed(signature(config=of(CONFIG_TYPE, config(PAYLOAD))))
    assert is_inert_blob(config(PAYLOAD), made.config, made)
    assert not is_inert_blob(PAYLOAD, made.config, made)
