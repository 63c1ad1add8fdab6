"""Small real images: gzip'd tar layers, a config with their diff_ids, a manifest; the same seed gives the same bytes.

Sources: image-spec 1.1 (manifest.md, image-index.md, config.md), Docker image manifest version 2, schema 2.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.demo.registry import Registry
from proxy.oci.digest import Digest
from proxy.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_CREATED = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest or index, the blobs that it names, and the manifests that it lists."""

    media_type: str
    body: bytes = field(repr=False)
    blobs: tuple[bytes, ...] = field(default=(), repr=False)
    children: tuple["Image", ...] = ()
    architecture: str | None = None

    @property
    def digest(self) -> Digest:
        """The digest of the manifest."""
        return Digest.of(self.body)

    def add_to(self, registry: Registry, repository: str, tag: str | None = None) -> Digest:
        """Put the blobs, the children and the manifest into the registry; the tag names the manifest."""
        for blob in self.blobs:
            registry.add_blob(repository, blob)
        for child in self.children:
            child.add_to(registry, repository)
        return registry.add_manifest(repository, self.media_type, self.body, tag)


def image(
    seed: str, *, docker: bool = False, architecture: str = "amd64", layers: int = 2, layer_bytes: int = 1024
) -> Image:
    """Make an image of `layers` layers, each with one file of `layer_bytes` bytes that do not compress.

    `docker` takes Docker's media types instead of those of OCI.
    """
    archives = [_archive(f"{seed}/{architecture}/{n}", layer_bytes) for n in range(layers)]
    blobs = [gzip.compress(archive, mtime=0) for archive in archives]
    config = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "created": _CREATED,
            "config": {"Labels": {"seed": seed}},
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(archive)) for archive in archives]},
            "history": [{"created": _CREATED, "created_by": f"layer {n}"} for n in range(layers)],
        }
    )
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(DOCKER_CONFIG if docker else OCI_CONFIG, config),
        "layers": [descriptor(DOCKER_LAYER if docker else OCI_LAYER, blob) for blob in blobs],
    }
    return Image(media_type, _json(manifest), (config, *blobs), architecture=architecture)


def index(images: Sequence[Image], *, docker: bool = False) -> Image:
    """Make the index, or Docker's manifest list, of images for several architectures."""
    media_type = DOCKER_LIST if docker else OCI_INDEX
    manifests = [
        descriptor(child.media_type, child.body) | {"platform": {"os": "linux", "architecture": child.architecture}}
        for child in images
    ]
    body = _json({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests})
    return Image(media_type, body, children=tuple(images))


def descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    """Return the descriptor of the content, as JSON has it."""
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


def _archive(seed: str, size: int) -> bytes:
    content = hashlib.shake_256(seed.encode()).digest(size)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo(f"data/{hashlib.sha256(seed.encode()).hexdigest()[:12]}")
        member.size = size
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
