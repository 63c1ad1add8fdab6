"""The most specific rule, against asking every pattern."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.policy import rule

from proxy.oci.errors import MalformedError
from proxy.oci.reference import Repository
from proxy.policy.rules import Rules

POLICY = {
    "app": ["ghcr.io/org/app", "quay.io/org/app"],
    "apps": ["ghcr.io/org/app*", "ghcr.io/org/*-app", "ghcr.io/org/a*p*p"],
    "org": ["ghcr.io/org/**"],
    "tools": ["**/tools/*", "**/tools/**"],
    "intern": ["*.intern/**", "*.intern/*/secret"],
    "hub": ["alpine*"],
    "all": ["**"],
}


def rules(policy):
    return Rules(rule("refuse", *images, name=name) for name, images in policy.items())


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("ghcr.io/org/app", "app"),
        ("quay.io/org/app", "app"),
        ("ghcr.io/org/app-2", "apps"),
        ("ghcr.io/org/my-app", "apps"),
        ("ghcr.io/org/axpxp", "apps"),
        ("ghcr.io/org/axp", "org"),
        ("ghcr.io/org/x/app", "org"),
        ("ghcr.io/org/tools/x", "org"),
        ("quay.io/tools/x", "tools"),
        ("quay.io/tools/tools/tools/x", "tools"),
        ("a.intern/x/secret", "intern"),
        ("a.intern/x", "intern"),
        ("alpine", "hub"),
        ("index.docker.io/alpine-git", "hub"),
        ("docker.io/alpine/git", "all"),
        ("ghcr.io/org", "all"),
    ],
)
def test_the_most_specific_rule(image, expected):
    assert rules(POLICY).match(Repository.parse(image)).name == expected
    reordered = dict(reversed(POLICY.items()))
    assert rules(reordered).match(Repository.parse(image)).name == expected


def test_no_rule():
    assert Rules([]).match(Repository.parse("alpine")) is None
    assert rules({"org": ["ghcr.io/**"]}).match(Repository.parse("alpine")) is None


def test_the_rules_are_kept_in_order():
    table = rules(POLICY)
    assert [one.name for one in table] == list(POLICY)
    assert len(table) == len(POLICY)


@pytest.mark.parametrize("images", [("alpine", "docker.io/library/alpine"), ("ghcr.io/*/**", "ghcr.io/**/*")])
def test_equal_patterns_are_a_mistake(images):
    with pytest.raises(MalformedError, match=r"is in rules '[ab]' and '[ab]'"):
        rules({"a": images[:1], "b": images[1:]})


PIECES = st.text("ab*", min_size=1, max_size=3).filter(lambda text: "**" not in text)
PATTERNS = st.lists(st.one_of(PIECES, st.just("**")), min_size=1, max_size=4).map(
    lambda parts: "/".join(["a.io", *parts])
)
NAMES = st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=4).map("/".join)


@given(st.lists(PATTERNS, max_size=12), NAMES)
def test_agrees_with_asking_every_pattern(texts, path):
    each = {rule("refuse", text, name=text).images[0]: rule("refuse", text, name=text) for text in texts}
    repository = Repository("a.io", path)
    matching = sorted((one for one in each if one.matches(repository)), key=lambda one: one.specificity)
    expected = each[matching[-1]] if matching else None
    assert Rules(each.values()).match(repository) == expected
