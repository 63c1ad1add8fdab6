"""The rules of a policy, and the most specific one for a name.

Patterns that name one repository are in a dictionary. The others are one tree over the parts of names, walked with
the set of its nodes that the name has reached (a nondeterministic automaton, simulated), so that the time depends on
the name, not on the number of rules.
"""

from collections.abc import Iterable, Iterator, Sequence

from proxy.oci.errors import MalformedError
from proxy.oci.reference import Repository
from proxy.policy.match import ANY_PARTS, Pattern, part_matches
from proxy.policy.model import Rule

_Pieces = tuple[str, ...]


class Rules:
    """An immutable table; raises MalformedError where two patterns are equal, for then neither is more specific."""

    __slots__ = ("_exact", "_root", "_rules")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._exact: dict[Repository, Rule] = {}
        self._root = _Node()
        patterns = [(pattern, rule) for rule in self._rules for pattern in rule.images]
        patterns.sort(key=lambda one: one[0].specificity)
        for rank, (pattern, rule) in enumerate(patterns):
            if rank and patterns[rank - 1][0] == pattern:
                names = f"{patterns[rank - 1][1].name!r} and {rule.name!r}"
                raise MalformedError(f"pattern '{pattern}' is in rules {names}")
            if pattern.is_exact:
                self._exact[Repository(pattern.parts[0], "/".join(pattern.parts[1:]))] = rule
            else:
                self._root.add(pattern, rank, rule)

    def match(self, repository: Repository) -> Rule | None:
        """Return the rule whose pattern is the most specific of those that match; None means refused."""
        exact = self._exact.get(repository)
        if exact is not None:
            return exact
        reached = {self._root}
        for part in (repository.registry, *repository.path.split("/")):
            reached = {after for node in reached for after in node.step(part)}
        ends = [node.end for node in reached if node.end is not None]
        return max(ends, key=lambda end: end[0])[1] if ends else None

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)


class _Node:
    """What may follow one part of a pattern. `end` is the rank and rule of the pattern that ends here."""

    __slots__ = ("any_parts", "end", "literals", "repeats", "shapes", "wild")

    def __init__(self, *, repeats: bool = False) -> None:
        self.repeats = repeats
        self.end: tuple[int, Rule] | None = None
        self.literals: dict[str, _Node] = {}
        self.any_parts: _Node | None = None
        # Parts with `*`, found by the texts before the first and after the last star; `shapes` are the lengths of both.
        self.wild: dict[tuple[str, str], dict[_Pieces, _Node]] = {}
        self.shapes: set[tuple[int, int]] = set()

    def add(self, pattern: Pattern, rank: int, rule: Rule) -> None:
        node = self
        for part in pattern.parts:
            node = node._child(part)
        node.end = (rank, rule)

    def _child(self, part: str) -> "_Node":
        if part == ANY_PARTS:
            self.any_parts = self.any_parts or _Node(repeats=True)
            return self.any_parts
        if "*" not in part:
            return self.literals.setdefault(part, _Node())
        pieces = tuple(part.split("*"))
        head, tail = pieces[0], pieces[-1]
        self.shapes.add((len(head), len(tail)))
        return self.wild.setdefault((head, tail), {}).setdefault(pieces, _Node())

    def step(self, part: str) -> Sequence["_Node"]:
        """Return the nodes that this part of a name leads to."""
        after = [self] if self.repeats else []
        if part in self.literals:
            after.append(self.literals[part])
        if self.any_parts:
            after.append(self.any_parts)
        for head, tail in self.shapes:
            alike = self.wild.get((part[:head], part[len(part) - tail :]), {})
            after += [node for pieces, node in alike.items() if part_matches(pieces, part)]
        return after
