"""Content that a manifest lets clients fetch from elsewhere (image-spec, descriptor.md, `urls`).

containerd, BuildKit, podman, skopeo and buildah fetch such a layer from its address, and ask the registry only if that
fails (measured: containerd 1.6 and 2.4, Docker 20.10, podman 4.3). The content has its digest, but the machine contacts
an address that the image's author chose, without Sealgate and its log. Docker's foreign layers, of Windows base
images, have no other place.
"""

from enum import StrEnum

from proxy.oci.manifest import Descriptor, Manifest
from proxy.policy.model import Mode

# docker/distribution, manifest/schema2 (MediaTypeForeignLayer), and the form that is not compressed.
FOREIGN_LAYER_TYPES = frozenset(
    {
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    }
)
_URL_SHOWN_MAX = 60


class ExternalUrls(StrEnum):
    """The setting `external_urls`."""

    REFUSE = "refuse"
    INSECURE_ALLOW = "insecure_allow"  # served with a Warning header


def refuses(setting: ExternalUrls, mode: Mode) -> bool:
    """Return whether a rule of this mode refuses such a manifest; one that only warns refuses none."""
    return setting is ExternalUrls.REFUSE and mode is Mode.ENFORCE


def fetched_elsewhere(manifest: Manifest) -> str | None:
    """Return what clients would fetch from an address that the manifest names, in words; None for nothing.

    A layer of Docker's foreign type does not count.
    """
    layers = [one for one in manifest.layers if one.media_type not in FOREIGN_LAYER_TYPES]
    carried = [("config", manifest.config), ("subject", manifest.subject)]
    named: list[tuple[str, Descriptor | None]] = [
        *(("manifest", one) for one in manifest.children),
        *carried,
        *(("layer", one) for one in layers),
    ]
    for what, one in named:
        if one is not None and one.urls:
            url = next(filter(None, one.urls), "an empty address")
            return f"its {what} {one.digest.short} is to be fetched from {url[:_URL_SHOWN_MAX]}"
    return None
