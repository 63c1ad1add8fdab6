"""Reading JSON messages whose members are all known (Sigstore protobuf-specs, JSON form; client spec, 5).

A reader takes a JSON value and its name and returns what it means; it raises MalformedError with that name.
Unlike protobuf's own JSON reader these take one spelling only: lowerCamelCase names, padded standard base64, and no
null but where `null_as_absent` says so.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from proxy.oci import canonical_base64
from proxy.oci.errors import MalformedError, OverLimitError

Reader = Callable[[object, str], Any]

# What a reader of messages takes for a member that is not there; unknown members are refused all the same.
ABSENT = object()
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
INT64_MAX = 2**63 - 1
# Values of one document beside what is signed: bundle, envelope, log entry, annotation. A bundle with all that is read
# of one has some 2,900; real ones have 20 to 100. More would only cost, 256 times for each signer (strict_json).
VALUES_MAX = 3000


def text(value: object, where: str) -> str:
    """Read a text."""
    if not isinstance(value, str):
        raise MalformedError(f"{where} is not a text")
    return value


def binary(value: object, where: str) -> bytes:
    """Read bytes in standard base64 (RFC 4648, 4), in the one way there is to write them."""
    return canonical_base64.decode(text(value, where), where)


def natural(value: object, where: str) -> int:
    """Read a number from 0 to 2**63 - 1: protobuf writes int64 as decimal text, cosign's annotations as number."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= INT64_MAX:
        raise MalformedError(f"{where} is not a number from 0 to 2**63 - 1")
    return value


def listed(read: Reader, limit: int) -> Reader:
    """Return a reader of a list of at most `limit` entries; its result is a tuple."""
    return partial(_read_list, read, limit)


def message(required: Mapping[str, Reader], optional: Mapping[str, Reader] | None = None) -> Reader:
    """Return a reader of an object with these members and no other; its result is a dict of what is there."""
    return partial(_read_message, required, {**required, **(optional or {})})


def without_null(value: Any) -> Any:  # noqa: ANN401 (JSON is any of its types)
    """Leave out members that are null, as some writers write what is not there; entries of lists stay."""
    if isinstance(value, dict):
        return {name: without_null(entry) for name, entry in value.items() if entry is not None}
    return [without_null(entry) for entry in value] if isinstance(value, list) else value


def null_as_absent(value: Any) -> Any:  # noqa: ANN401 (JSON is any of its types)
    """Put ABSENT in the place of members that are null, for readers of messages; entries of lists stay as they are."""
    if isinstance(value, dict):
        return {name: ABSENT if entry is None else null_as_absent(entry) for name, entry in value.items()}
    return [null_as_absent(entry) for entry in value] if isinstance(value, list) else value


def _read_list(read: Reader, limit: int, value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise MalformedError(f"{where} is not a list")
    if len(value) > limit:
        raise OverLimitError(f"{where} has more than {limit} entries")
    return tuple(read(entry, f"{where}[{n}]") for n, entry in enumerate(value))


def _read_message(
    required: Mapping[str, Reader], known: Mapping[str, Reader], value: object, where: str
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(f"{where} is not an object")
    for name in value:
        if name not in known:
            raise MalformedError(f"{where} has an unknown member {name!a:.40}")
    present = {name: entry for name, entry in value.items() if entry is not ABSENT}
    for name in required:
        if name not in present:
            raise MalformedError(f"{where} has no {name}")
    return {name: known[name](entry, f"{where}.{name}") for name, entry in present.items()}
