"""Lookups of names, which may hang: nothing else waits for them."""

import asyncio
import socket
import threading

import pytest

from proxy.upstream.resolver import LOOKUPS_MAX, SystemResolver

TCP = (socket.SOCK_STREAM, 6, "")


@pytest.fixture
def answers(monkeypatch):
    """The answers of the system's resolver, by host; an Event is waited for."""
    known = {}

    def getaddrinfo(host, _port, **_options):
        answer = known[host]
        if isinstance(answer, threading.Event):
            answer.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return answer

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


@pytest.mark.parametrize(
    ("found", "addresses"),
    [
        ([(socket.AF_INET, *TCP, ("10.0.0.1", 443))], ["10.0.0.1"]),
        ([(socket.AF_INET6, *TCP, ("2001:db8::1", 443, 0, 0))], ["2001:db8::1"]),
        ([(socket.AF_INET6, *TCP, ("fe80::1", 443, 0, 2))], ["fe80::1%2"]),
        ([(socket.AF_INET6, *TCP, ("fe80::1%eth0", 443, 0, 2))], ["fe80::1%eth0"]),
        ([(socket.AF_UNIX, *TCP, ("/x",)), (socket.AF_INET, *TCP, ("10.0.0.2", 443))], ["10.0.0.2"]),
        ([], []),
    ],
)
async def test_what_is_found(answers, found, addresses):
    answers["a.test"] = found
    resolver = SystemResolver()
    results = await resolver.resolve("a.test", 443)
    await resolver.close()
    assert [one["host"] for one in results] == addresses
    assert all((one["hostname"], one["port"]) == ("a.test", 443) for one in results)


async def test_a_dns_that_hangs_holds_up_neither_threads_of_others_nor_other_registries(answers):
    """With the threads that asyncio keeps for all, ten lookups that hang stop everything that needs a thread."""
    hangs = answers["hangs.test"] = threading.Event()
    answers["quick.test"] = [(socket.AF_INET, *TCP, ("10.0.0.1", 443))]
    hanging, other = [SystemResolver() for _ in range(10)], SystemResolver()
    async with asyncio.TaskGroup() as tasks:
        lookups = [
            tasks.create_task(_failing(resolver.resolve("hangs.test")))
            for resolver in hanging
            for _ in range(LOOKUPS_MAX)
        ]
        await asyncio.sleep(0.05)
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 5) == "done"
        assert len(await asyncio.wait_for(other.resolve("quick.test"), 5)) == 1
        assert not any(lookup.done() for lookup in lookups)
        hangs.set()
    for resolver in (*hanging, other):
        await resolver.close()


async def _failing(lookup):
    with pytest.raises(OSError, match="no answer"):
        await lookup


async def test_closing_waits_for_no_lookup(answers):
    hangs = answers["hangs.test"] = threading.Event()
    resolver = SystemResolver()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_failing(resolver.resolve("hangs.test")))
        await asyncio.sleep(0.05)
        await asyncio.wait_for(resolver.close(), 1)
        hangs.set()
