"""Member names that clients read as others: each at each level, in all the spellings that Go folds, and more."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.oci import members
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
from proxy.oci.manifest import OCI_INDEX, OCI_MANIFEST, Manifest
from proxy.oci.members import CONFIG, fold

ENTRY = {"mediaType": "a/b", "digest": str(Digest.of(b"")), "size": 0}
PLATFORM = {"os": "linux", "architecture": "amd64"}
IMAGE = {"schemaVersion": 2, "config": ENTRY, "layers": [ENTRY, ENTRY], "subject": ENTRY, "annotations": {"a": "b"}}
INDEX = {"schemaVersion": 2, "manifests": [ENTRY | {"platform": PLATFORM}]}
IMAGE_CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "config": {"Entrypoint": ["/app"], "Labels": {"cmd": "x"}, "Healthcheck": {"Test": ["NONE"]}},
    "rootfs": {"type": "layers", "diff_ids": []},
    "history": [{"created_by": "x"}],
}


def spellings(name: str) -> list[str]:
    """The same name as Go's readers see it: in other cases, and with the letters of Unicode that fold to ASCII."""
    others = {name.upper(), name.lower(), name.title(), name.capitalize(), name.swapcase()}
    others |= {name.replace("s", "\u017f"), name.replace("S", "\u017f"), name.replace("k", "\u212a")}
    return sorted(others - {name})


def manifest(document: object) -> None:
    body = json.dumps(document).encode()
    Manifest.parse(Digest.of(body), OCI_INDEX if "manifests" in body.decode() else OCI_MANIFEST, body)


def config(document: object) -> None:
    CONFIG.check(document, "the config")


# Each place: how to put a member there, and the names that clients know there.
PLACES = {
    "manifest": (manifest, lambda extra: IMAGE | extra, members.MANIFEST),
    "index": (manifest, lambda extra: INDEX | extra, members.MANIFEST),
    "config descriptor": (manifest, lambda extra: IMAGE | {"config": ENTRY | extra}, members.DESCRIPTOR),
    "second layer": (manifest, lambda extra: IMAGE | {"layers": [ENTRY, ENTRY | extra]}, members.DESCRIPTOR),
    "subject": (manifest, lambda extra: IMAGE | {"subject": ENTRY | extra}, members.DESCRIPTOR),
    "child": (manifest, lambda extra: INDEX | {"manifests": [ENTRY | extra]}, members.DESCRIPTOR),
    "platform": (
        manifest,
        lambda extra: INDEX | {"manifests": [ENTRY | {"platform": PLATFORM | extra}]},
        members.PLATFORM,
    ),
    "image config": (config, lambda extra: IMAGE_CONFIG | extra, CONFIG),
    "process": (config, lambda extra: IMAGE_CONFIG | {"config": {"Cmd": []} | extra}, CONFIG.nested["config"]),
    "parent's process": (config, lambda extra: {"container_config": extra}, CONFIG.nested["container_config"]),
    "rootfs": (config, lambda extra: {"rootfs": {"type": "layers"} | extra}, CONFIG.nested["rootfs"]),
    "history": (config, lambda extra: {"history": [{}, extra]}, CONFIG.nested["history"]),
    "health check": (
        config,
        lambda extra: {"config": {"Healthcheck": extra}},
        CONFIG.nested["config"].nested["Healthcheck"],
    ),
}
CASES = [
    (place, name, other)
    for place, (_, _, shape) in PLACES.items()
    for name in sorted(shape.names)
    for other in spellings(name)
]


@pytest.mark.parametrize("place", PLACES)
def test_other_members_are_free(place):
    check, put, _ = PLACES[place]
    check(put({"x-Layers": 1, "org.example.Digest": {"LAYERS": []}, "layer": None, "": 0}))


@pytest.mark.parametrize(("place", "name", "other"), CASES)
def test_a_member_that_folds_to_a_known_name(place, name, other):
    check, put, _ = PLACES[place]
    with pytest.raises(MalformedError, match="some clients read as") as caught:
        check(put({other: None}))
    assert repr(name) in str(caught.value)
    assert str(caught.value).isascii()


@pytest.mark.parametrize("place", ["annotations", "labels"])
def test_the_keys_of_maps_are_free(place):
    free = {"Layers": "x", "layers": "y", "\u017fize": "z", "SIZE": "z"}
    if place == "annotations":
        manifest(IMAGE | {"annotations": free, "layers": [ENTRY | {"annotations": free}]})
    else:
        config({"config": {"Labels": free, "ExposedPorts": {"80/TCP": {}}, "Volumes": free}})


@pytest.mark.parametrize("value", [None, 1, "x", [], [1, None, []]])
def test_what_is_no_object_has_no_members(value):
    config(value)
    config({"config": value, "rootfs": value})


@given(st.text(max_size=12))
def test_names_that_go_takes_for_one_fold_alike(name):
    assert fold(name) == fold(fold(name)) or not name.isascii()
    assert fold(name.swapcase()) == fold(name) or not name.isascii()


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("layers", "Layer\u017f"),
        ("platform.k", "PLATFORM.\u212a"),
        ("digest", "d\u0130gest"),
        ("digest", "d\u0131ge\u017ft"),
        ("config", "con\ufb01g"),
        ("mediaType", "media_type"),
        ("created_by", "Created-By"),
    ],
)
def test_letters_that_some_reader_folds_to_ascii(name, other):
    assert fold(name) == fold(other)
