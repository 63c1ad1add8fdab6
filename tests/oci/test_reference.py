"""Names: what clients write, made one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.refusals import read_or_refusal

from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
from proxy.oci.reference import Reference, Repository, canonical_registry, check_tag

HEX = "0f" * 32
DIGEST = Digest("sha256", HEX)

WORD = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
SEPARATOR = st.sampled_from([".", "_", "__", "-", "---"])
COMPONENT = st.builds(
    lambda first, rest: first + "".join(a + b for a, b in rest), WORD, st.lists(st.tuples(SEPARATOR, WORD), max_size=3)
)
PATH = st.lists(COMPONENT, min_size=1, max_size=4).map("/".join)
HOST = st.sampled_from(["docker.io", "ghcr.io", "localhost", "zot:5000", "10.0.0.1:80", "[::1]:5000", "a.b-c.example"])
TAG = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", fullmatch=True)
REPOSITORY = st.builds(Repository.of, HOST, PATH)


@given(repository=REPOSITORY)
def test_a_repository_is_read_as_it_is_written(repository):
    assert Repository.parse(str(repository)) == repository


@given(repository=REPOSITORY, tag=st.none() | TAG, digest=st.none() | st.just(DIGEST))
def test_a_reference_is_read_as_it_is_written(repository, tag, digest):
    if tag is None and digest is None:
        with pytest.raises(MalformedError, match="neither a tag nor a digest"):
            Reference(repository)
    else:
        reference = Reference(repository, tag, digest)
        assert Reference.parse(str(reference)) == reference


@given(text=st.text(alphabet="abAZ09.:/@_-[]%\\ \nK\u0130"))
def test_any_text_is_a_reference_or_malformed(text):
    reference, _ = read_or_refusal(Reference.parse, text)
    assert reference is None or Reference.parse(str(reference)) == reference
    assert str(reference).isascii()


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3", "docker.io/library/alpine:3"),
        ("org/app", "docker.io/org/app:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest"),
        ("registry-1.docker.io/library/alpine", "docker.io/library/alpine:latest"),
        ("GHCR.io/org/app:V1", "ghcr.io/org/app:V1"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("[::1]:5000/app:x", "[::1]:5000/app:x"),
        (f"alpine@sha256:{HEX}", f"docker.io/library/alpine@sha256:{HEX}"),
        (f"ghcr.io/a/b/c:1.0@sha256:{HEX}", f"ghcr.io/a/b/c:1.0@sha256:{HEX}"),
    ],
)
def test_what_people_write(text, means):
    assert str(Reference.parse(text)) == means


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":tag",
        "alpine:",
        "alpine@",
        f"alpine@sha512:{HEX}",
        "Alpine",
        "a//b",
        "/a",
        "a/",
        "a/../b",
        "a/.",
        "a..b",
        "a___b",
        "-a",
        "a-",
        "a b",
        "a\n",
        "a:b\n",
        "ghcr.io/",
        "ghcr.io:x/a",
        "ghcr.io:65536/a",
        "ghcr.io:/a",
        "ghcr..io/a",
        "-x.io/a",
        "\u212aernel.io/a",
        "кафе.рф/a",
        "a%2fb",
        "a\\b",
        "ghcr.io/a?b",
        f"alpine:{'a' * 129}",
        "alpine:.a",
        "ghcr.io/" + "a" * 248,
    ],
)
def test_refused(text):
    with pytest.raises(MalformedError):
        Reference.parse(text)


@pytest.mark.parametrize(
    ("text", "tag", "digest"), [("v1", "v1", None), (f"sha256:{HEX}", None, DIGEST), (f"sha256-{HEX}.sig", ..., None)]
)
def test_the_reference_of_a_path(text, tag, digest):
    repository = Repository.of("ghcr.io", "a")
    assert Reference.of(repository, text) == Reference(repository, text if tag is ... else tag, digest)


@pytest.mark.parametrize("text", ["", "a:b", ".", "a/b", "a" * 129])
def test_the_reference_of_a_path_refused(text):
    with pytest.raises(MalformedError):
        Reference.of(Repository.of("ghcr.io", "a"), text)


def test_a_bare_word_is_no_registry():
    with pytest.raises(MalformedError, match="needs a dot or a port"):
        canonical_registry("harbor")


def test_the_longest_name():
    assert Repository.of("ghcr.io", "a" * 247).path == "a" * 247
    assert check_tag("a" * 128) == "a" * 128


def test_another_default_registry():
    assert str(Repository.parse("org/app", "ghcr.io")) == "ghcr.io/org/app"
    assert str(Repository.parse("app", "ghcr.io")) == "ghcr.io/app"
