"""Manifests, indexes and descriptors, read from their exact bytes (image-spec 1.1, manifest.md, image-index.md).

The bytes are kept as they came, for they are what has the digest and what is served. Only what Sealgate acts on is
read from them: the media type and the descriptors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from proxy.oci import canonical_base64
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError, MalformedError, OverLimitError
from proxy.oci.members import MANIFEST
from proxy.oci.strict_json import loads_object

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
# What Docker takes for the config of an image (moby, distribution/registry.go, defaultImageTypes): the last three stand
# in manifests that early registries wrote.
IMAGE_CONFIG_TYPES = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
        "application/octet-stream",
        "application/json",
        "text/html",
    }
)
# Docker image manifest version 2, schema 1: its digest does not cover its own bytes, so digests verify nothing.
SCHEMA1_TYPES = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)
# distribution-spec, Pushing manifests: registries should accept 4 MiB; distribution, containerd, podman read no more.
MANIFEST_BYTES_MAX = 4 * 1024 * 1024
# cosign's own limit on layers (pkg/oci/internal, maxLayers); an index of more platforms is not known to exist, and
# reading this many takes 8 ms, which is as long as anything may hold up everybody else.
DESCRIPTORS_MAX = 1000
# An int64, which is what clients read a size into (image-spec, descriptor.md).
SIZE_MAX = 2**63 - 1
# Members of Docker's schema 1 and of the OCI artifact manifest (release candidates of image-spec 1.1): a document that
# has them as well may be read as one of those (CVE-2021-41190).
_OTHER_KINDS = frozenset({"fsLayers", "history", "signatures", "blobs"})


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content (image-spec, descriptor.md).

    `size` is in bytes; `urls` are where clients may fetch the content instead of its registry.
    """

    media_type: str
    digest: Digest
    size: int
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    urls: tuple[str, ...] = ()

    @classmethod
    def read(cls, value: object, where: str) -> Self:
        """Read one descriptor of a parsed manifest; `where` names it in the MalformedError."""
        if not isinstance(value, dict):
            raise MalformedError(f"{where} is not an object")
        size = value.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= SIZE_MAX:
            raise MalformedError(f"{where}.size is not a number of bytes")
        _check_carried(value, where)
        return cls(
            _text(value, "mediaType", where),
            Digest.parse(_text(value, "digest", where)),
            size,
            _optional_text(value, "artifactType", where),
            _annotations(value, where),
            tuple(value.get("urls") or ()),
        )

    def check(self, content: bytes) -> bytes:
        """Return the content if size and digest agree; raises CorruptError if not."""
        if len(content) != self.size or not self.digest.matches(content):
            raise CorruptError(f"the bytes served as {self.digest} are not those that its descriptor names")
        return content


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index: the exact bytes, and the descriptors read from them.

    `children` are the manifests of an index, `layers` and `config` the blobs of a manifest.
    """

    digest: Digest
    media_type: str
    body: bytes = field(repr=False)
    children: tuple[Descriptor, ...] = ()
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def parse(cls, digest: Digest, media_type: str, body: bytes) -> Self:
        """Read the bytes that an upstream served with this media type as this digest.

        Raises CorruptError where the digest does not agree, MalformedError for anything that is no manifest or index,
        or that another reader could read otherwise: as both (CVE-2021-41190), or with other members (`oci.members`).
        """
        if not digest.matches(body):
            raise CorruptError(f"the bytes served as manifest {digest} do not have that digest")
        if media_type in SCHEMA1_TYPES:
            raise MalformedError(
                "Docker schema 1 manifests are not supported: push the image again with a current Docker"
            )
        if media_type == "text/html":
            raise MalformedError("a web page came in place of a manifest: url may not lead to a registry")
        if media_type not in INDEX_TYPES | MANIFEST_TYPES:
            raise MalformedError(f"media type {media_type!a:.80} is no image manifest or index")
        document = loads_object(body, "the manifest")
        MANIFEST.check(document, "the manifest")
        _check_kind(document, media_type)
        is_index = media_type in INDEX_TYPES
        return cls(
            digest,
            media_type,
            body,
            children=_descriptors(document, "manifests") if is_index else (),
            config=None if is_index else Descriptor.read(document.get("config"), "config"),
            layers=() if is_index else _descriptors(document, "layers"),
            subject=Descriptor.read(document["subject"], "subject") if document.get("subject") is not None else None,
            artifact_type=_optional_text(document, "artifactType", "the manifest"),
            annotations=_annotations(document, "the manifest"),
        )

    @property
    def is_index(self) -> bool:
        """Say whether this is an index or manifest list."""
        return self.media_type in INDEX_TYPES

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The config, if any, and the layers."""
        return ((self.config,) if self.config else ()) + self.layers


def _check_kind(document: Mapping[str, Any], media_type: str) -> None:
    version = document.get("schemaVersion")
    if not isinstance(version, int) or version != 2:  # noqa: PLR2004 (the number of the specification; 2.0 is another)
        raise MalformedError("schemaVersion is not 2")
    # The member may be missing in OCI documents; where it is there it must agree with the header.
    if document.get("mediaType", media_type) != media_type:
        raise MalformedError(f"served as {media_type}, but its mediaType says {str(document['mediaType'])!a:.80}")
    foreign = {"layers", "config"} if media_type in INDEX_TYPES else {"manifests"}
    if foreign & document.keys():
        raise MalformedError("has members of both a manifest and an index")
    if other := _OTHER_KINDS & document.keys():
        raise MalformedError(f"has members of another kind of manifest: {', '.join(sorted(other))}")


def _descriptors(document: Mapping[str, Any], member: str) -> tuple[Descriptor, ...]:
    if member not in document:
        raise MalformedError(f"has no {member}")
    values = document[member]
    if values is None:  # how Go's libraries write an empty list
        return ()
    if not isinstance(values, list):
        raise MalformedError(f"{member} is not a list")
    if len(values) > DESCRIPTORS_MAX:
        raise OverLimitError(f"{member} has {len(values)} entries, more than the {DESCRIPTORS_MAX} that are read")
    return tuple(Descriptor.read(value, f"{member}[{n}]") for n, value in enumerate(values))


def _text(value: Mapping[str, Any], member: str, where: str) -> str:
    text = value.get(member)
    if not isinstance(text, str) or not text:
        raise MalformedError(f"{where}.{member} is not a text")
    return text


def _optional_text(value: Mapping[str, Any], member: str, where: str) -> str | None:
    return None if value.get(member) in (None, "") else _text(value, member, where)


def _check_carried(value: Mapping[str, Any], where: str) -> None:
    """Check the types of `urls` and `data` (descriptor.md), which other readers take the content from."""
    urls = value.get("urls")
    if urls is not None and not (isinstance(urls, list) and all(isinstance(url, str) for url in urls)):
        raise MalformedError(f"{where}.urls is not a list of texts")
    data = _optional_text(value, "data", where)
    if data is not None:
        canonical_base64.decode(data, f"{where}.data")


def _annotations(value: Mapping[str, Any], where: str) -> dict[str, str]:
    annotations = value.get("annotations")
    if annotations is None:
        return {}
    if not isinstance(annotations, dict) or not all(isinstance(text, str) for text in annotations.values()):
        raise MalformedError(f"{where}.annotations is not an object of texts")
    return annotations
