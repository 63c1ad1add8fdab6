"""Attacks of docs/threats.md on what is signed and how it is written, on signatures that are otherwise whole."""

import gzip
import json
from dataclasses import replace

import pytest
from support.cosign import source_of
from support.sigstore.authority import Request
from support.sigstore.draft import SIGN, Shape, attestation_of, signature_of
from support.sigstore.encoding import base64_of
from support.sigstore.trial import (
    AT,
    IMAGE,
    KEY,
    LOG,
    NOW,
    OTHER,
    PROVENANCE,
    REQUEST,
    SIGSTORE,
    SOMEBODY,
    STRANGER,
    SUBJECT,
    Attack,
    begun,
    bundle_with,
    by_key,
    candidate,
    made,
    noted,
    root_of,
    trial,
)
from support.snapshot import OfType

from proxy.demo.signing import simple_signing_payload
from proxy.formats.api import UntrustedSignature
from proxy.formats.cosign.discover import CosignDiscovery
from proxy.formats.cosign.shapes import PROOFS_MAX, Kind
from proxy.formats.cosign.signer import CosignSigner
from proxy.formats.cosign.verify import Wanted
from proxy.verdict import Evidence, Reason

PROVES = {"attestation": OfType(PROVENANCE)}
MALFORMED, OVER_LIMIT = {"reason": Reason.MALFORMED}, {"reason": Reason.OVER_LIMIT}


def attack(number, what, says, *trials, reason):
    return Attack(number, what, reason, says, *trials)


def signed(draft, signer=REQUEST, **given):
    """Sign any payload by the rules."""
    return lambda: trial(SIGSTORE.sign(draft, signer, AT), **given)


def saying(payload, shape=Shape.BUNDLE, **given):
    """Sign these bytes as if they were what this shape holds."""
    return signed(replace(begun(shape), payload=payload), **given)


def payload_with(old, new, shape=Shape.SIG, predicate_type=None):
    draft = attestation_of(IMAGE, predicate_type, {}, shape) if predicate_type else begun(shape)
    assert old in draft.payload
    given = PROVES if predicate_type else {}
    return signed(replace(draft, payload=draft.payload.replace(old, new)), **given)


def statement_with(old, new):
    return payload_with(old, new, Shape.BUNDLE)


def edited(change, draft=None, **given):
    """Change the JSON of a bundle after everything was signed."""
    return lambda: trial(bundle_with(draft() if draft else made(stamped=True), change), **given)


def setting(*path, value):
    def change(document):
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


def dropping(*path):
    def change(document):
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return change


def as_bytes(change, draft=None):
    """Change the bytes of a bundle."""
    return lambda: trial(replace(candidate(draft or made()), payload=change(candidate(draft or made()).payload)))


def annotated(**annotations):
    return lambda: trial(noted(made(Shape.SIG), **annotations))


def envelope_as(kind):
    """The payload of an envelope, kept as if it were of another shape."""
    draft = made()
    return trial(UntrustedSignature(kind, "here", draft.envelope_bytes(), {}))


ENTRY = ("verificationMaterial", "tlogEntries", 0)
STAMPS = ("verificationMaterial", "timestampVerificationData")
GOOD, GOOD_CLASSIC = signed(begun()), signed(begun(Shape.SIG))
GOOD_ATT = signed(attestation_of(IMAGE, PROVENANCE, {}, Shape.ATT), **PROVES)
SBOM = "https://spdx.dev/Document"

KINDS = [
    attack(
        "A4",
        "attestation-as-signature",
        "an attestation",
        signed(attestation_of(IMAGE, PROVENANCE, {})),
        GOOD,
        reason=Reason.NOT_A_SIGNATURE,
    ),
    attack(
        "A4",
        "attestation-under-att-as-signature",
        "an attestation",
        signed(attestation_of(IMAGE, PROVENANCE, {}, Shape.ATT)),
        GOOD_ATT,
        reason=Reason.NOT_A_SIGNATURE,
    ),
    attack(
        "A4",
        "signature-as-attestation",
        "a signature, and an attestation",
        signed(begun(), **PROVES),
        signed(attestation_of(IMAGE, PROVENANCE, {}), **PROVES),
        reason=Reason.CONDITION_NOT_MET,
    ),
    attack(
        "A4",
        "classic-signature-as-attestation",
        "a signature, and an attestation",
        signed(begun(Shape.SIG), **PROVES),
        GOOD_ATT,
        reason=Reason.CONDITION_NOT_MET,
    ),
    attack(
        "A4",
        "signature-as-attestation-of-its-own-type",
        "a signature, and an attestation",
        signed(begun(), attestation=OfType(SIGN)),
        GOOD,
        reason=Reason.CONDITION_NOT_MET,
    ),
    attack(
        "A4",
        "attestation-of-another-type",
        "an attestation of type",
        signed(attestation_of(IMAGE, SBOM, {}), **PROVES),
        signed(attestation_of(IMAGE, PROVENANCE, {}), **PROVES),
        reason=Reason.CONDITION_NOT_MET,
    ),
    attack(
        "A4",
        "type-that-only-begins-right",
        "an attestation of type",
        signed(attestation_of(IMAGE, f"{PROVENANCE}.1", {}), **PROVES),
        signed(attestation_of(IMAGE, PROVENANCE, {}), **PROVES),
        reason=Reason.CONDITION_NOT_MET,
    ),
    attack(
        "A4",
        "type-in-the-unsigned-annotation",
        "an attestation of type",
        lambda: trial(
            noted(SIGSTORE.sign(attestation_of(IMAGE, SBOM, {}, Shape.ATT), REQUEST, AT), predicateType=PROVENANCE),
            **PROVES,
        ),
        GOOD_ATT,
        reason=Reason.CONDITION_NOT_MET,
    ),
    attack(
        "A29",
        "publish-attestation",
        "an attestation",
        signed(attestation_of(IMAGE, "https://github.com/npm/attestation/tree/main/specs/publish/v0.1", {})),
        GOOD,
        reason=Reason.NOT_A_SIGNATURE,
    ),
    attack(
        "A34",
        "unsigned-statement",
        "the envelope",
        lambda: trial(
            UntrustedSignature(Kind.ATTESTATION, "here", attestation_of(IMAGE, PROVENANCE, {}).payload, {}), **PROVES
        ),
        GOOD_ATT,
        **MALFORMED,
    ),
    attack(
        "A20",
        "envelope-signed-by-nobody",
        "signed by a key",
        lambda: trial(replace(candidate(made(Shape.ATT)), annotations={}), **PROVES),
        GOOD_ATT,
        reason=Reason.UNTRUSTED_SIGNER,
    ),
    attack(
        "A4",
        "envelope-of-another-payload-type",
        "of type",
        signed(replace(begun(), payload_type="application/vnd.something+json")),
        GOOD,
        reason=Reason.NOT_A_SIGNATURE,
    ),
    attack(
        "A4",
        "file-signature",
        "signs a blob",
        edited(lambda one: one.update(messageSignature={"signature": one.pop("dsseEnvelope")["signatures"][0]["sig"]})),
        GOOD,
        reason=Reason.NOT_A_SIGNATURE,
    ),
    attack(
        "A4",
        "payload-of-another-kind",
        "of type",
        payload_with(b"cosign container image signature", b"atomic"),
        GOOD_CLASSIC,
        reason=Reason.NOT_A_SIGNATURE,
    ),
    attack(
        "A4",
        "kind-of-another-format",
        "not cosign's",
        lambda: trial(UntrustedSignature("notation", "here", b"", {})),
        GOOD,
        reason=Reason.UNSUPPORTED,
    ),
]

SUBJECTS = [
    attack("A6", "another-image", "about other content", signed(begun(image=OTHER)), GOOD, reason=Reason.OTHER_IMAGE),
    attack(
        "A6",
        "another-image-classic",
        "the signature is for",
        signed(begun(Shape.SIG, OTHER)),
        GOOD_CLASSIC,
        reason=Reason.OTHER_IMAGE,
    ),
    attack(
        "A6",
        "attestation-of-another-image",
        "about other content",
        signed(attestation_of(OTHER, PROVENANCE, {}, Shape.ATT), **PROVES),
        GOOD_ATT,
        reason=Reason.OTHER_IMAGE,
    ),
    attack(
        "A6",
        "no-subject",
        "about other content",
        statement_with(begun().payload[begun().payload.index(b"[{") : begun().payload.index(b"}]") + 2], b"[]"),
        GOOD,
        reason=Reason.OTHER_IMAGE,
    ),
    attack(
        "A38",
        "name-in-the-payload-is-nobody's-business",
        "the signature is for",
        signed(begun(Shape.SIG, OTHER)),
        payload_with(b'"docker-reference":""', b'"docker-reference":"other.test/app"'),
        reason=Reason.OTHER_IMAGE,
    ),
    attack("A5", "payload-no-json", "strict JSON", saying(b"approved", Shape.SIG), GOOD_CLASSIC, **MALFORMED),
    attack("A5", "statement-no-json", "strict JSON", saying(b"approved"), GOOD, **MALFORMED),
    attack(
        "A5",
        "predicate-that-is-a-list",
        "not an object",
        statement_with(b',"predicate":{}', b',"predicate":[]'),
        statement_with(b',"predicate":{}', b""),
        **MALFORMED,
    ),
    *(
        attack(
            "A5",
            f"attestation-without-predicate-{shape.name}-{len(old)}-{len(new)}",
            "no predicate",
            payload_with(old, new, shape, PROVENANCE),
            payload_with(b'"predicate":{}', b'"predicate":{"a":1}', shape, PROVENANCE),
            **MALFORMED,
        )
        for shape in (Shape.ATT, Shape.BUNDLE)
        for old, new in ((b',"predicate":{}', b""), (b"{}", b"null"))
    ),
    attack(
        "A27",
        "digest-twice",
        "strict JSON",
        payload_with(b'"image":{', b'"image":{"docker-manifest-digest":"x",'),
        GOOD_CLASSIC,
        **MALFORMED,
    ),
    attack(
        "A27",
        "digest-in-another-case",
        "unknown member",
        payload_with(b"docker-manifest-digest", b"Docker-Manifest-Digest"),
        GOOD_CLASSIC,
        **MALFORMED,
    ),
    attack(
        "A27",
        "payload-that-was-not-signed",
        "about other content",
        lambda: trial(replace(candidate(made(Shape.SIG)), payload=simple_signing_payload(IMAGE.digest) + b" ")),
        GOOD_CLASSIC,
        reason=Reason.LOG_NOT_PROVEN,
    ),
    attack(
        "A27",
        "statement-that-was-not-signed",
        "about other content",
        edited(setting("dsseEnvelope", "payload", value=base64_of(begun().payload + b" "))),
        GOOD,
        reason=Reason.LOG_NOT_PROVEN,
    ),
    attack(
        "A27",
        "payload-type-that-was-not-signed",
        "not by the certificate's key",
        edited(setting("dsseEnvelope", "payloadType", value="text/plain")),
        GOOD,
        reason=Reason.BAD_SIGNATURE,
    ),
]

WANTED = {"annotations": (("env", "prod"),)}
ANNOTATIONS = [
    attack(
        "A39", f"annotation-{what}", "not signed with the required value", bad, good, reason=Reason.ANNOTATION_MISSING
    )
    for what, bad, good in [
        ("missing", signed(begun(), **WANTED), signed(signature_of(IMAGE, annotations={"env": "prod"}), **WANTED)),
        (
            "of-another-value",
            signed(signature_of(IMAGE, annotations={"env": "production"}), **WANTED),
            signed(signature_of(IMAGE, annotations={"env": "prod", "a": "b"}), **WANTED),
        ),
        (
            "on-the-layer-and-not-signed",
            lambda: trial(noted(made(Shape.SIG), env="prod"), **WANTED),
            signed(signature_of(IMAGE, Shape.SIG, {"env": "prod"}), **WANTED),
        ),
    ]
]

BUNDLES = [
    attack("A13", "compressed", "strict JSON", as_bytes(gzip.compress), GOOD, **MALFORMED),
    attack(
        "A14",
        "endless-entries",
        "more than 32 entries",
        edited(lambda one: setting(*ENTRY[:2], value=one["verificationMaterial"]["tlogEntries"] * 33)(one)),
        GOOD,
        **OVER_LIMIT,
    ),
    attack(
        "A14",
        "endless-timestamps",
        "more than 32 entries",
        edited(
            lambda one: setting(
                *STAMPS,
                "rfc3161Timestamps",
                value=one["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"] * 33,
            )(one)
        ),
        edited(
            lambda one: setting(
                *STAMPS,
                "rfc3161Timestamps",
                value=one["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"] * PROOFS_MAX,
            )(one)
        ),
        **OVER_LIMIT,
    ),
    attack(
        "A14",
        "more-timestamps-than-clients-make",
        "more than 4 log entries or timestamps",
        edited(
            lambda one: setting(
                *STAMPS,
                "rfc3161Timestamps",
                value=one["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"] * (PROOFS_MAX + 1),
            )(one)
        ),
        GOOD,
        **OVER_LIMIT,
    ),
    attack(
        "A14",
        "endless-hashes",
        "more than 63 entries",
        edited(setting(*ENTRY, "inclusionProof", "hashes", value=["AAAA"] * 64)),
        GOOD,
        **OVER_LIMIT,
    ),
    attack(
        "A39",
        "version-4",
        "mediaType",
        edited(setting("mediaType", value="application/vnd.dev.sigstore.bundle.v0.4+json")),
        edited(setting("mediaType", value="application/vnd.dev.sigstore.bundle+json;version=0.3")),
        **MALFORMED,
    ),
    attack(
        "A39",
        "version-1-in-a-registry",
        "mediaType",
        edited(setting("mediaType", value="application/vnd.dev.sigstore.bundle+json;version=0.1")),
        GOOD,
        **MALFORMED,
    ),
    attack(
        "A39",
        "promise-without-proof",
        "no inclusion proof",
        edited(dropping(*ENTRY, "inclusionProof")),
        GOOD,
        **MALFORMED,
    ),
    attack(
        "A39",
        "proof-without-checkpoint",
        "no inclusion proof",
        edited(dropping(*ENTRY, "inclusionProof", "checkpoint")),
        GOOD,
        **MALFORMED,
    ),
    attack(
        "A39",
        "unknown-member-of-an-entry",
        "unknown member",
        edited(setting(*ENTRY, "more", value=1)),
        GOOD,
        **MALFORMED,
    ),
    attack("A39", "null-entry", "is not an object", edited(setting(*ENTRY, value=None)), GOOD, **MALFORMED),
    attack(
        "A39",
        "two-signatures",
        "2 signatures",
        edited(lambda one: one["dsseEnvelope"].update(signatures=one["dsseEnvelope"]["signatures"] * 2)),
        GOOD,
        **MALFORMED,
    ),
    attack(
        "A39",
        "two-contents",
        "not one",
        edited(setting("messageSignature", value={"signature": "AAAA"})),
        GOOD,
        **MALFORMED,
    ),
    attack(
        "A39",
        "certificate-and-key",
        "not one",
        edited(setting("verificationMaterial", "publicKey", value={})),
        GOOD,
        **MALFORMED,
    ),
    attack(
        "A39",
        "key-in-place-of-the-certificate",
        "signed by a key",
        edited(
            lambda one: (
                dropping("verificationMaterial", "certificate")(one),
                setting("verificationMaterial", "publicKey", value={})(one),
            )
        ),
        GOOD,
        reason=Reason.UNTRUSTED_SIGNER,
    ),
    attack(
        "A36",
        "certificate-for-a-key-that-signed",
        "signed keyless",
        lambda: trial(made(), who=by_key()),
        lambda: trial(made(signer=KEY), who=by_key()),
        reason=Reason.UNTRUSTED_SIGNER,
    ),
    attack(
        "A27",
        "snake-case",
        "unknown member",
        edited(
            lambda one: one["verificationMaterial"].update(tlog_entries=one["verificationMaterial"].pop("tlogEntries"))
        ),
        GOOD,
        **MALFORMED,
    ),
    attack(
        "A27",
        "entry-twice",
        "strict JSON",
        as_bytes(lambda one: one.replace(b'"tlogEntries":', b'"tlogEntries":[],"tlogEntries":')),
        GOOD,
        **MALFORMED,
    ),
    attack(
        "A27",
        "second-document",
        "strict JSON",
        as_bytes(lambda one: one + b"{}"),
        as_bytes(lambda one: one + b"\n"),
        **MALFORMED,
    ),
    attack(
        "A27",
        "base64-unpadded",
        "base64",
        edited(
            lambda one: setting(
                *ENTRY,
                "logId",
                "keyId",
                value=one["verificationMaterial"]["tlogEntries"][0]["logId"]["keyId"].rstrip("="),
            )(one)
        ),
        GOOD,
        **MALFORMED,
    ),
    attack(
        "A40",
        "number-of-nothing",
        "is not a number",
        edited(setting(*ENTRY, "logIndex", value="-1")),
        GOOD,
        **MALFORMED,
    ),
    attack(
        "A40",
        "number-beyond-64-bits",
        "is not a number",
        edited(setting(*ENTRY, "logIndex", value=str(2**63))),
        GOOD,
        **MALFORMED,
    ),
    attack(
        "A40",
        "time-behind-the-year-9999",
        "is none",
        edited(setting(*ENTRY, "integratedTime", value=str(2**62))),
        GOOD,
        reason=Reason.LOG_NOT_PROVEN,
    ),
]

CLASSICS = [
    attack(
        "A39", "unknown-member-beside-it", "unknown member", annotated(bundle='{"more":1}'), GOOD_CLASSIC, **MALFORMED
    ),
    attack(
        "A39",
        "no-signature",
        "is not a text",
        annotated(**{"dev.cosignproject.cosign/signature": None}),
        GOOD_CLASSIC,
        **MALFORMED,
    ),
    attack(
        "A39",
        "empty-signature",
        "is empty",
        annotated(**{"dev.cosignproject.cosign/signature": ""}),
        GOOD_CLASSIC,
        **MALFORMED,
    ),
    attack(
        "A39",
        "no-certificate",
        "signed by a key",
        annotated(certificate=None),
        GOOD_CLASSIC,
        reason=Reason.UNTRUSTED_SIGNER,
    ),
    attack(
        "A39",
        "empty-certificate",
        "signed by a key",
        annotated(certificate=""),
        GOOD_CLASSIC,
        reason=Reason.UNTRUSTED_SIGNER,
    ),
    attack(
        "A27",
        "log-id-in-capitals",
        "hex in lower case",
        lambda: trial(_note(lambda payload: payload.update(logID=payload["logID"].upper()))),
        GOOD_CLASSIC,
        **MALFORMED,
    ),
    attack(
        "A3",
        "time-of-zero",
        "is none",
        lambda: trial(_note(lambda payload: payload.update(integratedTime=0))),
        GOOD_CLASSIC,
        reason=Reason.LOG_NOT_PROVEN,
    ),
    attack(
        "A40",
        "true-as-time",
        "is not a number",
        lambda: trial(_note(lambda payload: payload.update(integratedTime=True))),
        GOOD_CLASSIC,
        **MALFORMED,
    ),
    attack("A40", "entry-lone-surrogate", "strict JSON", annotated(bundle='{"\ud800":1}'), GOOD_CLASSIC, **MALFORMED),
]


def _note(change):
    """Change the payload of the log entry beside a classic signature."""
    draft = made(Shape.SIG)
    note = draft.entries[0].to_annotation()
    change(note["Payload"])
    return noted(draft, bundle=json.dumps(note))


@pytest.mark.parametrize("one", [*KINDS, *SUBJECTS, *ANNOTATIONS, *BUNDLES, *CLASSICS], ids=str)
def test_attack(one):
    one.check()


async def judged(*drafts, attestation=None):
    """Return the evidence and the rejections for what lies in a registry."""
    wanted = Wanted(SOMEBODY, root_of(), LOG, attestation=attestation)
    signer = CosignSigner("release", wanted, CosignDiscovery(attestations=attestation is not None))
    found = await signer.discovery(SUBJECT, source_of(*(one.artifact() for one in drafts)))
    findings = [signer.verify(SUBJECT, one, NOW) for one in found.signatures]
    evidence = [one for one in findings if isinstance(one, Evidence)]
    return evidence, [one.reason for one in (*findings, *found.rejections) if not isinstance(one, Evidence)]


def by_stranger(shape):
    return SIGSTORE.sign(begun(shape), Request(key=STRANGER, at=AT, names=("evil@evil.test",)), AT)


@pytest.mark.parametrize("shape", [Shape.SIG, Shape.SIG_REFERRER, Shape.BUNDLE], ids=lambda shape: shape.name)
async def test_decoys_hide_nothing(shape):
    """A28: whatever lies beside a good signature, in whichever place, it counts."""
    decoys = [by_stranger(one) for one in (Shape.SIG, Shape.SIG_REFERRER, Shape.BUNDLE) if one != shape]
    evidence, reasons = await judged(*decoys, made(shape))
    assert len(evidence) == 1
    assert set(reasons) == {Reason.UNTRUSTED_SIGNER}
    evidence, reasons = await judged(*decoys, by_stranger(shape))
    assert (evidence, set(reasons)) == ([], {Reason.UNTRUSTED_SIGNER})


async def test_attestations_and_signatures_are_looked_for_apart():
    """A4, A20: each search finds its own, and a bundle of the other kind does not count."""
    everything = [made(shape) for shape in (Shape.SIG, Shape.ATT, Shape.SIG_REFERRER, Shape.ATT_REFERRER, Shape.BUNDLE)]
    everything.append(SIGSTORE.sign(attestation_of(IMAGE, PROVENANCE, {}), REQUEST, AT))
    evidence, reasons = await judged(*everything)
    assert len(evidence) == 3
    assert set(reasons) == {Reason.NOT_A_SIGNATURE}
    evidence, reasons = await judged(*everything, attestation=OfType(PROVENANCE))
    assert len(evidence) == 3
    assert set(reasons) == {Reason.CONDITION_NOT_MET, Reason.NOT_A_SIGNATURE}
