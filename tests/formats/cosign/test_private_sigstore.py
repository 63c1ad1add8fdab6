"""The tests' own Sigstore makes what the specifications say; every verdict about its attacks rests on that."""

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256
from support.sigstore.authority import ISSUER, SCT_LIST, Request, other_name
from support.sigstore.draft import SIGN, Shape, attestation_of, file_of, signature_of
from support.sigstore.encoding import base64_of, canonical, public_key_of, spki_of
from support.sigstore.logs import path, tree_hash
from support.sigstore.private import Sigstore

from proxy.crypto.window import Window
from proxy.demo.signing import SigningKey
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_MANIFEST, Descriptor, Manifest

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = SigningKey.generate()
SIGSTORE = Sigstore.create()
BODY = b"the manifest of the image"
IMAGE = Descriptor(OCI_MANIFEST, Digest.of(BODY), len(BODY))
REQUEST = Request(key=KEY, at=AT)
# The tests of certificate-transparency-go and of trillian: eight leaves, and the root hash of their tree.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOT = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def hashed(content):
    return hashlib.sha256(content).digest()


def issued(**changes):
    return x509.load_der_x509_certificate(SIGSTORE.certificate(replace(REQUEST, **changes)))


def begun(shape):
    return attestation_of(IMAGE, "https://a.test", {}, shape) if shape.is_dsse else signature_of(IMAGE, shape)


def decoded(text):
    return base64.b64decode(text, validate=True)


def test_trees_and_paths_are_those_of_rfc_6962():
    leaves = [hashed(b"\0" + bytes.fromhex(leaf)) for leaf in LEAVES]
    assert tree_hash(leaves).hex() == ROOT
    assert path(0, leaves[:1]) == []
    fifth, left = leaves[4], tree_hash(leaves[:4])
    assert path(4, leaves[:5]) == [left]
    assert hashed(b"\1" + left + fifth) == tree_hash(leaves[:5])


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048"])
def test_a_certificate_is_issued_by_an_intermediate_below_the_root(kind):
    authority = replace(SIGSTORE, authority=SIGSTORE.authority.create(kind)).authority
    leaf = authority.certificate(REQUEST)
    leaf.verify_directly_issued_by(authority.intermediate)
    authority.intermediate.verify_directly_issued_by(authority.root)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(minutes=10)


def test_its_sct_covers_the_certificate_without_it():
    leaf = issued()
    (sct,) = leaf.extensions.get_extension_for_oid(SCT_LIST).value
    at = int(AT.timestamp() * 1000).to_bytes(8)
    tbs = leaf.tbs_precertificate_bytes
    issuer = hashed(spki_of(SIGSTORE.authority.key))
    signed = b"\0\0" + at + b"\0\1" + issuer + len(tbs).to_bytes(3) + tbs + b"\0\0"
    public_key_of(SIGSTORE.certificate_log.key).verify(sct.signature, signed, ECDSA(SHA256()))
    assert (sct.log_id, sct.timestamp) == (SIGSTORE.certificate_log.log_id, AT.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a@private.test", x509.RFC822Name),
        ("https://a", x509.UniformResourceIdentifier),
        (other_name("a!b"), x509.OtherName),
    ],
)
def test_its_name_is_address_uri_or_other(name, kind):
    (found,) = issued(names=(name,)).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert isinstance(found, kind)


@pytest.mark.parametrize(
    ("changes", "number", "value"),
    [
        ({}, 1, ISSUER.encode()),
        ({}, 8, b"\x0c" + bytes([len(ISSUER)]) + ISSUER.encode()),
        ({"issuer_v1": "b"}, 1, b"b"),
        ({"issuer": None}, 8, None),
        ({"claims": {2: "push"}}, 2, b"push"),
        ({"claims": {14: "main"}}, 14, b"\x0c\x04main"),
        ({"claims": {14: b"raw"}}, 14, b"raw"),
    ],
)
def test_its_claims_are_written_as_fulcio_does(changes, number, value):
    claims = {one.oid.dotted_string: one.value for one in issued(**changes).extensions}
    found = claims.get(f"1.3.6.1.4.1.57264.1.{number}")
    assert (found and found.value) == value


@pytest.mark.parametrize("log", ["rekor1", "rekor2"])
def test_an_entry_is_proven_by_a_checkpoint_that_its_log_signed(log):
    draft = SIGSTORE.sign(signature_of(IMAGE), REQUEST, AT, logs=(log,))
    rekor, (entry,) = getattr(SIGSTORE, log), draft.entries
    assert rekor.leaves[entry.proof.index] == hashed(b"\0" + entry.body)
    text, _, line = entry.proof.checkpoint.partition("\n\n")
    assert text.split("\n")[1:3] == [str(entry.proof.size), base64_of(tree_hash(rekor.leaves[: entry.proof.size]))]
    signature = decoded(line.split()[2])
    assert (line.split()[1], signature[:4]) == (rekor.name, rekor.log_id[:4])
    assert rekor.key.public.verify(signature[4:], f"{text}\n".encode())


def test_rekor_1_promises_body_time_and_place():
    (entry,) = SIGSTORE.sign(signature_of(IMAGE, Shape.SIG), KEY, AT).entries
    promised = {"body": base64_of(entry.body), "integratedTime": int(AT.timestamp())}
    promised |= {"logID": hashed(spki_of(SIGSTORE.rekor1.key)).hex(), "logIndex": entry.index}
    assert SIGSTORE.rekor1.key.public.verify(entry.promise, canonical(promised))
    assert entry.index != entry.proof.index


@pytest.mark.parametrize(
    ("shape", "log", "kind", "expected"),
    [
        (Shape.SIG, "rekor1", None, ("hashedrekord", "0.0.1")),
        (Shape.ATT, "rekor1", None, ("dsse", "0.0.1")),
        (Shape.BUNDLE, "rekor1", "intoto", ("intoto", "0.0.2")),
        (Shape.BUNDLE, "rekor2", None, ("hashedrekord", "0.0.2")),
    ],
)
def test_the_log_keeps_the_kind_of_entry_that_cosign_asks_for(shape, log, kind, expected):
    draft = SIGSTORE.logged(SIGSTORE.signed(begun(shape), REQUEST), AT, log, kind)
    (entry,) = draft.entries
    assert (entry.kind, entry.version) == expected
    assert json.loads(entry.body)["kind"] == entry.kind


@pytest.mark.parametrize("kind", ["P-256", "P-384", "P-521", "RSA-2048", "Ed25519"])
@pytest.mark.parametrize("shape", [Shape.SIG, Shape.BUNDLE])
def test_the_signature_is_that_of_the_key(kind, shape):
    key = SigningKey.generate(kind)
    draft = SIGSTORE.signed(signature_of(IMAGE, shape), key)
    assert key.public.verify(draft.signature, draft.to_be_signed)


@pytest.mark.parametrize(
    ("shape", "suffix"),
    [
        (Shape.SIG, ".sig"),
        (Shape.ATT, ".att"),
        (Shape.SIG_REFERRER, None),
        (Shape.ATT_REFERRER, None),
        (Shape.BUNDLE, None),
    ],
)
def test_each_shape_lies_where_cosign_looks_for_it(shape, suffix):
    artifact = SIGSTORE.sign(begun(shape), REQUEST, AT).artifact()
    manifest = Manifest.parse(artifact.digest, artifact.media_type, artifact.manifest_body)
    assert artifact.tag == (f"sha256-{IMAGE.digest.hex}{suffix}" if suffix else None)
    assert (manifest.subject is None) == (suffix is not None)
    assert all(one.digest in artifact.blobs for one in manifest.layers)


def test_what_was_replaced_is_what_is_written():
    first, second = (SIGSTORE.sign(signature_of(IMAGE, Shape.SIG), REQUEST, AT) for _ in range(2))
    descriptor, content = replace(first, entries=second.entries, timestamps=(b"stamp",)).layer()
    notes = descriptor["annotations"]
    assert content == first.payload
    assert decoded(notes["dev.cosignproject.cosign/signature"]) == first.signature
    assert json.loads(notes["dev.sigstore.cosign/bundle"])["Payload"]["logIndex"] == second.entries[0].index
    assert json.loads(notes["dev.sigstore.cosign/rfc3161timestamp"]) == {"SignedRFC3161Timestamp": base64_of(b"stamp")}


@pytest.mark.parametrize(
    ("version", "material"), [("0.1", "x509CertificateChain"), ("0.2", "x509CertificateChain"), ("0.3", "certificate")]
)
def test_a_file_has_a_bundle_of_any_version(version, material):
    document = SIGSTORE.sign(file_of(b"content"), REQUEST, AT, logs=("rekor1", "rekor2")).bundle(version)
    assert material in document["verificationMaterial"]
    assert len(document["verificationMaterial"]["tlogEntries"]) == 2
    assert decoded(document["messageSignature"]["messageDigest"]["digest"]) == hashed(b"content")


def test_a_bundle_says_what_it_holds_in_its_manifest():
    manifest = json.loads(SIGSTORE.signed(signature_of(IMAGE), KEY).artifact().manifest_body)
    assert manifest["annotations"]["dev.sigstore.bundle.predicateType"] == SIGN


@pytest.mark.parametrize("version", ["0.1", "0.2"])
def test_the_trust_root_names_every_service_and_leaves_out_what_is_empty(version):
    window = Window(AT, None)
    root = SIGSTORE.trusted_root(version, ctlogs=(), tlogs=[replace(SIGSTORE.rekor1, window=window)])
    assert root.keys() == {"mediaType", "tlogs", "certificateAuthorities"}
    assert root["tlogs"][0]["publicKey"]["validFor"] == {"start": "2026-11-20T12:00:00Z"}
    assert ("checkpointKeyId" in root["tlogs"][0]) == (version == "0.2")
