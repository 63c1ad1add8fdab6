"""One line a second of a kind, and how many were left out."""

from proxy.ops.limited import INTERVAL_SECONDS, Limited


def test_one_line_a_second_of_a_kind():
    now = [10.0]
    limited = Limited(lambda: now[0])
    assert limited.admit("full") == {}
    assert [limited.admit("full") for _ in range(200_000)] == [None] * 200_000
    assert limited.admit("files") == {}
    now[0] += INTERVAL_SECONDS
    assert limited.admit("full") == {"left_out": 200_000}
    assert limited.admit("full") is None
    now[0] += INTERVAL_SECONDS
    assert limited.admit("full") == {"left_out": 1}
    now[0] += INTERVAL_SECONDS
    assert limited.admit("full") == {}
