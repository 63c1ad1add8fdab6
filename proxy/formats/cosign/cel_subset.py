"""Which CEL expressions are taken: those that look at every byte of their input a fixed number of times.

The check is on the compiled form, a `cel.expr.CheckedExpr` in a `google.protobuf.Any` (cel-spec,
proto/cel/expr/checked.proto and syntax.proto), in which macros are already loops. What is not named here is refused, so
that a newer CEL brings nothing in unseen.
"""

from collections.abc import Iterator

from proxy.formats.cosign.patterns import Pattern
from proxy.oci.errors import MalformedError

# Of all `matches` of one expression together; see patterns.PROGRAM_MAX for what an instruction costs.
REGEX_PROGRAM_MAX = 300
# The runtime compiles a pattern each time that it comes by: some 40 us in each turn of a loop, so 2 s at the most.
REGEXES_MAX = 4

_LOGIC = {"_&&_", "_||_", "!_", "_?_:_", "@not_strictly_false"}
_COMPARISONS = {"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "@in"}
# Numbers, times and durations come out of these: things of a fixed size.
_SIZED = {"-_", "_-_", "_*_", "_/_", "_%_", "_+_", "size", "int", "uint", "double", "timestamp", "duration"}
_TEXTS = {"startsWith", "endsWith", "contains", "matches", "string", "bool", "dyn"}
_FUNCTIONS = _LOGIC | _COMPARISONS | _SIZED | _TEXTS | {"_[_]"}

# Field numbers of cel.expr.Expr, and of its parts.
_CONST, _IDENT, _SELECT, _CALL, _LIST, _COMPREHENSION = 3, 4, 5, 6, 7, 9
_ANY_VALUE, _CHECKED_EXPR = 2, 4
_NAME, _OPERAND, _ELEMENTS = 1, 1, 1
_TARGET, _FUNCTION, _ARGUMENTS = 1, 2, 3
_VARIABLE, _RANGE, _RESULT_NAME, _START, _WHILE, _STEP, _RESULT = 1, 2, 3, 4, 5, 6, 7
_STRING_CONST = 6

# All but the last byte of a varint have this bit.
_MORE = 0x80

Message = dict[int, list[bytes]]


def check_subset(compiled: bytes, names: frozenset[str]) -> None:
    """Raise MalformedError for a compiled expression that is not of the subset; `names` are its variables."""
    checked = _part(_message(compiled), _ANY_VALUE)
    _Check().expression(_part(checked, _CHECKED_EXPR), names)


class _Check:
    """Walks one expression; what it adds up is its patterns."""

    def __init__(self) -> None:
        self._program = 0
        self._regexes = 0

    def expression(self, node: Message, scope: frozenset[str]) -> None:
        """Check one node, in which only the names of the scope may be used."""
        if _CONST in node:
            return
        if _IDENT in node:
            _check_name(_text(_part(node, _IDENT), _NAME), scope)
        elif _SELECT in node:
            self.expression(_part(_part(node, _SELECT), _OPERAND), scope)
        elif _CALL in node:
            self._call(_part(node, _CALL), scope)
        elif _LIST in node:
            self._list(_part(node, _LIST))
        elif _COMPREHENSION in node:
            self._loop(_part(node, _COMPREHENSION), scope)
        else:
            raise MalformedError("maps and messages are not made in a condition")

    def _call(self, call: Message, scope: frozenset[str]) -> None:
        function = _text(call, _FUNCTION)
        if function not in _FUNCTIONS:
            raise MalformedError(f"{function!a:.40} is not used in conditions")
        arguments = [_message(part) for part in (*call.get(_TARGET, []), *call.get(_ARGUMENTS, []))]
        if function in {"contains", "matches"}:
            self._search(function, arguments[1])
        if function == "_+_" and not any(map(_sized, arguments)):
            # Texts and lists could be made that are larger than the predicate.
            raise MalformedError("+ adds numbers, times and durations; say which by int(), double() or duration()")
        for argument in arguments:
            self.expression(argument, scope)

    def _search(self, function: str, sought: Message) -> None:
        if _CONST not in sought or _STRING_CONST not in (const := _part(sought, _CONST)):
            raise MalformedError(f"what {function} looks for is written in the condition itself")
        if function == "matches":
            self._regexes += 1
            self._program += Pattern.parse(_text(const, _STRING_CONST)).size
        if self._regexes > REGEXES_MAX or self._program > REGEX_PROGRAM_MAX:
            raise MalformedError(f"its patterns are too large, or more than {REGEXES_MAX}")

    def _list(self, made: Message) -> None:
        if not all(_CONST in _message(element) for element in made.get(_ELEMENTS, [])):
            raise MalformedError("a list in a condition holds constants only")

    def _loop(self, loop: Message, scope: frozenset[str]) -> None:
        if _CONST not in _part(loop, _START):
            # A list is copied for every entry that is added to it: 1.3 GB for 9,000 entries.
            raise MalformedError("map and filter are not used in conditions; use all, exists and exists_one")
        self.expression(_part(loop, _RANGE), scope)
        result = _text(loop, _RESULT_NAME)
        inside = frozenset({_text(loop, _VARIABLE), result})
        for part in (_WHILE, _STEP, _RESULT):
            self.expression(_part(loop, part), inside)


def _check_name(name: str, scope: frozenset[str]) -> None:
    # Anything else would be looked at again in every turn.
    if name not in scope:
        raise MalformedError(f"in a loop only its own variable may be used, not {name!a:.40}")


def _sized(node: Message) -> bool:
    """Say whether a node can only be a number, a time or a duration."""
    if _CONST in node:
        return _STRING_CONST not in _part(node, _CONST)
    return _CALL in node and _text(_part(node, _CALL), _FUNCTION) in _SIZED


def _part(message: Message, number: int) -> Message:
    return _message(message[number][0])


def _text(message: Message, number: int) -> str:
    return message[number][0].decode()


def _message(encoded: bytes) -> Message:
    """Read a protobuf message as its runtime has just written it: the parts that have a length, by field number."""
    parts: Message = {}
    for number, part in _fields(encoded):
        parts.setdefault(number, []).append(part)
    return parts


def _fields(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield field number and content; a number has an empty content (protobuf encoding, tag-length-value)."""
    at = 0
    while at < len(encoded):
        key, at = _varint(encoded, at)
        number, wire_type = key >> 3, key & 7
        match wire_type:
            case 0:
                _, end = _varint(encoded, at)
                yield number, b""
            case 1:
                end = at + 8
                yield number, b""
            case 2:
                length, at = _varint(encoded, at)
                end = at + length
                yield number, encoded[at:end]
            case _:
                raise MalformedError("the compiled condition is of an unknown encoding")
        at = end


def _varint(encoded: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = encoded[at]
        value |= (byte & ~_MORE) << shift
        at, shift = at + 1, shift + 7
        if not byte & _MORE:
            return value, at
