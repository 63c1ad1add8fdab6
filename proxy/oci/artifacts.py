"""Signature artefacts, told from images by their content types (never by the name of a tag).

They are data for verifiers, and nothing that runs: no container runtime unpacks a layer of these types. So they may be
read without a verdict, and reading one permits nothing else.
"""

from proxy.oci.manifest import Manifest

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
# Larger than any signature; sigstore's attestations are the largest, and cosign's own users stay far below it.
ARTIFACT_BLOB_BYTES_MAX = 16 * 1024 * 1024


def is_signature_artifact(manifest: Manifest) -> bool:
    """Say whether all that this manifest carries is signatures or attestations. An index never is."""
    return bool(manifest.layers) and all(layer.media_type in SIGNATURE_LAYER_TYPES for layer in manifest.layers)
