"""The whole of Sealgate before an upstream that cuts, stalls, lies, is busy, changes its mind, goes and comes back.

Whatever it does: what ends as complete is right, what is kept is right, and who is honest is served.
"""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from support.pulls import CutError, NotServedError, blobs, manifest, pull, session
from support.stack import STRANGER, sign
from support.unruly import Unruly, answers, flipped, half, halts, sends, unruly
from support.whole import MadeTime, assert_clean, configuration, in_app, settings_of

from proxy.app import running
from proxy.demo.images import Image, image
from proxy.front.suspects import Suspects
from proxy.oci.digest import Digest
from proxy.upstream.endpoint import Limits
from proxy.upstream.retry import Backoff

VICTIM, TWIN, NEXT = (image(seed, layers=3, layer_bytes=200_000) for seed in ("victim", "twin", "next"))
CONFIG, LAYER = (f"blobs/{Digest.of(blob)}" for blob in VICTIM.blobs[:2])
# Longer than anything is remembered that went wrong.
LATER_SECONDS = 700
COMPLETE = "complete"


@dataclass
class Whole:
    """A running Sealgate, its upstream, its time, and a client."""

    url: str
    admin: str
    registry: Unruly
    time: MadeTime
    client: object

    async def pull(self, name: str = "team/victim", reference: str = "1") -> str:
        return await pull(self.client, self.url, name, reference)

    async def ends(self, name: str = "team/victim", reference: str = "1") -> str:
        """Pull and say how it ended: complete, cut, or the status that was no."""
        try:
            await self.pull(name, reference)
        except NotServedError as no:
            return str(no.status)
        except CutError:
            return "cut"
        return COMPLETE

    async def metrics(self) -> str:
        async with self.client.get(f"{self.admin}/metrics") as response:
            return await response.text()


def publish(registry: Unruly, name: str, what: Image, tag: str = "1", **signing: object) -> None:
    what.add_to(registry, name, tag)
    sign(registry, name, what.media_type, what.body, **signing)


@pytest.fixture
def time(monkeypatch):
    """Let time be made where Sealgate is put together, and let it bear a silence of half a second."""
    made = MadeTime()
    in_app(monkeypatch, "clock", made.clock)
    in_app(monkeypatch, "Backoff", lambda _: Backoff(made.monotonic, made.sleep))
    in_app(monkeypatch, "Suspects", lambda *_: Suspects(made.monotonic))
    monkeypatch.setattr("proxy.gate.fetching.RESUME_SECONDS", 0.0)
    monkeypatch.setattr("proxy.upstream.client.Limits", lambda: Limits(read=0.5, blob_stall=0.5))
    return made


@pytest.fixture
async def registry():
    async with unruly() as made:
        publish(made, "team/victim", VICTIM)
        publish(made, "team/twin", TWIN)
        yield made


@pytest.fixture
def whole(registry, time, tmp_path):
    """Return how to run Sealgate on one state directory, as often as wanted."""

    @asynccontextmanager
    async def run(**texts: str):
        config = configuration(tmp_path, registry.url, **texts)
        async with session() as client, running(settings_of(config)) as at:
            yield Whole(at.registry, at.admin, registry, time, client)
        run.kept = assert_clean(tmp_path / "state")

    run.state = tmp_path / "state"
    return run


# What is done to answers for a part of the victim, how often (None: until healed), and how its pull ends meanwhile.
TROUBLES = {
    "a layer is cut once": (LAYER, sends(half), 1, COMPLETE),
    "a layer is cut twice": (LAYER, sends(half), 2, COMPLETE),
    "a layer is cut at its last byte": (LAYER, sends(lambda body: body[:-1]), 1, COMPLETE),
    "a layer is always cut": (LAYER, sends(half), None, "307"),
    "a layer never begins": (LAYER, sends(lambda _: b""), None, "307"),
    "a layer stalls once": (LAYER, sends(half, stall=True), 1, COMPLETE),
    "a layer is said to be longer": (LAYER, sends(bytes, length=lambda it: len(it) + 1), None, "307"),
    "a layer is longer": (LAYER, sends(lambda it: it + b"x", length=lambda it: len(it) + 1), None, "307"),
    "a layer is said to be shorter": (LAYER, sends(lambda it: it[:-1], length=lambda it: len(it) - 1), None, "307"),
    "a layer of no stated length is short": (LAYER, sends(half, length=lambda _: None), None, "307"),
    "a layer of no stated length is long": (LAYER, sends(lambda it: it + b"x", length=lambda _: None), None, "307"),
    "a layer of no stated length is right": (LAYER, sends(bytes, length=lambda _: None), None, COMPLETE),
    "a layer is another": (LAYER, sends(flipped), None, "307"),
    "a config is another": (CONFIG, sends(flipped), None, "307"),
    "a layer is missing": (LAYER, answers(404), None, "307"),
    "a layer is denied": (LAYER, answers(403), None, "307"),
    "a layer is counted once": (LAYER, answers(429, Retry_After="2"), 1, COMPLETE),
    "a layer is counted without a word": (LAYER, answers(429), 2, COMPLETE),
    "a layer is counted for hours": (LAYER, answers(429, Retry_After="3600"), None, "307"),
    "a layer is in a short burst of errors": (LAYER, answers(503), 2, COMPLETE),
    "a layer is always in error": (LAYER, answers(500), None, "307"),
    "a manifest is in a short burst of errors": ("victim/manifests/1", answers(502), 2, COMPLETE),
    "a manifest is always in error": ("victim/manifests/1", answers(503), None, "307"),
    "a manifest is counted once": ("victim/manifests/1", answers(429, Retry_After="0"), 1, COMPLETE),
    "a manifest is counted for hours": ("victim/manifests/1", answers(429, Retry_After="3600"), None, "307"),
    "a manifest is another": ("victim/manifests/1", sends(flipped), None, "307"),
    "a manifest is cut once": ("victim/manifests/1", sends(half), 1, COMPLETE),
    "a manifest is always cut": ("victim/manifests/1", sends(half), None, "307"),
    "a manifest stalls": ("victim/manifests/1", sends(half, stall=True), None, "307"),
    "signatures are in a short burst of errors": ("victim/referrers", answers(503), 2, COMPLETE),
    "signatures are always in error": ("victim/referrers", answers(503), None, "307"),
    "signatures are counted for hours": ("victim/referrers", answers(429, Retry_After="3600"), None, "307"),
    "signatures are hidden": ("victim/referrers", answers(404), None, "307"),
    "a list of signatures is cut once": ("victim/referrers", sends(half), 1, COMPLETE),
    "a list of signatures is nothing": ("victim/referrers", sends(lambda _: b"[]", length=lambda _: 2), None, "307"),
}


@pytest.mark.parametrize(("about", "misdeed", "times", "ends"), TROUBLES.values(), ids=TROUBLES.keys())
async def test_an_upstream_that_misbehaves(whole, about, misdeed, times, ends):
    async with whole() as it:
        it.registry.plague(about, misdeed, times)
        ended, _ = await asyncio.gather(it.ends(), it.pull("team/twin"))
        assert ended == ends
        it.registry.heal()
        it.time.passed += LATER_SECONDS
        assert await it.pull() == str(VICTIM.digest)
        assert await it.pull("team/twin") == str(TWIN.digest)
    assert whole.kept == len({*VICTIM.blobs, *TWIN.blobs})


@pytest.mark.parametrize("next_one", ["signed", "unsigned", "by a stranger"])
async def test_a_tag_that_changes_in_mid_pull(whole, next_one):
    """Who has the old manifest gets its layers; who asks after the tag's lifetime gets the new one, or nothing."""
    async with whole() as it:
        _, body = await manifest(it.client, it.url, "team/victim", "1")
        if next_one == "unsigned":
            NEXT.add_to(it.registry, "team/victim", "1")
        else:
            publish(it.registry, "team/victim", NEXT, **({"key": STRANGER} if next_one == "by a stranger" else {}))
        await blobs(it.client, it.url, "team/victim", body)
        assert await it.pull() == str(VICTIM.digest)
        it.time.passed += 61
        assert await it.ends() == (COMPLETE if next_one == "signed" else "307")
        if next_one == "signed":
            assert await it.pull() == str(NEXT.digest)
        assert await it.pull(reference=str(VICTIM.digest)) == str(VICTIM.digest)
        status = 200 if next_one == "signed" else 307
        layer = f"{it.url}/v2/team/victim/blobs/{Digest.of(NEXT.blobs[1])}"
        async with it.client.get(layer, allow_redirects=False) as response:
            assert response.status == status
    assert whole.kept == len({*VICTIM.blobs, *(NEXT.blobs if next_one == "signed" else ())})


async def test_a_tag_that_changes_while_its_layers_come(whole):
    released = asyncio.Event()
    async with whole() as it:
        it.registry.plague(LAYER, halts(released), 1)
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(it.pull())
            while not it.registry.asked(LAYER):  # noqa: ASYNC110 (nobody else is told)
                await asyncio.sleep(0.01)
            publish(it.registry, "team/victim", NEXT)
            it.time.passed += 61
            assert await it.pull() == str(NEXT.digest)
            released.set()
        assert first.result() == str(VICTIM.digest)
        assert it.registry.asked(LAYER) == 1
    assert whole.kept == len({*VICTIM.blobs, *NEXT.blobs})


# What a rule says besides, how many seconds after the pull, and how a pull by tag ends while the upstream is away.
AWAY = {
    "within the tag's lifetime": ("", 59, COMPLETE),
    "after the tag's lifetime": ("", 61, "307"),
    "while the tag may be stale": ('tag_max_stale = "1h"', 3600, COMPLETE),
    "no longer": ('tag_max_stale = "1h"', 3661, "307"),
    "the proof is too old": ('tag_max_stale = "30d"', 24 * 3600 + 1, "307"),
}


@pytest.mark.parametrize(("rule", "seconds", "ends"), AWAY.values(), ids=AWAY.keys())
async def test_an_upstream_that_goes_away_and_comes_back(whole, rule, seconds, ends):
    """What was judged is served for its lifetimes, what never was is refused; then all is well again."""
    async with whole(rule=rule) as it:
        await it.pull()
        await it.registry.stop()
        it.time.passed += seconds
        assert await it.ends() == ends
        assert await it.ends("team/twin") == "307"
        by_digest = await it.ends(reference=str(VICTIM.digest))
        assert by_digest == (COMPLETE if seconds <= 24 * 3600 else "307")
        await it.registry.start()
        it.time.passed += 61
        assert await it.pull() == str(VICTIM.digest)
        assert await it.pull("team/twin") == str(TWIN.digest)
        assert it.registry.asked(LAYER) == 1


async def test_an_upstream_that_is_away_when_sealgate_starts(whole):
    """Blobs are on the disk and verdicts in the database; nothing is served that was not judged, before or after."""
    async with whole() as it:
        await it.pull()
    await it.registry.stop()
    async with whole() as it:
        for blob in VICTIM.blobs:
            async with it.client.get(
                f"{it.url}/v2/team/twin/blobs/{Digest.of(blob)}", allow_redirects=False
            ) as response:
                assert response.status == 307
        assert await it.ends("team/twin") == "307"
        assert await it.ends() in {"307", COMPLETE}
        await it.registry.start()
        it.time.passed += 61
        assert await it.pull() == str(VICTIM.digest)
        assert await it.pull("team/twin") == str(TWIN.digest)
        assert it.registry.asked(LAYER) == 1
