"""JSON that two readers cannot read differently (RFC 8259; attacks A27, A37, A40 of docs/threats.md).

Refused: duplicate members, several documents, NaN and infinities, huge integers, deep nesting, other encodings than
UTF-8, lone surrogates. Python's own parser takes the last of two duplicates and Go's ignores the case of members, so
what one of them verified another might read as something else.
"""

import json
from json.decoder import py_scanstring  # type: ignore[attr-defined]
from json.scanner import py_make_scanner  # type: ignore[attr-defined]
from math import isfinite
from typing import Any, NoReturn

from proxy.oci.errors import MalformedError, OverLimitError

# 64 levels are more than any format read here needs, and far below Python's recursion limit.
DEPTH_MAX = 64
# The digits of an int64, the widest integer that Go, which wrote most of what is read here, can hold.
INTEGER_DIGITS_MAX = 19
# Commas, and brackets that open: one for each value, about. Python's reader holds the interpreter's lock from one
# callback to the next, and so the event loop, in whichever thread it runs. Measured for the worst shapes (nested and
# empty lists, members, texts): 5 to 15 ms at this many, 0.3 s in a mebibyte and 1.8 s in four without a limit. An index
# of 1000 descriptors with ten annotations each has 18,000. SBOMs have one in 20 to 45 bytes (pip's in CycloneDX, SPDX's
# own examples), so half a mebibyte of them is read.
TOKENS_MAX = 25_000
# Backslashes, which cost 20 ns each (measured: 4 ms at this many, 30 ms in 4 MiB without a limit). A text without them
# costs 1.5 ms a MiB.
ESCAPES_MAX = 200_000


def loads(document: bytes, what: str, tokens_max: int = TOKENS_MAX) -> Any:  # noqa: ANN401 (JSON is any of its types; readers check what they take)
    """Read one JSON document; `what` names it in the MalformedError that is raised for anything doubtful.

    OverLimitError where it has more than `tokens_max` values, or ESCAPES_MAX escapes, about: those in texts count too.
    With more than TOKENS_MAX it takes 2 to 5 s a million values, in which other threads go on; for a thread, therefore.
    """
    tokens = count_tokens(document)
    _check_costs(document, what, tokens, tokens_max)
    try:
        value = json.loads(
            document.decode("utf-8"),
            cls=_SteadyDecoder if tokens > TOKENS_MAX else json.JSONDecoder,
            object_pairs_hook=_members_once,
            parse_int=_bounded_int,
            parse_float=_finite_float,
            parse_constant=_refuse_constant,
        )
        _check_depth_and_text(value)
    except RecursionError:
        raise MalformedError(f"{what} is nested deeper than {DEPTH_MAX} levels") from None
    except ValueError as err:
        raise MalformedError(f"{what} is not strict JSON: {err}") from None
    return value


def loads_object(document: bytes, what: str, tokens_max: int = TOKENS_MAX) -> dict[str, Any]:
    """Read one JSON document that is an object; raises MalformedError as `loads` does."""
    value = loads(document, what, tokens_max)
    if not isinstance(value, dict):
        raise MalformedError(f"{what} is not a JSON object")
    return value


def count_tokens(document: bytes) -> int:
    """Return how many values a JSON document has, about, without reading it."""
    return sum(document.count(token) for token in (b",", b"[", b"{"))


def _check_costs(document: bytes, what: str, tokens: int, tokens_max: int) -> None:
    if tokens > tokens_max:
        raise OverLimitError(f"{what} has {tokens} values or so, more than the {tokens_max} that are read")
    escapes = document.count(b"\\")
    if escapes > ESCAPES_MAX:
        raise OverLimitError(f"{what} has {escapes} escapes, more than the {ESCAPES_MAX} that are read")


class _SteadyDecoder(json.JSONDecoder):
    """The same reader as it is written in Python, which lets go of the interpreter's lock between its steps."""

    def __init__(self, **hooks: Any) -> None:  # noqa: ANN401 (those of JSONDecoder)
        super().__init__(**hooks)
        self.parse_string = py_scanstring
        self.scan_once = py_make_scanner(self)


def _members_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice in one object")
    return members


def _bounded_int(digits: str) -> int:
    _check_ascii(digits)
    if len(digits.lstrip("-")) > INTEGER_DIGITS_MAX:
        raise ValueError(f"an integer has more than {INTEGER_DIGITS_MAX} digits")
    return int(digits)


def _finite_float(text: str) -> float:
    _check_ascii(text)
    number = float(text)
    if not isfinite(number):
        raise ValueError("a number is too large")
    return number


def _check_ascii(number: str) -> None:
    """Refuse the digits of other scripts, which Python's reader takes where it is written in Python (before 3.13)."""
    if not number.isascii():
        raise ValueError("a number has digits that are not ASCII")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_depth_and_text(value: object) -> None:
    level: list[object] = [value]
    for _ in range(DEPTH_MAX):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below += item.keys()
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str):
                item.encode("utf-8")  # a lone surrogate raises UnicodeEncodeError, which is a ValueError
        if not below:
            return
        level = below
    raise ValueError(f"nested deeper than {DEPTH_MAX} levels")
