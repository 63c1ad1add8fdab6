"""Bundles beside files: what is signed is the file, or a statement about it."""

import json
from dataclasses import replace

import pytest
from support.sigstore.draft import attestation_of, file_of
from support.sigstore.encoding import base64_of
from support.sigstore.trial import AT, IMAGE, LOG, NOW, PROVENANCE, REQUEST, SIGSTORE, SOMEBODY, begun, made, root_of

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
    ],
)
def test_accepted(document, file):
    assert check(document(), file) is None


@pytest.mark.parametrize(
    ("document", "file", "reason"),
    [
        (lambda: signed(file_of(b"another")).bundle(), FILE, Reason.OTHER_IMAGE),
        (lambda: with_digest(digest=base64_of(b"x")), FILE, Reason.OTHER_IMAGE),
        (lambda: with_digest(algorithm="SHA2_512"), FILE, Reason.MALFORMED),
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
        (lambda: of_version("0.2", without_promise), FILE, Reason.LOG_NOT_PROVEN),
        (
            lambda: signed().bundle() | {"mediaType": "application/vnd.dev.sigstore.bundle.v0.4+json"},
            FILE,
            Reason.MALFORMED,
        ),
    ],
)
def test_refused(document, file, reason):
    assert check(document(), file).reason is reason


def test_of_a_digest_alone():
    """Whether the bundle repeats it or not."""
    assert check(signed().bundle(), File(Digest.of(b"x"))).reason is Reason.OTHER_IMAGE
    assert check(without_digest(), File(Digest.of(b"x"))).reason is Reason.LOG_NOT_PROVEN
