"""The requirement of a rule: a boolean expression over signer names, `release and (ci or 2 of (build, qa, security))`.

    expression = term , { "and" , term } | term , { "or" , term } ;
    term       = name | number , "of" , "(" , expression , { "," , expression } , ")" | "(" , expression , ")" ;

`and` and `or` side by side need parentheses: whichever bound tighter, half of the readers would expect the other.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from proxy.oci.errors import MalformedError

# Chosen: far more than a policy that people can still read, and far below Python's recursion limit.
LENGTH_MAX = 4096
DEPTH_MAX = 16
# A signer's name is a field of audit lines and refusal messages; a DNS label is as long.
NAME_MAX = 63
RESERVED = frozenset({"and", "or", "of", "refuse", "insecure_allow_unverified"})
_NAME = re.compile(r"[a-z][a-z0-9_-]*", re.ASCII)
# Numbers are short: a threshold above a thousand is no policy.
_TOKEN = re.compile(r"[ \t\r\n]*(?P<text>[a-z][a-z0-9_-]*|[0-9]{1,3}|[(),]|\Z)", re.ASCII)
_SPACE = " \t\r\n"
_TERM = "the name of a signer, '(' or a threshold such as '2 of (a, b)'"


@dataclass(frozen=True, slots=True)
class Signer:
    """Holds if this signer's signature counts."""

    name: str

    def __post_init__(self) -> None:
        """Refuse a name that could not be written."""
        check_name(self.name)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class AllOf:
    """Holds if every part does; two parts or more, none of them twice."""

    parts: tuple["Expression", ...]

    def __post_init__(self) -> None:
        """Refuse what holds without evidence: an empty conjunction (attack A39)."""
        _check_operands(self.parts, "and")

    def __str__(self) -> str:
        return " and ".join(map(_operand, self.parts))


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Holds if one part does; two parts or more, none of them twice."""

    parts: tuple["Expression", ...]

    def __post_init__(self) -> None:
        """Refuse too few or equal parts."""
        _check_operands(self.parts, "or")

    def __str__(self) -> str:
        return " or ".join(map(_operand, self.parts))


@dataclass(frozen=True, slots=True)
class AtLeast:
    """Holds if `count` of the parts do; no signer may stand in two parts, as one signature would count twice (A9)."""

    count: int
    parts: tuple["Expression", ...]

    def __post_init__(self) -> None:
        """Refuse thresholds that hold without evidence, never, or by counting one signature twice."""
        if not 1 <= self.count <= len(self.parts):
            raise MalformedError(
                f"threshold {self.count} is not between 1 and {len(self.parts)}, the number of its parts"
            )
        twice = counted_twice(self, {name: name for name in names(self)})
        if twice:
            raise MalformedError(f"signer '{min(twice)[0]}' is in two parts of one threshold and would count twice")

    def __str__(self) -> str:
        return f"{self.count} of ({', '.join(map(str, self.parts))})"


Expression = Signer | AllOf | AnyOf | AtLeast


def check_name(text: str) -> str:
    """Return a signer's name unchanged; raises MalformedError where it could not be used in an expression."""
    if not _NAME.fullmatch(text) or len(text) > NAME_MAX:
        raise MalformedError(f"{text[:80]!r} is no name: at most {NAME_MAX} of a-z, 0-9, _ and -, a letter first")
    if text in RESERVED:
        raise MalformedError(f"'{text}' is a word of the policy language and cannot be a name")
    return text


def parse(text: str) -> Expression:
    """Read an expression; raises MalformedError with the column (from 1), what was expected and what was found."""
    if len(text) > LENGTH_MAX:
        raise MalformedError(f"the expression is longer than {LENGTH_MAX} characters")
    return _Parser(_tokens(text)).whole()


def names(expression: Expression) -> frozenset[str]:
    """Return the signers that the expression names."""
    if isinstance(expression, Signer):
        return frozenset({expression.name})
    return frozenset().union(*map(names, expression.parts))


# The signatures that count for each signer, each by what tells it from others.
Signatures = Mapping[str, AbstractSet[str]]


def holds(expression: Expression, signatures: Signatures) -> bool:
    """Say whether the expression is met when exactly these signatures count.

    In a threshold each part needs a signature of its own: two signers that want overlapping identities are met by one
    signature, which is still one (A9).
    """
    if isinstance(expression, Signer):
        return bool(signatures.get(expression.name))
    if isinstance(expression, AtLeast):
        return _distinct(expression.parts, signatures) >= expression.count
    held = (holds(part, signatures) for part in expression.parts)
    return all(held) if isinstance(expression, AllOf) else any(held)


def missing(expression: Expression, signatures: Signatures) -> Expression | None:
    """Return what is still needed when these signatures count: None where the expression is met."""
    if holds(expression, signatures):
        return None
    if isinstance(expression, Signer):
        return expression
    parts = tuple(dict.fromkeys(part for part in (missing(one, signatures) for one in expression.parts) if part))
    if isinstance(expression, AtLeast):
        count = expression.count - _distinct(expression.parts, signatures)
        # Where the parts that hold share a signature, another one by any of them is wanted.
        return AtLeast(count, parts) if len(expression.parts) - len(parts) == expression.count - count else expression
    return type(expression)(parts) if len(parts) > 1 else parts[0]


def _distinct(parts: Sequence[Expression], signatures: Signatures) -> int:
    """Return how many of these parts hold by a signature of their own: a maximum matching, by augmenting paths."""
    owned = [
        frozenset[str]().union(*(signatures.get(name, ()) for name in names(part)))
        for part in parts
        if holds(part, signatures)
    ]
    taken: dict[str, int] = {}

    def finds(part: int, tried: set[str]) -> bool:
        for one in owned[part] - tried:
            tried.add(one)
            if one not in taken or finds(taken[one], tried):
                taken[one] = part
                return True
        return False

    return sum(finds(part, set()) for part in range(len(owned)))


def counted_twice(expression: Expression, identities: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """Return the pairs of signers in different parts of one threshold whose identity (their key, say) is the same."""
    if isinstance(expression, Signer):
        return frozenset()
    inner = frozenset[tuple[str, str]]().union(*(counted_twice(part, identities) for part in expression.parts))
    if not isinstance(expression, AtLeast):
        return inner
    return inner | {
        (one, other)
        for left, right in combinations(map(names, expression.parts), 2)
        for one in left
        for other in right
        if identities[one] == identities[other]
    }


def _operand(part: Expression) -> str:
    return f"({part})" if isinstance(part, AllOf | AnyOf) else str(part)


def _check_operands(parts: tuple[Expression, ...], word: str) -> None:
    if len(parts) < 2:  # noqa: PLR2004 (an operator stands between two)
        raise MalformedError(f"'{word}' needs two parts or more")
    if len(set(parts)) != len(parts):
        raise MalformedError(f"the same part stands twice beside '{word}'")


class _Token(NamedTuple):
    column: int
    text: str  # empty at the end of the expression


def _tokens(text: str) -> list[_Token]:
    text = text.rstrip(_SPACE)
    tokens: list[_Token] = []
    at = 0
    while not tokens or tokens[-1].text:
        found = _TOKEN.match(text, at)
        if not found:
            at += len(text[at:]) - len(text[at:].lstrip(_SPACE))
            raise MalformedError(
                f"column {at + 1}: expected a lower-case name, a number or a parenthesis, found {text[at]!r}"
            )
        tokens.append(_Token(found.start("text") + 1, found["text"]))
        at = found.end()
    return tokens


@contextmanager
def _located(token: _Token) -> Iterator[None]:
    try:
        yield
    except MalformedError as err:
        raise MalformedError(f"column {token.column}: {err}") from None


class _Parser:
    """Recursive descent, one token ahead."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._depth = 0

    def whole(self) -> Expression:
        expression = self._expression()
        if self._next.text:
            raise self._unexpected("'and', 'or' or the end")
        return expression

    @property
    def _next(self) -> _Token:
        return self._tokens[0]

    def _take(self) -> _Token:
        return self._tokens.pop(0)

    def _expression(self) -> Expression:
        start = self._next
        parts = [self._term()]
        word = self._next.text
        if word not in {"and", "or"}:
            return parts[0]
        while self._next.text == word:
            self._take()
            parts.append(self._term())
        if self._next.text in {"and", "or"}:
            raise MalformedError(
                f"column {self._next.column}: '{self._next.text}' beside '{word}' is ambiguous, "
                "write parentheses as in 'a and (b or c)'"
            )
        with _located(start):
            return (AllOf if word == "and" else AnyOf)(tuple(parts))

    def _term(self) -> Expression:
        token = self._next
        if token.text == "(":
            return self._group()[0]
        if token.text.isdigit():
            return self._threshold()
        if token.text in {"refuse", "insecure_allow_unverified"}:
            raise MalformedError(f"column {token.column}: '{token.text}' stands alone, not within an expression")
        if not _NAME.fullmatch(token.text) or token.text in RESERVED:
            raise self._unexpected(_TERM)
        with _located(self._take()):
            return Signer(token.text)

    def _threshold(self) -> Expression:
        token = self._take()
        if self._next.text != "of":
            raise self._unexpected(f"'of' after {token.text[:20]}")
        self._take()
        if self._next.text != "(":
            raise self._unexpected("'(' after 'of'")
        parts = self._group(",")
        with _located(token):
            return AtLeast(int(token.text), parts)

    def _group(self, separator: str | None = None) -> tuple[Expression, ...]:
        opening = self._take()
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise MalformedError(f"column {opening.column}: nested deeper than {DEPTH_MAX} parentheses")
        parts = [self._expression()]
        while separator and self._next.text == separator:
            self._take()
            parts.append(self._expression())
        if self._next.text != ")":
            raise self._unexpected("'and', 'or', ',' or ')'" if separator else "'and', 'or' or ')'")
        self._take()
        self._depth -= 1
        return tuple(parts)

    def _unexpected(self, expected: str) -> MalformedError:
        found = repr(self._next.text[:80]) if self._next.text else "the end"
        return MalformedError(f"column {self._next.column}: expected {expected}, found {found}")
