"""Where cosign keeps the signatures and the attestations of an image.

Three places, all asked and merged, for a decoy in one must not hide what lies in another (attack A28): the tag
`sha256-<hex>.sig`, for attestations `.att`; the referrers API; the fallback tag `sha256-<hex>` (distribution-spec 1.1,
Referrers Tag Schema), which registries without that API have, and some with it. What a referrer is, only the media
types of its own layers say: the descriptors in lists of referrers are incomplete on several registries.

What BuildKit puts into an index as "attestation" is unsigned, and is not looked at.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from proxy.formats.api import Discovered, Source, UntrustedSignature
from proxy.formats.cosign.bundle import BUNDLE_TYPES
from proxy.formats.cosign.fetch import ATTESTATION_BYTES_MAX, BYTES_MAX, ContentKey, Fetcher, content_key
from proxy.formats.cosign.shapes import Kind
from proxy.formats.cosign.simplesigning import PAYLOAD_TYPE, SIGNATURE
from proxy.oci.digest import Digest
from proxy.oci.manifest import Descriptor, Manifest
from proxy.oci.reference import Repository
from proxy.verdict import Reason, Rejection, Subject

# Images have a handful; 64 leave room for strangers' without letting them set our costs (CVE-2023-46737).
REFERRERS_MAX = 64
# cosign itself reads up to 1000 layers (pkg/oci/internal, maxLayers); a signature is one layer.
LAYERS_MAX = 1000
# Candidates of one image, each of which costs 0.1 to 1.4 ms of arithmetic (P-256 to P-384).
CANDIDATES_MAX = 2 * LAYERS_MAX
# A payload names one image and has some 300 bytes, with annotations of the signer's a little more.
_LIKELY_PAYLOAD_BYTES = 4096

SIGNATURE_ARTIFACT = "application/vnd.dev.cosign.artifact.sig.v1+json"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
_SIGNATURES = {PAYLOAD_TYPE: Kind.CLASSIC} | dict.fromkeys(BUNDLE_TYPES, Kind.BUNDLE)
_ATTESTATIONS = {ENVELOPE_TYPE: Kind.ATTESTATION} | dict.fromkeys(BUNDLE_TYPES, Kind.BUNDLE)
# Types that deserve a word when they do not count, for someone will have taken them for a signature.
_RELATED_PREFIXES = ("application/vnd.dev.sigstore.", "application/vnd.dev.cosign.", "application/vnd.dsse.")
# Only an order. None and the empty config's type are what some registries and clients leave in the list.
_LIKELY = BUNDLE_TYPES | {SIGNATURE_ARTIFACT, "application/vnd.oci.empty.v1+json", None}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class CosignDiscovery:
    """Looks in the repository of the image, or only in the one that is named (a `Discovery`).

    `tag_prefix` stands before the tags there, for a repository that has signatures of many (cosign: COSIGN_REPOSITORY;
    policy-controller: `signatureTagPrefix`). With `attestations` it looks for these instead of signatures.
    """

    signature_repository: Repository | None = None
    tag_prefix: str = ""
    attestations: bool = False

    async def __call__(self, subject: Subject, source: Source) -> Discovered:
        """Look in all three places. The tag's candidates and the referrers' take turns, likely ones first.

        First the few likeliest are fetched to the end, in three rounds of requests: those of them that are late are
        unreached. Only then follow the others, so that any number of them that is pushed cannot delay the first.
        """
        if subject.digest.algorithm != "sha256":
            unsupported = Rejection(Reason.UNSUPPORTED, f"cosign signs no {subject.digest.algorithm} digests")
            return Discovered(rejections=(unsupported,))
        limit = ATTESTATION_BYTES_MAX if self.attestations else BYTES_MAX
        repository = self.signature_repository or subject.repository
        image = subject.digest if repository == subject.repository else None
        fetcher = Fetcher(source, repository, limit, image)
        candidates = await self._candidates(fetcher, subject.digest)
        blobs = await fetcher.blobs((one.descriptor for one in candidates), further=True)
        fetcher.settle(str(subject.digest))
        signatures = tuple(
            UntrustedSignature(one.kind, one.location, blobs[content_key(one.descriptor)], one.descriptor.annotations)
            for one in candidates
            if content_key(one.descriptor) in blobs
        )
        return Discovered(signatures, tuple(fetcher.rejections), tuple(fetcher.unreached), fetcher.overloaded)

    async def _candidates(self, fetcher: Fetcher, image: Digest) -> Sequence["_Candidate"]:
        kinds = _ATTESTATIONS if self.attestations else _SIGNATURES
        listing = f"{self.tag_prefix}{image.algorithm}-{image.hex}"
        own = f"{listing}.att" if self.attestations else f"{listing}.sig"
        tagged, listed, fallback = await asyncio.gather(
            fetcher.tagged(own), fetcher.referrers(image), fetcher.tagged(listing)
        )
        first: Sequence[_Candidate] = ()
        if tagged is not None and _is_of_kind(fetcher, tagged, own, index=False):
            first = _layers(fetcher, tagged, kinds, own, every=True)
        descriptors = list(listed)
        if fallback is not None and _is_of_kind(fetcher, fallback, listing, index=True):
            descriptors += fallback.children
        chosen = _chosen_referrers(fetcher, descriptors, listing)
        few = fetcher.few(chosen)
        manifests = await fetcher.manifests(few)
        groups = [_referring_layers(fetcher, manifest, kinds, image) for manifest in manifests]
        likeliest = _in_turn([first, _in_turn(groups)])
        await fetcher.blobs(fetcher.few(one.descriptor for one in likeliest))
        further = await fetcher.manifests([one for one in chosen if one not in few], further=True)
        groups += [_referring_layers(fetcher, manifest, kinds, image) for manifest in further]
        referring = _in_turn(groups)
        # Half of all are the tag's, which holds no more (LAYERS_MAX): it is read whole, whatever refers to the image.
        return _at_most(CANDIDATES_MAX, "candidates", _in_turn([first, referring]), fetcher, listing)


@dataclass(frozen=True, slots=True)
class _Candidate:
    kind: Kind
    location: str
    descriptor: Descriptor


def _is_of_kind(fetcher: Fetcher, manifest: Manifest, tag: str, *, index: bool) -> bool:
    if manifest.is_index is index:
        return True
    there, wanted = ("a manifest", "an index") if index else ("an index", "a manifest")
    fetcher.reject(Reason.UNSUPPORTED, f"is {there}, not {wanted}", tag)
    return False


def _chosen_referrers(fetcher: Fetcher, descriptors: Sequence[Descriptor], tag: str) -> Sequence[Descriptor]:
    # The first wins: listing a genuine referrer once more, as something else, does not change what it is.
    unique: dict[ContentKey, Descriptor] = {}
    for one in descriptors:
        unique.setdefault(content_key(one), one)
    likely_first = sorted(_from_both_ends(list(unique.values())), key=lambda one: one.artifact_type not in _LIKELY)
    return _at_most(REFERRERS_MAX, "referrers", likely_first, fetcher, tag)


def _referring_layers(
    fetcher: Fetcher, manifest: Manifest, kinds: Mapping[str, Kind], image: Digest
) -> Sequence[_Candidate]:
    location = str(manifest.digest)
    layers = _layers(fetcher, manifest, kinds, location, every=False)
    if layers and (manifest.subject is None or manifest.subject.digest != image):
        fetcher.reject(Reason.OTHER_IMAGE, "is listed for this image, but names another one as its subject", location)
        return ()
    return layers


def _layers(
    fetcher: Fetcher, manifest: Manifest, kinds: Mapping[str, Kind], location: str, *, every: bool
) -> Sequence[_Candidate]:
    found = []
    for number, layer in enumerate(manifest.layers, start=1):
        place = f"{location} layer {number}" if len(manifest.layers) > 1 else location
        kind = kinds.get(layer.media_type)
        if kind is not None:
            found.append(_Candidate(kind, place, layer))
        elif every or layer.media_type.startswith(_RELATED_PREFIXES):
            fetcher.reject(Reason.NOT_A_SIGNATURE, f"is of type {layer.media_type!a:.80}", place)
    likely_first = sorted(_from_both_ends(found), key=_is_unlikely)
    return _at_most(LAYERS_MAX, "signatures", likely_first, fetcher, location)


def _is_unlikely(candidate: _Candidate) -> bool:
    layer = candidate.descriptor
    return candidate.kind is Kind.CLASSIC and (layer.size > _LIKELY_PAYLOAD_BYTES or SIGNATURE not in layer.annotations)


def _in_turn(groups: Sequence[Sequence[_T]]) -> list[_T]:
    """Order the first of each group, then the second of each, ...: a crowd in one does not push out the others."""
    longest = max(map(len, groups), default=0)
    return [group[turn] for turn in range(longest) for group in groups if turn < len(group)]


def _from_both_ends(items: Sequence[_T]) -> list[_T]:
    """Order last, first, last but one, second, ...: who adds junk at one end does not push out what is at the other."""
    half = len(items) // 2
    newest, oldest = list(reversed(items[half:])), list(items[:half])
    ordered = [one for pair in zip(newest, oldest, strict=False) for one in pair]
    return ordered + newest[len(oldest) :]


def _at_most(limit: int, what: str, items: Sequence[_T], fetcher: Fetcher, location: str) -> Sequence[_T]:
    if len(items) > limit:
        fetcher.reject(Reason.OVER_LIMIT, f"{len(items)} {what}, of which {limit} were looked at", location)
    return items[:limit]
