"""What is wrong with a configuration: every mistake with its key path and a likely fix, all of them at once."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from proxy.config.other_words import other_word
from proxy.config.schema import TABLE_KEYS

EXAMPLE_HINT = "config.example.toml explains every key"
_WANTED = {
    "string_type": "a text in quotes",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "list_type": 'a list such as ["a", "b"]',
    "dict_type": "a table",
    "model_type": "a table",
}

# [upstreams."NAME"]: two parts.
_NAMED_TABLE = 2
_CHOICES = frozenset({"enum", "literal_error"})

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake: the key path as it is written in TOML (empty for the file), what is wrong, a likely fix."""

    where: str
    what: str
    hint: str = ""


class ConfigError(Exception):
    """The configuration cannot be used; `mistakes` has every reason that was found, `hint` the likely fix."""

    def __init__(self, file: Path, mistakes: Sequence[Mistake]) -> None:
        self.file = file
        self.mistakes = tuple(mistakes)
        self.hint = (self.mistakes[0].hint if len(self.mistakes) == 1 else "") or EXAMPLE_HINT
        super().__init__(self._text())

    def _text(self) -> str:
        if len(self.mistakes) == 1:
            return f"{self.file}: {_line(self.mistakes[0])}"
        lines = [f"{self.file}: {len(self.mistakes)} mistakes"]
        for mistake in self.mistakes:
            lines.append(f"  {_line(mistake)}")
            lines += [f"      {line}" for line in mistake.hint.splitlines()]
        return "\n".join(lines)


def _line(mistake: Mistake) -> str:
    return f"{mistake.where}: {mistake.what}" if mistake.where else mistake.what


def did_you_mean(text: str, known: Iterable[str], what: str) -> str:
    """Name the known word that is most like the text, or list them all."""
    words = sorted(known)
    near = get_close_matches(text, words, n=1)
    return f"did you mean '{near[0]}'?" if near else f"{what}: {', '.join(words) or 'none'}"


def key_path(*parts: str | int) -> str:
    """Write a key path as TOML does: `rules[0].images`, `upstreams."docker.io".url`."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = part.replace("_", "").replace("-", "").isalnum() and part.isascii()
            text += ("." if text else "") + (part if bare else f'"{part}"')
    return text


def read_table(
    model: type[M], table: Mapping[str, Any], where: Sequence[str | int], folder: Path, mistakes: list[Mistake]
) -> M | None:
    """Read one table into its model; None, and mistakes added, where it does not fit. `folder` is the file's."""
    try:
        return model.model_validate(table, context=folder)
    except ValidationError as err:
        # Without the input: a misplaced password must not end up in a log.
        for one in err.errors(include_url=False, include_input=False):
            value = table.get(str(one["loc"][0])) if one["loc"] else None
            mistakes.append(_mistake(model, where, one["type"], one["loc"], one["msg"], value))
    return None


def _mistake(  # noqa: PLR0913, PLR0917 (what pydantic tells of one error, and of which table)
    model: type[BaseModel],
    where: Sequence[str | int],
    kind: str,
    loc: tuple[str | int, ...],
    message: str,
    value: object,
) -> Mistake:
    path = key_path(*where, *loc)
    if kind == "missing":
        return Mistake(path, "is missing", EXAMPLE_HINT)
    if kind == "extra_forbidden":
        is_table = isinstance(value, dict) and len(loc) == 1
        hint = _unknown_key_hint(_model_of(model, loc), where, str(loc[-1]), is_table=is_table)
        return Mistake(path, "there is no such key", hint)
    if kind in _WANTED:
        return Mistake(path, f"should be {_WANTED[kind]}", _brackets_hint(path, kind, value) or EXAMPLE_HINT)
    if kind in _CHOICES:
        near = get_close_matches(str(value).strip().lower(), re.findall("'([^']+)'", message), n=1)
        hint = f"did you mean '{near[0]}'?" if near else EXAMPLE_HINT
        return Mistake(path, message.replace("Input should be", "should be"), hint)
    text = message.removeprefix("Value error, ").replace("Input should be", "should be")
    what, _, hint = text.partition("; ")
    return Mistake(path, what, hint)


def _brackets_hint(path: str, kind: str, value: object) -> str:
    """Return the header that was meant, where a table stands for a list of tables or the other way round."""
    if kind == "list_type" and path == "rules":
        return "each rule has a header of its own, in double brackets: [[rules]]"
    if kind == "dict_type" and isinstance(value, list):
        name = '."NAME"' if path in {"upstreams", "signers", "trust_roots"} else ""
        return f"write its header in single brackets: [{path}{name}]"
    return ""


def _model_of(model: type[BaseModel], loc: tuple[str | int, ...]) -> type[BaseModel]:
    """Return the model of the table that the last of these keys stands in."""
    for name in loc[:-1]:
        field = model.model_fields[str(name)].annotation
        model = next(one for one in (field, *get_args(field)) if isinstance(one, type) and issubclass(one, BaseModel))
    return model


def _unknown_key_hint(model: type[BaseModel], where: Sequence[str | int], key: str, *, is_table: bool) -> str:
    if is_table and len(where) == _NAMED_TABLE and where[0] != "rules":
        return f'a name with a dot needs quotes: [{where[0]}."{where[1]}.{key}"]'
    if key == "password":
        return "a password does not stand in the configuration: write password_file or password_env"
    known = other_word(where, key, TABLE_KEYS)
    return known or did_you_mean(key, model.model_fields, "keys here")
