"""What is told of each operation."""

import asyncio
from contextlib import suppress

import pytest
from support.faulty import Reply, faulty
from support.upstreams import REPOSITORY, MadeTime, upstream_at

from proxy.demo.images import image
from proxy.oci.digest import Digest
from proxy.oci.errors import BusyError, RegistryError
from proxy.oci.manifest import Descriptor
from proxy.oci.reference import Reference
from proxy.upstream.observer import Observer

IMAGE = image("web")
TAG = Reference(REPOSITORY, tag="v1")
MANIFEST = "/v2/team/app/manifests/v1"
GOOD = Reply(200, {"Content-Type": IMAGE.media_type}, IMAGE.body)


@pytest.mark.parametrize(
    ("reply", "outcome", "seconds"),
    [
        ([GOOD], "ok", 0),
        ([Reply(429, {"Retry-After": "3"}), GOOD], "ok", 3),
        ([Reply(404)], "not_found", 0),
        ([Reply(403)], "denied", 0),
        ([Reply(418)], "unavailable", 0),
        ([Reply(429, {"Retry-After": "99"})], "unavailable", 0),
        ([Reply(200, {"Content-Type": "text/html"})], "malformed", 0),
        ([Reply(200, {"Docker-Content-Digest": str(Digest.of(b"other"))})], "corrupt", 0),
    ],
)
async def test_outcomes(reply, outcome, seconds):
    told = []
    observer = Observer(on_request=lambda *what: told.append(what))
    async with faulty({MANIFEST: reply}) as (_, url), upstream_at(url, MadeTime(), None, observer) as upstream:
        try:
            await upstream.manifest(TAG)
        except RegistryError:
            assert outcome != "ok"
    assert told == [("registry.test", "manifest", outcome, seconds)]


async def test_operations_have_their_names():
    told = []
    blob, subject = b"abc", IMAGE.digest
    answers = {MANIFEST: GOOD, f"/v2/team/app/blobs/{Digest.of(blob)}": Reply(body=blob)}
    observer = Observer(on_request=lambda _, operation, outcome, __: told.append((operation, outcome)))
    async with faulty(answers) as (_, url), upstream_at(url, None, None, observer) as upstream:
        await upstream.resolve(TAG)
        await upstream.blob(REPOSITORY, Descriptor("x/y", Digest.of(blob), 3), 3)
        await upstream.head_blob(REPOSITORY, Digest.of(blob))
        async with upstream.open_blob(REPOSITORY, Digest.of(blob)):
            assert told[-1] == ("blob", "ok")
        for ask in (upstream.referrers(REPOSITORY, subject), upstream.tags(REPOSITORY)):
            with pytest.raises(RegistryError):
                await ask
    operations = ["resolve", "blob", "head_blob", "blob", "referrers", "tags"]
    assert told == [(name, "ok" if n < 4 else "not_found") for n, name in enumerate(operations)]


async def test_who_leaves_is_told_as_such():
    told = []
    observer = Observer(on_request=lambda _, __, outcome, ___: told.append(outcome))
    answers = {MANIFEST: Reply(raw=b"", hang=True)}
    async with faulty(answers) as (_, url), upstream_at(url, None, None, observer) as upstream:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(upstream.manifest(TAG), 0.01)
    assert told == ["cancelled"]


@pytest.mark.parametrize(
    ("header", "told"),
    [("20;w=21600", [20]), ("0", [0]), (" 7 ;w=1", [7]), ("", []), ("many", []), ("-1", []), ("²", [])],
)
def test_rate_limits(header, told):
    seen = []
    observer = Observer(on_rate_limit=lambda registry, left: seen.append((registry, left)))
    observer.headers("docker.io", {"ratelimit-remaining": header})
    assert seen == [("docker.io", left) for left in told]


HEALTH = {
    "ok": (GOOD, []),
    "not found": (Reply(404), []),
    "denied": (Reply(403), []),
    "withheld by law": (Reply(451), []),
    "away": (Reply(503), ["registry.test answered 503 when asked for the manifest team/app:v1"]),
}


@pytest.mark.parametrize("case", HEALTH)
@pytest.mark.parametrize("is_canonical", [False, True])
async def test_whether_it_answers(case, is_canonical):
    reply, causes = HEALTH[case]
    told = []
    observer = Observer(on_health=lambda *args: told.append(args), is_canonical=is_canonical)
    async with faulty({MANIFEST: reply}) as (_, url), upstream_at(url, observer=observer) as upstream:
        with suppress(RegistryError):
            await upstream.manifest(TAG)
        for ask in (upstream.tags(REPOSITORY), upstream.referrers(REPOSITORY, IMAGE.digest)):
            with pytest.raises(RegistryError):
                await ask
    name = "registry.test (signatures)" if is_canonical else "registry.test"
    assert told == [(name, cause) for cause in causes or [None]]


@pytest.mark.parametrize("error", [BusyError("busy"), asyncio.CancelledError()])
def test_what_says_nothing_about_the_registry(error):
    told, outcomes = [], []
    observer = Observer(lambda *args: outcomes.append(args[2]), on_health=lambda *args: told.append(args))
    with pytest.raises(type(error)), observer.operation("registry.test", "manifest", lambda: 0.0):
        raise error
    assert told == []
    assert outcomes == ["busy" if isinstance(error, BusyError) else "cancelled"]
