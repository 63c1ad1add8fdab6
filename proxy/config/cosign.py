"""The kinds of signers that sign with cosign or another client of Sigstore: a key, an identity, three presets."""

import re
from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from proxy.config.attestations import AttestationTable
from proxy.config.files import read_file
from proxy.config.schema import RelativePath
from proxy.config.signers import BuiltSigner, Kinds, SignerTable
from proxy.config.wording import at_most_one, exactly_one
from proxy.crypto.keys import PEM_BYTES_MAX, PublicKey
from proxy.crypto.window import Window
from proxy.formats.cosign.discover import CosignDiscovery
from proxy.formats.cosign.identity import CLAIM_NAMES, WantedIdentity
from proxy.formats.cosign.patterns import Exact, Pattern, Wording
from proxy.formats.cosign.proof import Demands
from proxy.formats.cosign.signer import SHOWN_FINGERPRINT, CosignSigner
from proxy.formats.cosign.trust_root import NO_TRUST_ROOT, TrustRoot
from proxy.formats.cosign.verify import Wanted, WantedKey
from proxy.oci.errors import MalformedError
from proxy.oci.reference import Repository
from proxy.stores.trust import PUBLIC_GOOD

_GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
_GOOGLE_ISSUER = "https://accounts.google.com"
# A workflow of the same repository by its file, or of another one by its whole path (a reusable workflow).
_WORKFLOW_FILE = re.compile(r"[^/@\s]+\.ya?ml")
_WORKFLOW_PATH = re.compile(r"[^/@\s]+/[^/@\s]+/\.github/workflows/[^/@\s]+\.ya?ml")
_EMAIL = re.compile(r"[^@\s*]+@[^@\s*]+")
_REPOSITORY = re.compile(r"[A-Za-z0-9-]+/(?!.*\.git$)[A-Za-z0-9._-]+")
_SERVER = re.compile(r"https?://[^/@\s]+(?:/[^/@\s]+)*")
# What may stand before `sha256-<hex>.sig` in a tag of at most 128 characters (distribution-spec, "Pulling manifests").
_TAG_PREFIX = re.compile(r"(?:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,52})?", re.ASCII)
_PROJECT = re.compile(r"[^/@\s]+(?:/[^/@\s]+)+")


class CosignTable(SignerTable):
    """What all of them have: where to look, what must be signed, and what must be proven."""

    annotations: dict[str, str] = Field(default_factory=dict)
    signature_repository: str | None = None
    signature_tag_prefix: str = ""
    trust_root: str | None = None
    require_timestamp: bool = False
    attestation: AttestationTable | None = None

    def build(self, name: str, roots: Mapping[str, TrustRoot]) -> BuiltSigner:
        """Make the signer from what its kind wants, and from its trust root if it needs one."""
        who, demands, root_name = self._who(), self._demands(), self._root_name()
        if root_name is not None and root_name not in roots:
            raise MalformedError(f"trust root {root_name!r} is not defined; add [trust_roots.{root_name}]")
        repository = Repository.parse(self.signature_repository) if self.signature_repository is not None else None
        attestation = self.attestation.build() if self.attestation is not None else None
        if attestation is not None and self.annotations:
            raise MalformedError("annotations are signed with signatures, not with attestations; leave one out")
        root = roots[root_name] if root_name is not None else NO_TRUST_ROOT
        wanted = Wanted(who, root, demands, tuple(sorted(self.annotations.items())), attestation)
        if not _TAG_PREFIX.fullmatch(self.signature_tag_prefix):
            raise MalformedError(f"signature_tag_prefix {self.signature_tag_prefix!r} does not fit before a tag")
        discovery = CosignDiscovery(repository, self.signature_tag_prefix, attestations=attestation is not None)
        return BuiltSigner(
            CosignSigner(name, wanted, discovery),
            # A key is the same whenever it was in use.
            identity=repr((who.key if isinstance(who, WantedKey) else who, attestation)),
            who=_described(wanted),
            reads=(repository,) if repository else (),
            trust_root=root_name,
            relaxations=self._relaxations(),
        )

    @abstractmethod
    def _who(self) -> WantedKey | WantedIdentity: ...

    @abstractmethod
    def _demands(self) -> Demands: ...

    @abstractmethod
    def _root_name(self) -> str | None: ...

    def _relaxations(self) -> tuple[str, ...]:
        return ()


def _moment(value: object) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("should be a date and time with zone; as in 2026-12-31T00:00:00Z, without quotes")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is a time that no calendar has") from None


Moment = Annotated[datetime, PlainValidator(_moment)]


class CosignKey(CosignTable):
    """type = "cosign-key": whoever holds this key and signs with cosign."""

    key_file: RelativePath | None = None
    key: str | None = None
    hash: Literal["sha256", "sha384", "sha512"] | None = None
    require_log: bool = False
    valid_from: Moment | None = None
    valid_until: Moment | None = None

    def _who(self) -> WantedKey:
        window = None
        if self.valid_from is not None or self.valid_until is not None:
            window = Window(self.valid_from or datetime.min.replace(tzinfo=UTC), self.valid_until)
            if self.valid_until is not None and self.valid_until < window.start:
                raise MalformedError("valid_until is before valid_from, so that nothing counts; swap them")
        key = self._key()
        if self.hash is not None and key.is_ed25519:
            raise MalformedError("hash is for ECDSA and RSA keys, and this is an Ed25519 key; leave it out")
        return WantedKey(key, window, self.hash)

    def _key(self) -> PublicKey:
        if (self.key_file is None) == (self.key is None):
            raise MalformedError("needs either key_file or key; cosign public-key --key KEY prints the public key")
        pem = self.key.encode() if self.key is not None else b""
        if self.key_file is not None:
            pem = read_file(self.key_file, PEM_BYTES_MAX)
        try:
            return PublicKey.parse(pem)
        except MalformedError as err:
            raise MalformedError(f"{self.key_file or 'key'}: {err}") from None

    def _demands(self) -> Demands:
        return Demands(self.require_log, self.require_timestamp, certificate_log=False)

    def _root_name(self) -> str | None:
        needed = self.require_log or self.require_timestamp
        return self.trust_root or (PUBLIC_GOOD if needed else None)


class KeylessTable(CosignTable):
    """What all identities have: claims of the certificate, and which proofs are done without."""

    claims: dict[str, str] = Field(default_factory=dict)
    claim_patterns: dict[str, str] = Field(default_factory=dict)
    insecure_no_log: bool = False
    insecure_no_certificate_log: bool = False
    insecure_allow_certificate_chain: bool = False

    def _demands(self) -> Demands:
        return Demands(
            not self.insecure_no_log,
            self.require_timestamp,
            not self.insecure_no_certificate_log,
            not self.insecure_allow_certificate_chain,
        )

    def _root_name(self) -> str:
        return self.trust_root or PUBLIC_GOOD

    def _relaxations(self) -> tuple[str, ...]:
        named = {
            "insecure_no_log": self.insecure_no_log,
            "insecure_no_certificate_log": self.insecure_no_certificate_log,
            "insecure_allow_certificate_chain": self.insecure_allow_certificate_chain,
        }
        return tuple(f"{name} = true" for name, used in named.items() if used)

    def _claims(self, own: Mapping[str, Wording | None]) -> tuple[tuple[str, Wording], ...]:
        """Return the claims that are wanted, those of a preset first."""
        wanted: dict[str, Wording] = {name: wording for name, wording in own.items() if wording is not None}
        for name, text in (*self.claims.items(), *self.claim_patterns.items()):
            if name not in CLAIM_NAMES:
                raise MalformedError(f"{name!r} is no claim of a certificate; claims: {', '.join(sorted(CLAIM_NAMES))}")
            if name in wanted:
                raise MalformedError(f"claim {name} is wanted twice; write it once")
            wanted[name] = Exact(text) if name in self.claims else Pattern.parse(text)
        return tuple(wanted.items())


class CosignKeyless(KeylessTable):
    """type = "cosign-keyless": an identity that a certificate of the trust root names."""

    issuer: str | None = None
    issuer_pattern: str | None = None
    subject: str | None = None
    subject_pattern: str | None = None

    def _who(self) -> WantedIdentity:
        return WantedIdentity(
            exactly_one("issuer", self.issuer, self.issuer_pattern),
            exactly_one("subject", self.subject, self.subject_pattern),
            self._claims({}),
        )


class GithubActions(KeylessTable):
    """type = "github-actions": a workflow of a repository on GitHub."""

    repository: str
    workflow: str | None = None
    ref: str | None = None
    ref_pattern: str | None = None
    server: str = "https://github.com"
    issuer: str = _GITHUB_ISSUER

    def _who(self) -> WantedIdentity:
        if not _REPOSITORY.fullmatch(self.repository):
            raise MalformedError(
                f"repository {self.repository!r} is not of the form owner/name; without https://, .git and *"
            )
        home = f"{_checked_server(self.server)}/{self.repository}"
        claims = {
            "source_repository_uri": Exact(home),
            "source_repository_ref": at_most_one("ref", self.ref, self.ref_pattern),
        }
        return WantedIdentity(Exact(self.issuer), self._subject(home), self._claims(claims))

    def _subject(self, home: str) -> Wording:
        """Name the workflow as GitHub does: `<repository>/.github/workflows/<file>@<ref>`."""
        workflow = self.workflow
        if workflow is None:
            return Pattern.parse(re.escape(f"{home}/.github/workflows/") + r"[^/@]+@.+")
        if _WORKFLOW_PATH.fullmatch(workflow):
            # It has its own refs; those of the repository that uses it are in the claims.
            return Pattern.parse(re.escape(f"{self.server}/{workflow}@") + r".+")
        if not _WORKFLOW_FILE.fullmatch(workflow):
            raise MalformedError(
                f"workflow {workflow!r} is neither a file (release.yml) nor a path "
                "(owner/name/.github/workflows/x.yml); a file in .github/workflows is written without these folders"
            )
        file = f"{home}/.github/workflows/{workflow}@"
        return Exact(file + self.ref) if self.ref is not None else Pattern.parse(re.escape(file) + r".+")


class GitlabCi(KeylessTable):
    """type = "gitlab-ci": a pipeline of a project on GitLab."""

    project: str
    pipeline: str = ".gitlab-ci.yml"
    ref: str | None = None
    ref_pattern: str | None = None
    server: str = "https://gitlab.com"

    def _who(self) -> WantedIdentity:
        if not _PROJECT.fullmatch(self.project):
            raise MalformedError(f"project {self.project!r} is not of the form group/name; without https:// and host")
        home = f"{_checked_server(self.server)}/{self.project}"
        claims = {
            "source_repository_uri": Exact(home),
            "source_repository_ref": at_most_one("ref", self.ref, self.ref_pattern),
        }
        # Two slashes: GitLab's ci_config_ref_uri, which Fulcio takes over (fulcio, docs/oidc.md).
        file = f"{home}//{self.pipeline}@"
        subject = Exact(file + self.ref) if self.ref is not None else Pattern.parse(re.escape(file) + r".+")
        return WantedIdentity(Exact(self.server), subject, self._claims(claims))


class Google(KeylessTable):
    """type = "google": a person or a service account, by e-mail."""

    email: str

    def _who(self) -> WantedIdentity:
        if not _EMAIL.fullmatch(self.email):
            raise MalformedError(
                f"email {self.email!r} is no address; patterns are for type cosign-keyless with subject_pattern"
            )
        return WantedIdentity(Exact(_GOOGLE_ISSUER), Exact(self.email), self._claims({}))


def _checked_server(url: str) -> str:
    # With a slash behind it, no certificate's text would ever be the same.
    if not _SERVER.fullmatch(url):
        raise MalformedError(f"server {url!r} is not of the form https://host")
    return url


def _described(wanted: Wanted) -> tuple[str, ...]:
    match wanted.who:
        case WantedKey(key, _, hashing):
            signs = f", signing with {hashing}" if hashing is not None else ""
            who = [f"{key.describe()} key sha256:{key.fingerprint[:SHOWN_FINGERPRINT]}{signs}"]
        case WantedIdentity(issuer, subject, claims):
            who = [_worded(subject), f"by {_worded(issuer)}", *(f"{name} {_worded(text)}" for name, text in claims)]
    return (*who, f"attests {wanted.attestation.predicate_type}") if wanted.attestation is not None else tuple(who)


def _worded(wording: Wording) -> str:
    return wording.text if isinstance(wording, Exact) else f"/{wording.text}/"


COSIGN_KINDS: Kinds = {
    "cosign-key": CosignKey,
    "cosign-keyless": CosignKeyless,
    "github-actions": GithubActions,
    "gitlab-ci": GitlabCi,
    "google": Google,
}
