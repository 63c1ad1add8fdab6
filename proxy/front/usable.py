"""The manifests that Docker's classic store can use; for any other it asks Docker Hub for the same tag.

Those who may push can move a tag to an accepted image that Docker cannot use, and so hand the tag to Docker Hub. So one
that this client cannot use is refused in the form that stops it. Sources: moby, distribution/pull_v2.go (pullTag,
pullSchema2Layers, filterManifests), distribution/registry.go, distribution/config.go and image/store.go, of 20.10, 23
and 29; containerd, platforms/compare.go; docker/distribution, manifest/*.

Not seen here: what a layer holds (one that is no archive, is compressed otherwise than its type says, or has another
diff_id), and the platform that somebody asks for by `docker pull --platform`, which Docker tells no registry.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.front.agents import Docker
from proxy.front.config_types import check_types, wrong_since_29
from proxy.oci.errors import MalformedError
from proxy.oci.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    IMAGE_CONFIG_TYPES,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
)
from proxy.oci.members import CONFIG
from proxy.oci.platforms import Platform
from proxy.oci.strict_json import loads_object

# moby, layer/layer_store.go, maxLayerDepth.
LAYERS_MAX = 125
# Moby reads layers of Zstandard since 23.0 (its release notes).
_ZSTD_SINCE = (23, 0)
# Since 23.0 Docker takes an entry without a platform for any, 386 for amd64 and arm for arm64 (pull_v2_unix.go,
# filterManifests: platforms.Only in place of platforms.NewMatcher; measured with 20.10.24).
_ANY_SINCE = _OTHERS_SINCE = (23, 0)
# Before 18.09 Docker reads no OCI manifests or indexes (its release notes).
_OCI_SINCE = (18, 9)
# Since 29 it reads configs otherwise (`config_types`), and no entry that needs features of the system (containerd,
# platforms/platforms.go, matcher.Match); versions between are not told apart.
_CONFIGS_SINCE = (29, 0)
# Names that we read, and containerd (platforms/database.go, normalizeArch), and so Docker, does not.
_NO_ARCHITECTURES = frozenset({"armv6l", "armv7l", "i686"})
_ROOTFS = "application/vnd.docker.image.rootfs"
_LAYERS = frozenset(
    {f"{_ROOTFS}.{kind}.tar{form}" for kind in ("diff", "foreign.diff") for form in ("", ".gzip", ".zstd")}
    | {
        f"application/vnd.oci.image.layer.{kind}v1.tar{form}"
        for kind in ("", "nondistributable.")
        for form in ("", "+gzip", "+zstd")
    }
    | {"application/octet-stream", "application/json", "text/html"}  # as for configs: of early registries
)
_TEXTS = ("architecture", "os", "os.version", "variant")
_LISTS = ("os.features", "features")


@dataclass(frozen=True, slots=True)
class Config:
    """The relevant part of a config: its platform, and how many layers it and its history have.

    `os_version` is that of Windows. `newer` is the member that Docker does not read since 29.
    """

    os: str
    layers: int
    history: int
    os_version: str = ""
    newer: str | None = None


def why_unusable(manifest: Manifest, docker: Docker) -> str | None:
    """Return why this Docker cannot use a manifest or an index, None where nothing is known against it."""
    document = loads_object(manifest.body, "the manifest")
    if manifest.media_type in {DOCKER_LIST, DOCKER_MANIFEST} and document.get("mediaType") is None:
        return "the manifest does not state its media type"
    if manifest.media_type in {OCI_INDEX, OCI_MANIFEST} and _is_before(docker, _OCI_SINCE):
        return "an OCI image, which Docker reads since 18.09"
    if manifest.is_index:
        return _why_no_child(document["manifests"] or [], docker)
    if manifest.config is not None and manifest.config.media_type not in IMAGE_CONFIG_TYPES:
        return f"no image: its config is {manifest.config.media_type!a:.80}"
    if not all(_is_readable(one.get("platform")) for one in (document["config"], *(document["layers"] or ()))):
        return "a descriptor has a platform that cannot be read"
    return _why_no_layers(manifest, docker)


def _why_no_layers(manifest: Manifest, docker: Docker) -> str | None:
    for layer in manifest.layers:
        if layer.media_type not in _LAYERS:
            return f"a layer is {layer.media_type!a:.80}"
        if docker.named and "zstd" in layer.media_type and not _is_since(docker, _ZSTD_SINCE):
            return "a layer is compressed with zstd, which Docker reads since 23.0"
    if len(manifest.layers) > LAYERS_MAX:
        return f"{len(manifest.layers)} layers, more than the {LAYERS_MAX} that Docker stacks"
    return None


def why_unusable_config(manifest: Manifest, config: Config, docker: Docker) -> str | None:
    """Return why this Docker cannot use an image with this config, None where nothing is known against it."""
    if docker.platform is not None and config.os and config.os.lower() != docker.platform.os:
        return f"for {config.os!a:.40}, and this Docker runs on {docker.platform.os}"
    if docker.platform is not None and docker.platform.os == "windows" and not _runs(config.os_version, docker.build):
        return f"for Windows {config.os_version!a:.40}, newer than this host's or not to be compared with it"
    if config.layers != len(manifest.layers):
        return f"the config has {config.layers} layers, the manifest {len(manifest.layers)}"
    if config.history > config.layers:
        return "the config has more layers in its history than in its rootfs"
    if config.newer is not None and not _is_before(docker, _CONFIGS_SINCE):
        return f"the config has a {config.newer} that Docker does not read since 29"
    return None


def read_config(content: bytes, tokens_max: int) -> Config:
    """Read an image config (image-spec, config.md) as Docker does; MalformedError where Docker cannot."""
    document = loads_object(content, "the config", tokens_max)
    CONFIG.check(document, "the config")
    check_types(document)
    rootfs, history = document.get("rootfs"), _given(document, "history", [])
    if rootfs is None:
        raise MalformedError("the config has no rootfs")
    os, layers = _given(document, "os", ""), _given(rootfs, "diff_ids", [])
    steps = sum(not step.get("empty_layer") for step in history)
    return Config(os, len(layers), steps, _given(document, "os.version", ""), wrong_since_29(document))


def _why_no_child(entries: Sequence[Mapping[str, Any]], docker: Docker) -> str | None:
    if not all(_is_readable(entry.get("platform")) for entry in entries):
        return "the index has a platform that cannot be read"
    if docker.platform is None:
        if docker.named:
            return "an index, and the client does not say its platform (User-Agent)"
        return None if entries else "an empty index"
    # An index in an index is nothing to Docker before 23.0. Since then it takes any error in one, also a refusal, for
    # no match (pullManifestList), and goes on with that.
    kinds = {one["mediaType"] for one in entries if _suits(one.get("platform") or {}, docker, docker.platform)}
    if not kinds:
        return f"the index has nothing for {docker.platform}"
    return None if kinds <= MANIFEST_TYPES else f"the index has no image for {docker.platform}, but an index or other"


def _is_readable(platform: object) -> bool:
    if platform is None:
        return True
    return (
        isinstance(platform, dict)
        and all(isinstance(_given(platform, name, ""), str) for name in _TEXTS)
        and all(_are_texts(_given(platform, name, [])) for name in _LISTS)
    )


def _suits(entry: Mapping[str, Any], docker: Docker, own: Platform) -> bool:
    """Return whether Docker takes the entry for its own platform, whatever variant that is."""
    os, architecture, variant = (entry.get(name) or "" for name in ("os", "architecture", "variant"))
    if not (os or architecture or variant or entry.get("os.version")) and all(entry.get(one) is None for one in _LISTS):
        return own.os != "windows" and _is_since(docker, _ANY_SINCE)
    offered = Platform.of(os.lower(), architecture.lower(), variant.lower())
    if offered.os != own.os or architecture.lower() in _NO_ARCHITECTURES:
        return False
    if own.os == "windows":  # which reads no other name of an architecture (pull_v2_windows.go, filterManifests)
        return architecture == own.architecture and _runs(entry.get("os.version") or "", docker.build)
    if entry.get("os.features") and not _is_before(docker, _ANY_SINCE):
        return False
    match own.architecture, offered.architecture:
        case ("amd64", "386") | ("arm64", "arm") if not _is_since(docker, _OTHERS_SINCE):
            variants = set()
        case ("arm" | "arm64", "arm"):
            variants = {"", "v5", "v6", "v7"}
        case ("amd64", "386"):
            variants = {""}
        case ("amd64", "amd64"):
            variants = {"", "v1"}
        case _:
            variants = {""} if offered.architecture == own.architecture else set()
    return offered.variant in variants


def _runs(version: str, build: int | None) -> bool:
    """Return whether an image for this version of Windows (`10.0.17763.1`) runs on the build of the host."""
    if not version:
        return True
    parts = version.split(".")
    return build is not None and len(parts) > 2 and parts[2].isdecimal() and int(parts[2]) <= build  # noqa: PLR2004


def _is_since(docker: Docker, version: tuple[int, int]) -> bool:
    return docker.version is not None and docker.version >= version


def _is_before(docker: Docker, version: tuple[int, int]) -> bool:
    return docker.version is not None and docker.version < version


def _given(document: Mapping[str, Any], member: str, absent: object) -> Any:  # noqa: ANN401 (of any type)
    """Return a member; one that is null is absent, to Go."""
    value = document.get(member)
    return absent if value is None else value


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
