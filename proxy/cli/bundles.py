"""`sealgate verify-bundle`: a Sigstore bundle beside a file, checked as Sigstore's conformance suite asks for it.

Source: sigstore-conformance, docs/cli_protocol.md.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from proxy.cli.clients import InputError
from proxy.cli.examined import proven
from proxy.cli.render import grid, verdict
from proxy.crypto.keys import HASHES, PEM_BYTES_MAX, PublicKey
from proxy.formats.cosign.files import FILE_HASHES, File, check_file
from proxy.formats.cosign.identity import WantedIdentity
from proxy.formats.cosign.patterns import Exact
from proxy.formats.cosign.proof import Demands, Proven
from proxy.formats.cosign.trust_root import TrustRoot
from proxy.formats.cosign.verify import Wanted, WantedKey
from proxy.oci.artifacts import ARTIFACT_BYTES_MAX
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
from proxy.stores.trust import PUBLIC_GOOD, read_root, shipped_repositories
from proxy.verdict import Failure, Reason

# As much as one signature in a registry may have.
BUNDLE_BYTES_MAX = ARTIFACT_BYTES_MAX
# Ed25519, P-384 and P-521 sign more than a SHA-256, so the file itself is needed, and in memory; larger ones, such as
# images of disks, go by their digest. No limit on those but time.
CONTENT_BYTES_MAX = 512 * 1024 * 1024
_AT_ONCE = 1024 * 1024
# Settings of a signer as refusals name them, and this command's options for them.
_SETTINGS = (
    (re.compile(r'\bhash = "([a-z0-9]+)"'), r"--hash \1"),
    (re.compile(r"\brequire_log = false"), "--insecure-no-log"),
    (re.compile(r"\binsecure_no_log\b"), "--insecure-no-log"),
    (re.compile(r"\binsecure_no_certificate_log\b"), "--insecure-no-certificate-log"),
    (re.compile(r"\binsecure_allow_certificate_chain\b"), "--insecure-allow-certificate-chain"),
)
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)
# What a signature over more than a SHA-256 fails with where that is all that is known.
_ABOUT_CONTENT = frozenset({Reason.BAD_SIGNATURE, Reason.LOG_NOT_PROVEN, Reason.UNTRUSTED_SIGNER})


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of one bundle. `failure` is None where it was accepted; `proven` holds either way."""

    bundle: Path
    file: File
    failure: Failure | None
    proven: tuple[tuple[str, str], ...]

    @property
    def verdict(self) -> str:
        """Return the one word for it."""
        return "accepted" if self.failure is None else "refused"

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints. The members are public; add, do not rename."""
        failure = self.failure
        return {
            "bundle": str(self.bundle),
            "digest": str(self.file.digest),
            "verdict": self.verdict,
            "rejection": {"reason": failure.reason.value, "detail": failure.detail} if failure else None,
            "proven": [list(pair) for pair in self.proven],
        }

    def shown(self) -> Iterator[RenderableType]:
        """Write it for people."""
        failure = self.failure
        yield grid(
            [
                ("bundle", str(self.bundle)),
                ("file", str(self.file.digest)),
                ("verdict", verdict(self.verdict)),
                *([("because", f"{failure.detail} ({failure.reason})")] if failure else []),
                *proven(self.proven),
            ]
        )

    @property
    def may_need_content(self) -> bool:
        """Say whether the file could have changed the outcome, of which only the digest was known."""
        return (
            self.file.content is None
            and self.failure is not None
            and self.failure.reason in _ABOUT_CONTENT
            and not any(name == "subject" for name, _ in self.proven)
        )


@dataclass(frozen=True, slots=True)
class Signer:
    """The expected signer from the command line: a key's file, or an identity with its issuer.

    `hashing` is the one hash that the key signs with, None the usual ones of its kind.
    """

    identity: str | None
    issuer: str | None
    key: Path | None
    hashing: str | None = None

    def read(self) -> WantedKey | WantedIdentity:
        """Return who that is. Raises InputError where it is neither or both, or the key is none; OSError."""
        if self.key is not None and self.identity is None and self.issuer is None:
            return WantedKey(_read_key(self.key), hashing=self._hashing())
        if self.key is None and self.hashing is None and self.identity is not None and self.issuer is not None:
            return WantedIdentity(issuer=Exact(self.issuer), subject=Exact(self.identity))
        raise InputError(
            "who is to have signed is not said, or in two ways",
            "give --certificate-identity with --certificate-oidc-issuer, or --key",
        )

    def _hashing(self) -> str | None:
        if self.hashing is not None and self.hashing not in HASHES:
            raise InputError(f"--hash {self.hashing!a:.40} is not known", f"hashes: {', '.join(HASHES)}")
        return self.hashing


def check(  # noqa: PLR0913, PLR0917 (a bundle, and all that decides on it)
    bundle: Path, signer: Signer, root: TrustRoot, what: str, now: datetime, demands: Demands
) -> Checked:
    """Check a bundle against a file, or a digest of it in its place.

    Of an identity every timestamp that is there must hold. Raises InputError and OSError for what cannot be used.
    """
    wanted = Wanted(signer.read(), root, demands)
    file = read_file(what)
    with bundle.open("rb") as opened:
        document = opened.read(BUNDLE_BYTES_MAX + 1)
    if len(document) > BUNDLE_BYTES_MAX:
        failure = Failure(Reason.OVER_LIMIT, f"the bundle is longer than {BUNDLE_BYTES_MAX} bytes")
        return Checked(bundle, file, failure, ())
    known = Proven()
    found = check_file(wanted, document, file, now, known)
    return Checked(bundle, file, replace(found, detail=_with_options(found.detail)) if found else None, known.facts())


def _with_options(detail: str) -> str:
    """Name this command's options where a detail names the settings of a signer."""
    for setting, option in _SETTINGS:
        detail = setting.sub(option, detail)
    return detail


def trust_root(path: Path | None, *, staging: bool) -> TrustRoot:
    """Read the trust root that is named, or the shipped one of the public-good instance.

    Raises InputError where there is none or it cannot be read, OSError.
    """
    if path is not None:
        try:
            return read_root(path).root
        except MalformedError as err:
            raise InputError(str(err), "--trusted-root takes a trusted_root.json") from err
    shipped = None if staging else shipped_repositories()[PUBLIC_GOOD].shipped
    if shipped is None:
        raise InputError(
            "no trust root of Sigstore's staging instance is shipped", "--trusted-root FILE names its trusted_root.json"
        )
    return TrustRoot.parse(shipped.document)


def read_file(what: str) -> File:
    """Read a file, or its digest where no file has that name: `sha256:<hex>`, `sha384:`, `sha512:`.

    Raises InputError, OSError.
    """
    path = Path(what)
    algorithm, colon, digits = what.partition(":")
    if colon and algorithm in FILE_HASHES and not path.exists():
        length = hashlib.new(algorithm).digest_size * 2
        if len(digits) != length or not _HEX.fullmatch(digits):
            problem = f"digest {what!a:.80} does not have {length} lower-case hex digits"
            raise InputError(problem, f"give the file, or the {algorithm}:<{length} hex digits> of it")
        return File(Digest(algorithm, digits))
    with path.open("rb") as opened:
        content = opened.read(CONTENT_BYTES_MAX)
        hashers = [hashlib.new(one, content) for one in FILE_HASHES]
        rest = False
        while chunk := opened.read(_AT_ONCE):
            rest = True
            for one in hashers:
                one.update(chunk)
    digest, *others = (Digest(one.name, one.hexdigest()) for one in hashers)
    return File(digest, None if rest else content, tuple(others))


def _read_key(path: Path) -> PublicKey:
    with path.open("rb") as opened:
        pem = opened.read(PEM_BYTES_MAX + 1)
    try:
        return PublicKey.parse(pem)
    except MalformedError as err:
        raise InputError(f"{path}: {err}", "--key takes the signer's public key, PEM") from err
