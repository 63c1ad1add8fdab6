"""Digests: one spelling, and what has them."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.refusals import read_or_refusal

from proxy.oci.digest import Digest, shorten_digests
from proxy.oci.errors import MalformedError


@given(content=st.binary(max_size=100), algorithm=st.sampled_from(["sha256", "sha512"]))
def test_what_is_written_is_read_again(content, algorithm):
    digest = Digest.parse(f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")
    assert Digest.parse(str(digest)) == digest
    assert digest.matches(content)
    assert not digest.matches(content + b"\x00")
    assert digest.hex.startswith(digest.short)


@given(content=st.binary(max_size=100))
def test_the_digest_of_content(content):
    assert Digest.of(content) == Digest("sha256", hashlib.sha256(content).hexdigest())


GOOD = "a1" * 32


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (f"x@sha256:{GOOD}: gone", "x@sha256:a1a1a1a1a1a1: gone"),
        (f"sha512:{GOOD * 2} and sha256:{GOOD}", "sha512:a1a1a1a1a1a1 and sha256:a1a1a1a1a1a1"),
        (f"tag sha256-{GOOD}.sig", "tag sha256-a1a1a1a1a1a1.sig"),
        (f"sha256:{GOOD[:-1]}", f"sha256:{GOOD[:-1]}"),
        (GOOD, GOOD),
    ],
)
def test_people_read_short_digests(text, short):
    assert shorten_digests(text) == short


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "sha256",
        "sha256:",
        GOOD,
        f"sha256-{GOOD}",
        f"sha256:{GOOD.upper()}",
        f"SHA256:{GOOD}",
        f"sha256:{GOOD[:-1]}",
        f"sha256:{GOOD}0",
        f"sha256:{GOOD[:-1]}g",
        f"sha256:{GOOD[:-1]}\n",
        f"sha256:{GOOD}\n",
        f" sha256:{GOOD}",
        f"sha256: {GOOD[1:]}",
        f"sha256:{'٣' * 64}",
        f"sha256:+{GOOD[1:]}",
        f"sha512:{GOOD}",
        f"md5:{'a1' * 16}",
        f"sha1:{'a1' * 20}",
        f"sha384:{'a1' * 48}",
        f"sha256:sha256:{GOOD}",
    ],
)
def test_refused(text):
    with pytest.raises(MalformedError) as caught:
        Digest.parse(text)
    assert str(caught.value).isascii()


@given(text=st.text())
def test_any_text_is_a_digest_or_malformed(text):
    digest, _ = read_or_refusal(Digest.parse, text)
    assert digest is None or str(digest) == text
