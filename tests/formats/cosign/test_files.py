"""Bundles beside files: what is signed is the file, or a statement about it."""

import hashlib
import json
from dataclasses import replace

import pytest
from support.sigstore.draft import attestation_of, file_of
from support.sigstore.encoding import base64_of
from support.sigstore.trial import AT, IMAGE, LOG, NOW, PROVENANCE, REQUEST, SIGSTORE, SOMEBODY, begun, made, root_of

from proxy.demo.signing import SigningKey
from proxy.formats.cosign.files import File, check_file
from proxy.formats.cosign.proof import Proven
from proxy.formats.cosign.verify import Wanted
from proxy.oci.digest import Digest
from proxy.verdict import Reason

CONTENT = b"a file"
FILE = File(Digest.of(CONTENT), CONTENT)
STATED = File(IMAGE.digest)
WANTED = Wanted(SOMEBODY, root_of(), LOG)


def check(document, file=FILE):
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return check_file(WANTED, content, file, NOW, Proven())


def signed(draft=None):
    return SIGSTORE.sign(draft or file_of(CONTENT), REQUEST, AT)


def without_digest():
    document = signed().bundle()
    del document["messageSignature"]["messageDigest"]
    return document


def with_digest(**changes):
    document = signed().bundle()
    document["messageSignature"]["messageDigest"] |= changes
    return document


def of_version(version, change=lambda entry: None):
    """A bundle of an older version, its entry changed."""
    document = signed().bundle(version)
    change(document["verificationMaterial"]["tlogEntries"][0])
    return document


def with_nulls(version, change=lambda document: None):
    """A bundle as clients wrote that say what is not there: with null."""
    document = signed().bundle(version)
    document["dsseEnvelope"] = None
    document["verificationMaterial"] |= {"publicKey": None, "timestampVerificationData": None}
    change(document)
    return document


def with_null_in_a_list(document):
    document["verificationMaterial"]["tlogEntries"].append(None)


def without_promise_but_null(document):
    document["verificationMaterial"]["tlogEntries"][0]["inclusionPromise"] = None


def without_proof_but_null(document):
    document["verificationMaterial"]["tlogEntries"][0]["inclusionProof"] = None


def proof_only():
    """Rekor 1, of which the bundle keeps no promise; its number counts all trees of the log, that of the proof one."""
    draft = signed()
    (entry,) = draft.entries
    assert entry.index != entry.proof.index
    return replace(draft, entries=(replace(entry, promise=None),))


def without_proof(entry):
    del entry["inclusionProof"]


def without_checkpoint(entry):
    del entry["inclusionProof"]["checkpoint"]


def without_promise(entry):
    del entry["inclusionPromise"]


@pytest.mark.parametrize(
    ("document", "file"),
    [
        (lambda: signed().bundle(), FILE),
        (lambda: signed().bundle(), replace(FILE, content=None)),
        (without_digest, FILE),
        (lambda: made().bundle(), STATED),
        (lambda: signed(attestation_of(IMAGE, PROVENANCE, {})).bundle(), STATED),
        (lambda: of_version("0.1"), FILE),
        (lambda: of_version("0.1", without_proof), FILE),
        (lambda: of_version("0.1", without_checkpoint), FILE),
        (lambda: of_version("0.2"), FILE),
        (lambda: with_nulls("0.1"), FILE),
        (lambda: with_nulls("0.1", without_proof_but_null), FILE),
        (lambda: SIGSTORE.stamped(proof_only(), AT).bundle(), FILE),
        (lambda: SIGSTORE.stamped(proof_only(), AT).bundle("0.2"), FILE),
    ],
)
def test_accepted(document, file):
    assert check(document(), file) is None


@pytest.mark.parametrize(
    ("document", "file", "reason"),
    [
        (lambda: signed(file_of(b"another")).bundle(), FILE, Reason.OTHER_IMAGE),
        (lambda: with_digest(digest=base64_of(b"x")), FILE, Reason.OTHER_IMAGE),
        (lambda: with_digest(algorithm="SHA2_512"), FILE, Reason.OTHER_IMAGE),
        (lambda: with_digest(algorithm="SHA3_256"), FILE, Reason.MALFORMED),
        (lambda: with_digest(algorithm="sha256"), FILE, Reason.MALFORMED),
        (lambda: with_digest(algorithm=11), FILE, Reason.MALFORMED),
        (lambda: signed(begun()).bundle(), FILE, Reason.OTHER_IMAGE),
        (lambda: signed(replace(begun(), payload_type="text/plain")).bundle(), STATED, Reason.NOT_A_SIGNATURE),
        (lambda: signed(replace(begun(), payload=b"{}")).bundle(), STATED, Reason.MALFORMED),
        (lambda: SIGSTORE.signed(file_of(CONTENT), REQUEST).bundle(), FILE, Reason.LOG_NOT_PROVEN),
        (lambda: b"{}", FILE, Reason.MALFORMED),
        (lambda: b"[" * 100, FILE, Reason.MALFORMED),
        (lambda: b'{"a":[' + b"0," * 30_000 + b"0]}", FILE, Reason.OVER_LIMIT),
        (lambda: of_version("0.1", without_promise), FILE, Reason.MALFORMED),
        (lambda: of_version("0.2", without_proof), FILE, Reason.MALFORMED),
        (lambda: of_version("0.2", without_checkpoint), FILE, Reason.MALFORMED),
        (lambda: of_version("0.2", without_promise), FILE, Reason.TIME_NOT_PROVEN),
        (lambda: with_nulls("0.1", with_null_in_a_list), FILE, Reason.MALFORMED),
        (lambda: with_nulls("0.1", lambda one: one.update(mediaType=None)), FILE, Reason.MALFORMED),
        (lambda: with_nulls("0.1", lambda one: one.update(messageSignature=None)), FILE, Reason.MALFORMED),
        (lambda: with_nulls("0.1", without_promise_but_null), FILE, Reason.MALFORMED),
        (lambda: with_nulls("0.1", lambda one: one.update(unknown=1)), FILE, Reason.MALFORMED),
        (lambda: with_nulls("0.1", lambda one: one.update(unknown=None)), FILE, Reason.MALFORMED),
        (lambda: with_nulls("0.1", lambda one: one.update(publicKey=None)), FILE, Reason.MALFORMED),
        (lambda: with_nulls("0.1", lambda one: one.update(verificationMaterial=None)), FILE, Reason.MALFORMED),
        (lambda: with_nulls("0.2"), FILE, Reason.MALFORMED),
        (lambda: with_nulls("0.3"), FILE, Reason.MALFORMED),
        (
            lambda: signed().bundle() | {"mediaType": "application/vnd.dev.sigstore.bundle.v0.4+json"},
            FILE,
            Reason.MALFORMED,
        ),
    ],
)
def test_refused(document, file, reason):
    assert check(document(), file).reason is reason


def digest_by(name, content=CONTENT):
    return Digest(name, hashlib.new(name, content).hexdigest())


def naming_it_by(algorithm, kind, content=CONTENT):
    """Sign the file, and name it by a hash in the bundle and in the log."""
    key = SigningKey.generate(kind)
    draft = SIGSTORE.sign(replace(file_of(CONTENT), hashing=algorithm), replace(REQUEST, key=key), AT)
    document = draft.bundle()
    stated = {
        "algorithm": algorithm.upper().replace("SHA", "SHA2_"),
        "digest": base64_of(digest_of(algorithm, content)),
    }
    document["messageSignature"]["messageDigest"] = stated
    return document


def digest_of(algorithm, content):
    return hashlib.new(algorithm, content).digest()


KINDS = [("sha256", "P-256"), ("sha384", "P-384"), ("sha512", "P-521"), ("sha256", "RSA-2048")]


@pytest.mark.parametrize(("algorithm", "kind"), KINDS)
def test_a_file_may_be_named_by_the_hash_of_the_key(algorithm, kind):
    good, bad = naming_it_by(algorithm, kind), naming_it_by(algorithm, kind, b"other")
    by_digest = File(digest_by(algorithm))
    for file in (FILE, by_digest, File(digest_by("md5"), None, (digest_by(algorithm),))):
        assert check(good, file) is None
        assert check(bad, file).reason is Reason.OTHER_IMAGE
    other = File(digest_by("sha512" if algorithm == "sha256" else "sha256"))
    failure = check(good, other)
    assert failure.reason is Reason.UNSUPPORTED
    assert f"give the file, or {algorithm}:" in failure.detail


@pytest.mark.parametrize(("algorithm", "kind"), [("sha256", "P-384"), ("sha512", "P-256"), ("sha384", "RSA-2048")])
def test_of_another_hash_than_the_keys_a_digest_proves_nothing(algorithm, kind):
    document = naming_it_by(algorithm, kind)
    assert check(document) is None
    assert check(document, File(digest_by(algorithm))).reason is Reason.BAD_SIGNATURE


def subjects(*digests):
    """Attest what has these subjects, each given by its digests."""
    draft = attestation_of(IMAGE, PROVENANCE, {})
    statement = json.loads(draft.payload) | {
        "subject": [{"name": "pkg:npm/app@1.0.0", "digest": one} for one in digests]
    }
    return signed(replace(draft, payload=json.dumps(statement).encode())).bundle()


SHA256, SHA384, SHA512 = ({name: digest_by(name).hex} for name in ("sha256", "sha384", "sha512"))
WRONG256, WRONG512 = ({name: digest_by(name, b"x").hex} for name in ("sha256", "sha512"))


@pytest.mark.parametrize(
    ("document", "file", "reason"),
    [
        # npm's provenance names a package by its SHA-512 only.
        (subjects(SHA512), FILE, None),
        (subjects(SHA384), FILE, None),
        (subjects(SHA512), File(digest_by("sha512")), None),
        (subjects(SHA512), File(digest_by("sha256"), None, (digest_by("sha512"),)), None),
        (subjects(SHA256 | SHA512), File(digest_by("sha256")), None),
        (subjects(WRONG512, SHA512), FILE, None),
        (subjects(SHA512 | {"sha1": "00", "gitCommit": "00"}), FILE, None),
        (subjects(WRONG512), FILE, Reason.OTHER_IMAGE),
        (subjects(SHA256 | WRONG512), FILE, Reason.OTHER_IMAGE),
        (subjects(WRONG256 | SHA512), FILE, Reason.OTHER_IMAGE),
        (subjects({"sha512": digest_by("sha512").hex.upper()}), FILE, Reason.OTHER_IMAGE),
        (subjects({"SHA512": digest_by("sha512").hex}), FILE, Reason.OTHER_IMAGE),
        (subjects({"sha256": digest_by("sha512").hex}), FILE, Reason.OTHER_IMAGE),
        (subjects({"md5": digest_by("md5").hex}), FILE, Reason.OTHER_IMAGE),
        (subjects({}), FILE, Reason.OTHER_IMAGE),
        (subjects(SHA512), File(digest_by("sha256")), Reason.UNSUPPORTED),
        (subjects(WRONG256, SHA512), File(digest_by("sha256")), Reason.OTHER_IMAGE),
    ],
)
def test_subjects_by_other_hashes(document, file, reason):
    failure = check(document, file)
    assert (failure and failure.reason) is reason


def test_of_a_digest_alone():
    """Whether the bundle repeats it or not."""
    assert check(signed().bundle(), File(Digest.of(b"x"))).reason is Reason.OTHER_IMAGE
    assert check(without_digest(), File(Digest.of(b"x"))).reason is Reason.LOG_NOT_PROVEN
