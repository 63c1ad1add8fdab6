"""Patterns against a slow reference, and attacks A33 and A17."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.oci.errors import MalformedError
from proxy.oci.reference import NAME_MAX, Repository
from proxy.policy.match import EVERYTHING, Pattern, part_matches


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("alpine", "docker.io/library/alpine"),
        ("alpine*", "docker.io/library/alpine*"),
        ("org/app", "docker.io/org/app"),
        ("org*/app", "docker.io/org*/app"),
        ("org/**", "docker.io/org/**"),
        ("docker.io/alpine", "docker.io/library/alpine"),
        ("docker.io/*", "docker.io/library/*"),
        ("docker.io/**", "docker.io/**"),
        ("index.docker.io/alpine", "docker.io/library/alpine"),
        ("registry-1.docker.io/org/*", "docker.io/org/*"),
        ("INDEX.docker.io/**", "docker.io/**"),
        ("GHCR.io/org/app", "ghcr.io/org/app"),
        ("ghcr.io/alpine", "ghcr.io/alpine"),
        ("localhost/app", "localhost/app"),
        ("localhost:5000/**", "localhost:5000/**"),
        ("[::1]:5000/app", "[::1]:5000/app"),
        ("*.Example.com/app", "*.example.com/app"),
        ("*:5000/app", "*:5000/app"),
        ("**", "**"),
        ("**/app", "**/app"),
        ("**/**", "**/*"),
        ("ghcr.io/*/**", "ghcr.io/**/*"),
        ("ghcr.io/**/*/**/app", "ghcr.io/**/*/*/app"),
        ("ghcr.io/a/*/*/b", "ghcr.io/a/*/*/b"),
    ],
)
def test_reads_into_one_spelling(text, canonical):
    """A33: names of Docker Hub, upper case, ports, `library/`."""
    pattern = Pattern.parse(text)
    assert str(pattern) == canonical
    assert Pattern.parse(canonical) == pattern


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("x" * (NAME_MAX + 1), "longer"),
        ("alpine:3", "has a tag or a digest: patterns are over repositories"),
        ("ghcr.io/org/app:*", "has a tag or a digest"),
        ("alpine@sha256:*", "has a tag or a digest"),
        ("ghcr.io/a@b/c", "has a tag or a digest"),
        ("ghcr.io", r"names a registry only: write 'ghcr.io/\*\*'"),
        ("*", r"ambiguous: write 'docker.io/library/\*' for Docker Hub or '\*\*' for every registry"),
        ("*/app", r"ambiguous: write 'docker.io/\*/app' for Docker Hub or '\*\*/app' for every registry"),
        ("org/App", "repository name 'App' has upper case letters"),
        ("org/App*", r"part 'App\*' of a pattern has characters that no repository name has"),
        ("org//app", "repository name '' is empty"),
        ("/app", "repository name '' is empty"),
        ("app/", "repository name '' is empty"),
        ("ghcr.io/", "repository name '' is empty"),
        ("ghcr.io/a..b/*", r"repository name 'a\.\.b' breaks"),
        ("ghcr.io/a**", r"write '\*' within a part"),
        ("**a/b", r"write '\*' within a part"),
        ("**.io/a", "no host name with single"),
        ("*.i_o/a", "no host name with single"),
        ("a_b.io/a", "not a host name"),
        ("ghcr.io/[a-z]*", "has characters"),
        ("ghcr.io/a?", "breaks"),
        ("ghcr.io/ü*", "has characters"),
        ("ghcr.io/a\n", "breaks"),
        ("https://ghcr.io/a", "breaks|not a host name"),
    ],
)
def test_refuses_what_never_matches_or_reads_two_ways(text, message):
    with pytest.raises(MalformedError, match=message):
        Pattern.parse(text)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("**", "alpine ghcr.io/a ghcr.io/a/b/c/d", ""),
        ("alpine", "alpine docker.io/library/alpine index.docker.io/alpine", "alpines ghcr.io/alpine org/alpine"),
        ("alpine*", "alpine alpine-git", "alpine/git my-alpine ghcr.io/library/alpine"),
        ("ghcr.io/org/*", "ghcr.io/org/app", "ghcr.io/org ghcr.io/org/app/x ghcr.io/organic/app xghcr.io/org/app"),
        ("ghcr.io/org/**", "ghcr.io/org/app ghcr.io/org/app/x", "ghcr.io/org ghcr.io/org2/app evil.io/ghcr.io/org/app"),
        ("ghcr.io/*/app", "ghcr.io/a/app", "ghcr.io/app ghcr.io/a/b/app ghcr.io/a/app2"),
        ("ghcr.io/**/app", "ghcr.io/a/app ghcr.io/a/b/app ghcr.io/app/app", "ghcr.io/app ghcr.io/a/app/x"),
        ("**/app", "ghcr.io/app localhost/a/b/app app", "ghcr.io/app/x ghcr.io/myapp"),
        ("**/app/**", "ghcr.io/app/x a.io/app/app", "ghcr.io/app app.io/x"),
        (
            "*.example.com/**",
            "a.example.com/x a.b.example.com/x/y",
            "example.com/x aexample.com/x a.example.com.evil.io/x",
        ),
        ("host:5000/a", "host:5000/a", "host:5001/a host/host:5000"),
        ("ghcr.io/a*b*c", "ghcr.io/abc ghcr.io/axbxbxc", "ghcr.io/acb ghcr.io/ac ghcr.io/abcd"),
        ("ghcr.io/a*a", "ghcr.io/aa ghcr.io/aba", "ghcr.io/a"),
        ("ghcr.io/*a*a*", "ghcr.io/aa ghcr.io/xaxax", "ghcr.io/xax"),
    ],
)
def test_matches_whole_names_only(pattern, matching, others):
    """A33, and A17 (anchored at both ends)."""
    read = Pattern.parse(pattern)
    for name in [one for one in others.split() if ":" not in one.rpartition("/")[2]]:
        assert not read.matches(Repository.parse(name)), name
    for name in matching.split():
        assert read.matches(Repository.parse(name)), name


def test_a_hard_pattern_takes_no_longer_than_an_easy_one():
    """A17: a backtracking matcher would run for years here, into the time limit of the test."""
    parts = Pattern(("x.io", *["**", "a"] * 40, "b"))
    assert not parts.matches(Repository("x.io", "/".join(["a"] * 120)))
    assert not part_matches(("a*" * 100 + "b").split("*"), "a" * 250)


@pytest.mark.parametrize(
    "ordered",
    [
        "ghcr.io/org/app ghcr.io/org/* ghcr.io/org/** ghcr.io/** **",
        "ghcr.io/org/app ghcr.io/org/app* ghcr.io/org/a* ghcr.io/org/*",
        "ghcr.io/*/app ghcr.io/organisation/** ghcr.io/*/a* ghcr.io/*/* ghcr.io/**",
        "ghcr.io/org/app* ghcr.io/org/*p* ghcr.io/org/*",
        "ghcr.io/org/ab* ghcr.io/org/a*b*",
        "ghcr.io/*/x/** ghcr.io/**/x/** ghcr.io/**/x ghcr.io/**/* ghcr.io/**",
        "docker.io/library/alpine **/alpine",
    ],
)
def test_the_more_specific_wins(ordered):
    patterns = [Pattern.parse(text) for text in ordered.split()]
    assert sorted(patterns, key=lambda one: one.specificity, reverse=True) == patterns


def test_everything():
    assert Pattern.parse("**") == EVERYTHING
    assert not EVERYTHING.is_exact
    assert Pattern.parse("alpine").is_exact


PIECES = st.text("ab*", min_size=1, max_size=4).map(lambda text: re.sub(r"\*+", "*", text))
PARTS = st.lists(st.one_of(PIECES, st.just("**")), min_size=1, max_size=5)
NAMES = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=5)


def parsed(registry, parts):
    return Pattern.parse("/".join([registry, *parts]))


def reference(pattern, repository):
    """Match slowly and differently: one regular expression over the whole text."""
    some_parts, in_part = "[^/]+(?:/[^/]+)*", "[^/]*"
    text = "".join(
        {"**": some_parts, "*": in_part}.get(one, re.escape(one)) for one in re.split(r"(\*\*|\*)", str(pattern))
    )
    return re.fullmatch(text, str(repository)) is not None


@given(st.sampled_from(["a.io", "*.io", "a*", "**"]), PARTS, NAMES)
def test_agrees_with_a_slow_reference(registry, parts, name):
    pattern = parsed(registry, parts)
    repository = Repository.of("a.io", "/".join(name))
    assert pattern.matches(repository) == reference(pattern, repository)
    assert Pattern.parse(str(pattern)) == pattern


@given(PARTS, PARTS)
def test_the_order_is_total(one, other):
    left, right = parsed("a.io", one), parsed("a.io", other)
    assert (left == right) == (left.specificity == right.specificity)


@given(NAMES, PARTS)
def test_an_exact_name_is_the_most_specific(name, parts):
    exact, other = parsed("a.io", name), parsed("a.io", parts)
    assert exact.is_exact
    if other != exact and other.matches(Repository("a.io", "/".join(name))):
        assert exact.specificity > other.specificity


@given(st.text(max_size=30))
def test_any_text_gives_a_pattern_or_a_clear_error(text):
    try:
        pattern = Pattern.parse(text)
    except MalformedError:
        return
    assert Pattern.parse(str(pattern)) == pattern
