"""Signature artefacts, told from images by their content types (never by the name of a tag).

They are data for verifiers, and nothing that runs: no container runtime unpacks a layer of these types. So they may be
read without a verdict, and reading one permits nothing else.
"""

from proxy.oci.archives import reads_as_tar
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
# More than any image has signatures in one manifest; each is fetched to see what it is.
ARTIFACT_LAYERS_MAX = 100
# To look at this much JSON holds up everybody else for 5 to 15 ms (measured, see strict_json). Signatures have some
# 10 KiB; an attestation that has an SBOM of 3 MiB in it still fits. What is larger is judged as an image is.
ARTIFACT_BLOB_BYTES_MAX = 4 * 1024 * 1024
# Of all layers of one manifest, for anyone who asks for it makes us fetch them. As for the signatures of one image
# (formats.cosign.fetch).
ARTIFACT_BYTES_MAX = 16 * 1024 * 1024


def looks_like_signature_artifact(manifest: Manifest) -> bool:
    """Say whether all layers are typed as signatures or attestations, and small enough to be looked at.

    An index never is. The types are only a claim.
    """
    layers = manifest.layers
    return (
        0 < len(layers) <= ARTIFACT_LAYERS_MAX
        and all(one.media_type in SIGNATURE_LAYER_TYPES and one.size <= ARTIFACT_BLOB_BYTES_MAX for one in layers)
        and sum(one.size for one in layers) <= ARTIFACT_BYTES_MAX
    )


def is_signature_content(content: bytes) -> bool:
    """Return whether this is a JSON object, and nothing that unpacks: a runtime may ignore the type."""
    try:
        loads_object(content, "the signature")
    except MalformedError:
        return False
    return not reads_as_tar(content)
