"""Bytes on their way: parts, whole ones, and what must never end as complete."""

from collections.abc import AsyncIterator

import pytest

from proxy.gate.streams import exactly, part_from, verified, within
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError
from proxy.upstream.blobs import BlobStream

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


@pytest.mark.parametrize(
    ("part", "left"),
    [
        (range(4), [b"ab", b"cd"]),
        (range(1, 4), [b"b", b"cd"]),
        (range(2, 3), [b"c"]),
        (range(1, 3), [b"b", b"c"]),
        (range(2), [b"ab"]),
    ],
)
async def test_what_lies_within(part, left):
    assert await collect(within(pieces(b"ab", b"cd"), part)) == left


async def test_what_is_not_wanted_is_not_waited_for():
    async def endless():
        while True:
            yield b"abc"

    assert await collect(within(endless(), range(2, 5))) == [b"c", b"ab"]


def answer(status: int, size: int | None = None, content_range: str | None = None) -> BlobStream:
    return BlobStream(status, size, content_range, None, pieces(b"01234", b"56789"))


@pytest.mark.parametrize(
    ("stream", "wanted", "got"),
    [
        (answer(200, 10), range(10), b"0123456789"),
        (answer(200), range(10), b"0123456789"),
        (answer(200), range(3, 10), b"3456789"),
        (answer(200, 10), range(3, 6), b"345"),
        (answer(206, 10, "bytes 0-9/10"), range(10), b"0123456789"),
    ],
)
async def test_what_was_asked_for(stream, wanted, got):
    assert b"".join(await collect(part_from(stream, wanted, 10))) == got


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        (answer(200, 9), range(10)),
        (answer(200, 11), range(10)),
        (answer(200, 11), range(5, 10)),
        (answer(206, 5, None), range(5, 10)),
        (answer(206, 5, "bytes 5-9/11"), range(5, 10)),
        (answer(206, 5, "bytes 5-10/10"), range(5, 10)),
        (answer(206, 5, "bytes 9-5/10"), range(5, 10)),
        (answer(206, 5, "bytes 5-9/*"), range(5, 10)),
        (answer(206, 5, "pages 5-9/10"), range(5, 10)),
        (answer(206, 5, "bytes 4-9/10"), range(5, 10)),
        (answer(206, 5, "bytes 5-9/10"), range(10)),
        (answer(416), range(5, 10)),
    ],
)
def test_an_upstream_that_contradicts_the_manifest_or_sends_something_else(stream, wanted):
    with pytest.raises(CorruptError):
        part_from(stream, wanted, 10)
