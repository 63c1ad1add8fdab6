"""Bytes on their way: parts, whole ones, and what must never end as complete."""

from collections.abc import AsyncIterator

import pytest

from proxy.gate.streams import after, exactly, verified
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError

LARGE = bytes(range(256)) * 1024  # above what is hashed at once


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def collect(chunks: AsyncIterator[bytes]) -> list[bytes]:
    got = []
    try:
        async for chunk in chunks:
            got += [chunk]
    except CorruptError:
        got.append(None)
    return got


@pytest.mark.parametrize(
    ("size", "chunks", "complete"),
    [
        (3, [b"abc"], True),
        (3, [b"a", b"bc"], True),
        (0, [], True),
        (3, [b"ab"], False),
        (3, [b"abcd"], False),
        (3, [b"abc", b"d"], False),
        (0, [b"a"], False),
        (3, [], False),
    ],
)
async def test_exactly_as_many_bytes(size, chunks, complete):
    got = await collect(exactly(pieces(*chunks), size))
    assert (None not in got) is complete


@pytest.mark.parametrize(
    "chunks", [[b"abc"], [b"a", b"b", b"c"], [], [b""], [LARGE], [LARGE, LARGE], [b"a", LARGE, b"b", LARGE]]
)
async def test_the_last_chunk_leaves_only_with_the_right_digest(chunks):
    right = Digest.of(b"".join(chunks))
    assert await collect(verified(pieces(*chunks), right)) == chunks
    got = await collect(verified(pieces(*chunks), Digest.of(b"other")))
    assert got == [*chunks[:-1], None]


async def test_what_was_seen_before_is_part_of_the_digest():
    hasher = Digest.of(b"").hasher()
    hasher.update(b"ab")
    assert await collect(verified(pieces(b"cd", b"e"), Digest.of(b"abcde"), hasher)) == [b"cd", b"e"]


@pytest.mark.parametrize(("skipped", "left"), [(0, [b"ab", b"c"]), (1, [b"b", b"c"]), (2, [b"c"]), (3, []), (4, [])])
async def test_what_comes_after(skipped, left):
    assert await collect(after(pieces(b"ab", b"c"), skipped)) == left
