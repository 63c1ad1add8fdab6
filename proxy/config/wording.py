"""A text that is wanted stands under its name, a pattern under `<name>_pattern`: one of them, or neither."""

from proxy.formats.cosign.patterns import Exact, Pattern, Wording
from proxy.oci.errors import MalformedError


def at_most_one(name: str, exact: str | None, pattern: str | None) -> Wording | None:
    """Return what is wanted, if anything; raises MalformedError where both are given or the pattern is none."""
    if exact is not None and pattern is not None:
        raise MalformedError(f"{name} and {name}_pattern exclude each other; write one of them")
    if pattern is not None:
        return Pattern.parse(pattern)
    return Exact(exact) if exact is not None else None


def exactly_one(name: str, exact: str | None, pattern: str | None) -> Wording:
    """Return what is wanted; raises MalformedError where it is not one of the two."""
    wording = at_most_one(name, exact, pattern)
    if wording is None:
        raise MalformedError(f"names no {name}; write {name}, or {name}_pattern for an RE2 pattern of the whole text")
    return wording
