"""What goes on after a restart, and in another worker, while the registry is away: what still holds, and no more."""

import json
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest
from support.artifacts import artifact_body
from support.fakes import image_body, index_body
from support.stores import database
from test_gate import APP, OTHER, bench, by_digest, by_tag, layer
from test_gate_stale import settled

from proxy.gate import Memory
from proxy.gate.contents import RATE_LIMITED_TAG_MAX
from proxy.oci.digest import Digest
from proxy.oci.errors import NotFoundError, UnavailableError
from proxy.stores.grants import PARENTS_MAX, SqliteMemberships
from proxy.stores.manifests import USED_EVERY, SqliteManifests
from proxy.stores.near import NearMemberships
from proxy.stores.tags import SqliteTags, Tagged
from proxy.stores.verdicts import SqliteVerdicts
from proxy.verdict import Accepted, Undetermined

SECOND = timedelta(seconds=1)
LIFETIME = timedelta(seconds=60)


class Machine:
    """A bench whose memory is a file: `start` opens it once more, as a restart or another worker does."""

    def __init__(self, path, **settings):
        self.path, self.bench = path, bench(**settings)

    @asynccontextmanager
    async def start(self, tag_lifetime=LIFETIME, **lifetimes):
        with database(self.path) as opened:
            self.opened = opened
            self.bench.memory = Memory(
                SqliteVerdicts(opened),
                NearMemberships(SqliteMemberships(opened)),
                tag_lifetime,
                SqliteManifests(opened),
                SqliteTags(opened),
            )
            async with self.bench.gate(**lifetimes) as gate:
                yield gate

    def signed(self, body, tag="v1", repository=APP):
        digest = self.bench.registry.add(repository, body, tag)
        self.bench.notebook.signed[digest] = ("release",)
        return digest

    def away(self):
        self.bench.registry.fault = UnavailableError("the registry is away")
        self.bench.notebook.unreached = ["the registry is away"]
        self.bench.notebook.signed.clear()
        self.bench.registry.asked.clear()


@pytest.fixture
def machine(tmp_path):
    return lambda **settings: Machine(tmp_path / "store", **settings)


@pytest.fixture(params=["after a restart", "in another worker"])
def pulled(request):
    """Pull once by each reference, and then give a gate that was not asked before, with the registry away."""

    @asynccontextmanager
    async def pulled(it, *references):
        async with AsyncExitStack() as stack:
            gate = await stack.enter_async_context(it.start())
            for reference in references:
                await gate.pull(reference, "client")
            if request.param == "after a restart":
                await stack.aclose()
            it.away()
            async with it.start() as other:
                yield other

    return pulled


async def test_a_tag_and_its_image_need_no_registry(machine, pulled):
    it = machine()
    digest = it.signed(image_body("good"))
    async with pulled(it, by_tag()) as gate:
        served = await gate.pull(by_tag(), "client")
        assert (served.manifest.body, served.manifest.digest) == (image_body("good"), digest)
        assert isinstance(served.decision.verdict, Accepted)
        assert (await gate.pull(by_digest(digest), "client")).decision.served
        assert (await gate.blob(APP, layer("good"), "client")).served
    assert it.bench.registry.asked == []


async def test_an_index_and_its_child_need_no_registry(machine, pulled):
    it = machine()
    child = image_body("good")
    index = it.signed(index_body(child))
    it.bench.registry.add(APP, child)
    async with pulled(it, by_tag(), by_digest(Digest.of(child))) as gate:
        assert (await gate.pull(by_tag(), "client")).manifest.digest == index
        assert (await gate.pull(by_digest(Digest.of(child)), "client")).decision.served
        assert (await gate.blob(APP, layer("good"), "client")).served
    assert it.bench.registry.asked == []


def artifact():
    payload = b'{"critical":{"type":"cosign container image signature"}}'
    return artifact_body(payload), payload


async def test_a_signature_artefact_needs_no_registry(machine, pulled):
    it = machine()
    body, payload = artifact()
    it.bench.registry.add(APP, body, "sha256-0.sig")
    it.bench.registry.blobs[Digest.of(payload)] = payload
    async with pulled(it, by_tag("sha256-0.sig")) as gate:
        assert (await gate.pull(by_tag("sha256-0.sig"), "client")).decision is None
        assert (await gate.blob(APP, Digest.of(payload), "client")).decision is None
    assert it.bench.registry.asked == []


@pytest.mark.parametrize(
    ("age", "max_stale", "served"),
    [
        (59, 0, True),
        (60, 0, False),
        (60, 100, True),
        (159, 100, True),
        (160, 100, False),
    ],
)
async def test_a_tag_holds_for_what_is_left_of_its_lifetime(machine, pulled, age, max_stale, served):
    it = machine(tag_max_stale=timedelta(seconds=max_stale))
    it.signed(image_body("good"))
    async with pulled(it, by_tag()) as gate:
        it.bench.clock.advance(age)
        if served:
            answer = await gate.pull(by_tag(), "client")
            assert answer.expires == it.bench.clock.now + max(timedelta(0), (60 - age) * SECOND)
            await settled()
        else:
            with pytest.raises(UnavailableError):
                await gate.pull(by_tag(), "client")


async def test_a_restart_gives_no_tag_a_new_lifetime(machine):
    it = machine(tag_max_stale=timedelta(seconds=100))
    it.signed(image_body("good"))
    async with it.start() as gate:
        await gate.pull(by_tag(), "client")
    it.away()
    for _ in range(5):
        it.bench.clock.advance(31)
        async with it.start() as gate:
            assert (await gate.pull(by_tag(), "client")).decision.served
            await settled()
    it.bench.clock.advance(5)
    async with it.start() as gate:
        with pytest.raises(UnavailableError):
            await gate.pull(by_tag(), "client")


async def test_a_tag_from_the_future_is_asked_for(machine, pulled):
    it = machine(tag_max_stale=timedelta(days=1))
    it.signed(image_body("good"))
    async with pulled(it, by_tag()) as gate:
        it.bench.clock.advance(-1)
        with pytest.raises(UnavailableError):
            await gate.pull(by_tag(), "client")


async def test_a_shorter_lifetime_takes_effect_at_once(machine):
    it = machine()
    it.signed(image_body("good"))
    async with it.start() as gate:
        await gate.pull(by_tag(), "client")
    it.away()
    it.bench.clock.advance(30)
    async with it.start(timedelta(seconds=30)) as gate:
        with pytest.raises(UnavailableError):
            await gate.pull(by_tag(), "client")


async def test_what_another_worker_asked_for_is_not_asked_for_again(machine):
    it = machine()
    it.signed(image_body("old"))
    async with it.start() as one, it.start() as other:
        await one.pull(by_tag(), "client")
        await other.pull(by_tag(), "client")
        new = it.signed(image_body("new"))
        it.bench.clock.advance(61)
        assert (await one.pull(by_tag(), "client")).manifest.digest == new
        it.bench.registry.asked.clear()
        it.bench.notebook.looked.clear()
        assert (await other.pull(by_tag(), "client")).manifest.digest == new
    assert it.bench.registry.asked == it.bench.notebook.looked == []


@pytest.mark.parametrize("age", [61, 1000])
async def test_a_late_answer_is_what_another_worker_was_told_last(machine, age):
    it = machine(tag_max_stale=timedelta(days=1))
    it.signed(image_body("old"))
    async with it.start() as one, it.start() as other:
        for gate in (one, other):
            await gate.pull(by_tag(), "client")
        new = it.signed(image_body("new"))
        it.bench.clock.advance(61)
        await it.bench.memory.tags.put(APP, "v1", Tagged(new, it.bench.clock()))
        it.bench.clock.advance(age)
        it.bench.registry.asked.clear()
        assert (await other.pull(by_tag(), "client")).manifest.digest == new


@pytest.mark.parametrize("rate_limited", [False, True])
async def test_a_tag_that_is_gone_upstream_is_gone_for_every_worker(machine, rate_limited):
    it = machine(tag_max_stale=timedelta(days=1))
    digest = it.signed(image_body("good"))
    async with it.start() as one, it.start() as other:
        for gate in (one, other):
            await gate.pull(by_tag(), "client")
        gone = it.bench.registry.manifests.pop((APP, "v1"))
        it.bench.clock.advance(61)
        await one.pull(by_tag(), "client")
        for _ in range(100):  # the store answers from its thread
            await it.opened.read(lambda _: None, None)
        with pytest.raises(NotFoundError):
            await one.pull(by_tag(), "client")
        it.bench.registry.fault = UnavailableError("away", rate_limited=rate_limited)
        with pytest.raises(UnavailableError):
            await other.pull(by_tag(), "client")
        it.bench.registry.fault = None
        it.bench.registry.manifests[APP, "v1"] = gone
        assert (await other.pull(by_tag(), "client")).manifest.digest == digest


@pytest.mark.parametrize("in_the_background", [False, True])
async def test_a_tag_that_is_gone_upstream_is_not_answered_late_any_more(machine, in_the_background):
    it = machine(tag_max_stale=timedelta(days=1))
    it.signed(image_body("good"))
    async with it.start() as gate:
        await gate.pull(by_tag(), "client")
        it.bench.registry.manifests.clear()
        it.bench.clock.advance(61 if in_the_background else 100_000)
        if in_the_background:
            assert (await gate.pull(by_tag(), "client")).decision.served
            for _ in range(100):  # the store answers from its thread
                await it.opened.read(lambda _: None, None)
        with pytest.raises(NotFoundError):
            await gate.pull(by_tag(), "client")
        it.away()
        with pytest.raises(UnavailableError):
            await gate.pull(by_tag(), "client")
    async with it.start() as gate:
        with pytest.raises(UnavailableError):
            await gate.pull(by_tag(), "client")


@pytest.mark.parametrize("age", [3599, 3600])
async def test_an_acceptance_holds_for_its_lifetime_and_no_longer(machine, pulled, age):
    it = machine(tag_max_stale=timedelta(days=1))
    digest = it.signed(image_body("good"))
    async with pulled(it, by_tag()) as gate:
        it.bench.clock.advance(age)
        for reference in (by_tag(), by_digest(digest)):
            decision = (await gate.pull(reference, "client")).decision
            assert decision.served is (age < 3600)
        assert (await gate.blob(APP, layer("good"), "client")).served is (age < 3600)
        await settled()


async def test_however_many_refused_images_name_a_blob_they_hide_it_from_no_worker(machine, pulled):
    it = machine()
    base = b"base layer"
    good = it.signed(image_body("good", layers=[base]))
    bad = [it.bench.registry.add(APP, image_body(f"bad {number}", layers=[base])) for number in range(30)]
    async with pulled(it, by_digest(good), *map(by_digest, bad)) as gate:
        assert (await gate.blob(APP, Digest.of(base), "client")).served


@pytest.mark.parametrize("signed", [True, False])
async def test_more_refused_manifests_than_are_ever_looked_at_hide_no_accepted_one(machine, pulled, signed):
    """The attack is to push unsigned images and indexes that name a signed image's layer and child; and its twin."""
    it = machine()
    base = b"base layer"
    child = image_body("child", layers=[base])
    it.bench.registry.add(APP, child)
    body = index_body(child, image_body("other architecture"))
    good = it.signed(body) if signed else it.bench.registry.add(APP, body, "v1")
    bad = [it.bench.registry.add(APP, image_body(f"bad {n}", layers=[base])) for n in range(2 * PARENTS_MAX)]
    bad += [it.bench.registry.add(APP, index_body(child, image_body(f"bad {n}"))) for n in range(PARENTS_MAX)]
    wanted = [by_digest(good), by_digest(Digest.of(child))]
    async with pulled(it, *wanted, *map(by_digest, bad)) as gate:
        assert (await gate.blob(APP, Digest.of(base), "client")).served is signed
        assert (await gate.pull(by_digest(Digest.of(child)), "client")).decision.served is signed


async def test_what_was_never_judged_is_not_served(machine, pulled):
    it = machine()
    it.signed(image_body("good"))
    async with pulled(it) as gate:
        for reference in (by_tag(), by_digest(Digest.of(image_body("good")))):
            with pytest.raises(UnavailableError):
                await gate.pull(reference, "client")


async def test_a_manifest_of_another_repository_is_not_served(machine, pulled):
    it = machine()
    digest = it.signed(image_body("good"))
    it.bench.registry.add(OTHER, image_body("good"), "v1")
    async with pulled(it, by_tag()) as gate:
        with pytest.raises(UnavailableError):
            await gate.pull(by_digest(digest, OTHER), "client")


async def test_a_manifest_that_rotted_on_disk_is_asked_for_again(machine):
    it = machine()
    digest = it.signed(image_body("good"))
    async with it.start() as gate:
        await gate.pull(by_tag(), "client")
        evil = image_body("evil")
        await it.opened.write(lambda db: db.execute("UPDATE body SET content = ?", (evil,)), None)
    async with it.start() as gate:
        assert (await gate.pull(by_digest(digest), "client")).manifest.body == image_body("good")
    assert [fault.startswith("a damaged manifest of docker.io/team/app") for fault in it.opened.faults] == [True]
    it.away()
    async with it.start() as gate:
        assert (await gate.pull(by_digest(digest), "client")).decision.served


async def test_a_tag_that_was_moved_on_disk_is_judged(machine):
    it = machine()
    it.signed(image_body("good"))
    evil = it.bench.registry.add(APP, image_body("evil"))
    async with it.start() as gate:
        await gate.pull(by_tag(), "client")
        await it.opened.write(lambda db: db.execute("UPDATE tag SET digest = ?", (bytes.fromhex(evil.hex),)), None)
    async with it.start() as gate:
        assert not (await gate.pull(by_tag(), "client")).decision.served


async def test_what_is_used_all_the_time_stays_on_disk(machine):
    it = machine()
    digest = it.signed(image_body("good"))
    async with it.start() as gate:
        await gate.pull(by_digest(digest), "client")
        for _ in range(4):
            it.bench.clock.advance(USED_EVERY.total_seconds() / 2)
            await gate.pull(by_digest(digest), "client")
        used = await it.opened.read(lambda db: db.execute("SELECT used FROM body").fetchone()[0], None)
    assert used == it.bench.clock.now.timestamp()


async def test_the_registry_may_be_away_with_the_disk(machine):
    it = machine(tag_max_stale=timedelta(seconds=100))
    it.signed(image_body("good"))
    async with it.start() as gate:
        await gate.pull(by_tag(), "client")
        it.away()
        await it.opened.read(lambda db: db.execute("DROP TABLE body"), None)
        await it.opened.read(lambda db: db.execute("DROP TABLE tag"), None)
        it.bench.clock.advance(100)
        assert (await gate.pull(by_tag(), "client")).decision.served
        it.bench.clock.advance(100)
        with pytest.raises(UnavailableError):
            await gate.pull(by_tag(), "client")


async def test_what_could_not_be_written_is_newer_than_what_lies_there(machine):
    it = machine()
    it.signed(image_body("old"))
    async with it.start() as gate:
        await gate.pull(by_tag(), "client")
        await it.opened.read(lambda db: db.execute("PRAGMA query_only = 1").fetchall(), None)
        new = it.signed(image_body("new"))
        it.bench.clock.advance(61)
        await gate.pull(by_tag(), "client")
        it.bench.registry.fault = UnavailableError("too many requests", rate_limited=True)
        it.bench.clock.advance(61)
        assert (await gate.pull(by_tag(), "client")).manifest.digest == new


RATE_LIMIT = RATE_LIMITED_TAG_MAX.total_seconds()


@pytest.mark.parametrize(
    ("age", "rate_limited", "served"),
    [(61, True, True), (59 + RATE_LIMIT, True, True), (60 + RATE_LIMIT, True, False), (61, False, False)],
)
async def test_a_tag_bridges_a_rate_limit_also_after_a_restart(machine, pulled, age, rate_limited, served):
    it = machine(accepted_max_stale=timedelta(days=1))
    digest = it.signed(image_body("good"))
    async with pulled(it, by_tag()) as gate:
        it.bench.registry.fault = UnavailableError("busy", retry_after=3600, rate_limited=rate_limited)
        it.bench.clock.advance(age)
        if served:
            assert (await gate.pull(by_tag(), "client")).manifest.digest == digest
        else:
            with pytest.raises(UnavailableError):
                await gate.pull(by_tag(), "client")


async def test_warm_pulls_ask_the_store_for_no_manifest_and_no_tag(machine):
    it = machine()
    it.signed(image_body("good"))
    async with it.start() as gate:
        await gate.pull(by_tag(), "client")
        it.bench.watcher.lookups.clear()
        await gate.pull(by_tag(), "client")
    assert not [name for name, _ in it.bench.watcher.lookups if name.startswith("stored")]


async def test_the_media_type_survives(machine, pulled):
    it = machine()
    body = index_body(image_body("good"))
    it.signed(body)
    async with pulled(it, by_tag()) as gate:
        assert (await gate.pull(by_tag(), "client")).manifest.media_type == json.loads(body)["mediaType"]


async def test_judging_is_no_knowledge_of_another_time(machine, pulled):
    it = machine()
    it.signed(image_body("good"))
    async with pulled(it, by_tag()) as gate:
        it.bench.registry.fault = None
        it.bench.clock.advance(3600)
        assert isinstance((await gate.pull(by_tag(), "client")).decision.verdict, Undetermined)
