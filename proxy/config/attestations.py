"""[signers.NAME.attestation]: what a signer must have attested, where a signature is not what is wanted."""

from pydantic import Field

from proxy.config.schema import Duration, Table
from proxy.config.wording import at_most_one
from proxy.formats.cosign.cel import CelCondition
from proxy.formats.cosign.conditions import Condition, MaxAge, Stated, WantedPredicate
from proxy.formats.cosign.predicates import predicate_type


class AttestationTable(Table):
    """One predicate type, and conditions that must all be met."""

    predicate: str
    builder: str | None = None
    builder_pattern: str | None = None
    build_type: str | None = None
    source: str | None = None
    source_ref: str | None = None
    source_ref_pattern: str | None = None
    scanner: str | None = None
    author: str | None = None
    max_age: Duration | None = None
    conditions: list[str] = Field(default_factory=list)

    def build(self) -> WantedPredicate:
        """Make what is asked of an attestation; raises MalformedError."""
        wanted = {
            "builder": at_most_one("builder", self.builder, self.builder_pattern),
            "build_type": at_most_one("build_type", self.build_type, None),
            "source": at_most_one("source", self.source, None),
            "source_ref": at_most_one("source_ref", self.source_ref, self.source_ref_pattern),
            "scanner": at_most_one("scanner", self.scanner, None),
            "author": at_most_one("author", self.author, None),
        }
        stated: list[Condition] = [Stated(name, wording) for name, wording in wanted.items() if wording is not None]
        age: list[Condition] = [MaxAge(self.max_age)] if self.max_age is not None else []
        free: list[Condition] = [CelCondition(text) for text in self.conditions]
        return WantedPredicate(predicate_type(self.predicate), (*stated, *age, *free))
