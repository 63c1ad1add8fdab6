"""The images of the demonstration: what each shows, and what has to come of pulling it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from proxy.demo.images import Image, image, index
from proxy.demo.registry import Registry
from proxy.demo.signing import SignatureArtifact, SigningKey, bundle_signature, classic_signature
from proxy.oci.manifest import Descriptor

TAG = "1"


class Hand(StrEnum):
    """Who signs an example."""

    RELEASE = "release"
    STRANGER = "stranger"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Example:
    """One image at Docker Hub's place in the demonstration. `is_served` is what a pull has to end with."""

    repository: str
    shows: str
    content: Image
    hand: Hand

    @property
    def name(self) -> str:
        """The image's name as a person types it."""
        return f"{self.repository}:{TAG}"

    @property
    def is_served(self) -> bool:
        """Say whether the policy lets it through."""
        return self.hand is Hand.RELEASE

    def put(self, registry: Registry, keys: Mapping[Hand, SigningKey]) -> None:
        """Add the image and, where somebody signs it, both of cosign's kinds of signature."""
        self.content.add_to(registry, self.repository, TAG)
        if self.hand in keys:
            key = keys[self.hand]
            named = Descriptor(self.content.media_type, self.content.digest, len(self.content.body))
            _add_signature(registry, self.repository, classic_signature(key, named))
            _add_signature(registry, self.repository, bundle_signature(key, named))


def examples() -> tuple[Example, ...]:
    """Make the four images; the same bytes each time."""
    platforms = [image("multi", architecture=name) for name in ("amd64", "arm64")]
    return (
        Example("demo/signed", "signed by the release key", image("signed"), Hand.RELEASE),
        Example("demo/multi", "an index of two architectures, signed as a whole", index(platforms), Hand.RELEASE),
        Example("demo/unsigned", "not signed at all", image("unsigned"), Hand.NOBODY),
        Example("demo/stranger", "well signed, by a key that no rule trusts", image("stranger"), Hand.STRANGER),
    )


def _add_signature(registry: Registry, repository: str, signature: SignatureArtifact) -> None:
    for blob in signature.blobs.values():
        registry.add_blob(repository, blob)
    registry.add_manifest(repository, signature.media_type, signature.manifest_body, signature.tag)
