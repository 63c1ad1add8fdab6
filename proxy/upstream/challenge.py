"""The challenge of a 401 (RFC 9110, section 11.6.1), read strictly."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from proxy.oci.errors import MalformedError

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 (RFC 9110, section 5.6.2)
_SCHEME = re.compile(rf"({_TOKEN})(?: +|(?=[ \t]*(?:,|$)))", re.ASCII)
_TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|$))", re.ASCII)
_PARAMETER = re.compile(
    rf'({_TOKEN})[ \t]*=[ \t]*(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")(?=[ \t]*(?:,|$))',
    re.ASCII,
)
_COMMAS = re.compile(r"[ \t,]*", re.ASCII)
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate that a server offers; scheme and parameter names are in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(fields: Iterable[str]) -> tuple[Challenge, ...]:
    """Read all WWW-Authenticate fields of one response; raises MalformedError where one breaks the grammar."""
    return tuple(challenge for text in fields for challenge in _parse(text))


def _parse(text: str) -> list[Challenge]:
    found: list[Challenge] = []
    at = _after(_COMMAS, text, 0)
    while at < len(text):
        match = _SCHEME.match(text, at)
        if match is None:
            raise MalformedError("a WWW-Authenticate field breaks the grammar of RFC 9110")
        parameters, at = _parameters(text, match.end())
        found.append(Challenge(match[1].lower(), parameters))
    return found


def _parameters(text: str, at: int) -> tuple[dict[str, str], int]:
    """Read the parameters of one challenge from `at`, and return them with the start of the next challenge."""
    if (token68 := _TOKEN68.match(text, at)) is not None:
        return {}, _after(_COMMAS, text, token68.end())
    parameters: dict[str, str] = {}
    at = _after(_COMMAS, text, at)
    while (match := _PARAMETER.match(text, at)) is not None:
        name, plain, quoted = match.groups()
        if name.lower() in parameters:
            raise MalformedError(f"a WWW-Authenticate field has the parameter {name[:40]!r} twice")
        parameters[name.lower()] = plain if plain is not None else _ESCAPE.sub(r"\1", quoted)
        at = _after(_COMMAS, text, match.end())
    return parameters, at


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
