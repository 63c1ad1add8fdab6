"""An image, its signer and a stranger, and registries that hold whatever signatures a test wants."""

import base64
import json
from datetime import UTC, datetime

from support.snapshot import REGISTRY, SnapshotSource

from proxy.demo.signing import BUNDLE_TYPE, SigningKey, artifact, layer_of
from proxy.formats.cosign.discover import CosignDiscovery
from proxy.formats.cosign.proof import NO_DEMANDS
from proxy.formats.cosign.signer import CosignSigner
from proxy.formats.cosign.simplesigning import PAYLOAD_TYPE, SIGNATURE
from proxy.formats.cosign.trust_root import NO_TRUST_ROOT
from proxy.formats.cosign.verify import Wanted, WantedKey
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor
from proxy.oci.reference import Repository
from proxy.verdict import Evidence, Subject

NOW = datetime(2026, 11, 22, tzinfo=UTC)
REPOSITORY = Repository.of(REGISTRY, "team/app")
KEY = SigningKey.generate()
STRANGER = SigningKey.generate()


def descriptor(content, media_type=OCI_MANIFEST):
    return Descriptor(media_type, Digest.of(content), len(content))


IMAGE = descriptor(b"the manifest of the image")
OTHER = descriptor(b"the manifest of another image")
SUBJECT = Subject(REPOSITORY, IMAGE.digest)
TAG = f"sha256-{IMAGE.digest.hex}"


def key_signer(key, annotations=(), repository=None, name="release"):
    """Make a signer by key that asks for no log entry and no timestamp."""
    wanted = Wanted(WantedKey(key), NO_TRUST_ROOT, NO_DEMANDS, tuple(sorted(dict(annotations).items())))
    return CosignSigner(name, wanted, CosignDiscovery(repository))


SIGNER = key_signer(KEY.public)


def encoded(content):
    return base64.b64encode(content).decode()


def classic_layer(payload, signature, extra=None):
    """Return a layer and its content; the signature as text, as it stands in the annotation."""
    return layer_of(PAYLOAD_TYPE, payload) | {"annotations": {SIGNATURE: signature} | (extra or {})}, payload


def tagged(*layers):
    """Put layers under the .sig tag."""
    return artifact(IMAGE, "", list(layers), f"{TAG}.sig")


def referrer(document, media_type=BUNDLE_TYPE, subject=IMAGE):
    """Make a referrer that holds this document."""
    return artifact(subject, BUNDLE_TYPE, [(layer_of(media_type, document), document)], None)


def repository_of(*artifacts, listed=()):
    """Return what a registry holds: artifacts, and the fallback index of those without a tag, after `listed`."""
    referrers = [one for one in artifacts if one.tag is None]
    index = {
        "schemaVersion": 2,
        "manifests": [*listed, *(layer_of(OCI_MANIFEST, one.manifest_body) for one in referrers)],
    }
    body = json.dumps(index).encode()
    return {
        "tags": {TAG: str(Digest.of(body))} | {one.tag: str(one.digest) for one in artifacts if one.tag},
        "manifests": {str(one.digest): (one.media_type, one.manifest_body) for one in artifacts}
        | {str(Digest.of(body)): (OCI_INDEX, body)},
        "blobs": {str(digest): blob for one in artifacts for digest, blob in one.blobs.items()},
    }


def source_of(*artifacts, listed=(), referrers_api=False, failures=None):
    """Make a registry to read from."""
    content = {REPOSITORY.path: repository_of(*artifacts, listed=listed)}
    return SnapshotSource(content, referrers_api=referrers_api, failures=failures)


async def judge(source, signer=SIGNER, subject=SUBJECT):
    """Return the evidence, the rejections and what was not reached, of discovery and verification together."""
    found = await signer.discovery(subject, source)
    findings = [signer.verify(subject, one, NOW) for one in found.signatures]
    evidence = [one for one in findings if isinstance(one, Evidence)]
    return evidence, [one for one in findings if one not in evidence] + list(found.rejections), found.unreached
