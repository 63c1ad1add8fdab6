"""The policy language: what reads, what is refused and where, and what holds."""

from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.oci.errors import MalformedError
from proxy.policy.expression import (
    DEPTH_MAX,
    LENGTH_MAX,
    NAME_MAX,
    AllOf,
    AnyOf,
    AtLeast,
    Signer,
    check_name,
    counted_twice,
    holds,
    missing,
    names,
    parse,
)

A, B, C, D = map(Signer, "abcd")


def each(names):
    """Each of these signers by a signature of its own."""
    return {name: {f"by {name}"} for name in names}


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a", A),
        (" ( ( a ) ) ", A),
        ("a and b and c", AllOf((A, B, C))),
        ("a or b", AnyOf((A, B))),
        ("a and (b or c)", AllOf((A, AnyOf((B, C))))),
        ("a and (b and c)", AllOf((A, AllOf((B, C))))),
        ("1 of (a)", AtLeast(1, (A,))),
        ("2 of(a,b,c)", AtLeast(2, (A, B, C))),
        ("2 of (a and b, c or d)", AtLeast(2, (AllOf((A, B)), AnyOf((C, D))))),
        ("a\n\tand b", AllOf((A, B))),
        ("team-1_x", Signer("team-1_x")),
        ("order and offer", AllOf((Signer("order"), Signer("offer")))),
    ],
)
def test_reads(text, tree):
    assert parse(text) == tree
    assert parse(str(tree)) == tree


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 1: expected the name of a signer, .* found the end"),
        ("   ", "column 1: .* found the end"),
        ("a and", "column 6: expected the name of a signer, .* found the end"),
        ("and a", "column 1: expected the name of a signer, .* found 'and'"),
        ("of", "column 1: expected the name of a signer, .* found 'of'"),
        ("a b", "column 3: expected 'and', 'or' or the end, found 'b'"),
        ("a)", r"column 2: expected 'and', 'or' or the end, found '\)'"),
        ("(a", r"column 3: expected 'and', 'or' or '\)', found the end"),
        ("(a, b)", r"column 3: expected 'and', 'or' or '\)', found ','"),
        ("()", r"column 2: expected the name of a signer, .* found '\)'"),
        ("a and b or c", "column 9: 'or' beside 'and' is ambiguous, write parentheses"),
        ("a or b and c", "column 8: 'and' beside 'or' is ambiguous"),
        ("a or  B", "column 7: expected a lower-case name, a number or a parenthesis, found 'B'"),
        ("a & b", "column 3: .* found '&'"),
        ("ä", "column 1: .* found 'ä'"),
        ("a\u00a0", "column 2: "),
        ("2", "column 2: expected 'of' after 2, found the end"),
        ("2 a", "column 3: expected 'of' after 2, found 'a'"),
        ("2 of a", r"column 6: expected '\(' after 'of', found 'a'"),
        ("2 of (a; b)", "column 8: .* found ';'"),
        ("1 of (a b)", r"column 9: expected 'and', 'or', ',' or '\)', found 'b'"),
        ("1 of ()", r"column 7: expected the name of a signer, .* found '\)'"),
        ("b or 3 of (a, c)", "column 6: threshold 3 is not between 1 and 2"),
        ("0 of (a)", "column 1: threshold 0 is not between 1 and 1"),
        ("9999 of (a)", "column 4: expected 'of' after 999"),
        ("٢ of (a, b)", "column 1: "),
        ("a or refuse", "column 6: 'refuse' stands alone"),
        ("insecure_allow_unverified and a", "column 1: 'insecure_allow_unverified' stands alone"),
        ("a or a", "column 1: the same part stands twice beside 'or'"),
        ("(a or b) and (a or b)", "column 1: the same part stands twice beside 'and'"),
        ("x" * (NAME_MAX + 1), "column 1: .* is no name"),
        ("(" * (DEPTH_MAX + 1) + "a" + ")" * (DEPTH_MAX + 1), f"column {DEPTH_MAX + 1}: nested deeper"),
        ("a" + " " * LENGTH_MAX, f"longer than {LENGTH_MAX} characters"),
    ],
)
def test_refuses_and_says_where(text, message):
    with pytest.raises(MalformedError, match=message):
        parse(text)


def test_limits_are_reached():
    assert parse("(" * DEPTH_MAX + "a" + ")" * DEPTH_MAX) == A
    assert parse("a" + " " * (LENGTH_MAX - 1)) == A
    assert parse("x" * NAME_MAX)


@pytest.mark.parametrize("text", ["2 of (a, a)", "2 of (a, a or b)", "1 of (a and b, 1 of (c, b))"])
def test_one_signature_never_counts_twice_in_a_threshold(text):
    """A9."""
    with pytest.raises(MalformedError, match="would count twice"):
        parse(text)


@pytest.mark.parametrize(
    ("node", "arguments"),
    [(AllOf, [()]), (AllOf, [(A,)]), (AnyOf, [()]), (AtLeast, [0, ()]), (AtLeast, [0, (A,)]), (AtLeast, [-1, (A,)])],
)
def test_what_would_hold_without_evidence_cannot_be_made(node, arguments):
    """A39: an empty list of authorities."""
    with pytest.raises(MalformedError):
        node(*arguments)


@pytest.mark.parametrize("name", ["a", "release", "a-b_c9", "x" * NAME_MAX])
def test_names(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "9a", "-a", "a b", "a\n", "ä", "x" * (NAME_MAX + 1), "and", "or", "of", "refuse"]
)
def test_no_names(name):
    with pytest.raises(MalformedError):
        check_name(name)


@pytest.mark.parametrize(
    ("text", "satisfied", "left"),
    [
        ("a", "", "a"),
        ("a", "a", None),
        ("a and b and c", "b", "a and c"),
        ("a and b", "b", "a"),
        ("a or b", "", "a or b"),
        ("a or b", "bx", None),
        ("2 of (a, b, c)", "a", "1 of (b, c)"),
        ("2 of (a, b, c)", "ac", None),
        ("d and (a or 2 of (b, c))", "b", "d and (a or 1 of (c))"),
        ("(a and b) or (a and c)", "bc", "a"),
    ],
)
def test_holds_and_missing(text, satisfied, left):
    expression = parse(text)
    assert holds(expression, each(satisfied)) is (left is None)
    assert missing(expression, each(satisfied)) == (left and parse(left))


@pytest.mark.parametrize(
    ("text", "twice"),
    [
        ("a", set()),
        ("a and b", set()),
        ("2 of (a, b)", {("a", "b")}),
        ("2 of (c, d)", set()),
        ("c or 1 of (a and c, b, d)", {("a", "b")}),
        ("2 of (1 of (a, c), d)", set()),
    ],
)
def test_two_names_for_one_key_are_found(text, twice):
    found = counted_twice(parse(text), {"a": "key", "b": "key", "c": "other", "d": "third"})
    assert {tuple(sorted(pair)) for pair in found} == twice


NAMES = [f"s{n}" for n in range(12)]


@st.composite
def expressions(draw, pool=tuple(NAMES), depth=3):
    """Draw a valid tree; each part of a node has its own share of the names, so that nothing is listed twice."""
    if depth == 0 or len(pool) < 2 or draw(st.booleans()):
        return Signer(draw(st.sampled_from(pool)))
    cuts = sorted(draw(st.sets(st.integers(1, len(pool) - 1), max_size=3)))
    shares = [pool[start:end] for start, end in zip([0, *cuts], [*cuts, len(pool)], strict=True)]
    parts = tuple(draw(expressions(share, depth - 1)) for share in shares)
    if len(parts) == 1:
        return parts[0]
    kind = draw(st.sampled_from([AllOf, AnyOf, AtLeast]))
    return AtLeast(draw(st.integers(1, len(parts))), parts) if kind is AtLeast else kind(parts)


@given(expressions())
def test_what_is_written_reads_back_equal(expression):
    assert parse(str(expression)) == expression


@given(expressions(), st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)))
def test_more_signers_never_make_it_fail(expression, some, more):
    assert not holds(expression, {})
    assert holds(expression, each(names(expression)))
    assert holds(expression, each(some)) <= holds(expression, each(some | more))
    left = missing(expression, each(some))
    assert holds(expression, each(some | more)) == (left is None or holds(left, each(some | more)))
    assert left is None or not names(left) & some


@given(expressions(pool=tuple("abcd"), depth=2))
def test_agrees_with_python(expression):
    """The reference: each node written as Python's own operators."""

    def python(node):
        match node:
            case Signer(name):
                return f"({name!r} in given)"
            case AtLeast(count, parts):
                chosen = combinations(map(python, parts), count)
                return "(" + " or ".join("(" + " and ".join(some) + ")" for some in chosen) + ")"
            case AllOf(parts):
                return "(" + " and ".join(map(python, parts)) + ")"
            case AnyOf(parts):
                return "(" + " or ".join(map(python, parts)) + ")"

    for given_names in chain.from_iterable(combinations("abcd", n) for n in range(5)):
        assert holds(expression, each(given_names)) == eval(python(expression), {"given": given_names})  # noqa: S307


@given(st.text(alphabet="ab0123 ,()orandf\n_-", max_size=40))
def test_any_text_gives_a_tree_or_a_clear_error(text):
    try:
        tree = parse(text)
    except MalformedError:
        return
    assert parse(str(tree)) == tree


@pytest.mark.parametrize(
    ("text", "signatures", "left"),
    [
        ("2 of (a, b)", {"a": "1", "b": "1"}, "2 of (a, b)"),
        ("2 of (a, b)", {"a": "1", "b": "12"}, None),
        ("2 of (a, b)", {"a": "12", "b": "12"}, None),
        ("2 of (a, b, c)", {"a": "1", "b": "1"}, "2 of (a, b, c)"),
        ("2 of (a, b, c)", {"a": "1", "b": "1", "c": "1"}, "2 of (a, b, c)"),
        ("3 of (a, b, c)", {"a": "12", "b": "1", "c": "2"}, "3 of (a, b, c)"),
        ("3 of (a, b, c)", {"a": "123", "b": "1", "c": "2"}, None),
        ("2 of (a and b, c)", {"a": "1", "b": "1", "c": "1"}, "2 of (a and b, c)"),
        ("2 of (a and b, c)", {"a": "1", "b": "2", "c": "1"}, None),
        ("a and b", {"a": "1", "b": "1"}, None),
        ("1 of (a, b)", {"a": "1", "b": "1"}, None),
    ],
)
def test_one_signature_counts_once_in_a_threshold(text, signatures, left):
    expression = parse(text)
    assert holds(expression, signatures) is (left is None)
    assert str(missing(expression, signatures) or "") == (left or "")
