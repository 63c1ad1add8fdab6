"""Attacks of docs/threats.md on a signer by key: each refused for its reason, and its harmless twin accepted."""

import base64
import gzip
import json
from dataclasses import dataclass, replace

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from support.cosign import (
    IMAGE,
    KEY,
    OTHER,
    SIGNER,
    STRANGER,
    TAG,
    classic_layer,
    encoded,
    judge,
    key_signer,
    referrer,
    source_of,
    tagged,
)
from support.snapshot import SnapshotSource

from proxy.crypto.keys import HASHES
from proxy.demo.signing import (
    BUNDLE_TYPE,
    SIGN_PREDICATE,
    SigningKey,
    artifact,
    bundle,
    bundle_signature,
    classic_signature,
    layer_of,
    simple_signing_payload,
    statement,
)
from proxy.formats.cosign.discover import LAYERS_MAX, REFERRERS_MAX
from proxy.formats.cosign.dsse import IN_TOTO, pae
from proxy.formats.cosign.fetch import BYTES_MAX
from proxy.formats.cosign.shapes import PROOFS_MAX
from proxy.formats.cosign.simplesigning import LOG_ENTRY, PAYLOAD_TYPE, TIMESTAMP
from proxy.formats.cosign.verify import WantedKey
from proxy.formats.cosign.wire import VALUES_MAX
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_INDEX, OCI_MANIFEST
from proxy.verdict import Reason

PAYLOAD = simple_signing_payload(IMAGE.digest)
STATEMENT = statement(IMAGE.digest)
BUNDLE = bundle(KEY, STATEMENT)
CLASSIC = classic_signature(KEY, IMAGE)
GOOD = source_of(CLASSIC)


def classic(payload, signature=None, extra=None, key=KEY):
    """A registry with one classic signature: over any payload, or any text in its place."""
    return source_of(
        tagged(classic_layer(payload, encoded(key.sign(payload)) if signature is None else signature, extra))
    )


def says(payload, old, new):
    """The bytes with one piece replaced, which must be there."""
    assert old in payload
    return payload.replace(old, new)


def signed_statement(payload):
    return source_of(referrer(bundle(KEY, payload)))


def edited(change, document=BUNDLE):
    """A registry with a genuine bundle whose JSON was changed afterwards."""
    value = json.loads(document)
    change(value)
    return source_of(referrer(json.dumps(value).encode()))


def with_member(path, member, value):
    def change(document):
        for step in path:
            document = document[step]
        document[member] = value

    return edited(change)


def respelled(source, digest, body):
    """The same registry, but serving other bytes under a digest."""
    content = {name: {key: dict(value) for key, value in one.items()} for name, one in source.registry.items()}
    for repository in content.values():
        if digest in repository["blobs"]:
            repository["blobs"][digest] = body
        if digest in repository["manifests"]:
            repository["manifests"][digest] = (OCI_MANIFEST, body)
    return SnapshotSource(content, referrers_api=False)


def tagged_text(body):
    return replace(CLASSIC, manifest_body=body)


def subjects(count):
    others = [{"digest": {"sha256": f"{n:064x}"}} for n in range(count - 1)]
    return says(STATEMENT, b'"subject":[', b'"subject":' + json.dumps(others).encode()[:-1] + b",")


ENTRY = {
    "logId": {"keyId": "AAAA"},
    "kindVersion": {"kind": "dsse", "version": "0.0.1"},
    "inclusionProof": {"rootHash": "AAAA", "treeSize": "1", "checkpoint": {"envelope": "x"}},
    "canonicalizedBody": "AAAA",
    "logIndex": "0",
    "integratedTime": 1,
}
SET = {"SignedEntryTimestamp": "AAAA", "Payload": {"body": "AAAA", "integratedTime": 1, "logIndex": 0, "logID": "00"}}
DSSE_TYPE = "application/vnd.dsse.envelope.v1+json"
MATERIAL = ("verificationMaterial",)
ENVELOPE = ("dsseEnvelope",)
SIG = encoded(KEY.sign(PAYLOAD))
BUNDLE_SIG = json.loads(BUNDLE)["dsseEnvelope"]["signatures"][0]["sig"]
NUMBERS = decode_dss_signature(base64.b64decode(SIG))
ANNOTATED = key_signer(KEY.public, {"env": "prod"})


def with_env(value):
    return source_of(bundle_signature(KEY, IMAGE, {"env": value}))


def layers(*ones):
    return source_of(tagged(*ones))


JUNK = classic_layer(PAYLOAD, encoded(STRANGER.sign(PAYLOAD)))
LAYER, CONTENT = classic_layer(PAYLOAD, SIG)
CROWD = [referrer(bundle(STRANGER, STATEMENT + b" " * n)) for n in range(REFERRERS_MAX)]
HUGE = PAYLOAD + b" " * (BYTES_MAX + 1 - len(PAYLOAD))
LARGEST = HUGE[:-1]
GENUINE = bundle_signature(KEY, IMAGE)
WRONG_SIZE = layer_of(OCI_MANIFEST, GENUINE.manifest_body) | {"size": 1}
INDEX_OF_CLASSIC = replace(
    CLASSIC,
    media_type=OCI_INDEX,
    manifest_body=json.dumps(
        {"schemaVersion": 2, "manifests": [layer_of(OCI_MANIFEST, CLASSIC.manifest_body)]}
    ).encode(),
)


RSA = SigningKey.generate("RSA-2048")


def hashed(hashing, shape):
    """A registry with a signature by an RSA key with this hash, as cert-manager's, whose key is in a KMS."""

    def sign(message):
        return encoded(RSA._key.sign(message, PKCS1v15(), HASHES[hashing]))

    if shape == "classic":
        return classic(PAYLOAD, sign(PAYLOAD))
    document = json.loads(bundle(RSA, STATEMENT))
    document["dsseEnvelope"]["signatures"][0]["sig"] = sign(pae(IN_TOTO, STATEMENT))
    return source_of(referrer(json.dumps(document).encode()))


def hashing_signer(hashing):
    signer = key_signer(RSA.public)
    return replace(signer, wanted=replace(signer.wanted, who=WantedKey(RSA.public, None, hashing)))


@dataclass(frozen=True)
class Attack:
    number: str
    what: str
    reason: Reason
    bad: SnapshotSource
    good: SnapshotSource
    signer: object = SIGNER


ATTACKS = [
    Attack(
        "A1", "signature-of-another-payload", Reason.UNTRUSTED_SIGNER, classic(PAYLOAD, encoded(KEY.sign(b"x"))), GOOD
    ),
    Attack(
        "A1",
        "envelope-signature-of-another-statement",
        Reason.UNTRUSTED_SIGNER,
        with_member((*ENVELOPE, "signatures", 0), "sig", encoded(KEY.sign(STATEMENT))),
        source_of(GENUINE),
    ),
    Attack(
        "A1",
        "log-entry-that-cannot-be-read",
        Reason.MALFORMED,
        classic(PAYLOAD, extra={LOG_ENTRY: json.dumps(SET | {"More": 1})}),
        classic(PAYLOAD, extra={LOG_ENTRY: json.dumps(SET)}),
    ),
    Attack(
        "A4",
        "attestation-as-signature",
        Reason.NOT_A_SIGNATURE,
        signed_statement(says(STATEMENT, SIGN_PREDICATE.encode(), b"https://slsa.dev/provenance/v1")),
        signed_statement(STATEMENT),
    ),
    Attack(
        "A4",
        "predicate-type-only-begins-right",
        Reason.NOT_A_SIGNATURE,
        signed_statement(says(STATEMENT, SIGN_PREDICATE.encode(), SIGN_PREDICATE.encode() + b"0")),
        signed_statement(STATEMENT),
    ),
    Attack("A4", "classic-attestation", Reason.NOT_A_SIGNATURE, source_of(referrer(b"{}", DSSE_TYPE)), GOOD),
    Attack(
        "A4",
        "payload-type-of-something-else",
        Reason.NOT_A_SIGNATURE,
        classic(says(PAYLOAD, b"cosign container image signature", b"atomic container signature")),
        GOOD,
    ),
    Attack(
        "A4",
        "envelope-of-something-else",
        Reason.NOT_A_SIGNATURE,
        source_of(referrer(bundle(KEY, STATEMENT, "application/json"))),
        source_of(GENUINE),
    ),
    Attack(
        "A4",
        "blob-signature",
        Reason.NOT_A_SIGNATURE,
        edited(lambda one: one.update(messageSignature={"signature": one.pop("dsseEnvelope")["signatures"][0]["sig"]})),
        source_of(GENUINE),
    ),
    *(
        Attack(
            "A27",
            f"signature-with-{what}",
            Reason.MALFORMED,
            classic(PAYLOAD, bad),
            classic(PAYLOAD, good),
        )
        for what, bad, good in (
            ("a-space", f"{SIG[:64]} {SIG[64:]}", f"{SIG[:64]}\n{SIG[64:]}"),
            ("a-tab", f"{SIG}\t", f"{SIG}\n"),
            ("a-line-separator", f"{SIG[:64]}\u2028{SIG[64:]}", f"{SIG[:64]}\r\n{SIG[64:]}\r\n"),
            ("a-next-line", f"{SIG[:76]}\x85{SIG[76:]}", f"{SIG[:76]}\n{SIG[76:]}\n"),
            ("a-vertical-tab", f"\v{SIG}", f"\n\r{SIG}"),
            ("breaks-and-no-padding", f"\n{SIG}".rstrip("=")[:-1], "\n".join(SIG)),
            ("breaks-only", "\r\n", f"\r{SIG}"),
        )
    ),
    *(
        Attack(
            "A27",
            f"line-break-in-{what}",
            Reason.MALFORMED,
            bad,
            good,
        )
        for what, bad, good in (
            (
                "a-log-entry",
                classic(PAYLOAD, extra={LOG_ENTRY: json.dumps(SET | {"SignedEntryTimestamp": "AA\nAA"})}),
                classic(PAYLOAD, extra={LOG_ENTRY: json.dumps(SET)}),
            ),
            (
                "a-timestamp",
                classic(PAYLOAD, extra={TIMESTAMP: json.dumps({"SignedRFC3161Timestamp": "AA\nAA"})}),
                classic(PAYLOAD, extra={TIMESTAMP: json.dumps({"SignedRFC3161Timestamp": "AAAA"})}),
            ),
            (
                "the-signature-of-a-bundle",
                edited(lambda one: one["dsseEnvelope"]["signatures"][0].update(sig=f"{BUNDLE_SIG}\n")),
                edited(lambda one: one["dsseEnvelope"]["signatures"][0].update(sig=BUNDLE_SIG)),
            ),
        )
    ),
    *(
        Attack(
            "A36",
            f"{what}-{shape}",
            Reason.UNTRUSTED_SIGNER,
            hashed(bad, shape),
            hashed(good, shape),
            hashing_signer(hashing),
        )
        for what, bad, good, hashing in (
            ("hash-that-was-not-named", "sha512", "sha256", None),
            ("usual-hash-where-another-is-named", "sha256", "sha512", "sha512"),
            ("another-hash-than-is-named", "sha384", "sha512", "sha512"),
            ("longer-hash-than-is-named", "sha512", "sha384", "sha384"),
        )
        for shape in ("classic", "bundle")
    ),
    Attack("A5", "payload-not-json", Reason.MALFORMED, classic(b"approved"), GOOD),
    Attack("A5", "payload-empty", Reason.MALFORMED, classic(b""), GOOD),
    Attack("A5", "statement-not-json", Reason.MALFORMED, signed_statement(b"approved"), signed_statement(STATEMENT)),
    Attack(
        "A5",
        "statement-with-a-predicate-of-another-kind",
        Reason.MALFORMED,
        signed_statement(says(STATEMENT, b',"predicate":{}', b',"predicate":[]')),
        signed_statement(says(STATEMENT, b',"predicate":{}', b"")),
    ),
    Attack(
        "A5",
        "statement-whose-predicate-is-a-text",
        Reason.MALFORMED,
        signed_statement(says(STATEMENT, b',"predicate":{}', b',"predicate":"{}"')),
        signed_statement(says(STATEMENT, b',"predicate":{}', b',"predicate":null')),
    ),
    Attack(
        "A4",
        "attestation-without-predicate-as-signature",
        Reason.MALFORMED,
        signed_statement(
            says(says(STATEMENT, SIGN_PREDICATE.encode(), b"https://slsa.dev/provenance/v1"), b',"predicate":{}', b"")
        ),
        signed_statement(says(STATEMENT, b',"predicate":{}', b"")),
    ),
    Attack(
        "A5",
        "statement-of-no-known-type",
        Reason.MALFORMED,
        signed_statement(says(STATEMENT, b"in-toto.io/Statement/v1", b"in-toto.io/Statement/v2")),
        signed_statement(says(STATEMENT, b"in-toto.io/Statement/v1", b"in-toto.io/Statement/v0.1")),
    ),
    Attack(
        "A12",
        "more-layers-than-are-read",
        Reason.OVER_LIMIT,
        layers(*[JUNK] * 1001),
        layers(*[JUNK] * 999, (LAYER, CONTENT)),
    ),
    Attack(
        "A12",
        "good-one-beyond-the-limit-of-layers",
        Reason.OVER_LIMIT,
        layers(*[JUNK] * LAYERS_MAX, (LAYER, CONTENT), *[JUNK] * LAYERS_MAX),
        layers(*[JUNK] * (LAYERS_MAX // 2 - 1), (LAYER, CONTENT), *[JUNK] * (LAYERS_MAX // 2)),
    ),
    Attack(
        "A12",
        "good-one-beyond-the-limit-of-referrers",
        Reason.OVER_LIMIT,
        source_of(*CROWD[: REFERRERS_MAX // 2], GENUINE, *CROWD[REFERRERS_MAX // 2 :]),
        source_of(*CROWD, GENUINE),
    ),
    Attack("A13", "large-payload", Reason.OVER_LIMIT, classic(HUGE), classic(LARGEST)),
    Attack(
        "A13", "compressed-bundle", Reason.MALFORMED, source_of(referrer(gzip.compress(BUNDLE))), source_of(GENUINE)
    ),
    Attack(
        "A13",
        "values-of-a-bundle",
        Reason.OVER_LIMIT,
        with_member(MATERIAL, "publicKey", {"hint": "," * VALUES_MAX}),
        with_member(MATERIAL, "publicKey", {"hint": "," * (VALUES_MAX - 100)}),
    ),
    Attack("A14", "subjects", Reason.OVER_LIMIT, signed_statement(subjects(1025)), signed_statement(subjects(1024))),
    Attack(
        "A14",
        "log-entries",
        Reason.OVER_LIMIT,
        with_member(MATERIAL, "tlogEntries", [ENTRY] * (PROOFS_MAX + 1)),
        with_member(MATERIAL, "tlogEntries", [ENTRY] * PROOFS_MAX),
    ),
    Attack(
        "A14",
        "timestamps",
        Reason.OVER_LIMIT,
        with_member(
            MATERIAL, "timestampVerificationData", {"rfc3161Timestamps": [{"signedTimestamp": ""}] * (PROOFS_MAX + 1)}
        ),
        with_member(
            MATERIAL, "timestampVerificationData", {"rfc3161Timestamps": [{"signedTimestamp": ""}] * PROOFS_MAX}
        ),
    ),
    Attack(
        "A15",
        "other-payload-under-its-digest",
        Reason.CORRUPT,
        respelled(
            classic(simple_signing_payload(OTHER.digest)), str(Digest.of(simple_signing_payload(OTHER.digest))), PAYLOAD
        ),
        GOOD,
    ),
    Attack(
        "A15",
        "other-manifest-under-its-digest",
        Reason.CORRUPT,
        respelled(source_of(tagged(JUNK)), str(tagged(JUNK).digest), CLASSIC.manifest_body),
        GOOD,
    ),
    Attack(
        "A16",
        "signature-of-what-the-tag-named-before",
        Reason.OTHER_IMAGE,
        source_of(replace(classic_signature(KEY, OTHER), tag=f"{TAG}.sig")),
        GOOD,
    ),
    Attack(
        "A17",
        "annotation-only-begins-right",
        Reason.ANNOTATION_MISSING,
        with_env("production"),
        with_env("prod"),
        ANNOTATED,
    ),
    Attack(
        "A17",
        "annotation-is-no-text",
        Reason.ANNOTATION_MISSING,
        signed_statement(says(STATEMENT, b'"annotations":{}', b'"annotations":{"env":["prod"]}')),
        signed_statement(says(STATEMENT, b'"annotations":{}', b'"annotations":{"env":"prod"}')),
        ANNOTATED,
    ),
    Attack(
        "A17",
        "annotation-of-another-subject",
        Reason.ANNOTATION_MISSING,
        signed_statement(
            says(STATEMENT, b'"subject":[', b'"subject":[{"digest":{"sha256":"00"},"annotations":{"env":"prod"}},')
        ),
        with_env("prod"),
        ANNOTATED,
    ),
    Attack(
        "A18",
        "signature-of-a-child",
        Reason.OTHER_IMAGE,
        source_of(referrer(bundle(KEY, statement(OTHER.digest)))),
        source_of(GENUINE),
    ),
    Attack(
        "A18",
        "referrer-of-another-image",
        Reason.OTHER_IMAGE,
        source_of(referrer(BUNDLE, subject=OTHER)),
        source_of(GENUINE),
    ),
    Attack(
        "A18",
        "referrer-of-no-image",
        Reason.OTHER_IMAGE,
        source_of(replace(artifact(IMAGE, "", [(layer_of(BUNDLE_TYPE, BUNDLE), BUNDLE)], ""), tag=None)),
        source_of(GENUINE),
    ),
    Attack(
        "A18",
        "digest-in-another-algorithm",
        Reason.OTHER_IMAGE,
        signed_statement(says(STATEMENT, b'"sha256"', b'"sha512"')),
        signed_statement(says(STATEMENT, b'{"sha256"', b'{"sha1":"00","sha256"')),
    ),
    Attack(
        "A18",
        "digest-in-capitals",
        Reason.OTHER_IMAGE,
        signed_statement(says(STATEMENT, IMAGE.digest.hex.encode(), IMAGE.digest.hex.upper().encode())),
        signed_statement(STATEMENT),
    ),
    Attack(
        "A18",
        "subject-by-name",
        Reason.OTHER_IMAGE,
        signed_statement(says(STATEMENT, b'"digest":{"sha256":', b'"name":').replace(b'"},"ann', b'","ann')),
        signed_statement(says(STATEMENT, b'"digest"', b'"name":"app","digest"')),
    ),
    Attack(
        "A27",
        "digest-twice",
        Reason.MALFORMED,
        classic(says(PAYLOAD, b'"image":{', b'"image":{"docker-manifest-digest":"%b",' % str(OTHER.digest).encode())),
        classic(json.dumps(json.loads(PAYLOAD), indent=4).encode()),
    ),
    Attack(
        "A27",
        "digest-in-another-case",
        Reason.MALFORMED,
        classic(says(PAYLOAD, b"docker-manifest-digest", b"Docker-Manifest-DIGEST")),
        GOOD,
    ),
    Attack("A27", "second-document", Reason.MALFORMED, classic(PAYLOAD + b"{}"), classic(PAYLOAD + b"\n")),
    Attack(
        "A27",
        "subject-twice",
        Reason.MALFORMED,
        signed_statement(says(STATEMENT, b'"subject":[', b'"subject":[],"subject":[')),
        signed_statement(STATEMENT),
    ),
    Attack("A27", "signature-base64-unpadded", Reason.MALFORMED, classic(PAYLOAD, encoded(b"x").rstrip("=")), GOOD),
    Attack("A27", "signature-base64-spaced", Reason.MALFORMED, classic(PAYLOAD, SIG + " "), GOOD),
    Attack(
        "A27",
        "payload-base64-of-urls",
        Reason.MALFORMED,
        with_member(ENVELOPE, "payload", "_" + json.loads(BUNDLE)["dsseEnvelope"]["payload"][1:]),
        source_of(GENUINE),
    ),
    Attack(
        "A27",
        "snake-case",
        Reason.MALFORMED,
        edited(lambda one: one.update(dsse_envelope=one.pop("dsseEnvelope"))),
        source_of(GENUINE),
    ),
    Attack(
        "A27",
        "payload-type-swapped",
        Reason.UNTRUSTED_SIGNER,
        with_member(ENVELOPE, "payloadType", "text/plain"),
        source_of(GENUINE),
    ),
    Attack(
        "A28",
        "decoys-in-every-place",
        Reason.UNTRUSTED_SIGNER,
        source_of(classic_signature(STRANGER, IMAGE), bundle_signature(STRANGER, IMAGE)),
        source_of(CLASSIC, bundle_signature(STRANGER, IMAGE)),
    ),
    Attack(
        "A28",
        "decoy-before-the-good-one",
        Reason.UNTRUSTED_SIGNER,
        source_of(bundle_signature(STRANGER, IMAGE), referrer(bundle(STRANGER, STATEMENT + b" "))),
        source_of(bundle_signature(STRANGER, IMAGE), classic_signature(KEY, IMAGE, referrer=True)),
    ),
    Attack(
        "A28",
        "listed-with-a-wrong-size",
        Reason.CORRUPT,
        source_of(replace(GENUINE, tag="elsewhere"), listed=[WRONG_SIZE]),
        source_of(GENUINE, listed=[WRONG_SIZE]),
    ),
    Attack(
        "A36", "zero-signature", Reason.UNTRUSTED_SIGNER, classic(PAYLOAD, encoded(encode_dss_signature(0, 0))), GOOD
    ),
    Attack("A36", "empty-signature", Reason.MALFORMED, classic(PAYLOAD, ""), GOOD),
    Attack(
        "A36", "trailing-byte", Reason.UNTRUSTED_SIGNER, classic(PAYLOAD, encoded(base64.b64decode(SIG) + b"\0")), GOOD
    ),
    Attack(
        "A36",
        "raw-numbers",
        Reason.UNTRUSTED_SIGNER,
        classic(PAYLOAD, encoded(b"".join(one.to_bytes(32, "big") for one in NUMBERS))),
        GOOD,
    ),
    Attack(
        "A37",
        "content-in-the-descriptor",
        Reason.CORRUPT,
        respelled(layers(({**LAYER, "data": encoded(PAYLOAD)}, CONTENT)), str(Digest.of(PAYLOAD)), b"{}"),
        layers(({**LAYER, "data": "AAAA", "urls": ["https://elsewhere.test/"]}, CONTENT)),
    ),
    Attack("A37", "wrong-size", Reason.CORRUPT, layers(({**LAYER, "size": len(PAYLOAD) + 1}, CONTENT)), GOOD),
    Attack(
        "A37",
        "manifest-and-index-in-one",
        Reason.MALFORMED,
        source_of(tagged_text(CLASSIC.manifest_body[:-1] + b',"manifests":[]}')),
        source_of(tagged_text(CLASSIC.manifest_body[:-1] + b',"unknown":[]}')),
    ),
    Attack("A37", "index-of-signatures", Reason.UNSUPPORTED, source_of(CLASSIC, INDEX_OF_CLASSIC), GOOD),
    Attack(
        "A37",
        "manifest-for-a-list",
        Reason.UNSUPPORTED,
        source_of(replace(CLASSIC, tag=TAG)),
        source_of(GENUINE),
    ),
    Attack(
        "A37", "layer-type", Reason.NOT_A_SIGNATURE, layers(({**LAYER, "mediaType": PAYLOAD_TYPE + "x"}, CONTENT)), GOOD
    ),
    Attack(
        "A37",
        "bundle-layer-type",
        Reason.NOT_A_SIGNATURE,
        source_of(referrer(BUNDLE, BUNDLE_TYPE + "x")),
        source_of(GENUINE),
    ),
    Attack("A39", "unknown-member", Reason.MALFORMED, with_member((), "ok", 1), source_of(GENUINE)),
    Attack("A39", "unknown-member-in-material", Reason.MALFORMED, with_member(MATERIAL, "ok", 1), source_of(GENUINE)),
    Attack(
        "A39",
        "unknown-critical-member",
        Reason.MALFORMED,
        classic(says(PAYLOAD, b'"critical":{', b'"critical":{"only-for":"tests",')),
        classic(says(PAYLOAD, b'"optional":null', b'"optional":{"only-for":"tests"}')),
    ),
    Attack(
        "A39", "no-signer-material", Reason.MALFORMED, with_member((), "verificationMaterial", {}), source_of(GENUINE)
    ),
    Attack(
        "A39",
        "two-signer-materials",
        Reason.MALFORMED,
        with_member(MATERIAL, "certificate", {"rawBytes": ""}),
        source_of(GENUINE),
    ),
    Attack(
        "A39",
        "no-signature-in-the-envelope",
        Reason.MALFORMED,
        with_member(ENVELOPE, "signatures", []),
        source_of(GENUINE),
    ),
    Attack(
        "A39",
        "two-signatures-in-the-envelope",
        Reason.MALFORMED,
        with_member(ENVELOPE, "signatures", json.loads(BUNDLE)["dsseEnvelope"]["signatures"] * 2),
        source_of(GENUINE),
    ),
    Attack(
        "A39",
        "bundle-of-another-version",
        Reason.MALFORMED,
        with_member((), "mediaType", "application/vnd.dev.sigstore.bundle.v0.4+json"),
        with_member((), "mediaType", "application/vnd.dev.sigstore.bundle+json;version=0.3"),
    ),
    Attack(
        "A39",
        "keyless-bundle",
        Reason.UNTRUSTED_SIGNER,
        edited(lambda one: one.update(verificationMaterial={"certificate": {"rawBytes": ""}})),
        source_of(GENUINE),
    ),
    *(
        Attack(
            "A40", name, Reason.MALFORMED, classic(says(PAYLOAD, b"null", value)), classic(says(PAYLOAD, b"null", twin))
        )
        for name, value, twin in [
            ("deep", b'{"a":' * 6000 + b"1" + b"}" * 6000, b'{"a":' * 60 + b"1" + b"}" * 60),
            ("huge-integer", b'{"a":%b}' % (b"9" * 5000), b'{"a":%b}' % (b"9" * 18)),
            ("huge-float", b'{"a":1e999}', b'{"a":1e9}'),
            ("not-a-number", b'{"a":NaN}', b'{"a":null}'),
            ("lone-surrogate", b'{"a":"\\ud800"}', b'{"a":"\\ud83d\\ude00"}'),
        ]
    ),
    Attack(
        "A40",
        "timestamp-deep",
        Reason.OVER_LIMIT,
        classic(PAYLOAD, extra={TIMESTAMP: "[" * 100_000}),
        classic(PAYLOAD, extra={TIMESTAMP: '{"SignedRFC3161Timestamp":"AAAA"}'}),
    ),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.number}-{attack.what}")
async def test_attack(attack):
    evidence, rejections, unreached = await judge(attack.bad, attack.signer)
    assert evidence == []
    assert attack.reason in {one.reason for one in rejections}
    assert unreached == ()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.number}-{attack.what}")
async def test_twin(attack):
    evidence, _, _ = await judge(attack.good, attack.signer)
    assert evidence != []


async def test_the_hash_that_a_setting_would_accept_is_named():
    for shape in ("classic", "bundle"):
        _, rejections, _ = await judge(hashed("sha384", shape), hashing_signer(None))
        assert rejections[0].detail == 'signed by this key with sha384, not sha256; hash = "sha384" accepts it'
