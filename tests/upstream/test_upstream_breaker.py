"""A registry that cannot be reached is left alone, and found again."""

import asyncio
import socket
from contextlib import suppress

import pytest
from aiohttp import web
from support.stack import listening
from support.upstreams import REPOSITORY, MadeTime, upstream_at

from proxy.oci.errors import NotFoundError, UnavailableError
from proxy.oci.reference import Reference
from proxy.upstream.answers import TransientError, UnreachableError
from proxy.upstream.breaker import FAILURES_MAX, OPEN_SECONDS, Breaker
from proxy.upstream.client import Upstream
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.observer import Observer


def made():
    time, told = MadeTime(), []
    return time, told, Breaker("r.test", time.clock, lambda *, is_open: told.append(is_open))


async def passes(breaker):
    try:
        async with breaker.attempt():
            pass
    except UnavailableError:
        return False
    return True


async def fails(breaker, times=1):
    for _ in range(times):
        with pytest.raises(UnreachableError):
            async with breaker.attempt():
                raise UnreachableError("nobody is there")


async def test_it_opens_after_failures_in_a_row():
    _, told, breaker = made()
    await fails(breaker, FAILURES_MAX - 1)
    assert await passes(breaker)
    await fails(breaker, FAILURES_MAX - 1)
    with pytest.raises(TransientError):
        async with breaker.attempt():
            raise TransientError("cut")
    assert told == []
    await fails(breaker)
    assert not await passes(breaker)
    assert told == [True]


async def test_one_may_try_in_a_while_and_an_answer_closes_it():
    time, told, breaker = made()
    await fails(breaker, FAILURES_MAX)
    time.now += OPEN_SECONDS
    await fails(breaker)
    assert not await passes(breaker)
    time.now += OPEN_SECONDS
    assert [await passes(breaker), await passes(breaker)] == [True, True]
    assert told == [True, False]


@pytest.mark.parametrize("found", ["it is back", "nothing", "the one who tries leaves"])
async def test_who_comes_while_one_tries_waits_for_what_it_finds(found):
    time, _, breaker = made()
    await fails(breaker, FAILURES_MAX)
    time.now += OPEN_SECONDS
    connected = asyncio.Event()

    async def try_it():
        async with breaker.attempt():
            await connected.wait()
            if found == "nothing":
                raise UnreachableError("nobody is there")

    async with asyncio.TaskGroup() as tasks:
        trial = tasks.create_task(_told(try_it()))
        await asyncio.sleep(0)
        others = [tasks.create_task(passes(breaker)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(other.done() for other in others)
        if found == "the one who tries leaves":
            trial.cancel()
        connected.set()
    assert [other.result() for other in others] == [found != "nothing"] * 3


async def _told(work):
    with suppress(UnavailableError):
        await work


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_who_asks_while_nothing_is_there_is_told_at_once(closed_port):
    time, told = MadeTime(), []
    observer = Observer(on_breaker=lambda name, *, is_open: told.append((name, is_open)))
    endpoint = Endpoint("r.test", f"http://127.0.0.1:{closed_port}")
    asked = Reference.parse("r.test/app:1")
    async with Upstream(endpoint, time.backoff(), observer=observer) as upstream:
        for _ in range(2):
            with pytest.raises(UnavailableError, match="could not be reached"):
                await upstream.manifest(asked)
        slept = len(time.slept)
        with pytest.raises(UnavailableError, match="is tried again within"):
            await upstream.manifest(asked)
        assert len(time.slept) == slept
    assert told == [("r.test", True)]


@pytest.mark.parametrize(("status", "error"), [(500, UnavailableError), (404, NotFoundError)])
async def test_bad_answers_leave_it_closed(status, error):
    """Whoever may push can make a registry give them."""
    asked = []

    async def handle(request):
        asked.append(request.path)
        return web.Response(status=status)

    async with listening(handle) as url, upstream_at(url) as upstream:
        for _ in range(FAILURES_MAX + 1):
            with pytest.raises(error):
                await upstream.manifest(Reference(REPOSITORY, tag="1"))
    assert len(asked) > FAILURES_MAX
