"""Mutated signatures, log entries, timestamps, certificates and trust roots: refused, never worse, never accepted.

The same properties run for as long as asked with `make fuzz`.
"""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from itertools import product

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import assume
from hypothesis import strategies as st
from support.fuzzing import all_within, explore, mutated
from support.refusals import read_or_refusal
from support.sigstore.authority import IDENTITY, ISSUER, Request, other_name
from support.sigstore.draft import SIGN, Shape, attestation_of, file_of, signature_of
from support.sigstore.encoding import canonical, sha256
from support.sigstore.private import Sigstore
from support.snapshot import OfType
from support.tsa import Tsa

from proxy.demo.signing import SigningKey
from proxy.formats.api import UntrustedSignature
from proxy.formats.cosign.dsse import STATEMENT_TYPES
from proxy.formats.cosign.files import File, check_file
from proxy.formats.cosign.identity import WantedIdentity
from proxy.formats.cosign.patterns import Exact
from proxy.formats.cosign.proof import NO_DEMANDS, Demands, Proven
from proxy.formats.cosign.shapes import Kind
from proxy.formats.cosign.signer import CosignSigner
from proxy.formats.cosign.simplesigning import CERTIFICATE, CRITICAL_TYPE, LOG_ENTRY, SIGNATURE
from proxy.formats.cosign.trust_root import NO_TRUST_ROOT, TrustRoot
from proxy.formats.cosign.verify import Wanted, WantedKey
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_MANIFEST, Descriptor
from proxy.oci.reference import Repository
from proxy.verdict import Evidence, Rejection, Subject

NOW = datetime(2026, 11, 22, tzinfo=UTC)
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
BODY = b"the manifest of the image"
IMAGE = Descriptor(OCI_MANIFEST, Digest.of(BODY), len(BODY))
OTHER = replace(IMAGE, digest=Digest.of(b"another image"))
SUBJECT = Subject(Repository.of("registry.private.test", "team/app"), IMAGE.digest)
PREDICATE = "https://predicate.test/v1"
SIGSTORE = Sigstore.create(tsa=Tsa.create())
STRANGE = Sigstore.create(tsa=Tsa.create(name="strange tsa"))
KEY, CERTIFIED, STRANGER = (SigningKey.generate() for _ in range(3))
REQUEST = Request(key=CERTIFIED, at=AT - timedelta(minutes=1), claims={14: "refs/heads/main"})
DOCUMENT = json.dumps(SIGSTORE.trusted_root()).encode()
ROOT = TrustRoot.parse(DOCUMENT)
WHO = WantedIdentity(Exact(ISSUER), Exact(IDENTITY), (("source_repository_ref", Exact("refs/heads/main")),))
SIGNERS = {
    "key": Wanted(WantedKey(KEY.public), NO_TRUST_ROOT, NO_DEMANDS),
    "key, logged and stamped": Wanted(WantedKey(KEY.public), ROOT, Demands(log=True, timestamp=True)),
    "keyless": Wanted(WHO, ROOT, Demands()),
    "keyless, stamped": Wanted(WHO, ROOT, Demands(timestamp=True)),
    "keyless, attestation": Wanted(WHO, ROOT, Demands(), attestation=OfType(PREDICATE)),
}
KINDS = {
    Shape.SIG: Kind.CLASSIC,
    Shape.ATT: Kind.ATTESTATION,
    Shape.BUNDLE: Kind.BUNDLE,
}


@dataclass(frozen=True)
class Base:
    """What mutations start from."""

    signer: str
    kind: Kind
    payload: bytes
    annotations: dict

    @classmethod
    def of(cls, signer, draft):
        layer, content = draft.layer()
        return cls(signer, KINDS[draft.shape], content, layer.get("annotations", {}))

    def verified(self):
        """Return the finding, which is all that may come out."""
        candidate = UntrustedSignature(self.kind, "here", self.payload, self.annotations)
        finding = CosignSigner("release", SIGNERS[self.signer]).verify(SUBJECT, candidate, NOW)
        assert isinstance(finding, Evidence) or (finding.detail.isascii() and "\n" not in finding.detail)
        return finding


SIGN_AS = {"signature": signature_of, "attestation": partial(attestation_of, predicate_type=PREDICATE, predicate={})}


def made(who, what="signature", shape=Shape.BUNDLE, **how):
    begun = SIGN_AS[what](how.pop("image", IMAGE), shape=shape)
    return how.pop("sigstore", SIGSTORE).sign(begun, who, how.pop("at", AT), **({"logs": ()} | how))


REKOR1, REKOR2 = ("rekor1",), ("rekor2",)
SHAPES = (Shape.SIG, Shape.BUNDLE)
GOOD = [
    *(Base.of("key", made(KEY, shape=shape)) for shape in SHAPES),
    *(Base.of("key, logged and stamped", made(KEY, shape=one, logs=REKOR1, stamped=True)) for one in SHAPES),
    *(Base.of("keyless", made(REQUEST, shape=shape, logs=REKOR1)) for shape in SHAPES),
    *(Base.of("keyless, stamped", made(REQUEST, shape=one, logs=REKOR1, stamped=True)) for one in SHAPES),
    Base.of("keyless", made(REQUEST, logs=REKOR2, stamped=True)),
    Base.of("keyless", made(REQUEST, logs=("rekor1", "rekor2"), stamped=True)),
    *(
        Base.of("keyless, attestation", made(REQUEST, "attestation", shape, logs=REKOR1))
        for shape in (Shape.ATT, Shape.BUNDLE)
    ),
]


def bad():
    """Yield what is wrong at its root, so that no small change mends it."""
    for shape in SHAPES:
        logged = partial(made, shape=shape, logs=REKOR1)
        yield Base.of("key", made(STRANGER, shape=shape))
        yield Base.of("key", made(KEY, shape=shape, image=OTHER))
        yield Base.of("key, logged and stamped", logged(KEY))
        yield Base.of("keyless", logged(replace(REQUEST, names=("b@private.test",))))
        yield Base.of("keyless", logged(replace(REQUEST, issuer="https://b.test", issuer_v1="https://b.test")))
        yield Base.of("keyless", logged(replace(REQUEST, claims={14: "refs/heads/other"})))
        yield Base.of("keyless", logged(replace(REQUEST, usages=())))
        yield Base.of("keyless", logged(REQUEST, sigstore=STRANGE))
        yield Base.of("keyless", logged(REQUEST, at=AT + timedelta(hours=1)))
        yield Base.of("keyless", logged(REQUEST, image=OTHER))
        yield Base.of("keyless, attestation", logged(REQUEST))
    yield Base.of("keyless", made(REQUEST, logs=REKOR2))
    yield Base.of("keyless", made(REQUEST, "attestation", logs=REKOR1))
    yield Base.of("keyless, attestation", made(REQUEST, "attestation", Shape.ATT))


BAD = list(bad())


def essence(base):
    """Say what a candidate rests on: what must be there, and what may be there, each of which is compared."""
    document = json.loads(base.payload)
    if base.kind == Kind.BUNDLE:
        material = document["verificationMaterial"]
        content = {name: document["dsseEnvelope"][name] for name in ("payload", "payloadType")}
        content |= {"signature": document["dsseEnvelope"]["signatures"][0]["sig"]}
        content |= {"certificate": material.get("certificate")}
        return content, [_entry(one) for one in material.get("tlogEntries", [])]
    note = base.annotations.get(CERTIFICATE)
    certificate = note and x509.load_pem_x509_certificate(note.encode()).public_bytes(Encoding.DER)
    if base.kind == Kind.CLASSIC:
        content = {"payload": base.payload, "signature": base.annotations[SIGNATURE]}
    else:
        content = {"payload": document["payload"], "signature": document["signatures"][0]["sig"]}
    entry = base.annotations.get(LOG_ENTRY)
    return content | {"certificate": certificate}, [_noted(json.loads(entry))] if entry else []


def _noted(entry):
    """The same of an annotation, in which a promise covers all but its own signature."""
    promised = entry["Payload"]
    numbers = {name: int(promised[name]) for name in ("integratedTime", "logIndex")}
    return promised | numbers | {"promise": entry["SignedEntryTimestamp"]}


def _entry(entry):
    """A promise covers the time, without one it is nobody's; a checkpoint's signatures cover its text."""
    said = {name: entry[name] for name in ("logId", "kindVersion", "canonicalizedBody")}
    said["logIndex"] = int(entry.get("logIndex", 0))
    promise, proof = entry.get("inclusionPromise"), entry.get("inclusionProof")
    said["promise"] = (promise, int(entry["integratedTime"])) if promise else None
    if proof:
        text = proof["checkpoint"]["envelope"].split("\n\n")[0]
        numbers = int(proof.get("logIndex", 0)), int(proof["treeSize"])
        said["proof"] = (*numbers, proof["rootHash"], proof.get("hashes", []), text)
    return said


@cache
def accepted(signer):
    """What a signer accepts of all that mutants are made of: evidence, kind and essence."""
    tried = [replace(base, signer=signer) for base in GOOD + BAD]
    return [(found, one.kind, essence(one)) for one in tried if isinstance(found := one.verified(), Evidence)]


def is_within(base, finding):
    """Say whether a mutant says nothing but what one of those says, and proves nothing else."""
    content, entries = essence(base)
    for evidence, kind, (known, logged) in accepted(base.signer):
        same = _who(finding) == _who(evidence) and set(finding.proven) <= set(evidence.proven)
        if same and (kind, known) == (base.kind, content):
            return finding.signed_at in {None, AT} and (base.signer == "key" or all(one in logged for one in entries))
    return False


def _who(evidence):
    return evidence.signer, evidence.trust, evidence.subject, evidence.issuer, evidence.claims


@st.composite
def candidates(draw):
    """Mutate the document of a candidate, or one of its annotations."""
    base = draw(st.sampled_from(GOOD + BAD))
    donors = [one for one in GOOD + BAD if one.kind == base.kind]
    name = draw(st.sampled_from([None, *base.annotations])) if base.annotations else None
    if name is None:
        return replace(base, payload=draw(mutated(base.payload, [one.payload for one in donors])))
    others = [one.annotations[name] for one in donors if name in one.annotations]
    return replace(base, annotations=base.annotations | {name: draw(mutated(base.annotations[name], others))})


def check_candidate(base):
    finding = base.verified()
    assert isinstance(finding, Rejection) or is_within(base, finding)


FILE = b"a file"
FILES = [
    SIGSTORE.sign(file_of(FILE), REQUEST, AT, logs=logs, stamped=stamped).bundle(version)
    for version in ("0.1", "0.2", "0.3")
    for logs, stamped in ((REKOR1, False), (REKOR2, True))
    if (version, logs) != ("0.1", REKOR2)
]


def check_of_file(document):
    """Bundles of files, of all versions: an accepted one is by the certificate and signature of one of ours."""
    proven = Proven()
    content = json.dumps(document).encode()
    failure = check_file(SIGNERS["keyless"], content, File(Digest.of(FILE), FILE), NOW, proven)
    if failure is None:
        assert {time.moment for time in proven.times} == {AT}
        assert document["messageSignature"]["signature"] in {one["messageSignature"]["signature"] for one in FILES}


SPOKEN = {
    "classic": signature_of(IMAGE, Shape.SIG).payload,
    "statement": signature_of(IMAGE).payload,
    "attestation": attestation_of(IMAGE, PREDICATE, {"builder": {"id": "b"}}).payload,
    "other image": signature_of(OTHER).payload,
}


def check_words(payload):
    """What the right key signs counts only if any JSON reader finds the image in it, and that it is a signature."""
    for shape in SHAPES:
        draft = replace(signature_of(IMAGE, shape), payload=payload).signed_by(KEY)
        if isinstance(Base.of("key", draft).verified(), Evidence):
            said = json.loads(payload)
            if shape is Shape.SIG:
                assert said["critical"]["type"] == CRITICAL_TYPE
                assert said["critical"]["image"] == {"docker-manifest-digest": str(IMAGE.digest)}
            else:
                assert (said["_type"] in STATEMENT_TYPES, said["predicateType"]) == (True, SIGN)
                assert IMAGE.digest.hex in [subject.get("digest", {}).get("sha256") for subject in said["subject"]]


@cache
def begun(shape):
    return SIGSTORE.signed(signature_of(IMAGE, shape), REQUEST)


ISSUED = [begun(shape).certificate for shape in SHAPES]


def check_certificate(certificate):
    """Whatever stands in a certificate's place, and is logged so: only what was issued counts."""
    for shape in SHAPES:
        draft = _logged(replace(begun(shape), certificate=certificate))
        accepted = isinstance(Base.of("keyless", draft).verified(), Evidence)
        assert accepted == (certificate in ISSUED)


def _logged(draft):
    """Log in a log of its own, which stays small."""
    log = replace(SIGSTORE.rekor1, leaves=FEW[:])
    return replace(draft, entries=(log.add(draft.entry_body(1), AT),))


FEW = SIGSTORE.rekor1.leaves[:3]


def _requests():
    texts = st.text(max_size=30)
    names = st.sampled_from([IDENTITY, "b@private.test", "https://a.test/b"]) | texts.map(other_name)
    values = texts | st.binary(max_size=30)
    return st.builds(
        replace,
        st.just(REQUEST),
        names=st.lists(names, max_size=3).map(tuple),
        issuer=st.sampled_from([ISSUER, None]) | texts,
        issuer_v1=st.sampled_from([ISSUER, None]) | texts,
        claims=st.dictionaries(st.integers(2, 30), values, max_size=4).map(lambda some: REQUEST.claims | some),
        ca=st.sampled_from([None, False, True]),
        lifetime=st.sampled_from([REQUEST.lifetime, timedelta(), timedelta(seconds=60), timedelta(days=9999)]),
    )


def check_request(request):
    """Whatever the authority writes into a certificate, only the wanted name of the wanted issuer counts."""
    assume(7 not in request.claims)
    finding = Base.of("keyless", _logged(made(request))).verified()
    if isinstance(finding, Evidence):
        assert request.names in {(IDENTITY,), (other_name(IDENTITY),)}
        assert {ISSUER} <= {request.issuer, request.issuer_v1} <= {ISSUER, None}
        assert request.claims[14] in {"refs/heads/main", b"\x0c\x0frefs/heads/main"}


def _bodies():
    drafts = [begun(shape) for shape in SHAPES]
    return [canonical(one.entry_body(version)) for one in drafts for version in (1, 2)] + [
        canonical(begun(Shape.BUNDLE).entry_body(1, "intoto"))
    ]


BODIES = _bodies()


def check_entry(body):
    """Whatever a log takes in, an entry counts only if it is about this signature, certificate and content."""
    said = list(all_within(body))
    kind, version = (next((one[name] for one in said if isinstance(one, dict) and name in one), "") for name in NAMES)
    for shape, log in product(SHAPES, (SIGSTORE.rekor1, SIGSTORE.rekor2)):
        draft = begun(shape)
        if shape is Shape.BUNDLE or log.version == 1:
            entry = replace(log, leaves=FEW[:]).add_bytes(body, AT, kind, version)
            stamped = replace(draft, entries=(entry,), timestamps=STAMPS[shape])
            if isinstance(Base.of("keyless", stamped).verified(), Evidence):
                assert draft.signature in said
                assert draft.certificate in said
                digests = [sha256(content) for content in (draft.payload, draft.to_be_signed)]
                assert any(one in said or one.hex() in said for one in digests)


NAMES = ("kind", "apiVersion")
STAMPS = {shape: SIGSTORE.stamped(begun(shape), AT).timestamps for shape in SHAPES}
STATED = json.loads(DOCUMENT)
TRUST = [made(REQUEST, logs=log, stamped=True) for log in (REKOR1, REKOR2)]


def check_root(document):
    """A trust root can be read or it is malformed, and then no signature makes anything of it but a finding."""
    root, _ = read_or_refusal(TrustRoot.parse, document)
    for draft in TRUST if root else ():
        candidate = UntrustedSignature(Kind.BUNDLE, "here", draft.layer()[1], {})
        CosignSigner("release", replace(SIGNERS["keyless, stamped"], root=root)).verify(SUBJECT, candidate, NOW)


def _stated(shape):
    parts = {}

    class Heard(Tsa):
        def _signer_info(self, token, at, number):
            parts.setdefault("info", token.info)
            return super()._signer_info(token, at, number)

    tsa = SIGSTORE.tsa
    Heard(key=tsa.key, chain=tsa.chain).token(begun(shape).to_be_stamped, AT)
    return parts["info"]


INFO = _stated(Shape.BUNDLE)


def check_timestamp(info):
    """Whatever an authority states, it counts only if it is of this signature, and within the certificate's life."""
    draft = begun(Shape.BUNDLE)
    token = SIGSTORE.tsa.token(draft.signature, AT, info=info)
    finding = Base.of("keyless, stamped", replace(draft, entries=LOGGED.entries, timestamps=(token,))).verified()
    if isinstance(finding, Evidence):
        assert sha256(draft.signature) in info
        assert REQUEST.at <= finding.signed_at <= AT


LOGGED = SIGSTORE.logged(begun(Shape.BUNDLE), AT)

PROPERTIES = {
    "candidates": (candidates(), check_candidate),
    "files": (st.sampled_from(FILES).flatmap(lambda one: mutated(one, FILES)), check_of_file),
    "words": (
        st.sampled_from(list(SPOKEN.values())).flatmap(lambda one: mutated(one, list(SPOKEN.values()))),
        check_words,
    ),
    "certificates": (st.sampled_from(ISSUED).flatmap(mutated), check_certificate),
    "requests": (_requests(), check_request),
    "entries": (st.sampled_from(BODIES).flatmap(lambda one: mutated(one, BODIES)), check_entry),
    "timestamps": (mutated(INFO), check_timestamp),
    "roots": (mutated(DOCUMENT, [json.dumps(STRANGE.trusted_root("0.2")).encode()]), check_root),
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_mutants(name):
    assert explore(*PROPERTIES[name], examples=60) >= 60


@pytest.mark.parametrize("base", GOOD, ids=range(len(GOOD)))
def test_what_is_good_is_accepted(base):
    assert is_within(base, base.verified())


@pytest.mark.parametrize("base", BAD, ids=range(len(BAD)))
def test_what_is_bad_is_refused(base):
    assert isinstance(base.verified(), Rejection)
