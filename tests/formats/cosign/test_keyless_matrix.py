"""Every shape, kind of key, log and timestamp, by key and by certificate: accepted where what is demanded is there."""

import hashlib
import json
from dataclasses import replace
from functools import cache
from itertools import product

import pytest
from support.sigstore.authority import IDENTITY, ISSUER, Request
from support.sigstore.draft import Shape, file_of
from support.sigstore.encoding import hash_of
from support.sigstore.logs import Rekor
from support.sigstore.trial import (
    AT,
    BOTH,
    EITHER,
    LOG,
    NOW,
    PROVENANCE,
    SIGSTORE,
    SOMEBODY,
    STAMP,
    SUBJECT,
    begun,
    by_key,
    root_of,
    trial,
)
from support.snapshot import OfType

from proxy.demo.signing import SigningKey
from proxy.formats.cosign.files import File, check_file
from proxy.formats.cosign.proof import NO_DEMANDS, Proven
from proxy.formats.cosign.verify import Wanted
from proxy.oci.digest import Digest
from proxy.verdict import Evidence, Reason, Rejection

KINDS = ["P-256", "P-384", "P-521", "RSA-2048", "RSA-3072", "RSA-4096", "Ed25519"]
SHAPES = [Shape.SIG, Shape.SIG_REFERRER, Shape.ATT, Shape.ATT_REFERRER, Shape.BUNDLE]
CLASSIC = [Shape.SIG, Shape.SIG_REFERRER, Shape.ATT, Shape.ATT_REFERRER]
VERSIONS = ["0.1", "0.2", "0.3"]
ECDSA_LOG = Rekor(key=SigningKey.generate(), version=2, name="rekor2-ecdsa.private.test")
LOGS = {
    "none": (),
    "rekor1": (SIGSTORE.rekor1,),
    "rekor2": (SIGSTORE.rekor2,),
    "rekor2-ecdsa": (ECDSA_LOG,),
    "both": (SIGSTORE.rekor1, SIGSTORE.rekor2),
}
ROOT = root_of(tlogs=[SIGSTORE.rekor1, SIGSTORE.rekor2, ECDSA_LOG])
DEMANDS = {"log": LOG, "timestamp": STAMP, "log-and-timestamp": BOTH, "either": EITHER}
CONTENT = b"a file"
FILE = Digest.of(CONTENT)


@cache
def key_of(kind):
    return SigningKey.generate(kind)


@cache
def request_of(kind):
    return Request(key=key_of(kind), at=AT)


def holds(shape, log):
    """Say whether there is a place for it: annotations have one for a single entry, and only with a promise."""
    return log in {"none", "rekor1"} or shape not in {*CLASSIC, "0.1"}


def signed(draft, kind, keyless, log, stamped):
    draft = SIGSTORE.signed(draft, request_of(kind) if keyless else key_of(kind))
    for rekor in LOGS[log]:
        draft = replace(draft, entries=(*draft.entries, rekor.add(draft.entry_body(rekor.version), AT)))
    return SIGSTORE.stamped(draft, AT) if stamped else draft


def expected(demands, *, keyless, log, stamped):
    """Return why it must be refused, or None."""
    if demands.log and log == "none":
        return Reason.LOG_NOT_PROVEN
    has_time = stamped or log in {"rekor1", "both"}
    if (demands.timestamp and not stamped) or (keyless and not has_time):
        return Reason.TIME_NOT_PROVEN
    return None


def check_evidence(found, draft, *, keyless, demands):
    """Compare with what was really done; of what is not demanded a signer by key takes no notice."""
    logs = draft.entries if keyless or demands.log else ()
    timeless = demands.log and not any(one.promise for one in logs)
    stamps = draft.timestamps if keyless or demands.timestamp or timeless else ()
    sources = [f"log {SIGSTORE.rekor1.name}" for one in logs if one.promise] + ["timestamp authority" for _ in stamps]
    assert (found.subject, found.issuer) == ((IDENTITY, ISSUER) if keyless else (None, None))
    assert (found.signed_at, found.time_source) == ((AT, sources[0]) if sources else (None, None))
    assert found.log_index == (logs[0].index if logs else None)


# What the kind of a key changes, hash and log entry, has nothing to do with demands or with how many logs there are;
# so the kinds are tried with one log of each version, and everything else with P-256.
PRODUCT = [
    *product(SHAPES, ["P-256"], LOGS, [False, True], [False, True]),
    *product(SHAPES, KINDS[1:], ["rekor1", "rekor2"], [True], [False, True]),
]


@pytest.mark.parametrize(
    ("shape", "kind", "log", "stamped", "keyless"),
    [one for one in PRODUCT if holds(one[0], one[2])],
    ids=lambda one: one.name if isinstance(one, Shape) else str(one),
)
def test_image(shape, kind, log, stamped, keyless):
    draft = signed(begun(shape), kind, keyless, log, stamped)
    who = SOMEBODY if keyless else by_key(key_of(kind))
    attestation = OfType(PROVENANCE) if shape in {Shape.ATT, Shape.ATT_REFERRER} else None
    for demands in DEMANDS.values():
        reason = expected(demands, keyless=keyless, log=log, stamped=stamped)
        finding = trial(draft, who=who, root=ROOT, demands=demands, attestation=attestation).finding()
        assert (finding.reason if isinstance(finding, Rejection) else None) == reason
        if isinstance(finding, Evidence):
            check_evidence(finding, draft, keyless=keyless, demands=demands)


@pytest.mark.parametrize("keyless", [False, True], ids=["key", "keyless"])
@pytest.mark.parametrize("kind", ["dsse", "intoto"])
@pytest.mark.parametrize("shape", [Shape.ATT, Shape.BUNDLE], ids=["att", "bundle"])
def test_entries_of_envelopes(shape, kind, keyless):
    """Rekor 1 has two kinds of entries for them."""
    draft = SIGSTORE.signed(begun(shape), request_of("P-256") if keyless else key_of("P-256"))
    draft = SIGSTORE.logged(draft, AT, "rekor1", kind)
    attestation = OfType(PROVENANCE) if shape is Shape.ATT else None
    finding = trial(draft, who=SOMEBODY if keyless else by_key(key_of("P-256")), attestation=attestation).finding()
    check_evidence(finding, draft, keyless=keyless, demands=LOG)


@pytest.mark.parametrize(
    ("version", "kind", "log", "stamped", "keyless"),
    [
        one
        for one in [
            *product(VERSIONS, ["P-256"], LOGS, [False, True], [False, True]),
            *product(VERSIONS, KINDS[1:], ["rekor1", "rekor2"], [True], [True]),
        ]
        if holds(one[0], one[2])
    ],
)
def test_file(version, kind, log, stamped, keyless):
    draft = signed(file_of(CONTENT), kind, keyless, log, stamped)
    document = json.dumps(draft.bundle(version)).encode()
    who = SOMEBODY if keyless else by_key(key_of(kind))
    for demands in DEMANDS.values():
        wanted, proven = Wanted(who, ROOT, demands), Proven()
        reason = expected(demands, keyless=keyless, log=log, stamped=stamped)
        failure = check_file(wanted, document, File(FILE, CONTENT), NOW, proven)
        assert (failure and failure.reason) == reason
        assert failure or (proven.identity is not None) == keyless
        assert check_file(wanted, document, File(Digest.of(b"x"), b"x"), NOW, Proven()) is not None
        # Of a file's digest alone a hash other than SHA-256 proves nothing.
        by_digest = check_file(wanted, document, File(FILE), NOW, Proven())
        assert (by_digest is None) == (reason is None and hash_of(draft.key) == "sha256")


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("keyless", [False, True], ids=["key", "keyless"])
def test_refused_for_another_image_or_signer(shape, keyless):
    draft = signed(begun(shape), "P-256", keyless, "rekor1", stamped=True)
    who = SOMEBODY if keyless else by_key(key_of("P-256"))
    attestation = OfType(PROVENANCE) if draft.shape in {Shape.ATT, Shape.ATT_REFERRER} else None
    one = trial(draft, who=who, attestation=attestation)
    assert one.reason() == (None, None)
    other = replace(SUBJECT, digest=Digest("sha256", hashlib.sha256(b"x").hexdigest()))
    assert one.reason(subject=other)[0] is Reason.OTHER_IMAGE
    for stranger in (by_key(SigningKey.generate()), replace(SOMEBODY, subject=SOMEBODY.issuer)):
        assert replace(one, who=stranger).reason()[0] is Reason.UNTRUSTED_SIGNER
    assert replace(one, who=by_key(key_of("P-256")), demands=NO_DEMANDS).reason()[0] == (
        None if not keyless or shape in CLASSIC else Reason.UNTRUSTED_SIGNER
    )
