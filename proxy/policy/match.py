"""Patterns over repository names: `*` within one part of a name, `**` for one or more whole parts.

A pattern is written like an image name without tag or digest and made canonical like one, so that `alpine*` is
`docker.io/library/alpine*` and `index.docker.io/org/app` is `docker.io/org/app` (attack A33). Matching walks over the
parts with a set of positions; there is no regular expression and nothing to backtrack (A17).
"""

import re
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Self

from proxy.oci.errors import MalformedError
from proxy.oci.reference import DOCKER_HUB, NAME_MAX, Repository, canonical_registry, looks_like_registry

ANY_PARTS = "**"
_WILD_PART = re.compile(r"[a-z0-9._*-]+", re.ASCII)
_WILD_REGISTRY = re.compile(r"[a-z0-9.:*-]+", re.ASCII)


class Specificity(NamedTuple):
    """The order of patterns that match the same name; the greatest wins.

    It agrees with inclusion: a pattern that matches only a part of what another one matches is the greater one. An
    exact name is the greatest of all that match it, as it alone has a literal in every place.
    """

    literal_parts: int
    of_fixed_length: bool  # without `**`
    literal_characters: int
    parts: int
    fewest_any_parts: int
    fewest_stars: int
    text: str  # of no meaning, so that the order is total


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern in canonical spelling: the registry, or `**`, is the first part."""

    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `alpine*`, `org/app`, `ghcr.io/org/**`, `*.example.com/**/app` or `**`.

        Raises MalformedError, with a hint, for what could never match or could be read in two ways.
        """
        if not text or len(text) > NAME_MAX:
            raise MalformedError(f"pattern {text[:40]!r} is empty or longer than {NAME_MAX} characters")
        _check_names_no_version(text)
        first, slash, rest = text.partition("/")
        if first == ANY_PARTS:
            return cls(_collapsed((ANY_PARTS, *_path_parts(rest)) if slash else (ANY_PARTS,)))
        if not looks_like_registry(first):
            _check_first_part(text, first)
            return cls(_collapsed(_hub_parts(text)))
        if not slash:
            raise MalformedError(f"pattern {text!r} names a registry only: write '{text}/**' for all that is in it")
        registry = _registry(first)
        return cls(_collapsed(_hub_parts(rest) if registry == DOCKER_HUB else (registry, *_path_parts(rest))))

    def matches(self, repository: Repository) -> bool:
        """Say whether the whole name matches, from its registry to its last part."""
        positions = {0}
        for part in (repository.registry, *repository.path.split("/")):
            positions = {after for at in positions for after in self._step(at, part)}
        return len(self.parts) in positions

    def _step(self, at: int, part: str) -> tuple[int, ...]:
        """Return the positions reached by this part of a name; `**` is left after its first part, or stays."""
        if at == len(self.parts):
            return ()
        if self.parts[at] == ANY_PARTS:
            return (at, at + 1)
        return (at + 1,) if part_matches(self.parts[at].split("*"), part) else ()

    @property
    def is_exact(self) -> bool:
        """Say whether only one name can match."""
        return not any("*" in part for part in self.parts)

    @property
    def specificity(self) -> Specificity:
        """The place of this pattern among others that match the same name."""
        literal = [part for part in self.parts if "*" not in part]
        single = [part for part in self.parts if part != ANY_PARTS]
        return Specificity(
            literal_parts=len(literal),
            of_fixed_length=ANY_PARTS not in self.parts,
            literal_characters=sum(len(part) - part.count("*") for part in single),
            parts=len(self.parts),
            fewest_any_parts=len(single) - len(self.parts),
            fewest_stars=-sum(part.count("*") for part in single),
            text=str(self),
        )

    def __str__(self) -> str:
        """Write the canonical form, which parses to an equal pattern."""
        return "/".join(self.parts)


EVERYTHING = Pattern((ANY_PARTS,))


def part_matches(pieces: list[str] | tuple[str, ...], part: str) -> bool:
    """Match one part of a name against the texts between the stars of a pattern's part, both ends anchored."""
    head, tail = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return part == head
    end = len(part) - len(tail)
    at = len(head)
    if at > end or not part.startswith(head) or not part.endswith(tail):
        return False
    for piece in pieces[1:-1]:
        # The leftmost place leaves the most room for the rest, so that no other place need be tried.
        found = part.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def _check_names_no_version(text: str) -> None:
    if "@" in text or ":" in text.rpartition("/")[2]:
        raise MalformedError(
            f"pattern {text!r} has a tag or a digest: patterns are over repositories, as a pull by digest has no tag"
        )


def _check_first_part(text: str, first: str) -> None:
    if first == "*":
        rest = text[2:] or "*"
        hub = f"{DOCKER_HUB}/{text}" if "/" in text else f"{DOCKER_HUB}/library/*"
        everywhere = f"**/{rest}" if "/" in text else "**"
        raise MalformedError(
            f"pattern {text!r} is ambiguous: write '{hub}' for Docker Hub or '{everywhere}' for every registry"
        )


def _registry(first: str) -> str:
    if "*" not in first:
        return canonical_registry(first)
    if "**" in first or not _WILD_REGISTRY.fullmatch(first.lower()):
        raise MalformedError(f"registry {first!r} of a pattern is no host name with single '*'")
    return first.lower()


def _hub_parts(path: str) -> tuple[str, ...]:
    parts = _path_parts(path)
    return (DOCKER_HUB, *(("library", *parts) if len(parts) == 1 and parts != (ANY_PARTS,) else parts))


def _path_parts(path: str) -> tuple[str, ...]:
    return tuple(_path_part(part, path) for part in path.split("/"))


def _path_part(part: str, path: str) -> str:
    if part == ANY_PARTS:
        return part
    if ANY_PARTS in part:
        raise MalformedError(f"'**' in {path!r} stands for whole parts of a name: write '*' within a part")
    if "*" not in part:
        return Repository.of("localhost", part).path
    if not _WILD_PART.fullmatch(part):
        raise MalformedError(f"part {part!r} of a pattern has characters that no repository name has (a-z, 0-9, . _ -)")
    return part


def _collapsed(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Give every pattern one spelling: where whole parts are wild in a row, `**` stands once and first."""
    result: list[str] = []
    for wild, run in groupby(parts, lambda part: part in {"*", ANY_PARTS}):
        row = tuple(run)
        if wild and ANY_PARTS in row:
            row = (ANY_PARTS, *("*" for _ in row[1:]))
        result += row
    return tuple(result)
