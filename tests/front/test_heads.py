"""Heads are found wherever the bytes are cut, and none is larger than the limit."""

import random

import pytest

from proxy.front.heads import HEAD_BYTES_MAX, NOT_HTTP, TOO_LARGE, Heads

GET = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
EMPTY = b"POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


def of(size):
    """Return a head of so many bytes."""
    begin = b"GET / HTTP/1.1\r\nX: "
    return begin + b"x" * (size - len(begin) - 4) + b"\r\n\r\n"


WHOLE = [
    (GET, [GET]),
    (GET + GET, [GET, GET]),
    (b"\r\n\r\n\n" + GET + b"\r\n" + EMPTY, [GET, EMPTY]),
    (of(HEAD_BYTES_MAX) + GET, [of(HEAD_BYTES_MAX), GET]),
    (GET + GET[:-1], [GET]),
    (b"", []),
    (b"\r\n\r", []),
    (b"no-method", None),
    (b"get / HTTP/1.1\r\n\r\n", None),
]


@pytest.mark.parametrize(("sent", "heads"), WHOLE, ids=lambda it: len(it) if it is not None else "none")
@pytest.mark.parametrize("pieces", ["all", "bytes", "random"])
def test_heads_are_found_wherever_they_are_cut(sent, heads, pieces):
    rng, found, unreadable = random.Random(len(sent)), Heads(), None  # noqa: S311 (any will do, but the same each time)
    read = []
    while sent and unreadable is None:
        size = {"all": len(sent), "bytes": 1, "random": rng.randint(1, 1000)}[pieces]
        some, unreadable = found.feed(sent[:size])
        read += some
        sent = sent[size:]
    if heads is None:
        assert (read, unreadable.status, unreadable.reason, found.is_over) == ([], 400, NOT_HTTP, True)
    else:
        assert (read, unreadable, found.is_over) == (heads, None, False)


@pytest.mark.parametrize("first", [b"\x16\x03\x01\x02\x00\x01\x00", b"\x00", b"\xff" * 9, b" GET / HTTP/1.1\r\n"])
def test_what_is_not_http_is_not_waited_for(first):
    """Docker tries a registry with TLS first, and falls back to plain http when it is refused."""
    heads, unreadable = Heads().feed(first)
    assert (heads, unreadable.status, unreadable.head) == ([], 400, first)


@pytest.mark.parametrize("step", [1000, 4096, 65_535, 262_144])
@pytest.mark.parametrize(
    "sent",
    [
        of(HEAD_BYTES_MAX + 1),
        b"G" * 300_000,
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 60_000,
        b"GET / HTTP/1.1\r\n" + b"\r\nX" * 60_000,
        b"GET /" + b"\n\n" * 100_000,
    ],
    ids=["one byte too many", "a method", "lines", "broken lines", "other line ends"],
)
def test_no_head_is_larger_than_the_limit(sent, step):
    found = Heads()
    heads, unreadable = found.feed(GET)
    assert (heads, unreadable) == ([GET], None)
    for at in range(0, len(sent), step):
        heads, unreadable = found.feed(sent[at : at + step])
        if unreadable is not None:
            break
    if sent == b"GET / HTTP/1.1\r\n" + b"\r\nX" * 60_000:  # an empty line: the rest is other heads
        assert unreadable is None or unreadable.status == 431
        return
    assert (heads, unreadable.status, unreadable.reason) == ([], 431, TOO_LARGE)
    assert unreadable.head == sent[:HEAD_BYTES_MAX]
    assert not found
    assert found.feed(GET) == ([], None)


@pytest.mark.parametrize(
    ("line", "follows"),
    [
        (b"Content-Length: 1", True),
        (b"content-length:00012", True),
        (b"Content-Length : 5", True),
        (b"Content-Length: -1", True),
        (b"Content-Length: 0, 5", True),
        (b"Content-Length:", True),
        (b"TRANSFER-ENCODING: chunked", True),
        (b"Transfer-Encoding: identity", True),
        (b"Content-Length: 0", False),
        (b"Content-Length:000\t", False),
        (b"X-Content-Length: 5", False),
        (b"X: Transfer-Encoding: chunked", False),
    ],
)
def test_a_body_is_dropped_and_the_last_that_comes(line, follows):
    found = Heads()
    head = b"POST /v2/ HTTP/1.1\r\n" + line + b"\r\n\r\n"
    assert found.feed(head + GET) == ([head] if follows else [head, GET], None)
    assert found.is_over is follows
    assert found.feed(GET) == ([] if follows else [GET], None)


def test_what_is_given_up_is_what_came():
    found = Heads()
    assert found.feed(GET + b"GET /half") == ([GET], None)
    assert found
    unreadable = found.give_up(408, "too slow")
    assert (unreadable.status, unreadable.reason, unreadable.head) == (408, "too slow", b"GET /half")
    assert (bool(found), found.is_over) == (False, True)
