"""How long is waited, how often is asked: nothing here waits."""

import pytest
from support.upstreams import MadeTime

from proxy.oci.errors import NotFoundError, UnavailableError
from proxy.upstream.answers import TransientError
from proxy.upstream.retry import Backoff

ONCE = TransientError("away")


@pytest.mark.parametrize(
    ("outcomes", "slept", "ends"),
    [
        (["ok"], [], "ok"),
        ([ONCE, "ok"], [0.25], "ok"),
        ([ONCE, ONCE, "ok"], [0.25, 0.5], "ok"),
        ([ONCE, ONCE, ONCE], [0.25, 0.5], ONCE),
        ([TransientError("busy", 9.0), "ok"], [9.0], "ok"),
        ([TransientError("busy", 0.0), "ok"], [0.0], "ok"),
        ([UnavailableError("for good")], [], UnavailableError),
        ([NotFoundError("no")], [], NotFoundError),
    ],
)
async def test_attempts(outcomes, slept, ends):
    time = MadeTime()
    left = list(outcomes)

    async def attempt():
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    backoff = Backoff(time.clock, time.sleep, lambda: 1.0)
    if ends == "ok":
        assert await backoff.run(attempt, 10) == "ok"
    else:
        with pytest.raises(ends if isinstance(ends, type) else type(ends)):
            await backoff.run(attempt, 10)
    assert time.slept == slept
    assert left == []


@pytest.mark.parametrize(("retry_after", "attempts"), [(9.0, 2), (10.0, 1), (1e9, 1)])
async def test_a_wait_that_does_not_fit_is_not_begun(retry_after, attempts):
    time = MadeTime()
    made = []

    async def attempt():
        made.append(time.now)
        raise TransientError("busy", retry_after)

    with pytest.raises(TransientError) as caught:
        await time.backoff().run(attempt, 10)
    assert caught.value.retry_after == retry_after
    assert len(made) == attempts
