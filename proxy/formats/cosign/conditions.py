"""What a policy asks of an attestation: its type, and conditions on what it says.

All of it is checked after the signature: until then an attestation is a stranger's words.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from proxy.formats.cosign.cel import CelCondition
from proxy.formats.cosign.dsse import Statement
from proxy.formats.cosign.patterns import Exact, Wording
from proxy.formats.cosign.predicates import Facts, Source, content, form_of, moment
from proxy.oci.errors import MalformedError
from proxy.verdict import Failure, Reason

# How far the clocks of builders and scanners may be ahead of ours: as Kerberos allows (RFC 4120, 8.2).
CLOCK_SKEW = timedelta(minutes=5)
# The facts that a `Stated` can ask for; `made_at` is for `MaxAge`.
STATED = frozenset({"author", "build_type", "builder", "scanner", "source", "source_ref"})

Claims = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Stated:
    """A fact by its name, one of `STATED`; all that the predicate states under it must be what is wanted.

    A `source` is compared without the ways to spell a repository's URL: `git+`, `.git`, a ref behind it, a host in
    capitals. Raises MalformedError for an unknown name, and for an exact source that names a ref.
    """

    name: str
    wanted: Wording

    def __post_init__(self) -> None:
        if self.name not in STATED:
            raise MalformedError(f"{self.name!a:.40} is no fact of an attestation; facts: {', '.join(sorted(STATED))}")
        if self.name == "source" and isinstance(self.wanted, Exact):
            source = Source.parse(self.wanted.text)
            if source.ref is not None:
                raise MalformedError(f"source {self.wanted.text!a:.120} names a ref; that is what source_ref is for")
            object.__setattr__(self, "wanted", Exact(source.repository))

    def check(self, facts: Facts) -> Claims | Failure:
        """Return what is stated, or why that is not what is wanted."""
        stated = facts[self.name]
        if not stated:
            return _not_met(f"the attestation states no {self.name}")
        for text in stated:
            if not self.wanted.matches(text):
                return _not_met(f"the attestation's {self.name} is {text!a:.120}, which is not the one that is wanted")
        return tuple((self.name, text) for text in dict.fromkeys(stated))


@dataclass(frozen=True, slots=True)
class MaxAge:
    """How long ago the scan, build or document may have been finished, by what the predicate itself says."""

    limit: timedelta

    def check(self, facts: Facts, now: datetime) -> Claims | Failure:
        """Return when that was, or why it does not count. `now` has a zone."""
        stated = facts["made_at"]
        made = moment(stated[0]) if stated else None
        if made is None:
            return _not_met("the attestation does not say, with a zone, when what it is about was made")
        age = now - made
        if age > self.limit:
            return _not_met(f"what is attested was made at {stated[0]!a:.40}, more than {self.limit} ago")
        if age < -CLOCK_SKEW:
            return _not_met(f"what is attested was made at {stated[0]!a:.40}, which is in the future")
        return (("made_at", stated[0]),)


Condition = Stated | MaxAge | CelCondition


@dataclass(frozen=True, slots=True)
class WantedPredicate:
    """An attestation that a policy wants: exactly this predicate type, and all conditions.

    A predicate of a known type must also be what it is called: an SBOM, a scan, a provenance with its builder. Raises
    MalformedError for conditions on facts that predicates of this type do not have. Its representation holds
    everything that a finding depends on.
    """

    predicate_type: str
    conditions: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        form = form_of(self.predicate_type)
        known = form.facts if form else frozenset()
        for condition in self.conditions:
            match condition:
                case Stated(name=name) if name not in known:
                    raise MalformedError(f"an attestation of type {self.predicate_type} has no {name} that is known")
                case MaxAge() if "made_at" not in known:
                    raise MalformedError(f"an attestation of type {self.predicate_type} has no time that is known")

    def check(self, statement: Statement, now: datetime) -> Claims | Failure:
        """Return the type and the facts that were asked for, or what is not as it should be."""
        # 1. It is of the wanted type, to the letter.
        if statement.predicate_type != self.predicate_type:
            return _not_met(f"an attestation of type {statement.predicate_type!a:.80}, and another one is wanted")
        # 2. It is what its type says.
        form = form_of(self.predicate_type)
        try:
            facts = form.read(content(statement)) if form else {}
        except MalformedError as err:
            return _not_met(str(err))
        # 3. It says what is wanted.
        claims: Claims = (("predicate_type", self.predicate_type),)
        for condition in self.conditions:
            outcome = _outcome(condition, statement, facts, now)
            if isinstance(outcome, Failure):
                return outcome
            claims += outcome
        return claims


def _outcome(condition: Condition, statement: Statement, facts: Facts, now: datetime) -> Claims | Failure:
    if isinstance(condition, Stated):
        return condition.check(facts)
    if isinstance(condition, MaxAge):
        return condition.check(facts, now)
    return condition.check(statement, now) or ()


def _not_met(detail: str) -> Failure:
    return Failure(Reason.CONDITION_NOT_MET, detail)
