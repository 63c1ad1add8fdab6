"""Artifacts: content that is served without a verdict of its own, as it is data and cannot run.

A closed shape distinguishes them from images, never the name of a tag: every member of the manifest and of its
descriptors is known and harmless, the config is empty or one that signing tools write, and each blob was read whole. So
no runtime finds a command to execute, a file system to unpack, or one that it has unpacked before. What has another
shape is judged as an image.
"""

import re
from enum import StrEnum
from typing import Any

from proxy.oci.archives import is_prose, reads_as_tar
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
from proxy.oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest
from proxy.oci.strict_json import TOKENS_MAX, loads_object

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
# SBOMs and other documents about an image: SPDX, CycloneDX, Syft, SARIF, OpenVEX. Each must be a JSON object ...
_DOCUMENT_TYPES = frozenset(
    {
        "application/json",
        "application/sarif+json",
        "application/spdx+json",
        "application/vnd.cyclonedx+json",
        "application/vnd.openvex+json",
        "application/vnd.syft+json",
        "text/spdx+json",
    }
)
# ... or prose: SPDX's tags and values, a note.
_PROSE_TYPES = frozenset({"text/plain", "text/spdx"})
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

# Values in one JSON document about an image: an SBOM of 4 MiB has some 150,000, which take half a second in a thread.
DOCUMENT_TOKENS_MAX = 200_000
# The tag under which registries without the referrers API list referrers (distribution-spec 1.1, Referrers Tag Schema).
_REFERRERS_TAG = re.compile(r"sha256-[0-9a-f]{64}", re.ASCII)

_MANIFEST_MEMBERS = frozenset(
    {"schemaVersion", "mediaType", "artifactType", "config", "layers", "subject", "annotations"}
)
# Not `urls`, `data` or `platform`: no client takes content from elsewhere, or chooses by anything.
_DESCRIPTOR_MEMBERS = frozenset({"mediaType", "digest", "size", "artifactType", "annotations"})
_INDEX_MEMBERS = frozenset({"schemaVersion", "mediaType", "manifests", "annotations"})
_CONFIG_MEMBERS = frozenset({"architecture", "os", "created", "history", "rootfs", "config"})
# cosign writes no platform, BuildKit that it is unknown.
_NO_PLATFORM = ("", "unknown")


class ArtifactKind(StrEnum):
    """The kind of an artifact, by which it is counted."""

    SIGNATURE = "signature"
    #: A document about an accepted image.
    REFERRER = "referrer"
    #: The list of what refers to an accepted image, under the tag that registries without the API have for it.
    REFERRERS_TAG = "referrers_tag"


def looks_like_signature_artifact(manifest: Manifest) -> bool:
    """Return whether this has the closed shape, and all layers are typed as signatures or attestations.

    An index never has. The types are only a claim: `is_inert_blob` sees to the content.
    """
    return _has_layers_of(manifest, SIGNATURE_LAYER_TYPES) and _is_closed(manifest)


def document_subject(manifest: Manifest) -> Digest | None:
    """Return which image this is a document about: a manifest of the closed shape with an empty config and a subject.

    None for anything else. The types of its layers are a claim as those of signatures are.
    """
    subject, config = manifest.subject, manifest.config
    if (
        subject is not None
        and config is not None
        and (manifest.media_type, config.media_type, config.digest) == (OCI_MANIFEST, EMPTY_TYPE, EMPTY)
        and _has_layers_of(manifest, SIGNATURE_LAYER_TYPES | _DOCUMENT_TYPES | _PROSE_TYPES | {EMPTY_TYPE})
        and _is_closed(manifest)
    ):
        return subject.digest
    return None


def looks_like_referrers_list(manifest: Manifest) -> bool:
    """Return whether this is an index as tools list referrers in one: it has no platforms for a client to choose by.

    What it lists is served by its own verdict.
    """
    if manifest.media_type != OCI_INDEX or any(one.media_type != OCI_MANIFEST for one in manifest.children):
        return False
    document = loads_object(manifest.body, "the index")
    return document.keys() <= _INDEX_MEMBERS and all(
        one.keys() <= _DESCRIPTOR_MEMBERS for one in document["manifests"] or ()
    )


def listed_subject(tag: str) -> Digest | None:
    """Return which image the list of referrers under this tag is about; None if it is another tag."""
    return Digest.parse(tag.replace("-", ":")) if _REFERRERS_TAG.fullmatch(tag) else None


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


def is_inert_blob(content: bytes, blob: Descriptor, manifest: Manifest) -> bool:
    """Return whether a blob of an artifact is what it is said to be, and nothing that runs or unpacks."""
    if blob is manifest.config:
        return is_inert_config(content, manifest)
    if blob.media_type in _PROSE_TYPES:
        return is_prose(content)
    tokens_max = DOCUMENT_TOKENS_MAX if blob.media_type in _DOCUMENT_TYPES else TOKENS_MAX
    return is_signature_content(content, tokens_max)


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


def is_signature_content(content: bytes, tokens_max: int = TOKENS_MAX) -> bool:
    """Return whether this is a JSON object, and nothing that unpacks: a runtime may ignore the type."""
    try:
        loads_object(content, "the document", tokens_max)
    except MalformedError:
        return False
    return not reads_as_tar(content)
