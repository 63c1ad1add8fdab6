"""JSON that two readers cannot read differently (RFC 8259; attacks A27, A37, A40 of docs/threats.md).

Refused: duplicate members, several documents, NaN and infinities, huge integers, deep nesting, other encodings than
UTF-8, lone surrogates. Python's own parser takes the last of two duplicates and Go's ignores the case of members, so
what one of them verified another might read as something else.
"""

import json
from math import isfinite
from typing import Any, NoReturn

from proxy.oci.errors import MalformedError

# 64 levels are more than any format read here needs, and far below Python's recursion limit.
DEPTH_MAX = 64
# The digits of an int64, the widest integer that Go, which wrote most of what is read here, can hold.
INTEGER_DIGITS_MAX = 19


def loads(document: bytes, what: str) -> Any:  # noqa: ANN401 (JSON is any of its types; readers check what they take)
    """Read one JSON document; `what` names it in the MalformedError that is raised for anything doubtful."""
    try:
        value = json.loads(
            document.decode("utf-8"),
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


def loads_object(document: bytes, what: str) -> dict[str, Any]:
    """Read one JSON document that is an object; raises MalformedError as `loads` does."""
    value = loads(document, what)
    if not isinstance(value, dict):
        raise MalformedError(f"{what} is not a JSON object")
    return value


def _members_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice in one object")
    return members


def _bounded_int(digits: str) -> int:
    if len(digits.lstrip("-")) > INTEGER_DIGITS_MAX:
        raise ValueError(f"an integer has more than {INTEGER_DIGITS_MAX} digits")
    return int(digits)


def _finite_float(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("a number is too large")
    return number


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
