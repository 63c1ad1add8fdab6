"""Bundles by certificate that we accept are accepted by sigstore-python too, but for what is listed here."""

import base64
import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.mutations import at, has, paths, put, without
from support.sigstore.authority import ALWAYS, IDENTITY, ISSUER, Request
from support.sigstore.draft import attestation_of, file_of, signature_of
from support.sigstore.private import Sigstore
from support.sigstore_python import objection
from support.snapshot import all_cases, load_registry
from support.tsa import Tsa
from support.vectors import CONFORMANCE, needed

from proxy.crypto.window import Window
from proxy.demo.signing import SigningKey
from proxy.formats.cosign.bundle import BUNDLE_TYPES
from proxy.formats.cosign.files import File, check_file
from proxy.formats.cosign.identity import WantedIdentity
from proxy.formats.cosign.patterns import Exact
from proxy.formats.cosign.proof import Demands, Proven
from proxy.formats.cosign.trust_root import TrustRoot
from proxy.formats.cosign.verify import Wanted
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_MANIFEST, Descriptor

NOW = datetime(2026, 11, 22, tzinfo=UTC)
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
MOMENT = timedelta(seconds=1)
DEMANDS = Demands()
FILE = b"a file"
IMAGE = Descriptor(OCI_MANIFEST, Digest.of(FILE), len(FILE))
BEACON = (
    "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/"
    ".github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"
)
SIGSTORE = Sigstore.create(tsa=Tsa.create())
OTHER_SIGSTORE = Sigstore.create(tsa=Tsa.create(name="other tsa"))
KEY, OTHER_KEY = SigningKey.generate(), SigningKey.generate()
REQUEST = Request(key=KEY, at=AT - timedelta(minutes=1))
OTHER_REQUEST = Request(key=OTHER_KEY, at=AT + timedelta(hours=1), names=("other@private.test",))


def written(document):
    return json.dumps(document).encode()


ROOT = written(SIGSTORE.trusted_root())


@dataclass(frozen=True)
class Case:
    """A bundle, and what is asked about it."""

    name: str
    document: bytes
    root: bytes = ROOT
    content: bytes | Digest = FILE
    issuer: str = ISSUER
    subject: str = IDENTITY
    demands: Demands = DEMANDS

    def is_accepted(self):
        """Say whether we accept."""
        digest = self.content if isinstance(self.content, Digest) else Digest.of(self.content)
        file = File(digest, None if self.content is digest else self.content)
        wanted = Wanted(WantedIdentity(Exact(self.issuer), Exact(self.subject)), trust_root(self.root), self.demands)
        return check_file(wanted, self.document, file, NOW, Proven()) is None

    def objection(self):
        """Say why sigstore-python refuses."""
        return objection(self.document, self.root, content=self.content, issuer=self.issuer, subject=self.subject)


trust_root = cache(TrustRoot.parse)

# Well-formed drafts: of a statement or a file, by log and timestamp. Each twice, with nothing in common.
DRAFTS = {
    "statement, Rekor 1": (signature_of, ("rekor1",), False),
    "statement, Rekor 1, timestamp": (signature_of, ("rekor1",), True),
    "statement, Rekor 2, timestamp": (signature_of, ("rekor2",), True),
    "attestation, Rekor 1": (
        partial(attestation_of, predicate_type="https://a.test", predicate={}),
        ("rekor1",),
        False,
    ),
    "file, Rekor 1": (None, ("rekor1",), False),
    "file, Rekor 2, timestamp": (None, ("rekor2",), True),
}


@cache
def draft(name, *, other=False):
    begin, logs, stamped = DRAFTS[name]
    content = b"another file" if other else FILE
    image = Descriptor(OCI_MANIFEST, Digest.of(content), len(content))
    request, moment = (OTHER_REQUEST, AT + timedelta(hours=1, minutes=1)) if other else (REQUEST, AT)
    return SIGSTORE.sign(begin(image) if begin else file_of(content), request, moment, logs=logs, stamped=stamped)


def unended(value):
    """Yield what a text in base64 is without its last line end; how long a PEM is differs from key to key."""
    with suppress(ValueError):
        content = base64.b64decode(value, validate=True)
        if content.endswith(b"\n"):
            yield base64.b64encode(content.rstrip()).decode()


def edits(value):
    """Yield other values of a member, by type."""
    yield None
    match value:
        case str() if value.isdecimal():
            yield from (int(value), str(int(value) + 1), f"0{value}", f"-{value}", "0", "", int(value) + 1)
        case str():
            yield from ("", value[:-4], value + "AAAA", value.swapcase(), value.rstrip("="), value.replace("+", "-"))
            yield from (value + "\n", f" {value}", "AAAA" + value[4:], base64.b64encode(value.encode()).decode())
            yield from unended(value)
        case int():
            yield from (str(value), value + 1, -value, float(value))
        case list():
            yield from ([], value * 2, value[:1] * 40, value[0])
        case dict():
            yield from ({}, [value], value | {"unknown": "member"})


def changes(value, other):
    """Yield a JSON value with one member dropped, edited, or taken from another value of the same form."""
    for path in paths(value):
        yield f"without {path}", without(value, path)
        for number, new in enumerate(edits(at(value, path))):
            yield f"{path} edited, {number}", put(value, path, new)
        if has(other, path):
            yield f"{path} of another", put(value, path, at(other, path))


def changed_bundles(name):
    versions = ("0.1", "0.2", "0.3") if name.startswith("file") else ("0.3",)
    for version in versions:
        good, other = (draft(name, other=one).bundle(version) for one in (False, True))
        yield Case(f"{name}, {version}", written(good))
        for label, document in changes(good, other):
            yield Case(f"{name}, {version}, {label}", written(document))


def changed_drafts(name):
    """Parts of one signature in another, logged and stamped as they stand."""
    good, other = (draft(name, other=one) for one in (False, True))
    parts = ("payload", "certificate", "signature", "entries", "timestamps", "key")
    _, logs, stamped = DRAFTS[name]
    for part in parts:
        mixed = replace(good, **{part: getattr(other, part)})
        yield Case(f"{name}, {part} of another", written(mixed.bundle()))
        again = replace(mixed, entries=())
        for log in logs:
            again = SIGSTORE.logged(again, AT, log)
        again = SIGSTORE.stamped(replace(again, timestamps=()), AT) if stamped else again
        yield Case(f"{name}, {part} of another, logged so", written(again.bundle()))
    short = [replace(entry, log_id=entry.log_id[:4]) for entry in good.entries]
    yield Case(f"{name}, log named by its hint", written(replace(good, entries=tuple(short)).bundle()))
    for seconds in (-61, -60, 0, 540, 541):
        late = AT + timedelta(seconds=seconds)
        for log in logs:
            yield Case(
                f"{name}, log {seconds} s", written(SIGSTORE.logged(replace(good, entries=()), late, log).bundle())
            )
        yield Case(f"{name}, timestamp {seconds} s", written(SIGSTORE.stamped(good, late).bundle()))
    yield Case(
        f"{name}, two logs", written(SIGSTORE.logged(good, AT, "rekor2" if "rekor1" in logs else "rekor1").bundle())
    )


def changed_entries(name):
    """Entries that the log itself has taken in, and that say something else."""
    good, other = (draft(name, other=one) for one in (False, True))
    ((log,), _) = DRAFTS[name][1:]
    rekor = getattr(SIGSTORE, log)
    for label, body in changes(json.loads(good.entries[0].body), json.loads(other.entries[0].body)):
        if isinstance(body.get("kind"), str) and isinstance(body.get("apiVersion"), str):
            entry = rekor.add(body, AT)
            yield Case(f"{name}, entry {label}", written(replace(good, entries=(entry,)).bundle()))
            entry = replace(entry, kind=good.entries[0].kind, version=good.entries[0].version)
            yield Case(f"{name}, entry {label}, as before", written(replace(good, entries=(entry,)).bundle()))


def changed_roots(name):
    document = draft(name).bundle()
    services = {
        "tlogs": [SIGSTORE.rekor1, SIGSTORE.rekor2],
        "ctlogs": [SIGSTORE.certificate_log],
        "certificateAuthorities": [SIGSTORE.authority],
        "timestampAuthorities": [SIGSTORE.tsa],
    }
    issued = REQUEST.at
    for section, own in services.items():
        others = [OTHER_SIGSTORE.rekor1] if section == "tlogs" else []
        variants = {"none": [], "others": others, "own and others": own + others, "twice": own * 2}
        for moment in {AT, issued, issued + REQUEST.lifetime}:
            for step in (-MOMENT, timedelta(), MOMENT):
                ends, starts = Window(ALWAYS.start, moment + step), Window(moment + step, None)
                variants[f"until {moment + step}"] = [replace(one, window=ends) for one in own]
                variants[f"from {moment + step}"] = [replace(one, window=starts) for one in own]
        for label, parts in variants.items():
            root = written(SIGSTORE.trusted_root(**{section: parts}))
            yield Case(f"{name}, {section} {label}", written(document), root)
    yield Case(f"{name}, root v0.2", written(document), written(SIGSTORE.trusted_root("0.2")))
    yield Case(f"{name}, other root", written(document), written(OTHER_SIGSTORE.trusted_root()))


REQUESTS = {
    **{f"key {kind}": {"key": SigningKey.generate(kind)} for kind in ("P-384", "P-521", "RSA-2048", "Ed25519")},
    "no usage": {"usages": ()},
    "another usage": {"usages": (ExtendedKeyUsageOID.SERVER_AUTH,)},
    "two usages": {"usages": (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING)},
    "no key usage": {"key_usage": None},
    "another key usage": {"key_usage": "key_agreement"},
    "authority": {"ca": True},
    "no authority": {"ca": False},
    "no name": {"names": ()},
    "two names": {"names": (IDENTITY, "other@private.test")},
    "another name first": {"names": ("other@private.test", IDENTITY)},
    "name as URI": {"names": (f"mailto://{IDENTITY}",)},
    "no issuer": {"issuer": None, "issuer_v1": None},
    "issuer v1 only": {"issuer": None},
    "issuer v2 only": {"issuer_v1": None},
    "issuers differ": {"issuer": "https://other.test"},
    "issuers differ, v1": {"issuer_v1": "https://other.test"},
    "short life": {"lifetime": timedelta(seconds=59)},
    "not yet": {"at": AT + MOMENT},
}


def changed_certificates(name):
    _, logs, stamped = DRAFTS[name]
    begun = replace(draft(name), entries=(), timestamps=())
    for label, change in REQUESTS.items():
        made = SIGSTORE.sign(begun, replace(REQUEST, **change), AT, logs=logs, stamped=stamped)
        yield Case(f"{name}, certificate with {label}", written(made.bundle()))
    proofs = {
        "no SCT": [],
        "another's SCT": [SIGSTORE.sct(OTHER_REQUEST)],
        "another log's SCT": [OTHER_SIGSTORE.sct(REQUEST)],
        "two SCTs": [SIGSTORE.sct(REQUEST), SIGSTORE.sct(REQUEST)],
    }
    for label, scts in proofs.items():
        certificate = SIGSTORE.authority.certificate(REQUEST, scts).public_bytes(Encoding.DER)
        made = begun.signed_by(KEY, certificate)
        for log in logs:
            made = SIGSTORE.logged(made, AT, log)
        yield Case(f"{name}, {label}", written((SIGSTORE.stamped(made, AT) if stamped else made).bundle()))


def conformance():
    needed()
    for path in sorted(CONFORMANCE.glob("*/bundle.sigstore.json")):
        folder = path.parent

        def said(name, default, folder=folder):
            return (folder / name).read_text().strip() if (folder / name).exists() else default

        def first(*names, folder=folder):
            return next(one for one in (folder / names[0], CONFORMANCE / names[-1]) if one.exists()).read_bytes()

        if not (folder / "key.pub").exists():
            content = first("artifact", "a.txt")
            root = first("trusted_root.json", "production_trusted_root.json")
            issuer = said("issuer", "https://token.actions.githubusercontent.com")
            case = Case(folder.name, path.read_bytes(), root, content, issuer, said("identity", BEACON))
            yield case
            yield replace(case, name=f"{case.name}, by digest", content=Digest.of(content))


def snapshots():
    needed()
    for case in all_cases():
        policy = case.policy
        if policy["type"] == "keyless" and "subject" in policy:
            demands = Demands(policy["tlog"] == "required", policy["tsa"] == "required")
            root = (case.path / policy["trusted_root"]).read_bytes()
            for repository in load_registry(case.path / "registry.json").values():
                for digest, blob in repository["blobs"].items():
                    if any(version.encode() in blob for version in BUNDLE_TYPES):
                        name = f"{case.name} {digest[:20]}"
                        yield Case(name, blob, root, case.digest, policy["issuer"], policy["subject"], demands)


GENERATORS = (changed_bundles, changed_drafts, changed_entries, changed_roots, changed_certificates)
GROUPS = {f"{make.__name__}, {name}": partial(make, name) for make in GENERATORS for name in DRAFTS}
GROUPS |= {"conformance": conformance, "snapshots": snapshots}


@dataclass(frozen=True)
class Excuse:
    """Why sigstore-python's objection does not count, where it is this one and the case is such a one (patterns)."""

    reason: str
    objection: str
    case: str = ""

    def fits(self, case, objection):
        """Say whether it is meant."""
        return bool(re.search(self.objection, objection) and re.search(self.case, case.name))


EXCUSES = [
    Excuse("cosign reads numbers of a bundle as JSON numbers too", r"Expected protobuf uint64 as string, got int"),
    Excuse("v0.1 needs a promise only", r"tlogEntries\.0\.inclusionProof Field required", r"0\.1, without"),
    Excuse("v0.1 needs no checkpoint", r"must contain inclusion proof, with checkpoint", r"0\.1, without .*checkpoint"),
    # The first edit of each member is null.
    Excuse("v0.1 writes null for no proof", r"inclusionProof Input should be an object", r"0\.1, .*Proof'\) edited, 0"),
    Excuse("v0.1 writes null for no checkpoint", r"must contain inclusion proof", r"0\.1, .*checkpoint'\) edited, 0"),
    Excuse("several entries are allowed, all of which must hold", r"expected exactly one log entry", "two logs"),
    Excuse("a policy may want timestamps and no log", r"tlogEntries Field required", "tsa-only"),
    Excuse(
        "nobody counts timestamps: one that is there twice proves no more", r"duplicate timestamp", "Timestamps.*edited"
    ),
    Excuse(
        "it wants the PEM of an entry letter for letter, we its certificate",
        r"do not match|inconsistent",
        "(verifier|content)'\\) edited, (2|11)",
    ),
    Excuse("trust roots are read in v0.2 too", r"unsupported trusted root format", r"root v0\.2"),
    Excuse(
        "windows are closed (conformance: trust-root-tsa-validity-end-inclusive)",
        r"not enough sources",
        r"timestampAuthorities until 2026-11-20 12:00:00\+",
    ),
    Excuse(
        "a timestamp by an authority that is not in the trust root proves nothing and harms nothing (cosign)",
        r"no Timestamp Authorities have been provided",
        "Rekor 1, timestamp, timestampAuthorities",
    ),
    Excuse("it verifies P-256 with SHA-256 only", r"invalid signature|Signature is invalid", "key P-(384|521)"),
    Excuse("it passes ECDSA's arguments to any key", r"positional argument", "key (RSA|Ed25519)"),
    Excuse(
        "it knows the issuer by claim .1 only",
        r"does not contain OIDCIssuer \(1\.3\.6\.1\.4\.1\.57264\.1\.1\)",
        "issuer v2 only",
    ),
    Excuse("a certificate may be in several logs (RFC 6962, 3.3)", r"Expected one certificate timestamp", "two SCTs"),
    Excuse(
        "entries of kind intoto have a promise, and so a time", r"Integrated time only supported", "^intoto-with-custom"
    ),
]


@cache
def objections(group):
    """What sigstore-python says against bundles that we accept; and how many we accept."""
    accepted = [case for case in GROUPS[group]() if case.is_accepted()]
    return len(accepted), [(case, said) for case in accepted if (said := case.objection()) is not None]


@pytest.mark.parametrize("group", GROUPS)
def test_we_accept_nothing_that_sigstore_python_refuses(group):
    count, against = objections(group)
    assert count > 5
    assert [(case.name, said) for case, said in against if not any(one.fits(case, said) for one in EXCUSES)] == []


def test_each_excuse_is_needed():
    against = [pair for group in GROUPS for pair in objections(group)[1]]
    assert [one.reason for one in EXCUSES if not any(one.fits(*pair) for pair in against)] == []


@pytest.mark.parametrize("name", DRAFTS)
def test_both_accept_what_is_good_and_refuse_what_is_not(name):
    """Neither is blind."""
    good = Case(name, written(draft(name).bundle()))
    assert good.is_accepted()
    assert good.objection() is None
    for bad in (replace(good, subject="x"), replace(good, root=written(OTHER_SIGSTORE.trusted_root()))):
        assert not bad.is_accepted()
        assert bad.objection() is not None
