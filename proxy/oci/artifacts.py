"""Artifacts: what is served without a verdict of its own, for it is data, and nothing that runs.

They are told from images by a closed shape, never by the name of a tag: every member of the manifest and of its
descriptors is known and harmless, the config is empty or one that signing tools write, and each blob was read whole. So
no runtime finds a command to execute, a file system to unpack, or one that it has unpacked before. What has another
shape is judged as an image.
"""

from typing import Any

from proxy.oci.archives import reads_as_tar
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
from proxy.oci.manifest import Manifest
from proxy.oci.strict_json import loads_object

# cosign's specs/SIGNATURE_SPEC.md and BUNDLE_SPEC.md, in-toto's and DSSE's media types, Notary Project signature spec.
SIGNATURE_LAYER_TYPES = frozenset(
    {
        "application/vnd.dev.cosign.simplesigning.v1+json",
        "application/vnd.dev.sigstore.bundle.v0.3+json",
        "application/vnd.dev.sigstore.bundle+json;version=0.3",
        "application/vnd.dsse.envelope.v1+json",
        "application/vnd.in-toto+json",
        "application/jose+json",
    }
)
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY_CONTENT = b"{}"
EMPTY = Digest.of(EMPTY_CONTENT)
# image-spec 1.1, manifest.md (empty descriptor); what cosign, BuildKit and notation call the configs of signatures.
_CONFIG_TYPES = frozenset(
    {
        EMPTY_TYPE,
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.dev.cosign.artifact.sig.v1+json",
        "application/vnd.cncf.notary.signature",
    }
)
# More than any image has signatures in one manifest; each is fetched to see what it is.
ARTIFACT_LAYERS_MAX = 100
# To look at this much JSON holds up everybody else for 5 to 15 ms (measured, see strict_json). Signatures have some
# 10 KiB; an attestation that has an SBOM of 3 MiB in it still fits. What is larger is judged as an image is.
ARTIFACT_BLOB_BYTES_MAX = 4 * 1024 * 1024
# Of all layers of one manifest, for anyone who asks for it makes us fetch them. As for the signatures of one image
# (formats.cosign.fetch).
ARTIFACT_BYTES_MAX = 16 * 1024 * 1024

_MANIFEST_MEMBERS = frozenset(
    {"schemaVersion", "mediaType", "artifactType", "config", "layers", "subject", "annotations"}
)
# Not `urls`, `data` or `platform`: no client takes content from elsewhere, or chooses by anything.
_DESCRIPTOR_MEMBERS = frozenset({"mediaType", "digest", "size", "artifactType", "annotations"})
_CONFIG_MEMBERS = frozenset({"architecture", "os", "created", "history", "rootfs", "config"})
# cosign writes no platform, BuildKit that it is unknown.
_NO_PLATFORM = ("", "unknown")


def looks_like_signature_artifact(manifest: Manifest) -> bool:
    """Return whether this has the closed shape, and all layers are typed as signatures or attestations.

    An index never has. The types are only a claim: `is_inert_config` and `is_signature_content` see to the blobs.
    """
    return _has_layers_of(manifest, SIGNATURE_LAYER_TYPES) and _is_closed(manifest)


def _has_layers_of(manifest: Manifest, types: frozenset[str]) -> bool:
    layers = manifest.layers
    return (
        0 < len(layers) <= ARTIFACT_LAYERS_MAX
        and all(one.media_type in types and one.size <= ARTIFACT_BLOB_BYTES_MAX for one in layers)
        and sum(one.size for one in layers) <= ARTIFACT_BYTES_MAX
    )


def _is_closed(manifest: Manifest) -> bool:
    """Check the members of the manifest and of its descriptors, and what its config is called."""
    document = loads_object(manifest.body, "the manifest")
    descriptors = [document["config"], *document["layers"], document.get("subject") or {}]
    return (
        document.keys() <= _MANIFEST_MEMBERS
        and document["config"]["mediaType"] in _CONFIG_TYPES
        and all(_is_closed_descriptor(one) for one in descriptors)
    )


def _is_closed_descriptor(descriptor: dict[str, Any]) -> bool:
    """Check the members; oras writes the content of the empty descriptor, and of no other, into it."""
    members = set(descriptor)
    if descriptor.get("digest") == str(EMPTY) and descriptor.get("data") == "e30=":
        members.discard("data")
    return members <= _DESCRIPTOR_MEMBERS


def is_inert_config(content: bytes, manifest: Manifest) -> bool:
    """Return whether a config has nothing that a runtime executes: it is empty, or as cosign and BuildKit write it.

    Its diff IDs are the digests of the layers, which are text. With those of another image, containerd would take the
    file systems that it has unpacked before, and never look at the layers.
    """
    try:
        config = loads_object(content, "the config")
    except MalformedError:
        return False
    rootfs = {"type": "layers", "diff_ids": [str(one.digest) for one in manifest.layers]}
    return not reads_as_tar(content) and (
        not config
        or (
            config.keys() <= _CONFIG_MEMBERS
            and config.get("architecture", "") in _NO_PLATFORM
            and config.get("os", "") in _NO_PLATFORM
            and config.get("config", {}) == {}
            and config.get("rootfs") == rootfs
            and isinstance(config.get("created", ""), str)
            and _is_bare_history(config.get("history", []))
        )
    )


def _is_bare_history(history: object) -> bool:
    return isinstance(history, list) and all(
        isinstance(one, dict) and one.keys() <= {"created"} and isinstance(one.get("created", ""), str)
        for one in history
    )


def is_signature_content(content: bytes) -> bool:
    """Return whether this is a JSON object, and nothing that unpacks: a runtime may ignore the type."""
    try:
        loads_object(content, "the signature")
    except MalformedError:
        return False
    return not reads_as_tar(content)
