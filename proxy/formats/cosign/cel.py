"""Free conditions on attestations, in CEL (cel.dev), evaluated by Google's runtime.

The runtime bounds iterations, 10,000 in one evaluation, but neither time nor memory (docs/decisions/0005-cel.md). So
an expression is taken only if it looks at every byte of the predicate a fixed number of times: see `cel_subset`.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cel_expr_python import cel

from proxy.formats.cosign.cel_subset import check_subset
from proxy.formats.cosign.dsse import Statement
from proxy.formats.cosign.predicates import content
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.oci.strict_json import TOKENS_MAX
from proxy.verdict import Failure, Reason

EXPRESSION_MAX = 2048
# What an expression is given is copied into the runtime: 50 ms for this many bytes (measured).
STATEMENT_BYTES_MAX = 1024 * 1024
_WORDS_SHOWN = 160

_ENVIRONMENT = cel.NewEnv(
    variables={
        "predicate": cel.Type.DYN,
        "content": cel.Type.DYN,
        "predicate_type": cel.Type.STRING,
        "subjects": cel.Type.List(cel.Type.DYN),
        "now": cel.Type.TIMESTAMP,
    }
)
NAMES = frozenset({"predicate", "content", "predicate_type", "subjects", "now"})


@dataclass(frozen=True, slots=True)
class CelCondition:
    """An expression that must be true; equal by its text.

    Its names: `predicate`; `content`, which is the predicate out of cosign's wrapping and parsed where that is JSON
    in a text; `predicate_type`; `subjects`, each with `digest` and `annotations`; `now`. Raises MalformedError for
    an expression that is wrong, gives no truth value or might take long, OverLimitError for a long one.
    """

    expression: str
    _program: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_program", _compiled(self.expression))

    def check(self, statement: Statement, now: datetime) -> Failure | None:
        """Evaluate; what cannot be evaluated, as for a member that is missing, is not met."""
        if statement.size > STATEMENT_BYTES_MAX or statement.values > TOKENS_MAX:
            limits = f"{STATEMENT_BYTES_MAX} bytes and {TOKENS_MAX} values or so at most"
            return Failure(Reason.OVER_LIMIT, f"an attestation for conditions in CEL has {limits}")
        subjects = [{"digest": one.digests, "annotations": one.annotations} for one in statement.subjects]
        data = {
            "predicate": statement.predicate,
            # Reading it again would be for nothing.
            "content": content(statement) if "content" in self.expression else None,
            "predicate_type": statement.predicate_type,
            "subjects": subjects,
            "now": now,
        }
        try:
            result = self._program.eval(data=data)
        except (RuntimeError, ValueError, TypeError) as err:
            return self._not_met(str(err))
        kind, value = result.type(), result.value()
        if kind == cel.Type.BOOL and value is True:
            return None
        if kind == cel.Type.BOOL:
            return self._not_met("it is false")
        return self._not_met(str(value) if kind == cel.Type.ERROR else f"it gives {kind.name()}, not a truth value")

    def _not_met(self, why: str) -> Failure:
        return Failure(Reason.CONDITION_NOT_MET, f"condition {self.expression!a:.120}: {why!a:.{_WORDS_SHOWN}}")


def _compiled(expression: str) -> Any:  # noqa: ANN401 (the library has no types)
    if not expression or len(expression) > EXPRESSION_MAX:
        raise OverLimitError(f"a condition has from 1 to {EXPRESSION_MAX} characters, not {len(expression)}")
    try:
        program = _ENVIRONMENT.compile(expression)
        kind = program.return_type()
    except (RuntimeError, TypeError) as err:  # the latter for half a character
        words = " ".join(str(err).split()).removeprefix("INVALID_ARGUMENT: ERROR: ")
        raise MalformedError(f"condition {expression!a:.120}: {words!a:.{_WORDS_SHOWN}}") from None
    if kind not in (cel.Type.BOOL, cel.Type.DYN):
        raise MalformedError(f"condition {expression!a:.120} gives {kind.name()}, not a truth value")
    try:
        check_subset(program.serialize(), NAMES)
    except MalformedError as err:
        raise MalformedError(f"condition {expression!a:.120}: {err}") from None
    return program
