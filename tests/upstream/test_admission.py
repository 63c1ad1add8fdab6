"""What our own requests to a registry hold up, and what they do not."""

import asyncio
import errno
import os
from contextlib import AsyncExitStack, suppress
from types import SimpleNamespace

import pytest
from aiohttp import ClientConnectorError, web
from support.stack import listening
from support.upstreams import REGISTRY, REPOSITORY, MadeTime, upstream_at

from proxy.demo.images import image
from proxy.oci.digest import Digest
from proxy.oci.errors import BusyError, UnavailableError
from proxy.oci.manifest import OCI_INDEX, OCI_MANIFEST
from proxy.oci.reference import Reference, Repository
from proxy.upstream import admission
from proxy.upstream.admission import LISTS_MAX, Admission, Use
from proxy.upstream.answers import UnreachableError, network_errors
from proxy.upstream.breaker import FAILURES_MAX
from proxy.upstream.client import Upstream
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.observer import Observer

IMAGE = image("web")
DIGEST = Digest.of(b"image")
DIALLED = SimpleNamespace(host="it.test", port=443, ssl=True)


@pytest.fixture
async def hanging(monkeypatch):
    """A registry that answers `quick` paths, and nothing else."""
    monkeypatch.setattr(admission, "WAIT_SECONDS", 0.01)
    seen, released = [], asyncio.Event()

    async def handle(request):
        seen.append(request.path)
        if "quick" in request.path:
            return web.Response(body=IMAGE.body, content_type=OCI_MANIFEST)
        await released.wait()
        return web.Response(body=b'{"schemaVersion": 2, "manifests": []}', content_type=OCI_INDEX)

    async with listening(handle) as url:
        yield url, seen
        released.set()


def fill(upstream, use, tasks):
    """Ask so often that no request more for this use finds a place, of two namespaces."""
    asks = {
        Use.PULL: lambda one, n: upstream.manifest(Reference(one, tag=f"slow{n}")),
        Use.LIST: lambda one, n: upstream.tags(one, 100 + n),
        Use.BLOB: lambda one, n: _opened(upstream, one, Digest.of(b"%d" % n)),
    }
    most = {Use.PULL: 16, Use.LIST: LISTS_MAX, Use.BLOB: 8}[use]
    for n in range(most * 2):
        repository = Repository(REGISTRY, "one/app" if n % 2 else "two/app")
        tasks.create_task(_quietly(asks[use](repository, n)))
    return most


async def _opened(upstream, repository, digest):
    async with upstream.open_blob(repository, digest):
        await asyncio.Event().wait()


async def _quietly(work):
    with suppress(UnavailableError):
        await work


@pytest.mark.parametrize("use", [Use.PULL, Use.LIST, Use.BLOB])
async def test_a_full_pool_is_said_to_be_ours_and_no_breaker_counts_it(use, hanging, monkeypatch):
    monkeypatch.setattr("proxy.upstream.client.BLOB_CONNECTIONS_MAX", 8)
    monkeypatch.setattr("proxy.upstream.client.SHORT_CONNECTIONS_MAX", 16)
    url, seen = hanging
    told = []
    observer = Observer(on_breaker=lambda *_, **__: told.append("breaker"))
    async with upstream_at(url, observer=observer) as upstream, asyncio.TaskGroup() as tasks:
        most = fill(upstream, use, tasks)
        while len(seen) < most:  # noqa: ASYNC110 (nobody else is told)
            await asyncio.sleep(0.001)
        asks = {
            Use.PULL: lambda: upstream.manifest(Reference(REPOSITORY, tag="quick")),
            Use.LIST: lambda: upstream.tags(REPOSITORY),
            Use.BLOB: lambda: upstream.open_blob(REPOSITORY, DIGEST).__aenter__(),
        }
        for _ in range(FAILURES_MAX + 1):
            with pytest.raises(BusyError, match=r"too many requests to registry\.test are under way"):
                await asks[use]()
        # What has a place of its own is answered all the while.
        await upstream.manifest(Reference(REPOSITORY, tag="quick"), Use.JUDGE)
        if use is not Use.PULL:
            await upstream.manifest(Reference(REPOSITORY, tag="quick"))
        assert told == []
        assert len(seen) <= most + 2
        for task in tasks._tasks:
            task.cancel()


@pytest.mark.parametrize("use", [Use.PULL, Use.LIST, Use.BLOB])
async def test_one_namespace_leaves_room_for_others(use):
    it = Admission(REGISTRY)
    async with AsyncExitStack() as stack:
        held = 0
        with suppress(TimeoutError):
            while True:
                place = it.admit(use, Repository(REGISTRY, f"crowd/{held}"))
                await asyncio.wait_for(stack.enter_async_context(place), 0.01)
                held += 1
        assert 0 < held < it._slots[use]._total
        await asyncio.wait_for(stack.enter_async_context(it.admit(use, REPOSITORY)), 0.1)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL])
def test_what_this_machine_lacks_is_no_fault_of_the_registry(code):
    with pytest.raises(BusyError), network_errors("it"):
        raise ClientConnectorError(DIALLED, OSError(code, os.strerror(code)))


@pytest.mark.parametrize("code", [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT])
def test_what_the_network_lacks_is(code):
    with pytest.raises(UnreachableError), network_errors("it"):
        raise ClientConnectorError(DIALLED, OSError(code, os.strerror(code)))


async def test_a_registry_that_is_not_there_is_still_left_alone():
    told = []
    observer = Observer(on_breaker=lambda name, *, is_open: told.append((name, is_open)))
    endpoint = Endpoint(REGISTRY, "http://127.0.0.1:1")
    async with Upstream(endpoint, MadeTime().backoff(), observer=observer) as upstream:
        for use in (Use.JUDGE, Use.LIST):
            with pytest.raises(UnavailableError, match="could not be reached"):
                await upstream.manifest(Reference(REPOSITORY, tag="1"), use)
    assert told == [(REGISTRY, True)]
