"""What is put before cosign and before us: signatures of the tests' own Sigstore, good and bad ones."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import product
from types import SimpleNamespace

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.sigstore.authority import ALWAYS, IDENTITY, ISSUER, Request, other_name
from support.sigstore.draft import Draft, Shape, attestation_of, signature_of
from support.sigstore.private import Sigstore
from support.snapshot import OfType
from support.tsa import Tsa

from proxy.crypto.keys import HASHES
from proxy.crypto.window import Window
from proxy.demo.images import Image, image
from proxy.demo.signing import SignatureArtifact, SigningKey, layer_of
from proxy.formats.cosign.identity import WantedIdentity
from proxy.formats.cosign.patterns import Exact, Pattern
from proxy.formats.cosign.proof import Demands
from proxy.formats.cosign.trust_root import TrustRoot
from proxy.formats.cosign.verify import Wanted, WantedKey
from proxy.oci.manifest import Descriptor

KINDS = ("P-256", "P-384", "P-521", "RSA-2048", "RSA-3072", "Ed25519")
SHAPES = (Shape.SIG, Shape.BUNDLE, Shape.ATT)
# Logs, and whether there is a timestamp.
PROOFS = (
    ((), False),
    (("rekor1",), False),
    (("rekor1",), True),
    ((), True),
    (("rekor2",), True),
    (("rekor2",), False),
    (("rekor1", "rekor2"), True),
)
PREDICATE = "https://slsa.dev/provenance/v1"
_HASHES = {"P-384": "sha384", "P-521": "sha512"}


@dataclass(frozen=True)
class Case:
    """One signature, what we are asked about it, and what cosign is (`cosign COMMAND ARGUMENTS`)."""

    name: str
    artifact: SignatureArtifact
    wanted: Wanted
    root: dict
    key: SigningKey | None
    arguments: tuple[str, ...] = ()
    command: str = "verify"


@dataclass(frozen=True)
class Asked:
    """What is asked: by key or identity, and what must be proven; by default what a keyless signature needs."""

    key: SigningKey | None = None
    identity: str = IDENTITY
    issuer: str = ISSUER
    pattern: str | None = None
    demands: Demands = field(default_factory=Demands)
    predicate: str | None = None
    root: dict | None = None
    arguments: tuple[str, ...] = ()
    hashing: str | None = None


@dataclass(frozen=True)
class Workshop:
    """Where signatures are made: at `at`, some days ago, so that a certificate is long past its end."""

    now: datetime
    sigstore: Sigstore
    strange: Sigstore
    image: Image
    key: SigningKey

    @classmethod
    def open(cls, now: datetime) -> "Workshop":
        """Make the services and the keys."""
        own, strange = (Sigstore.create(tsa=Tsa.create(name=name)) for name in ("tsa", "another tsa"))
        return cls(now, own, strange, image("cross-check"), SigningKey.generate())

    @property
    def at(self) -> datetime:
        """When it was signed."""
        return self.now - timedelta(days=3)

    @cached_property
    def described(self) -> Descriptor:
        """The image."""
        return Descriptor(self.image.media_type, self.image.digest, len(self.image.body))

    def request(self, **changes: object) -> Request:
        """Ask for the certificate of a signer, valid when it signs."""
        return replace(Request(key=self.key, at=self.at - timedelta(minutes=1)), **changes)

    def begun(self, shape: Shape) -> Draft:
        """Begin a signature, or in shapes that have none an attestation."""
        if shape in {Shape.ATT, Shape.ATT_REFERRER}:
            return attestation_of(self.described, PREDICATE, {"buildDefinition": {}, "runDetails": {}}, shape)
        return signature_of(self.described, shape)

    def made(self, shape: Shape, signer: object = None, *, logs: tuple = ("rekor1",), stamped: bool = False) -> Draft:
        """Sign, log and have it stamped."""
        return self.sigstore.sign(self.begun(shape), signer or self.request(), self.at, logs=logs, stamped=stamped)

    def case(self, name: str, draft: Draft | SignatureArtifact, asked: Asked) -> Case:
        """Ask both the same."""
        artifact = draft.artifact() if isinstance(draft, Draft) else draft
        root = asked.root or self.sigstore.trusted_root()
        subject = Pattern.parse(asked.pattern) if asked.pattern else Exact(asked.identity)
        who = (
            WantedKey(asked.key.public, None, asked.hashing)
            if asked.key
            else WantedIdentity(Exact(asked.issuer), subject)
        )
        attestation = OfType(asked.predicate) if asked.predicate else None
        wanted = Wanted(who, TrustRoot.parse(json.dumps(root).encode()), asked.demands, (), attestation)
        arguments = list(asked.arguments)
        if not asked.key:
            flag, value = ("-regexp", asked.pattern) if asked.pattern else ("", asked.identity)
            arguments += [f"--certificate-identity{flag}={value}", f"--certificate-oidc-issuer={asked.issuer}"]
        if asked.predicate:
            arguments += [f"--type={asked.predicate}"]
        command = "verify-attestation" if asked.predicate else "verify"
        return Case(name, artifact, wanted, root, asked.key, tuple(arguments), command)


def matrix(shop: Workshop) -> Iterator[Case]:
    """Every shape with every key, log and timestamp, by key and by certificate; what can exist of that."""
    keys = {kind: SigningKey.generate(kind) for kind in KINDS}
    for (kind, key), shape, (logs, stamped), keyless in product(keys.items(), SHAPES, PROOFS, (False, True)):
        unprovable = keyless and not stamped and logs in {(), ("rekor2",)}
        unwritable = shape is not Shape.BUNDLE and "rekor2" in logs
        if not unprovable and not unwritable:
            draft = shop.made(shape, shop.request(key=key) if keyless else key, logs=logs, stamped=stamped)
            arguments = () if logs else ("--insecure-ignore-tlog",)
            if stamped and (shape is not Shape.BUNDLE or logs in {(), ("rekor2",)}):
                arguments += ("--use-signed-timestamps",)
            if kind in _HASHES and not keyless and shape is not Shape.ATT:
                arguments += (f"--signature-digest-algorithm={_HASHES[kind]}",)
            demands = Demands(log=bool(logs), timestamp=stamped)
            predicate = PREDICATE if shape is Shape.ATT else None
            asked = Asked(None if keyless else key, demands=demands, predicate=predicate, arguments=arguments)
            proofs = " + ".join([*logs, *(["timestamp"] if stamped else [])]) or "nothing"
            yield shop.case(f"{shape.name}, {'keyless' if keyless else 'key'}, {kind}, {proofs}", draft, asked)


def twists(shop: Workshop) -> Iterator[Case]:
    """Keyless signatures with one thing wrong, or merely unusual."""
    for shape in (Shape.SIG, Shape.BUNDLE):
        for name, draft, asked in (*_signers(shop, shape), *_roots(shop, shape), *_entries(shop, shape)):
            yield shop.case(f"{shape.name}, {name}", draft, asked)
    for name, draft, asked in _bundles(shop):
        yield shop.case(name, draft, asked)
    for name, artifact, asked in (*_chains(shop), *_contents(shop)):
        yield shop.case(name, artifact, asked)


_Twist = tuple[str, Draft | SignatureArtifact, Asked]


def _signers(shop: Workshop, shape: Shape) -> Iterator[_Twist]:
    def by(**changes: object) -> Draft:
        return shop.made(shape, shop.request(**changes))

    good, asked = by(), Asked()
    github = "https://github.com/o/r/.github/workflows/x.yml@refs/heads/main"
    yield "good", good, asked
    yield "a workflow", by(names=(github,), claims={5: "o/r", 14: "refs/heads/main"}), Asked(identity=github)
    yield "another kind of name", by(names=(other_name("some!user"),)), Asked(identity="some!user")
    yield "another identity", good, Asked(identity="other@private.test")
    yield "another issuer", good, Asked(issuer="https://other.test")
    yield "a pattern for the beginning", by(names=(f"{IDENTITY}.evil.com",)), Asked(pattern="ci@private[.]test")
    yield "issuers that differ", by(issuer_v1="https://other.test"), asked
    yield "two names", by(names=("other@private.test", IDENTITY)), asked
    yield "another usage", by(usages=(ExtendedKeyUsageOID.SERVER_AUTH,)), asked
    yield "no usage", by(usages=()), asked
    yield "an authority", by(ca=True), asked
    yield "signed before its certificate", by(at=shop.at + timedelta(seconds=1)), asked
    yield "signed after its certificate", by(at=shop.at - timedelta(hours=1)), asked
    yield "a key, and an identity is asked for", shop.made(shape, shop.key), asked
    yield "an identity, and a key is asked for", good, Asked(shop.key)
    yield "another key", shop.made(shape, shop.key), Asked(SigningKey.generate())
    scts = {
        "no SCT": [],
        "the SCT of another certificate": [shop.sigstore.sct(shop.request())],
        "an SCT by another log": [shop.strange.sct(shop.request())],
    }
    for name, some in scts.items():
        certificate = shop.sigstore.authority.certificate(shop.request(), some).public_bytes(Encoding.DER)
        yield name, shop.sigstore.logged(shop.begun(shape).signed_by(shop.key, certificate), shop.at), asked


def _roots(shop: Workshop, shape: Shape) -> Iterator[_Twist]:
    draft = shop.made(shape)
    own = {
        "tlogs": shop.sigstore.rekor1,
        "ctlogs": shop.sigstore.certificate_log,
        "certificateAuthorities": shop.sigstore.authority,
    }
    windows = {
        "ended before": Window(ALWAYS.start, shop.at - timedelta(days=1)),
        "begins after": Window(shop.at + timedelta(days=1), None),
        "ends later": Window(ALWAYS.start, shop.at + timedelta(days=1)),
    }
    for (section, service), (name, window) in product(own.items(), windows.items()):
        root = shop.sigstore.trusted_root(**{section: [replace(service, window=window)]})
        yield f"{section}: {name}", draft, Asked(root=root)
    yield "another instance", draft, Asked(root=shop.strange.trusted_root())
    authority = shop.sigstore.authority
    below = SimpleNamespace(
        certificate_chain=[shop.strange.authority.certificate_chain[0], *authority.certificate_chain],
        window=authority.window,
    )
    yield "the second of a chain issues", draft, Asked(root=shop.sigstore.trusted_root(certificateAuthorities=[below]))
    yield "trust root v0.2", draft, Asked(root=shop.sigstore.trusted_root("0.2"))


def _entries(shop: Workshop, shape: Shape) -> Iterator[_Twist]:
    asked = Asked()
    good, other = shop.made(shape), shop.made(shape)
    (entry,) = good.entries
    later = replace(entry, time=entry.time + 1)
    yield "the entry of another signature", replace(good, entries=other.entries), asked
    yield "an entry of another log", shop.strange.logged(replace(good, entries=()), shop.at), asked
    yield "an entry with a short log id", replace(good, entries=(replace(entry, log_id=entry.log_id[:4]),)), asked
    yield "no entry", replace(good, entries=()), asked
    yield "another time", replace(good, entries=(later,)), asked
    yield (
        "another time, promised so",
        replace(good, entries=(replace(later, promise=shop.sigstore.rekor1.promise(later)),)),
        asked,
    )
    yield "the signature of another", replace(good, signature=other.signature), asked
    stamped = shop.sigstore.stamped(good, shop.at)
    strange = shop.strange.stamped(good, shop.at)
    late = shop.sigstore.stamped(good, shop.at + timedelta(hours=1))
    wants = Asked(demands=Demands(timestamp=True), arguments=("--use-signed-timestamps",))
    yield "a timestamp", stamped, wants
    yield "no timestamp", good, wants
    yield "a timestamp by another authority", strange, wants
    yield "a timestamp by another authority, not asked for", strange, asked
    yield "a timestamp after the certificate", late, wants
    yield "a timestamp after the certificate, not asked for", late, asked
    yield (
        "a timestamp of another signature",
        replace(good, timestamps=shop.sigstore.stamped(other, shop.at).timestamps),
        wants,
    )


def _bundles(shop: Workshop) -> Iterator[_Twist]:
    asked, key = Asked(), Asked(shop.key)
    stamps = Asked(arguments=("--use-signed-timestamps",))
    good = shop.made(Shape.BUNDLE)
    (entry,) = good.entries
    beside = shop.strange.logged(good, shop.at)
    yield "BUNDLE, an entry of another log besides", beside, asked
    yield "BUNDLE, an entry of another log twice besides", shop.strange.logged(beside, shop.at), asked
    (_, strange) = beside.entries
    yield "BUNDLE, one entry of another log twice besides", replace(beside, entries=(*beside.entries, strange)), asked
    junk = replace(strange, body=b"{}")
    yield "BUNDLE, junk of another log besides", replace(good, entries=(*good.entries, junk)), asked
    rekor2 = shop.made(Shape.BUNDLE, logs=("rekor2",), stamped=True)
    yield "BUNDLE, Rekor 2", rekor2, stamps
    (entry2,) = rekor2.entries
    short = replace(entry2, log_id=entry2.log_id[:4])
    yield "BUNDLE, Rekor 2, an entry with a short log id", replace(rekor2, entries=(short,)), stamps
    yield "BUNDLE, Rekor 2, no timestamp", replace(rekor2, timestamps=()), stamps
    yield "BUNDLE, Rekor 2, one timestamp twice", replace(rekor2, timestamps=rekor2.timestamps * 2), stamps
    yield "BUNDLE, Rekor 2, two timestamps", shop.sigstore.stamped(rekor2, shop.at), stamps
    yield "BUNDLE, one entry twice", replace(good, entries=good.entries * 2), asked
    yield "BUNDLE, promise only", replace(good, entries=(replace(entry, proof=None),)), asked
    alone = replace(entry, promise=None)
    yield "BUNDLE, proof only", replace(good, entries=(alone,)), asked
    stamped = replace(good, entries=(alone,), timestamps=shop.sigstore.stamped(good, shop.at).timestamps)
    yield "BUNDLE, proof and timestamp", stamped, stamps
    late = replace(alone, time=alone.time + 3600)
    yield "BUNDLE, proof and timestamp, another time stated", replace(stamped, entries=(late,)), stamps
    early = replace(alone, time=0)
    yield "BUNDLE, proof and timestamp, no time stated", replace(stamped, entries=(early,)), stamps
    yield "BUNDLE, proof and timestamp, another number", replace(stamped, entries=(replace(alone, index=7),)), stamps
    lies = replace(entry.proof, size=entry.proof.size + 1)
    yield "BUNDLE, a proof of another size", replace(good, entries=(replace(entry, proof=lies),)), asked
    keyed = shop.made(Shape.BUNDLE, shop.key)
    lies = replace(keyed.entries[0], proof=replace(keyed.entries[0].proof, size=99))
    yield "BUNDLE, key, a proof of another size", replace(keyed, entries=(lies,)), key
    yield "BUNDLE, entry of kind intoto", shop.sigstore.logged(replace(good, entries=()), shop.at, kind="intoto"), asked
    changes: dict[str, Callable[[dict], object]] = {
        "another kind of key": lambda spec: spec["signature"]["verifier"].update(keyDetails="PKIX_ED25519"),
        "an unknown kind of key": lambda spec: spec["signature"]["verifier"].update(keyDetails="no such"),
    }
    for name, change in changes.items():
        body = rekor2.entry_body(2)
        change(body["spec"]["hashedRekordV002"])
        entry2 = shop.sigstore.rekor2.add(body, shop.at)
        yield f"BUNDLE, Rekor 2, entry of {name}", replace(rekor2, entries=(entry2,)), stamps
    attested = shop.sigstore.sign(attestation_of(shop.described, PREDICATE, {}), shop.request(), shop.at)
    yield "BUNDLE, attestation", attested, Asked(predicate=PREDICATE)
    yield "BUNDLE, attestation of another type", attested, Asked(predicate="https://other.test")
    yield "BUNDLE, attestation as signature", attested, asked
    yield "BUNDLE, signature as attestation", good, Asked(predicate=PREDICATE)


def _chains(shop: Workshop) -> Iterator[_Twist]:
    """Bundles v0.3 with a chain, before a trust root that has the root alone, or all."""
    intermediate, anchor = shop.sigstore.authority.certificate_chain
    strange = shop.strange.authority.certificate_chain[0]
    own = shop.sigstore.authority.window
    alone = SimpleNamespace(certificate_chain=[anchor], window=own)
    good = shop.made(Shape.BUNDLE)
    chains = {
        "a chain": [intermediate],
        "a chain of one": [],
        "a chain with its root": [intermediate, anchor],
        "a chain with a stranger behind": [intermediate, strange],
        "a chain with a stranger before": [strange, intermediate],
        "a chain of a stranger": [strange],
        "a chain with a leaf": [intermediate, good.certificate],
    }
    roots = {"the root alone": shop.sigstore.trusted_root(certificateAuthorities=[alone]), "all": None}
    for (name, chain), (which, root), allowed in product(chains.items(), roots.items(), (False, True)):
        document = good.bundle()
        raw = [{"rawBytes": base64.b64encode(one).decode()} for one in (good.certificate, *chain)]
        del document["verificationMaterial"]["certificate"]
        document["verificationMaterial"]["x509CertificateChain"] = {"certificates": raw}
        asked = Asked(
            demands=Demands(lone_certificate=not allowed),
            root=root,
            arguments=("--allow-certificate-chain",) if allowed else (),
        )
        artifact = _with_document(good, json.dumps(document).encode())
        yield f"BUNDLE, {name}, {which} in the trust root, {'' if allowed else 'not '}allowed", artifact, asked


def _contents(shop: Workshop) -> Iterator[_Twist]:
    """Let the right key sign something else, or keep what it signed otherwise."""
    asked = Asked(shop.key, demands=Demands(log=False), arguments=("--insecure-ignore-tlog",))
    classic, bundle = shop.begun(Shape.SIG), shop.begun(Shape.BUNDLE)
    rsa = SigningKey.generate("RSA-2048")
    for named in ("sha256", "sha384", "sha512"):
        for shape, draft in (("SIG", classic), ("BUNDLE", bundle)):
            # No key of the tests' own signs with another hash than the usual.
            signature = rsa._key.sign(draft.to_be_signed, PKCS1v15(), HASHES["sha512"])  # noqa: SLF001
            flags = ("--insecure-ignore-tlog", f"--signature-digest-algorithm={named}")
            by_rsa = Asked(rsa, demands=Demands(log=False), arguments=flags, hashing=named)
            yield (
                f"{shape}, RSA with SHA-512, {named} is asked for",
                replace(draft, key=rsa, signature=signature),
                by_rsa,
            )
    edits = {
        "another critical.type": (b'"cosign container image signature"', b'"x"'),
        "a member twice": (b'"critical"', b'"critical":{},"critical"'),
        "a member in another case": (b'"docker-manifest-digest"', b'"Docker-Manifest-Digest"'),
        "another image": (shop.image.digest.hex.encode(), b"0" * 64),
        "a digest in upper case": (shop.image.digest.hex.encode(), shop.image.digest.hex.upper().encode()),
        "white space": (b":", b" : "),
        "a second document": (b'"optional":null}', b'"optional":null}{}'),
    }
    for name, (old, new) in edits.items():
        payload = classic.payload.replace(old, new) if name != "white space" else classic.payload.replace(b"{", b"{ ")
        yield f"SIG, {name}", replace(classic, payload=payload).signed_by(shop.key), asked
    whole = classic.signed_by(shop.key)
    text = base64.b64encode(whole.signature).decode()
    lines = {
        "line breaks": "\n".join([text[:64], text[64:], ""]),
        "line breaks of DOS": "\r\n".join([text[:76], text[76:], ""]),
        "spaces": f"{text[:64]} {text[64:]}",
        "a tab": f"{text}\t",
    }
    for name, written in lines.items():
        yield f"SIG, a signature with {name}", _with_signature(whole, text, written), asked
    edits = {
        "another _type": (b"https://in-toto.io/Statement/v1", b"https://x.test/v1"),
        "no predicate": (b',"predicate":{}', b""),
        "null as predicate": (b'"predicate":{}', b'"predicate":null'),
        "a text as predicate": (b'"predicate":{}', b'"predicate":"{}"'),
        "another image": (shop.image.digest.hex.encode(), b"0" * 64),
        "another subject besides": (b'"subject":[', b'"subject":[{"name":"a","digest":{"sha256":"%b"}},' % (b"0" * 64)),
        "a subject that is null": (b'"subject":[', b'"subject":[null,'),
    }
    for name, (old, new) in edits.items():
        yield f"BUNDLE, {name}", replace(bundle, payload=bundle.payload.replace(old, new)).signed_by(shop.key), asked
    signed = bundle.signed_by(shop.key)
    yield "BUNDLE, another payload type", replace(bundle, payload_type="text/plain").signed_by(shop.key), asked
    documents = {
        "a member that is unknown": lambda text: text.replace('{"mediaType"', '{"x":1,"mediaType"'),
        "a member twice": lambda text: text.replace('{"mediaType"', '{"mediaType":"","mediaType"'),
        "two signatures": lambda text: text.replace('"signatures": [', '"signatures": [{"sig": "AAAA"}, '),
        "snake case": lambda text: text.replace("verificationMaterial", "verification_material"),
        "base64 without padding": lambda text: re.sub('=+"', '"', text),
        "version 0.4": lambda text: text.replace("v0.3+json", "v0.4+json"),
    }
    for name, change in documents.items():
        yield f"BUNDLE, {name}", _with_document(signed, change(json.dumps(signed.bundle())).encode()), asked


def _with_signature(draft: Draft, text: str, written: str) -> SignatureArtifact:
    made = draft.artifact()
    return replace(made, manifest_body=made.manifest_body.replace(text.encode(), json.dumps(written)[1:-1].encode()))


def _with_document(draft: Draft, document: bytes) -> SignatureArtifact:
    made = draft.artifact()
    old = layer_of("", draft.layer()[1])
    new = layer_of("", document)
    body = made.manifest_body.replace(old["digest"].encode(), new["digest"].encode())
    body = body.replace(b'"size":%d' % old["size"], b'"size":%d' % new["size"])
    body = body.replace(b'"size": %d' % old["size"], b'"size": %d' % new["size"])
    digest = type(draft.image.digest).of(document)
    return replace(made, manifest_body=body, blobs={**made.blobs, digest: document})
