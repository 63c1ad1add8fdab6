from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.statements import statement

from proxy.formats.cosign.cel import EXPRESSION_MAX, NAMES, STATEMENT_BYTES_MAX, CelCondition
from proxy.formats.cosign.cel_subset import check_subset
from proxy.oci.errors import MalformedError, OverLimitError
from proxy.verdict import Reason

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PREDICATE = {
    "result": "passed",
    "score": 7.5,
    "high": 0,
    "low": 3,
    "scanned": "2026-11-20T12:00:00.123456789Z",
    "nothing": None,
    "builder.id": "b",
    "runs": [{"tool": "t", "findings": ["low", "low"]}, {"tool": "u", "findings": []}],
    "huge": 9_999_999_999_999_999_999,
}


def check(expression, predicate=PREDICATE):
    return CelCondition(expression).check(statement(predicate), NOW)


@pytest.mark.parametrize(
    "expression",
    [
        "true",
        "predicate.result == 'passed' && predicate.score >= 7.0",
        "predicate.result in ['passed', 'waived', null]",
        "predicate['builder.id'] == 'b'",
        "predicate.runs[0].tool == 't'",
        "predicate.runs.all(run, run.findings.all(it, it != 'high'))",
        "predicate.runs.exists(run, run.tool.startsWith('t') && size(run.findings) == 2)",
        "predicate.runs.exists_one(run, run.tool == 'u')",
        "int(predicate.high) + int(predicate.low) <= 3",
        "predicate.low + 1 == 4",
        "predicate.score + 0.5 == 8.0",
        "predicate.low - predicate.high > 2",
        "-1 + size(predicate.runs) == 1",
        "!has(predicate.waiver)",
        "has(predicate.waiver) ? predicate.waiver : predicate.high == 0",
        "timestamp(predicate.scanned) > now - duration('24h')",
        "timestamp(predicate.scanned) + duration('24h') > now",
        "predicate.result.matches('^pass(ed)?$') && predicate.result.contains('ass')",
        "predicate.nothing == null",
        "predicate.huge > 0",
        "predicate_type == 'https://example.test/type/v1'",
        "subjects.all(it, it.digest.sha256.size() == 64 && it.annotations.stage == 'release')",
        "predicate.missing == 1 || true",
        "content.result == 'passed'",
        "!" * 100 + "true",
    ],
)
def test_met(expression):
    assert check(expression) is None


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("false", "it is false"),
        ("predicate.result == 'failed'", "it is false"),
        ("predicate.missing == 1", "Key not found in map"),
        ("predicate.result > 1", "No matching overloads"),
        ("predicate.result", "it gives STRING, not a truth value"),
        ("predicate", "it gives MAP"),
        ("predicate.nothing", "it gives NULL"),
        ("predicate.runs[9].tool == 't'", "index=9"),
        ("1 / predicate.high == 1", "divide by zero"),
        ("9223372036854775807 + predicate.low > 0", "overflow"),
        ("int(predicate.result) == 1", "cannot convert"),
        ("timestamp(predicate.result) < now", "conversion failed"),
        ("predicate.runs.all(it, it.tool)", "No matching overloads"),
    ],
)
def test_not_met(expression, words):
    failure = check(expression)
    assert failure.reason is Reason.CONDITION_NOT_MET
    assert words in failure.detail
    assert failure.detail.isascii()
    assert failure.detail.isprintable()


def test_content_of_what_cosign_wraps():
    assert check("content.result == 'passed'", {"Data": '{"result": "passed"}', "Timestamp": "T"}) is None


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("1 +", "Syntax error"),
        ("predicate.size() ==", "Syntax error"),
        ("nothing == 1", "undeclared reference"),
        ("1 + 'a' == 2", "no matching overload"),
        ("size(predicate)", "gives INT, not a truth value"),
        ("'\ud800' == ''", "incompatible"),
        ("(" * 40 + "true" + ")" * 40, "recursion"),
        ("predicate" + ".a" * 200 + " == 1", "recursion"),
        # What would take time or memory.
        ("predicate.a + predicate.b == 'x'", "adds numbers"),
        ("'a' + string(predicate.b) == 'x'", "adds numbers"),
        ("predicate.a.map(it, it + it) == []", "map and filter"),
        ("predicate.a.filter(it, it > 1).size() > 0", "map and filter"),
        ("predicate.a.all(it, it in predicate.b)", "only its own variable"),
        ("predicate.a.all(it, it.b.all(other, other == it.c))", "only its own variable"),
        ("predicate.a.all(predicate, .predicate.b)", "only its own variable"),
        ("subjects.all(it, predicate.a == it)", "only its own variable"),
        ("[predicate, predicate].all(it, it.a)", "constants only"),
        ("{'a': predicate}.a == 1", "not made"),
        ("predicate.a.contains(predicate.b)", "written in the condition"),
        ("predicate.a.matches(predicate.b)", "written in the condition"),
        ("predicate.a.matches(string(1))", "written in the condition"),
        ("predicate.a.matches('(')", "not RE2's"),
        ("predicate.a.matches('.*a.{100}')", "too large"),
        (" && ".join(["predicate.a.matches('a')"] * 5), "more than"),
        ("bytes(predicate.a) == b''", "'bytes' is not used"),
        ("type(predicate.a) == int", "'type' is not used"),
    ],
)
def test_refused_when_it_is_read(expression, words):
    with pytest.raises(MalformedError, match=words) as caught:
        CelCondition(expression)
    assert str(caught.value).startswith("condition ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("expression", ["", "true" + " " * EXPRESSION_MAX])
def test_the_length_of_an_expression(expression):
    with pytest.raises(OverLimitError, match="from 1 to"):
        CelCondition(expression)


def test_iterations_are_bounded():
    assert "Iteration budget exceeded" in check("predicate.l.all(it, it == 1)", {"l": [1] * 10_001}).detail


def test_the_size_of_a_statement():
    assert check("true", {"a": "x" * STATEMENT_BYTES_MAX}).reason is Reason.OVER_LIMIT


def test_conditions_are_values():
    assert CelCondition("true") == CelCondition("true")
    assert len({CelCondition("true"), CelCondition("true"), CelCondition("false")}) == 2
    assert repr(CelCondition("true")) == "CelCondition(expression='true')"


# A field of 4 bytes, which is nowhere in a compiled condition.
@pytest.mark.parametrize("compiled", [b"\x0d1234"])
def test_another_encoding_is_refused(compiled):
    with pytest.raises(MalformedError, match="unknown encoding"):
        check_subset(compiled, NAMES)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**19 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd") | st.text(
        st.characters(exclude_categories=["Cs"]), max_size=3), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
EXPRESSIONS = [
    CelCondition(text)
    for text in (
        "predicate.a.all(it, it.b == it.c) || content.d > 1",
        "predicate == content",
        "timestamp(predicate.a) > now || duration(predicate.b) < duration('1h')",
        "string(predicate.a).matches('a.*') || int(predicate.b) + int(predicate.c) > int(predicate.d)",
        "size(predicate.a) > 1 || predicate.b in predicate.c || predicate.d[predicate.a] == 1",
    )
]


@given(
    st.dictionaries(st.sampled_from("abcd"), JSON, max_size=4) | st.text('{}[]"a:,1', max_size=9),
    st.sampled_from(EXPRESSIONS),
)
def test_whatever_the_predicate_there_is_an_answer(predicate, condition):
    failure = condition.check(statement(predicate), NOW)
    assert failure is None or failure.reason is Reason.CONDITION_NOT_MET


@given(st.text(st.sampled_from("predicate.abnow()[]'\"+-*/<>=!&|?: 019,{}\\\n"), max_size=30) | st.text(max_size=10))
def test_whatever_the_expression_there_is_an_answer(expression):
    try:
        CelCondition(expression).check(statement(PREDICATE), NOW)
    except MalformedError:
        return
