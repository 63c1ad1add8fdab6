"""Whoever asks makes no outage: slow lists that clients ask for turn no refusal into one, and hold up no pull."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import ClientError, web
from support.stack import listening, rule, running, sign
from support.unruly import unruly

from proxy.demo.images import image
from proxy.policy.model import OnOutage
from proxy.upstream import admission

GOOD, BAD = image("good"), image("bad")
# More than any limit on requests to one registry.
CLIENTS = 150


@asynccontextmanager
async def proxied(about, others=None):
    """A registry that never answers what the path says, before a rule that lets images through in an outage."""
    released = asyncio.Event()

    async def hang(_request, honest):
        await released.wait()
        return honest

    async with unruly() as registry:
        for one, name in ((GOOD, "good"), (BAD, "bad")):
            one.add_to(registry, f"team/{name}", "1")
        sign(registry, "team/good", GOOD.media_type, GOOD.body)
        registry.plague(about, hang)
        async with (
            running(registry.url, rule(on_outage=OnOutage.INSECURE_ALLOW), others=others) as stack,
            asyncio.TaskGroup() as tasks,
        ):
            stack.registry = registry
            try:
                yield stack, tasks
            finally:
                released.set()
                for task in tasks._tasks:
                    task.cancel()


async def ask(stack, path):
    with suppress(ClientError):
        await stack.get(path)


@pytest.mark.parametrize("repository", ["team/app", "team/app{n}", "team{n}/app"])
@pytest.mark.parametrize(
    ("about", "path"),
    [
        ("tags/list", "/v2/{repository}/tags/list?n={n}"),
        ("referrers/sha256:0000", "/v2/{repository}/referrers/sha256:{n:064x}"),
        ("manifests/sha256-0000", "/v2/{repository}/referrers/sha256:{n:064x}"),
    ],
    ids=["tags", "referrers", "fallback tags"],
)
async def test_slow_lists_are_no_outage(about, path, repository, monkeypatch):
    monkeypatch.setattr(admission, "WAIT_SECONDS", 0.2)
    async with proxied(about) as (stack, tasks):
        for n in range(CLIENTS):
            where = path.format(repository=repository.format(n=n), n=n)
            tasks.create_task(ask(stack, where))
        await asyncio.sleep(0.3)
        status, _, body = await stack.get("/v2/docker.io/team/bad/manifests/1")
        assert (status, b"not signed" in body) == (403, True)
        assert (await stack.get("/v2/docker.io/team/good/manifests/1"))[0] == 200
        assert [label for _, label, _ in stack.watch.refusals] == ["not_signed"]


async def test_a_registry_that_hangs_holds_up_no_other():
    """Seen: the images of all registries waited for 18 s for sixteen of one that hung."""
    async with unruly() as other:
        GOOD.add_to(other, "team/good", "1")
        sign(other, "team/good", GOOD.media_type, GOOD.body)
        async with proxied("referrers", {"other.test": other.url}) as (stack, tasks):
            for n in range(20):
                image(f"many{n}").add_to(stack.registry, "team/many", str(n))
                tasks.create_task(ask(stack, f"/v2/docker.io/team/many/manifests/{n}"))
            await asyncio.sleep(0.3)
            assert (await asyncio.wait_for(stack.get("/v2/other.test/team/good/manifests/1"), 5))[0] == 200


async def test_quick_lists_are_answered():
    """The twin."""
    async with proxied("nothing") as (stack, tasks):
        asked = [tasks.create_task(stack.get(f"/v2/team/good/tags/list?n={n + 1}")) for n in range(CLIENTS)]
        assert {(await one)[0] for one in asked} == {200}
        assert (await stack.get("/v2/docker.io/team/bad/manifests/1"))[0] == 403
        assert (await stack.get("/v2/docker.io/team/good/manifests/1"))[0] == 200


async def test_many_who_ask_for_one_page_of_tags_cause_one_request():
    begun, released = 0, asyncio.Event()

    async def handle(_request):
        nonlocal begun
        begun += 1
        await released.wait()
        return web.json_response({"name": "team/app", "tags": ["1"]})

    async with listening(handle) as url, running(url) as stack, asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(stack.get("/v2/team/app/tags/list?n=5")) for _ in range(20)]
        while not begun:  # noqa: ASYNC110 (nobody else is told)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        released.set()
        assert {(await one)[0] for one in asked} == {200}
    assert begun == 1
