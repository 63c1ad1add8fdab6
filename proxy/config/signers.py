"""[signers.NAME]: each kind of signer with its keys. A new format is one module and a line in `kinds`."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.config.mistakes import Mistake, did_you_mean, key_path, read_table
from proxy.config.schema import Table
from proxy.formats.api import Requirement
from proxy.formats.cosign.trust_root import TrustRoot
from proxy.oci.errors import MalformedError
from proxy.oci.reference import Repository
from proxy.policy.expression import check_name


@dataclass(frozen=True, slots=True)
class BuiltSigner:
    """A signer, and what the rest of the configuration must know of it.

    `who` says for people, in lines, whose signature counts, or whose attestation of what. `identity` makes it the same
    as another of another name. `reads` are the repositories it reads signatures from, `trust_root` is the name of the
    one it relies on, `relaxations` are its insecure settings as they are written.
    """

    requirement: Requirement
    identity: str
    who: tuple[str, ...]
    reads: tuple[Repository, ...] = ()
    trust_root: str | None = None
    relaxations: tuple[str, ...] = ()


class SignerTable(Table):
    """What every kind has."""

    type: str

    @abstractmethod
    def build(self, name: str, roots: Mapping[str, TrustRoot]) -> BuiltSigner:
        """Make the signer; raises MalformedError, whose text may name a fix after `; `."""


Kinds = Mapping[str, type[SignerTable]]


def read_signers(
    tables: Mapping[str, Mapping[str, Any]],
    kinds: Kinds,
    roots: Mapping[str, TrustRoot],
    folder: Path,
    mistakes: list[Mistake],
) -> dict[str, BuiltSigner | None]:
    """Read every signer; None stands for one that is defined, but wrongly."""
    return {name: _read_signer(name, table, kinds, roots, folder, mistakes) for name, table in tables.items()}


def _read_signer(  # noqa: PLR0913, PLR0917 (one table, what it may be, what it may name, and where mistakes go)
    name: str,
    table: Mapping[str, Any],
    kinds: Kinds,
    roots: Mapping[str, TrustRoot],
    folder: Path,
    mistakes: list[Mistake],
) -> BuiltSigner | None:
    where: Sequence[str] = ("signers", name)
    kind = table.get("type")
    model = kinds.get(kind) if isinstance(kind, str) else None
    if model is None:
        what = f"{kind!r} is no kind of signer" if "type" in table else "is missing"
        mistakes.append(Mistake(key_path(*where, "type"), what, did_you_mean(str(kind), kinds, "kinds")))
        return None
    read = read_table(model, table, where, folder, mistakes)
    try:
        check_name(name)
        return read.build(name, roots) if read else None
    except MalformedError as err:
        what, _, hint = str(err).partition("; ")
        mistakes.append(Mistake(key_path(*where), what, hint))
        return None
