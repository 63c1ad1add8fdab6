"""[signers.NAME]: each kind of signer with its keys. A new format is one class and one line in `KINDS`."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from proxy.config.mistakes import Mistake, did_you_mean, key_path, read_table
from proxy.config.schema import RelativePath, Table
from proxy.crypto.keys import PEM_BYTES_MAX, PublicKey
from proxy.formats.api import Requirement
from proxy.formats.cosign.signer import CosignKeySigner
from proxy.oci.errors import MalformedError
from proxy.oci.reference import Repository
from proxy.policy.expression import check_name


@dataclass(frozen=True, slots=True)
class BuiltSigner:
    """A signer, what makes it the same as another of another name, and the repositories it reads signatures from."""

    requirement: Requirement
    identity: str
    reads: tuple[Repository, ...] = ()


class SignerTable(Table):
    """What every kind has."""

    type: str

    @abstractmethod
    def build(self, name: str) -> BuiltSigner:
        """Make the signer; raises MalformedError, whose text may name a fix after `; `."""


class CosignKey(SignerTable):
    """type = "cosign-key": whoever holds this key and signs with cosign."""

    key_file: RelativePath | None = None
    key: str | None = None
    annotations: dict[str, str] = Field(default_factory=dict)
    signature_repository: str | None = None

    def build(self, name: str) -> BuiltSigner:
        """Read the key, from the one place that is given."""
        if (self.key_file is None) == (self.key is None):
            raise MalformedError("needs either key_file or key; cosign public-key --key KEY prints the public key")
        pem = self.key.encode() if self.key is not None else b""
        if self.key_file is not None:
            pem = read_file(self.key_file, PEM_BYTES_MAX)
        try:
            key = PublicKey.parse(pem)
        except MalformedError as err:
            raise MalformedError(f"{self.key_file or 'key'}: {err}") from None
        repository = Repository.parse(self.signature_repository) if self.signature_repository is not None else None
        signer = CosignKeySigner(name, key, dict(self.annotations), repository)
        return BuiltSigner(signer, f"cosign-key {key.fingerprint}", (repository,) if repository else ())


KINDS: Mapping[str, type[SignerTable]] = {
    "cosign-key": CosignKey,
}


def read_signers(
    tables: Mapping[str, Mapping[str, Any]], folder: Path, mistakes: list[Mistake]
) -> dict[str, BuiltSigner | None]:
    """Read every signer; None stands for one that is defined, but wrongly."""
    return {name: _read_signer(name, table, folder, mistakes) for name, table in tables.items()}


def _read_signer(name: str, table: Mapping[str, Any], folder: Path, mistakes: list[Mistake]) -> BuiltSigner | None:
    where: Sequence[str] = ("signers", name)
    kind = table.get("type")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        what = f"{kind!r} is no kind of signer" if "type" in table else "is missing"
        mistakes.append(Mistake(key_path(*where, "type"), what, did_you_mean(str(kind), KINDS, "kinds")))
        return None
    read = read_table(model, table, where, folder, mistakes)
    try:
        check_name(name)
        return read.build(name) if read else None
    except MalformedError as err:
        what, _, hint = str(err).partition("; ")
        mistakes.append(Mistake(key_path(*where), what, hint))
        return None


def read_file(path: Path, limit: int) -> bytes:
    """Return a file of at most `limit` bytes; raises MalformedError with the path and the reason."""
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as err:
        raise MalformedError(f"{path}: {(err.strerror or 'cannot be read').lower()}") from None
    if len(content) > limit:
        raise MalformedError(f"{path}: longer than {limit} bytes")
    return content
