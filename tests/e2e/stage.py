"""What the lab shows the clients: images signed and not, and Sealgate with a policy between them and the registry."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from e2e import content, lab

from proxy.demo.signing import SignatureArtifact, SigningKey, bundle_signature, classic_signature
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_INDEX, Descriptor


@dataclass(frozen=True)
class Stage:
    """A lab with everything in place. `key` is the one that is trusted."""

    lab: lab.Lab
    images: Mapping[str, content.Named]
    signatures: Mapping[str, SignatureArtifact]
    key: SigningKey


def signed_images(
    place: content.Place, key: SigningKey, stranger: SigningKey
) -> tuple[dict[str, content.Named], dict[str, SignatureArtifact]]:
    """Put all images and signatures there: classic, bundle at the fallback tag, none, none, a stranger's."""
    images = {
        "signed": content.single("signed"),
        "multi": content.multi("multi"),
        "unsigned": content.single("unsigned"),
        "unsigned-multi": content.multi("unsigned-multi"),
        "stranger": content.single("stranger"),
    }
    for image in images.values():
        image.put(place)
    signatures = {
        "signed": classic_signature(key, descriptor(images["signed"])),
        "multi": bundle_signature(key, descriptor(images["multi"])),
        "stranger": classic_signature(stranger, descriptor(images["stranger"])),
    }
    for name, signature in signatures.items():
        put_signature(place, images[name].repository, signature)
    return images, signatures


def descriptor(image: content.Named) -> Descriptor:
    """Return what a signature needs to know of an image."""
    return Descriptor(image.image.media_type, image.image.digest, len(image.image.body))


def put_signature(place: content.Place, repository: str, signature: SignatureArtifact) -> None:
    """Put a signature there as cosign does without a referrers API: what has no tag is listed in an index at one."""
    for blob in signature.blobs.values():
        place.add_blob(repository, blob)
    place.add_manifest(repository, signature.media_type, signature.manifest_body, signature.tag)
    if signature.tag is None:
        listed = {
            "mediaType": signature.media_type,
            "digest": str(Digest.of(signature.manifest_body)),
            "size": len(signature.manifest_body),
        }
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [listed]}
        place.add_manifest(repository, OCI_INDEX, json.dumps(index).encode(), f"sha256-{signature.subject.hex}")


def stage(running: lab.Lab) -> Stage:
    """Put everything in place."""
    key, stranger = SigningKey.generate(), SigningKey.generate()
    signed_images(running.shelf, key, stranger)  # the hub would serve all of them
    images, signatures = signed_images(content.PushTo(running.upstream), key, stranger)
    return Stage(running, images, signatures, key)
