"""[[rules]]: the policy, checked as a whole: every name defined, every pattern once, a rule for everything."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.config.mistakes import EXAMPLE_HINT, Mistake, did_you_mean, key_path, read_table
from proxy.config.schema import RuleTable
from proxy.config.signers import BuiltSigner
from proxy.formats.api import Requirement
from proxy.oci.errors import MalformedError
from proxy.policy.evaluate import NO_RULE
from proxy.policy.expression import Expression, counted_twice, names, parse
from proxy.policy.match import EVERYTHING, Pattern
from proxy.policy.model import InsecureAllowUnverified, Refuse, Rule, named_signers
from proxy.policy.rules import Rules

# A rule's name is a label of metrics and stands in refusal messages.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_WORDS: Mapping[str, Refuse | InsecureAllowUnverified] = {
    str(word): word for word in (Refuse(), InsecureAllowUnverified())
}
_CATCH_ALL = """add a rule for all other images:
[[rules]]
name = "everything-else"
images = ["**"]
require = "refuse\""""
_PATTERN_HINT = 'as in "org/app", "ghcr.io/org/*" (one part) or "ghcr.io/**" (any number of parts)'
_EXPRESSION_HINT = 'as in "release", "release and (ci or qa)" or "2 of (a, b, c)"; names and words in lower case'

Signers = Mapping[str, BuiltSigner | None]


@dataclass(frozen=True, slots=True)
class _Place:
    """A rule's place in the file; people find it by its name, and by its number where the name is wrong."""

    number: int
    name: object

    def path(self, *key: str | int) -> str:
        called = f' (rule "{self.name}")' if isinstance(self.name, str) else ""
        return key_path("rules", self.number, *key) + called


def read_rules(
    tables: Sequence[Mapping[str, Any]], signers: Signers, folder: Path, mistakes: list[Mistake]
) -> Rules | None:
    """Read every rule; None, and mistakes added, where one is wrong or they do not fit together."""
    before = len(mistakes)
    taken: dict[Pattern, str] = {}
    called: set[str] = set()
    rules: list[Rule] = []
    readable = True
    for number, table in enumerate(tables):
        place = _Place(number, table.get("name"))
        read = read_table(RuleTable, table, ("rules", number), folder, mistakes)
        if read is None:
            readable = False  # so what it matches is not known
            continue
        _check_name(place, read.name, called, mistakes)
        images = _images(place, read, taken, mistakes)
        require = _requirement(place, read.require, signers, mistakes)
        if require is not None:
            used = {name: one.requirement for name, one in signers.items() if one and name in named_signers(require)}
            if used.keys() == named_signers(require):
                rules.append(_rule(read, images, require, used))
    if EVERYTHING not in taken and readable:
        mistakes.append(Mistake("rules", f"no rule matches everything ('{EVERYTHING}')", _CATCH_ALL))
    return Rules(rules) if len(mistakes) == before and None not in signers.values() else None


def _rule(
    read: RuleTable,
    images: tuple[Pattern, ...],
    require: Expression | Refuse | InsecureAllowUnverified,
    signers: Mapping[str, Requirement],
) -> Rule:
    return Rule(
        read.name,
        images,
        require,
        signers,
        read.mode,
        read.on_outage,
        read.tag_max_stale,
        read.accepted_max_stale,
        read.trust_root_max_age,
    )


def _check_name(place: _Place, name: str, called: set[str], mistakes: list[Mistake]) -> None:
    if not _NAME.fullmatch(name) or name == NO_RULE:
        what = f"{name[:80]!r} is no name for a rule: at most 63 of a-z, 0-9, '.', '_', '-', and not '{NO_RULE}'"
        mistakes.append(Mistake(place.path("name"), what))
    if name in called:
        mistakes.append(Mistake(place.path("name"), "another rule has this name", "give each rule its own"))
    called.add(name)


def _images(place: _Place, read: RuleTable, taken: dict[Pattern, str], mistakes: list[Mistake]) -> tuple[Pattern, ...]:
    if not read.images:
        mistakes.append(Mistake(place.path("images"), "is empty, so that the rule never matches", EXAMPLE_HINT))
    patterns: list[Pattern] = []
    for number, text in enumerate(read.images):
        try:
            pattern = Pattern.parse(text)
        except MalformedError as err:
            what, _, hint = str(err).partition("; ")
            mistakes.append(Mistake(place.path("images", number), what, hint or _PATTERN_HINT))
            continue
        if pattern in taken:
            what = f"'{text}' is the same pattern ({pattern}) as one of rule '{taken[pattern]}'"
            mistakes.append(Mistake(place.path("images", number), what, "keep one of them: neither is more specific"))
            continue
        taken[pattern] = read.name
        patterns.append(pattern)
    return tuple(patterns)


def _requirement(
    place: _Place, text: str, signers: Signers, mistakes: list[Mistake]
) -> Expression | Refuse | InsecureAllowUnverified | None:
    where = place.path("require")
    if text.strip() in _WORDS:
        return _WORDS[text.strip()]
    if not text.strip():
        hint = f"name a signer ({', '.join(signers) or 'none is defined'}), or write 'refuse'"
        mistakes.append(Mistake(where, "is empty", hint))
        return None
    try:
        expression = parse(text)
    except MalformedError as err:
        mistakes.append(Mistake(where, str(err), _EXPRESSION_HINT))
        return None
    undefined = sorted(names(expression) - signers.keys())
    for name in undefined:
        known = [*signers, *_WORDS]
        mistakes.append(Mistake(where, f"signer '{name}' is not defined", did_you_mean(name, known, "there are")))
    if not undefined:
        _check_counted_once(where, expression, signers, mistakes)
    return None if undefined else expression


def _check_counted_once(where: str, expression: Expression, signers: Signers, mistakes: list[Mistake]) -> None:
    """Two names for one signer would let one signature count twice in a threshold (attack A9)."""
    identities = {name: one.identity if one else f"undefined {name}" for name, one in signers.items()}
    for pair in sorted({tuple(sorted(pair)) for pair in counted_twice(expression, identities)}):
        what = f"signers '{pair[0]}' and '{pair[1]}' want the same: one signature would count twice"
        mistakes.append(Mistake(where, what, "a threshold needs different signers"))
