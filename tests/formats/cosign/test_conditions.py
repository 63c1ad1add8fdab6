from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.statements import statement

from proxy.formats.cosign.cel import CelCondition
from proxy.formats.cosign.conditions import MaxAge, Stated, WantedPredicate
from proxy.formats.cosign.patterns import Exact, Pattern
from proxy.formats.cosign.predicates import PREDICATE_TYPES
from proxy.oci.errors import MalformedError
from proxy.verdict import Failure, Reason

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
V1, VULN = PREDICATE_TYPES["slsaprovenance1"], PREDICATE_TYPES["vuln"]
BUILDER = "https://github.com/example/builder/.github/workflows/build.yml@refs/tags/v1"
PROVENANCE = {
    "buildDefinition": {
        "buildType": "https://actions.github.io/buildtypes/workflow/v1",
        "externalParameters": {"workflow": {"repository": "https://github.com/example/app", "ref": "refs/heads/main"}},
    },
    "runDetails": {"builder": {"id": BUILDER}, "metadata": {"finishedOn": "2026-11-21T11:00:00Z"}},
}
DISAGREEING = {
    **PROVENANCE,
    "buildDefinition": {
        "externalParameters": {
            "workflow": {"repository": "https://github.com/example/app"},
            "source": "https://github.com/other/app",
        }
    },
}
HOUR = timedelta(hours=1)
APP = Stated("source", Exact("https://github.com/example/app"))
TYPE = ("predicate_type", V1)


@pytest.mark.parametrize(
    ("conditions", "claims"),
    [
        ((), (TYPE,)),
        ((Stated("builder", Exact(BUILDER)),), (TYPE, ("builder", BUILDER))),
        ((Stated("builder", Pattern(r".*/build\.yml@refs/tags/v\d+")),), (TYPE, ("builder", BUILDER))),
        (
            (APP, Stated("source_ref", Exact("refs/heads/main"))),
            (TYPE, ("source", "https://github.com/example/app"), ("source_ref", "refs/heads/main")),
        ),
        ((MaxAge(HOUR),), (TYPE, ("made_at", "2026-11-21T11:00:00Z"))),
        ((CelCondition("predicate.runDetails.builder.id.endsWith('v1')"), CelCondition("true")), (TYPE,)),
    ],
)
def test_met(conditions, claims):
    assert WantedPredicate(V1, conditions).check(statement(PROVENANCE, V1), NOW) == claims


@pytest.mark.parametrize(
    ("conditions", "predicate", "words"),
    [
        ((Stated("builder", Exact(BUILDER.upper())),), PROVENANCE, "builder is 'https://github.com/example/builder"),
        ((APP, Stated("build_type", Exact("x"))), PROVENANCE, "build_type is"),
        ((Stated("source_ref", Exact("refs/heads/main")),), DISAGREEING, "states no source_ref"),
        ((APP,), DISAGREEING, "source is 'https://github.com/other/app'"),
        ((Stated("source", Pattern("https://github.com/example")),), PROVENANCE, "not the one that is wanted"),
        ((CelCondition("true"), CelCondition("false")), PROVENANCE, "condition 'false': 'it is false'"),
        ((MaxAge(HOUR),), DISAGREEING | {"runDetails": {"builder": {"id": "x"}}}, "does not say"),
        ((), {}, "no SLSA provenance"),
        ((), "text", "no SLSA provenance"),
    ],
)
def test_not_met(conditions, predicate, words):
    failure = WantedPredicate(V1, conditions).check(statement(predicate, V1), NOW)
    assert failure.reason is Reason.CONDITION_NOT_MET
    assert words in failure.detail


@pytest.mark.parametrize(
    ("finished", "words"),
    [
        ("2026-11-21T11:00:00Z", None),
        ("2026-11-21T10:59:59Z", "more than 1:00:00 ago"),
        ("2026-11-21T12:05:00Z", None),
        ("2026-11-21T12:05:01Z", "in the future"),
        ("2026-11-21T12:30:00+02:00", "more than 1:00:00 ago"),
        ("2026-11-21T13:30:00+02:00", None),
        ("0001-01-01T00:00:00+14:00", "more than"),
        ("9999-12-31T23:59:59-14:00", "in the future"),
        ("2026-11-21T11:30:00", "does not say, with a zone"),
        ("today", "does not say, with a zone"),
    ],
)
def test_age(finished, words):
    predicate = {"scanner": {"uri": "x"}, "metadata": {"scanFinishedOn": finished}}
    outcome = WantedPredicate(VULN, (MaxAge(HOUR),)).check(statement(predicate, VULN), NOW)
    if words is None:
        assert outcome == (("predicate_type", VULN), ("made_at", finished))
    else:
        assert words in outcome.detail


def test_the_type_is_compared_to_the_letter():
    for other in (f"{V1}/", V1.upper(), PREDICATE_TYPES["slsaprovenance"], "x\n"):
        failure = WantedPredicate(V1).check(statement(PROVENANCE, other), NOW)
        assert failure.reason is Reason.CONDITION_NOT_MET
        assert "\n" not in failure.detail


def test_a_type_of_ones_own():
    own = WantedPredicate("https://example.test/type/v1", (CelCondition("predicate.a == 1"),))
    assert own.check(statement({"a": 1}), NOW) == (("predicate_type", "https://example.test/type/v1"),)
    assert isinstance(own.check(statement({"a": 2}), NOW), Failure)


@pytest.mark.parametrize(
    ("kind", "condition", "words"),
    [
        (VULN, APP, "no source that is known"),
        ("https://example.test/x", APP, "no source that is known"),
        ("https://example.test/x", MaxAge(HOUR), "no time that is known"),
    ],
)
def test_conditions_that_a_type_cannot_meet(kind, condition, words):
    with pytest.raises(MalformedError, match=words):
        WantedPredicate(kind, (condition,))


def test_what_can_be_stated():
    with pytest.raises(MalformedError, match="facts: author, build_type"):
        Stated("made_at", Exact("x"))
    with pytest.raises(MalformedError, match="source_ref is for"):
        Stated("source", Exact("git+https://github.com/example/app@refs/heads/main"))
    assert Stated("source", Exact("git+https://GitHub.com/example/app.git")) == APP


def test_the_representation_tells_wants_apart():
    wants = [
        WantedPredicate(V1),
        WantedPredicate(VULN),
        WantedPredicate(V1, (APP,)),
        WantedPredicate(V1, (Stated("source", Pattern("https://github.com/example/app")),)),
        WantedPredicate(V1, (MaxAge(HOUR),)),
        WantedPredicate(V1, (CelCondition("true"),)),
        WantedPredicate(V1, (CelCondition("false"),)),
    ]
    assert len({repr(want) for want in wants}) == len(set(wants)) == len(wants)
    assert not any(" at 0x" in repr(want) for want in wants)


WORDS = st.sampled_from(
    [
        "builder",
        "id",
        "invocation",
        "configSource",
        "uri",
        "materials",
        "metadata",
        "buildFinishedOn",
        "buildDefinition",
        "externalParameters",
        "workflow",
        "repository",
        "ref",
        "source",
        "runDetails",
        "finishedOn",
        "resolvedDependencies",
        "Data",
        "Timestamp",
        "spdxVersion",
        "bomFormat",
        "scanner",
        "scanFinishedOn",
        "@context",
        "@graph",
        "statements",
        "author",
        "timestamp",
        "creationInfo",
        "created",
    ]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
LEAVES = (
    WORDS | st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["https://a/b@c", "2026-11-21T11:00:00Z"])
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=25
)
WANTS = {
    PREDICATE_TYPES["slsaprovenance"]: (APP, Stated("builder", Pattern(".*")), MaxAge(HOUR)),
    V1: (APP, Stated("builder", Pattern(".*")), Stated("source_ref", Pattern(".*")), MaxAge(HOUR)),
    PREDICATE_TYPES["spdx"]: (MaxAge(HOUR),),
    PREDICATE_TYPES["cyclonedx"]: (MaxAge(HOUR),),
    VULN: (Stated("scanner", Pattern(".*")), MaxAge(HOUR)),
    PREDICATE_TYPES["openvex"]: (Stated("author", Pattern(".*")), MaxAge(HOUR)),
    PREDICATE_TYPES["custom"]: (CelCondition("content.id == 1 || predicate.Data.exists(it, it.ref > 1)"),),
}


@given(
    st.dictionaries(WORDS, JSON, max_size=6) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(list(WANTS)),
)
def test_whatever_the_predicate_there_is_an_answer(predicate, kind):
    outcome = WantedPredicate(kind, WANTS[kind]).check(statement(predicate, kind), NOW)
    if isinstance(outcome, Failure):
        assert outcome.reason is Reason.CONDITION_NOT_MET
        assert outcome.detail.isascii()
        assert "\n" not in outcome.detail
