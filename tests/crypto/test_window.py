"""A window is a closed interval."""

from datetime import UTC, datetime, timedelta

import pytest

from proxy.crypto.window import Window

START, END, SECOND = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC), timedelta(seconds=1)


@pytest.mark.parametrize(
    ("moment", "closed", "open_ended"),
    [
        (START - SECOND, False, False),
        (START, True, True),
        (END, True, True),
        (END + SECOND, False, True),
    ],
)
def test_both_ends_count(moment, closed, open_ended):
    assert Window(START, END).covers(moment) is closed
    assert Window(START).covers(moment) is open_ended
