import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.formats.cosign.patterns import PATTERN_MAX, TEXT_MAX, Exact, Pattern
from proxy.oci.errors import MalformedError, OverLimitError

BRANCH = r"https://github\.com/example/app/\.github/workflows/[a-z]+\.yml@refs/heads/(main|next)"


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (BRANCH, "https://github.com/example/app/.github/workflows/build.yml@refs/heads/main", True),
        (BRANCH, "https://github.com/example/app/.github/workflows/build.yml@refs/heads/next", True),
        (BRANCH, "https://github.com/example/app/.github/workflows/build.yml@refs/heads/mainx", False),
        (BRANCH, "https://github.com/example/app/.github/workflows/build.yml@refs/tags/main", False),
        (BRANCH, "https://githubxcom/example/app/.github/workflows/build.yml@refs/heads/main", False),
        ("@private.test", "x@private.test.evil.test", False),
        (".*@private[.]test", "x@private.test.evil.test", False),
        ("a|ab", "ab", True),
        ("a|b", "ab", False),
        ("^a$", "a", True),
        ("a.*", "a\n", False),
        ("a", "a\n", False),
        ("a$", "a\n", False),
        ("a", "A", False),
        ("(?i)a", "A", True),
        ("é.", "éü", True),
        ("a.*", "a\0", False),
        ("a.*", "a\ud800", False),
        (".*", "", True),
        (".*", "a" * TEXT_MAX, True),
        (".*", "a" * (TEXT_MAX + 1), False),
        ("(x+x+)+y", "x" * TEXT_MAX, False),
    ],
)
def test_the_whole_text_matches_or_nothing(pattern, text, matches):
    assert Pattern.parse(pattern).matches(text) is matches


@pytest.mark.parametrize(
    ("pattern", "error", "words"),
    [
        ("", OverLimitError, "from 1 to"),
        ("a" * (PATTERN_MAX + 1), OverLimitError, "from 1 to"),
        ("(a", MalformedError, r"'\(a' is not RE2's: missing \)"),
        ("a(?=b)", MalformedError, "invalid perl operator"),
        (r"(a)\1", MalformedError, "invalid escape sequence"),
        ("a\ud800", MalformedError, "not Unicode"),
        ("a{1001}", MalformedError, "invalid repetition"),
        ("(.{0,20}){0,40}", OverLimitError, "too large"),
        (r"\pL{1,500}", MalformedError, "pattern too large"),
    ],
)
def test_a_bad_pattern_says_what_is_wrong(pattern, error, words):
    with pytest.raises(error, match=words):
        Pattern.parse(pattern)


def test_patterns_are_values():
    assert Pattern.parse("a+") == Pattern("a+")
    assert len({Pattern("a+"), Pattern("a+"), Pattern("a*")}) == 2
    assert repr(Pattern("a+")) == "Pattern(text='a+')"


def test_exact_is_exact():
    assert Exact("a.c").matches("a.c")
    assert not Exact("a.c").matches("abc")


@given(st.text(max_size=50))
def test_an_escaped_text_is_its_own_pattern(text):
    whole = f"x{text}"
    assert Pattern.parse(re.escape(whole)).matches(whole) is ("\0" not in whole)


@given(st.text(min_size=1, max_size=40), st.text(max_size=40))
def test_nothing_but_an_error_of_ours_escapes(pattern, text):
    try:
        Pattern.parse(pattern).matches(text)
    except MalformedError:
        return
