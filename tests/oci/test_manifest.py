"""Manifests and indexes: read one way, or not at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.refusals import read_or_refusal

from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError, MalformedError, OverLimitError
from proxy.oci.manifest import (
    DESCRIPTORS_MAX,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    SCHEMA1_TYPES,
    Descriptor,
    Manifest,
)

A, B = Digest.of(b"a"), Digest.of(b"bb")
CONFIG = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(A), "size": 1}
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd", "digest": str(B), "size": 2}
IMAGE = {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER]}
INDEX = {"schemaVersion": 2, "manifests": [LAYER | {"mediaType": OCI_MANIFEST}]}
PLATFORM = {
    "architecture": "arm",
    "os": "linux",
    "os.version": "10",
    "os.features": ["a"],
    "variant": "v7",
    "features": ["sse4"],
}


def parse(document, media_type=OCI_MANIFEST):
    body = json.dumps(document).encode()
    return Manifest.parse(Digest.of(body), media_type, body)


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
@pytest.mark.parametrize("says", [{}, {"mediaType": True}])
def test_a_manifest(media_type, says):
    manifest = parse(IMAGE | dict.fromkeys(says, media_type), media_type)
    assert not manifest.is_index
    assert [one.digest for one in manifest.blobs] == [A, B]
    assert manifest.children == ()
    assert manifest.subject is None
    assert manifest.artifact_type is None


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_index(media_type):
    index = parse(INDEX | {"mediaType": media_type}, media_type)
    assert index.is_index
    assert index.blobs == ()
    assert [one.digest for one in index.children] == [B]


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        (IMAGE | {"layers": []}, OCI_MANIFEST),
        (IMAGE | {"layers": None}, OCI_MANIFEST),
        (INDEX | {"manifests": []}, OCI_INDEX),
        (INDEX | {"manifests": None}, OCI_INDEX),
        (IMAGE | {"annotations": None, "subject": None, "artifactType": ""}, OCI_MANIFEST),
        (IMAGE | {"x": {"unknown": [1]}}, OCI_MANIFEST),
        (IMAGE | {"layers": [LAYER | {"urls": ["https://x.test/"], "data": "AAAA", "platform": {}}]}, OCI_MANIFEST),
        (IMAGE | {"layers": [LAYER | {"urls": None, "data": None, "platform": None}]}, OCI_MANIFEST),
        (IMAGE | {"layers": [LAYER | {"data": "", "size": 2**63 - 1}]}, OCI_MANIFEST),
        (INDEX | {"manifests": [LAYER | {"platform": PLATFORM}]}, OCI_INDEX),
        (INDEX | {"manifests": [LAYER | {"platform": dict.fromkeys(PLATFORM)}]}, OCI_INDEX),
    ],
)
def test_odd_but_legal(document, media_type):
    assert parse(document, media_type).is_index is (media_type == OCI_INDEX)


def test_a_referrer():
    manifest = parse(IMAGE | {"subject": LAYER, "artifactType": "a/b", "annotations": {"k": "v"}})
    assert manifest.subject is not None
    assert manifest.subject.digest == B
    assert (manifest.artifact_type, manifest.annotations) == ("a/b", {"k": "v"})


@pytest.mark.parametrize(
    ("document", "media_type", "says"),
    [
        (IMAGE | {"schemaVersion": 1}, OCI_MANIFEST, "schemaVersion"),
        (IMAGE | {"schemaVersion": 2.0}, OCI_MANIFEST, "schemaVersion"),
        (IMAGE | {"schemaVersion": "2"}, OCI_MANIFEST, "schemaVersion"),
        (IMAGE | {"manifests": None}, OCI_MANIFEST, "members of both"),
        (INDEX | {"layers": None}, OCI_INDEX, "members of both"),
        *((IMAGE | {one: None}, OCI_MANIFEST, one) for one in ("fsLayers", "history", "signatures", "blobs")),
        *((INDEX | {one: []}, OCI_INDEX, one) for one in ("fsLayers", "history", "signatures", "blobs")),
        (IMAGE | {"layers": [LAYER | {"size": 2**63}]}, OCI_MANIFEST, "size"),
        (IMAGE | {"layers": [LAYER | {"urls": "https://x.test/"}]}, OCI_MANIFEST, "urls is not a list"),
        (IMAGE | {"layers": [LAYER | {"urls": [None]}]}, OCI_MANIFEST, "urls is not a list"),
        (IMAGE | {"layers": [LAYER | {"data": [98, 98]}]}, OCI_MANIFEST, "data is not a text"),
        (IMAGE | {"layers": [LAYER | {"data": "YmI"}]}, OCI_MANIFEST, "data is not base64"),
        ({}, OCI_MANIFEST, "schemaVersion"),
        (IMAGE | {"mediaType": OCI_INDEX}, OCI_MANIFEST, "its mediaType says"),
        (IMAGE | {"mediaType": None}, OCI_MANIFEST, "its mediaType says"),
        (IMAGE | {"mediaType": DOCKER_MANIFEST}, OCI_MANIFEST, "its mediaType says"),
        (IMAGE | INDEX, OCI_MANIFEST, "members of both"),
        (IMAGE | INDEX, OCI_INDEX, "members of both"),
        (IMAGE, OCI_INDEX, "members of both"),
        (INDEX, OCI_MANIFEST, "members of both"),
        ({"schemaVersion": 2}, OCI_INDEX, "has no manifests"),
        ({"schemaVersion": 2, "config": CONFIG}, OCI_MANIFEST, "has no layers"),
        ({"schemaVersion": 2, "layers": []}, OCI_MANIFEST, "config is not an object"),
        (IMAGE | {"layers": {}}, OCI_MANIFEST, "layers is not a list"),
        (IMAGE | {"layers": [[]]}, OCI_MANIFEST, r"layers\[0\] is not an object"),
        (IMAGE | {"layers": [LAYER, {**LAYER, "size": -1}]}, OCI_MANIFEST, r"layers\[1\].size"),
        (IMAGE | {"layers": [LAYER | {"size": "2"}]}, OCI_MANIFEST, "size"),
        (IMAGE | {"layers": [LAYER | {"size": True}]}, OCI_MANIFEST, "size"),
        (IMAGE | {"layers": [LAYER | {"size": 2.0}]}, OCI_MANIFEST, "size"),
        (IMAGE | {"layers": [LAYER | {"digest": "sha256:x"}]}, OCI_MANIFEST, "hex digits"),
        (IMAGE | {"layers": [LAYER | {"digest": 1}]}, OCI_MANIFEST, "digest is not a text"),
        (IMAGE | {"layers": [LAYER | {"mediaType": ""}]}, OCI_MANIFEST, "mediaType is not a text"),
        (IMAGE | {"layers": [LAYER | {"annotations": {"a": 1}}]}, OCI_MANIFEST, "annotations"),
        (IMAGE | {"annotations": []}, OCI_MANIFEST, "annotations"),
        (IMAGE | {"artifactType": 0}, OCI_MANIFEST, "artifactType is not a text"),
        (IMAGE | {"artifactType": []}, OCI_MANIFEST, "artifactType is not a text"),
        (IMAGE | {"subject": "sha256:x"}, OCI_MANIFEST, "subject is not an object"),
        ([IMAGE], OCI_MANIFEST, "not a JSON object"),
        (IMAGE, "text/html", "a web page came in place of a manifest"),
        (IMAGE, "text/plain", "no image manifest or index"),
        (IMAGE, "application/vnd.oci.artifact.manifest.v1+json", "no image manifest or index"),
        *((IMAGE, media_type, "schema 1") for media_type in sorted(SCHEMA1_TYPES)),
    ],
)
def test_refused(document, media_type, says):
    with pytest.raises(MalformedError, match=says) as caught:
        parse(document, media_type)
    assert str(caught.value).isascii()


def test_limits():
    assert len(parse(IMAGE | {"layers": [LAYER] * DESCRIPTORS_MAX}).layers) == DESCRIPTORS_MAX
    with pytest.raises(OverLimitError, match="1001 entries"):
        parse(IMAGE | {"layers": [LAYER] * (DESCRIPTORS_MAX + 1)})


def test_other_bytes():
    with pytest.raises(CorruptError):
        Manifest.parse(A, OCI_MANIFEST, json.dumps(IMAGE).encode())


@pytest.mark.parametrize("body", [b'{"schemaVersion":2,"schemaVersion":2}', b"\xff", b"", b"[" * 9999])
def test_no_strict_json(body):
    with pytest.raises(MalformedError):
        Manifest.parse(Digest.of(body), OCI_MANIFEST, body)


@given(
    document=st.dictionaries(
        st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "subject", "annotations", "artifactType"]),
        st.sampled_from([2, None, "", [], {}, CONFIG, [LAYER], [None], OCI_MANIFEST, {"a": "b"}, -1]),
    )
)
def test_any_document_is_a_manifest_or_malformed(document):
    manifest, _ = read_or_refusal(parse, document)
    assert manifest is None or manifest.config is not None


@pytest.mark.parametrize(("content", "size"), [(b"aa", 2), (b"aa", 1), (b"a", 2), (b"", 1)])
def test_content_that_is_not_the_descriptors(content, size):
    descriptor = Descriptor("a/b", A, size)
    assert Descriptor("a/b", A, 1).check(b"a") == b"a"
    with pytest.raises(CorruptError):
        descriptor.check(content)


def test_the_longest_index_may_have_annotations():
    entry = LAYER | {"mediaType": OCI_MANIFEST, "platform": {"architecture": "amd64", "os": "linux"}}
    entry |= {"annotations": {f"org.example.annotation.{n}": "some words, and more" for n in range(6)}}
    assert len(parse(INDEX | {"manifests": [entry] * DESCRIPTORS_MAX}, OCI_INDEX).children) == DESCRIPTORS_MAX
