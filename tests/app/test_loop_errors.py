"""What the event loop reports is one line a second of a kind, with a traceback only where it is a mistake of ours."""

import asyncio

import pytest
from structlog.testing import capture_logs

from proxy.app.loop_errors import LoopErrors
from proxy.ops.limited import Limited


@pytest.mark.parametrize(
    ("context", "has_traceback", "cause"),
    [
        ({"message": "accept", "exception": OSError(24, "Too many open files")}, False, "Too many open files"),
        ({"message": "callback", "exception": ZeroDivisionError("x")}, True, None),
        ({"message": "a task was destroyed"}, False, None),
    ],
)
def test_a_line_for_each_and_a_traceback_for_mistakes(context, has_traceback, cause):
    handler = LoopErrors(Limited(lambda: 0.0))
    with capture_logs() as logged:
        for _ in range(1000):
            handler(None, context)
    (line,) = logged
    assert (line["what"], "exc_info" in line) == (context["message"], has_traceback)
    assert cause is None or cause in line["cause"]


async def test_a_loop_takes_it():
    loop, handler = asyncio.get_running_loop(), LoopErrors(Limited())
    before = loop.get_exception_handler()
    loop.set_exception_handler(handler)
    try:
        with capture_logs() as logged:
            loop.call_exception_handler({"message": "x"})
    finally:
        loop.set_exception_handler(before)
    assert [one["event"] for one in logged] == ["event loop error"]
