"""Platforms as people write them, and as indexes name them."""

import json

import pytest

from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
from proxy.oci.manifest import OCI_INDEX, OCI_MANIFEST, Manifest
from proxy.oci.platforms import Platform, platforms


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/x86_64", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_what_people_write(text, written):
    assert str(Platform.parse(text)) == written


@pytest.mark.parametrize(
    "text", ["", "amd64", "linux/", "/amd64", "linux/arm/", "linux/arm/v7/x", "linux/\u212a", "a b/c"]
)
def test_what_is_none(text):
    with pytest.raises(MalformedError, match="is not an operating system and an architecture"):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("wanted", "there", "covered"),
    [
        ("linux/arm", "linux/arm/v7", True),
        ("linux/arm/v7", "linux/arm/v7", True),
        ("linux/arm/v7", "linux/arm/v6", False),
        ("linux/arm/v7", "linux/arm", False),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/amd64", "windows/amd64", False),
    ],
)
def test_one_covers_another(wanted, there, covered):
    assert Platform.parse(wanted).covers(Platform.parse(there)) is covered


def index(*platforms):
    entry = {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(b"child")), "size": 5}
    manifests = [entry | ({"platform": one} if one is not None else {}) for one in platforms]
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()
    return Manifest.parse(Digest.of(body), OCI_INDEX, body)


def test_what_an_index_says():
    said = [
        {"os": "linux", "architecture": "arm64", "variant": "v8"},
        {"os": "linux", "architecture": "arm", "variant": "v7"},
        {"os": "linux", "architecture": "amd64", "variant": None},
        None,
        "linux/amd64",
        {"os": "linux"},
        {"os": 1, "architecture": "amd64"},
    ]
    read = [str(one) if one else None for one in platforms(index(*said))]
    assert read == ["linux/arm64", "linux/arm/v7", "linux/amd64", None, None, None, None]
    assert platforms(index()) == ()
