"""Texts that a policy wants: exactly one, or any of one form (RE2 syntax, https://github.com/google/re2/wiki/Syntax).

Operators write the patterns and strangers the texts, so matching takes linear time, and always the whole text:
unanchored patterns let `x@example.com.evil.test` pass for `@example.com`.
"""

from dataclasses import dataclass, field
from typing import Any, Self

import re2

from proxy.oci.errors import MalformedError, OverLimitError

PATTERN_MAX = 1024
# Twice the longest claim that is read of a certificate, and more than any URI in a statement has.
TEXT_MAX = 4096
# RE2 keeps its state machine within this, and refuses a pattern that needs more.
MEMORY_MAX = 1024 * 1024
# Instructions of a compiled pattern, of which any English one needs less than a hundred. Where the state machine
# outgrows its memory RE2 needs up to 10 ns for each of them and each byte of the text (measured): 80 ms at the most.
PROGRAM_MAX = 2000


@dataclass(frozen=True, slots=True)
class Exact:
    """One text and no other, byte for byte."""

    text: str

    def matches(self, text: str) -> bool:
        """Say whether this is the text."""
        return text == self.text


@dataclass(frozen=True, slots=True)
class Pattern:
    """A form that the whole text must have; equal by its own text. Raises MalformedError as `parse` does."""

    text: str
    _compiled: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", _compiled(self.text))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pattern; raises MalformedError with what is wrong in it, OverLimitError if it is too large."""
        return cls(text)

    @property
    def size(self) -> int:
        """How many instructions it is compiled to."""
        return int(self._compiled.programsize)

    def matches(self, text: str) -> bool:
        """Say whether the whole text has this form; too long a one, or one with a NUL or half a character, has none."""
        if len(text) > TEXT_MAX or "\0" in text:
            return False
        try:
            content = text.encode()
        except UnicodeEncodeError:
            return False
        return self._compiled.fullmatch(content) is not None


Wording = Exact | Pattern


def _compiled(text: str) -> Any:  # noqa: ANN401 (the library has no types)
    if not text or len(text) > PATTERN_MAX:
        raise OverLimitError(f"a pattern has from 1 to {PATTERN_MAX} characters, not {len(text)}")
    options = re2.Options()
    options.max_mem, options.never_capture, options.log_errors = MEMORY_MAX, True, False
    try:
        compiled = re2.compile(text, options)
    except UnicodeEncodeError:
        raise MalformedError("the pattern is not Unicode") from None
    except re2.error as err:
        raise MalformedError(f"the pattern {text!a:.80} is not RE2's: {err.args[0].decode(errors='replace')}") from None
    if compiled.programsize > PROGRAM_MAX:
        raise OverLimitError(f"the pattern {text!a:.80} is too large: repeat less, or less often")
    return compiled
