"""What log, timestamps and certificate prove of a signature: the one check list for all shapes.

Source: Sigstore client specification, 4 (Verification), and Sigstore's bundle format; stricter than both where
docs/divergences.md says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography.x509 import Certificate

from proxy.crypto.chain import CODE_SIGNING, issuer_at, parse_certificate, with_links
from proxy.crypto.keys import HASHES, PublicKey
from proxy.crypto.sct import check_scts, embedded_scts
from proxy.crypto.timestamp import UnknownAuthority, timestamp
from proxy.crypto.tlog import TransparencyLog, check_inclusion, check_promise, check_window, is_sharded, log_of
from proxy.formats.cosign.dsse import Envelope
from proxy.formats.cosign.entry import LogEntry, Signed, check_binding, read_body
from proxy.formats.cosign.identity import Identity, WantedIdentity
from proxy.formats.cosign.shapes import Extras
from proxy.formats.cosign.trust_root import TrustRoot
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
from proxy.verdict import Failure, Reason


@dataclass(frozen=True, slots=True)
class Material:
    """A signature with all that came with it. Nothing in it is proven."""

    signed: Signed
    extras: Extras


@dataclass(frozen=True, slots=True)
class Demands:
    """The proofs required besides the signature: an entry in a log, a timestamp, a certificate that was logged.

    `lone_certificate` demands that the trust root has all CAs; without it, a bundle may bring links to one of them.
    """

    log: bool = True
    timestamp: bool = False
    certificate_log: bool = True
    lone_certificate: bool = True


# The settings of signers that do without, as refusals name them.
NO_LOG, NO_LOG_OF_A_KEY = "insecure_no_log", "require_log = false"
NO_CERTIFICATE_LOG = "insecure_no_certificate_log"
ALLOW_CHAIN = "insecure_allow_certificate_chain"
# A key's signature counts by itself.
NO_DEMANDS = Demands(log=False, timestamp=False, certificate_log=False)


@dataclass(frozen=True, slots=True)
class Time:
    """A time that somebody trusted vouches for."""

    moment: datetime
    source: str


@dataclass(slots=True)
class Proven:
    """What has been proven so far; whole once no check failed.

    `times` are in the order of the material, those of logs first; `log_indexes` are of entries that are proven, some of
    them twice. `identity` is None for a key. `signature` is the one that all this is about, believed or not.
    """

    identity: Identity | None = None
    times: list[Time] = field(default_factory=list)
    log_indexes: list[int] = field(default_factory=list)
    signature: bytes = b""

    def facts(self) -> tuple[tuple[str, str], ...]:
        """Write it for people, by name."""
        identity = self.identity
        named = (
            (("subject", identity.subject), ("issuer", identity.issuer), *identity.claims.items()) if identity else ()
        )
        times = tuple((f"time by {one.source}", one.moment.isoformat()) for one in self.times)
        return (*named, *times, *(("log_index", str(index)) for index in dict.fromkeys(self.log_indexes)))


def prove_by_key(
    material: Material, root: TrustRoot, demands: Demands, now: datetime, proven: Proven
) -> Failure | None:
    """Prove what is demanded beside a signature by a key; what is not demanded is not looked at.

    The signature itself is the caller's to check, before it believes anything that came with it.
    """
    if demands.log and (failure := _prove_log(material, root, demands, proven)):
        return failure
    # A log that is demanded and has no time of its own needs one: its key may have been retired since.
    timeless = demands.log and not proven.times
    if (demands.timestamp or timeless) and (failure := _prove_timestamps(material, root, demands, proven)):
        return failure
    if not demands.log:
        return None
    # Where nothing proves when it was signed, the log must still be in use: else who has the key of a retired one could
    # log what he likes.
    return _check_log_windows(material.extras.entries, root, [one.moment for one in proven.times] or [now], proven)


def prove_by_certificate(  # noqa: PLR0911 (a check list leaves where a check fails)
    wanted: WantedIdentity, material: Material, root: TrustRoot, demands: Demands, proven: Proven
) -> Failure | None:
    """Prove that whom the certificate names signed, while it was valid, and that it is the one who is wanted."""
    leaf = parse_certificate(material.extras.certificate or b"", "the certificate")
    if material.extras.links is not None and demands.lone_certificate:
        raise MalformedError(f"the bundle has a chain (x509CertificateChain); {ALLOW_CHAIN} takes its CAs as links")
    # 1. The log has the entry, and the entry is about this signature, this certificate and this content.
    if failure := _prove_log(material, root, demands, proven) or _check_stated_times(material, root, leaf):
        return failure
    # 2. The timestamps are by an authority of the trust root, and of this signature.
    if failure := _prove_timestamps(material, root, demands, proven):
        return failure
    # 3. Somebody vouches for the time of the signature: a certificate lives ten minutes, and says nothing without one.
    if not proven.times:
        return _no_time(material.extras)
    moments = [one.moment for one in proven.times]
    if failure := _check_log_windows(material.extras.entries, root, moments, proven):
        return failure
    # 4. At each of these times there is a path to an authority of the trust root, valid and in use (hybrid model).
    issuer = _issuer(leaf, root, moments, material.extras.links or ())
    if isinstance(issuer, Failure):
        return issuer
    # 5. The certificate was logged where its owner can see it.
    if demands.certificate_log and (failure := _check_logged(leaf, issuer, root)):
        return failure
    # 6. The certificate's key made the signature.
    if not signed_by(PublicKey.of(leaf.public_key()), material.signed):
        return Failure(Reason.BAD_SIGNATURE, "the signature is not by the certificate's key over this content")
    # 7. The certificate names the one who is wanted.
    proven.identity = Identity.read(leaf)
    return wanted.check(proven.identity)


def _check_stated_times(material: Material, root: TrustRoot, leaf: Certificate) -> Failure | None:
    """Check that no entry states a time when the certificate was not valid, also one that nothing proves.

    As sigstore-go does; what is stated beside a mere proof is believed for nothing else.
    """
    start, end = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    for entry in material.extras.entries:
        stated = entry.integrated_time if entry.promise is None and log_of(root.logs, entry.log_id) else None
        if stated is not None and not start <= stated <= end:
            return Failure(Reason.LOG_NOT_PROVEN, "the log entry states a time when the certificate was not valid")
    return None


def _check_logged(leaf: Certificate, issuer: Certificate, root: TrustRoot) -> Failure | None:
    found = check_scts(leaf, issuer, root.certificate_logs)
    if not isinstance(found, Failure):
        return None
    return found if embedded_scts(leaf) else replace(found, detail=f"{found.detail}; {NO_CERTIFICATE_LOG} does without")


def _issuer(
    leaf: Certificate, root: TrustRoot, moments: Sequence[datetime], links: Sequence[bytes]
) -> Certificate | Failure:
    """Return who issued the leaf, if there is a path at every one of these times."""
    sent = [parse_certificate(one, f"certificate {n} of the bundle") for n, one in enumerate(links, start=2)]
    authorities = with_links(root.certificate_authorities, leaf, sent)
    found = [issuer_at(leaf, authorities, moment, CODE_SIGNING) for moment in dict.fromkeys(moments)]
    return next((one for one in found if isinstance(one, Failure)), found[0])


def _prove_log(material: Material, root: TrustRoot, demands: Demands, proven: Proven) -> Failure | None:
    """Check every entry of a log of the trust root; one that does not hold spoils the others.

    Entries of other logs prove nothing and harm nothing, as long as they can be read.
    """
    entries = material.extras.entries
    if len({(entry.log_id, entry.index) for entry in entries}) < len(entries):
        return Failure(Reason.LOG_NOT_PROVEN, "one log entry is there twice")
    known = [(entry, log) for entry in entries if (log := log_of(root.logs, entry.log_id))]
    for entry, log in known:
        if failure := _prove_entry(entry, log, material.signed, proven):
            return failure
    if demands.log and not known:
        return _no_entry(entries, material.signed)
    return next((body for one in entries if one.kind and isinstance(body := read_body(one), Failure)), None)


def _no_entry(entries: Sequence[LogEntry], signed: Signed) -> Failure:
    if not entries:
        setting = NO_LOG if isinstance(signed.verifier, bytes) else NO_LOG_OF_A_KEY
        return Failure(Reason.LOG_NOT_PROVEN, f"there is no entry of a transparency log; {setting} does without")
    return Failure(Reason.LOG_NOT_PROVEN, f"log {entries[0].log_id.hex():.16}... is not in the trust root")


def _prove_entry(entry: LogEntry, log: TransparencyLog, signed: Signed, proven: Proven) -> Failure | None:
    # 1. Something of it can be proven.
    if entry.promise is None and entry.proof is None:
        return Failure(Reason.LOG_NOT_PROVEN, "the log entry has neither a promise nor a proof")
    # 2. It is about this signature.
    if failure := check_binding(entry, signed):
        return failure
    # 3. It is in the log, where there is a proof. A promise covers the number of the entry, which in Rekor 1 counts all
    #    its trees; a proof alone covers its own.
    if entry.proof is not None and (failure := check_inclusion(log, entry.proof, entry.body)):
        return failure
    if entry.proof is not None and _proven_index(entry) is None and not is_sharded(entry.proof):
        return Failure(Reason.LOG_NOT_PROVEN, "the log entry states another number than its proof")
    # 4. The log promised to take it in, and when, where there is a promise. Only a promise covers the time; beside a
    #    mere proof anybody can write one (CVE-2024-55655).
    if entry.promise is not None:
        moment = check_promise(log, entry.promise, entry.body, entry.integrated_time or 0, entry.index)
        if isinstance(moment, Failure):
            return moment
        proven.times.append(Time(moment, f"log {log.origin}"))
        proven.log_indexes.append(entry.index)
    return None


def _proven_index(entry: LogEntry) -> int | None:
    """Return the entry's number where a promise or a proof covers it."""
    covered = entry.promise is not None or (entry.proof is not None and entry.proof.index == entry.index)
    return entry.index if covered else None


def _prove_timestamps(material: Material, root: TrustRoot, demands: Demands, proven: Proven) -> Failure | None:
    """Check every timestamp by an authority of the trust root; one that does not hold spoils the others.

    Those by others prove nothing and harm nothing, as long as they can be read.
    """
    times: dict[datetime, None] = {}
    unknown: Failure | None = None
    for token in material.extras.timestamps:
        found = _timestamp(token, material.extras.timestamped, root)
        if isinstance(found, UnknownAuthority):
            unknown = found
        elif isinstance(found, Failure):
            return found
        else:
            times[found] = None
    proven.times += [Time(moment, "timestamp authority") for moment in times]
    if demands.timestamp and not times:
        return unknown or Failure(Reason.TIME_NOT_PROVEN, "there is no timestamp by an authority of the trust root")
    return None


def _no_time(extras: Extras) -> Failure:
    # All timestamps are by unknown authorities: else there were a time, or a failure.
    why = "; the timestamp is not by an authority of the trust root" if extras.timestamps else ""
    return Failure(Reason.TIME_NOT_PROVEN, f"neither the log nor a timestamp proves when it was signed{why}")


def _timestamp(token: bytes, contents: Sequence[bytes], root: TrustRoot) -> datetime | Failure:
    found: datetime | Failure = Failure(Reason.TIME_NOT_PROVEN, "there is nothing that a timestamp could be of")
    for content in contents:
        found = timestamp(token, content, root.timestamp_authorities)
        if isinstance(found, UnknownAuthority) or not isinstance(found, Failure):
            return found
    return found


def _check_log_windows(
    entries: Sequence[LogEntry], root: TrustRoot, moments: Sequence[datetime], proven: Proven
) -> Failure | None:
    """Check that each log's key was in use when the signature was made, also where the entry itself has no time."""
    for entry in entries:
        log = log_of(root.logs, entry.log_id)
        if log is None:
            continue  # proves nothing
        if flaw := next((flaw for moment in moments if (flaw := check_window(log, moment))), None):
            return flaw
        if (index := _proven_index(entry)) is not None:
            proven.log_indexes.append(index)
    return None


def signed_by(key: PublicKey, signed: Signed, hashing: str | None = None) -> bool:
    """Return whether this key made the signature over this content, with this hash or a usual one of its kind."""
    content = signed.content
    if isinstance(content, Digest):
        return key.verify_digest(signed.signature, content.algorithm, bytes.fromhex(content.hex), hashing)
    return key.verify(signed.signature, content.signed if isinstance(content, Envelope) else content, hashing)


def other_hash(key: PublicKey, signed: Signed) -> str | None:
    """Name the unusual hash with which this key made the signature over this content after all, or None."""
    names = (one for one in HASHES if signed_by(key, signed, one))
    return next(names, None) if key.is_rsa else None
