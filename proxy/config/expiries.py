"""The expiry of certificates, keys and trust roots of a configuration: for a metric, and for warnings ahead of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.x509 import Certificate, load_pem_x509_certificates

from proxy.config.mistakes import key_path
from proxy.config.trust_roots import KnownRoot
from proxy.crypto.window import Window
from proxy.formats.api import Requirement
from proxy.formats.cosign.signer import CosignSigner
from proxy.formats.cosign.trust_root import TrustRoot
from proxy.formats.cosign.verify import WantedKey
from proxy.policy.plain import moment

# After two thirds of the lifetime of a certificate of 90 days, when it should have been renewed automatically.
WARNED_BEFORE = timedelta(days=30)
TLS, KEY, TRUST_ROOT = "tls", "key", "trust_root"
_AFTERWARDS = {
    TLS: "clients refuse it from then on; renew it, and reload",
    KEY: "signatures without a proven time do not count from then on; add the next key as a signer",
    TRUST_ROOT: "something that its signers need cannot be proven from then on; refresh it, or replace its file",
}


@dataclass(frozen=True, slots=True)
class Expiry:
    """The end of a certificate, a key or a trust root; `kind` and `name` are labels of a metric, `where` its key."""

    kind: str
    name: str
    where: str
    at: datetime


def expiries(
    certificate: Path | None, signers: Mapping[str, Requirement], roots: Mapping[str, KnownRoot]
) -> Iterator[Expiry]:
    """Return the end of everything that has one, as far as it can be read; what cannot is a mistake elsewhere."""
    if certificate is not None and (ends := [one.not_valid_after_utc for one in _certificates(certificate)]):
        yield Expiry(TLS, "server", "server.tls_certificate", min(ends))
    for name, signer in signers.items():
        who = signer.wanted.who if isinstance(signer, CosignSigner) else None
        if isinstance(who, WantedKey) and who.window is not None and who.window.end is not None:
            yield Expiry(KEY, name, f"{key_path('signers', name)}.valid_until", who.window.end)
    for name, known in roots.items():
        end = root_end(known.root)
        if end is not None:
            yield Expiry(TRUST_ROOT, name, key_path("trust_roots", name), end)


def root_end(root: TrustRoot) -> datetime | None:
    """Return from when on the last log or the last authority of some kind has ended; None where none does."""
    authorities = (root.certificate_authorities, root.timestamp_authorities)
    kinds = [[_end(one.window) for one in logs] for logs in (root.logs, root.certificate_logs)]
    kinds += [[_end(one.window, one.chain) for one in kind] for kind in authorities]
    lasts = [
        max(known) for ends in kinds if (known := [end for end in ends if end is not None]) and len(known) == len(ends)
    ]
    return min(lasts, default=None)


def expiry_warnings(found: Sequence[Expiry], now: datetime) -> list[str]:
    """Return what has expired or will within WARNED_BEFORE."""
    return [_warning(one, now) for one in found if one.at - now <= WARNED_BEFORE]


def _warning(one: Expiry, now: datetime) -> str:
    when = (
        f"expired at {moment(one.at)}"
        if one.at < now
        else f"expires at {moment(one.at)}, in {(one.at - now).days} days"
    )
    return f"{one.where}: {when}: {_AFTERWARDS[one.kind]}"


def _certificates(path: Path) -> list[Certificate]:
    with suppress(OSError, ValueError, UserWarning):
        return load_pem_x509_certificates(path.read_bytes())
    return []


def _end(window: Window, chain: Iterable[Certificate] = ()) -> datetime | None:
    ends = [one.not_valid_after_utc for one in chain]
    return min([*ends, *([window.end] if window.end is not None else [])], default=None)
