"""The gate: what is served, what is remembered, what is asked for again."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
from support.artifacts import artifact_body
from support.fakes import Clock, FakeRegistry, FakeSigner, Notebook, Watcher, image_body, index_body

from proxy.gate import Gate, Judge, Memory, TrustAges
from proxy.oci.digest import Digest
from proxy.oci.errors import NotFoundError, UnavailableError
from proxy.oci.reference import Reference, Repository
from proxy.policy.evaluate import Lifetimes
from proxy.policy.expression import parse
from proxy.policy.match import Pattern
from proxy.policy.model import InsecureAllowUnverified, Mode, OnOutage, Rule
from proxy.policy.rules import Rules
from proxy.stores.grants import MemoryMemberships
from proxy.stores.manifests import MemoryManifests
from proxy.stores.tags import MemoryTags
from proxy.stores.verdicts import MemoryVerdicts
from proxy.verdict import Accepted, InsecureUnverified, Reason, Refused, Subject, Undetermined

APP = Repository.of("docker.io", "team/app")
OTHER = Repository.of("docker.io", "other/app")
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"


class Bench:
    """A gate over fakes, which all can be reached."""

    def __init__(self, *rules: Rule, registry: FakeRegistry, notebook: Notebook) -> None:
        self.registry = registry
        self.notebook = notebook
        self.clock = Clock()
        self.watcher = Watcher()
        self.trust = TrustAges({}, {})
        self.memory = Memory(MemoryVerdicts(), MemoryMemberships(), timedelta(seconds=60))
        self.rules = Rules(rules)

    def forget_manifests(self) -> None:
        """Leave the gates that come nothing but verdicts and memberships."""
        self.memory = replace(self.memory, manifests=MemoryManifests(), tags=MemoryTags())

    @asynccontextmanager
    async def gate(
        self, accepted: timedelta = timedelta(hours=1), refused: timedelta = timedelta(seconds=30)
    ) -> AsyncIterator[Gate]:
        ids = count()
        lifetimes = Lifetimes(accepted=accepted, refused=refused)
        async with asyncio.TaskGroup() as tasks:
            yield Gate(
                rules=self.rules,
                registry=self.registry,
                judge=Judge(self.registry, self.clock, lifetimes, seconds=5, at_once=4, trust=self.trust),
                memory=self.memory,
                clock=self.clock,
                new_id=lambda: f"id{next(ids)}",
                observer=self.watcher,
                tasks=tasks,
            )


def bench(require: str = "release", **settings: object) -> Bench:
    notebook = Notebook()
    expression = InsecureAllowUnverified() if require == "unverified" else parse(require)
    binds_tag = bool(settings.pop("binds_tag", False))
    signers = {"release": FakeSigner("release", notebook, binds_tag)} if require == "release" else {}
    rule = Rule("all", (Pattern.parse("**"),), expression, signers, **settings)
    return Bench(rule, registry=FakeRegistry(), notebook=notebook)


def by_tag(tag: str = "v1", repository: Repository = APP) -> Reference:
    return Reference(repository, tag=tag)


def by_digest(digest: Digest, repository: Repository = APP) -> Reference:
    return Reference(repository, digest=digest)


def layer(name: str, number: int = 0) -> Digest:
    return Digest.of(f"{name} layer {number}".encode())


async def test_a_signed_image_is_accepted_and_its_very_bytes_are_returned():
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        pulled = await gate.pull(by_tag(), "client")
    assert pulled.manifest.body == image_body("good")
    assert isinstance(pulled.decision.verdict, Accepted)
    assert pulled.decision.served


async def test_an_unsigned_image_is_refused():
    it = bench()
    it.registry.add(APP, image_body("bad"), "v1")
    async with it.gate() as gate:
        pulled = await gate.pull(by_tag(), "client")
    assert isinstance(pulled.decision.verdict, Refused)
    assert pulled.decision.reason is Reason.NOT_SIGNED
    assert not pulled.decision.served


async def test_tag_and_digest_share_one_verdict_and_one_audit_line():
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        first = await gate.pull(by_tag(), "client")
        second = await gate.pull(by_digest(digest), "client")
    assert first.decision == second.decision
    assert len(it.watcher.judged_) == 1
    assert it.notebook.looked == [str(digest)]


async def test_where_the_tag_is_signed_each_tag_is_judged():
    it = bench(binds_tag=True)
    body = image_body("good")
    digest = it.registry.add(APP, body, "v1")
    it.registry.add(APP, body, "v2")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        await gate.pull(by_tag("v1"), "client")
        await gate.pull(by_tag("v2"), "client")
    assert len(it.watcher.judged_) == 2


async def test_a_verdict_for_one_repository_says_nothing_of_another():
    it = bench()
    body = image_body("good")
    digest = it.registry.add(APP, body, "v1")
    it.registry.add(OTHER, body, "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
        it.notebook.signed.clear()
        pulled = await gate.pull(by_tag(repository=OTHER), "client")
    assert not pulled.decision.served


async def test_many_who_ask_at_once_cause_one_request_and_one_judgement():
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        pulled = await asyncio.gather(*(gate.pull(by_tag(), "client") for _ in range(50)))
    assert len({one.decision.id for one in pulled}) == 1
    assert it.registry.asked == [f"GET team/app {'v1'}"]
    assert len(it.watcher.judged_) == 1


async def test_the_judgement_goes_on_when_the_client_has_left():
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.signed[digest] = ("release",)
    release, begun = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        await release.wait()

    it.notebook.wait = wait
    async with it.gate() as gate, asyncio.TaskGroup() as clients:
        client = clients.create_task(gate.pull(by_tag(), "first"))
        await begun.wait()
        client.cancel()
        release.set()
        it.notebook.wait = None
        pulled = await gate.pull(by_tag(), "second")
    assert pulled.decision.served
    assert it.notebook.looked == [str(digest)]


async def test_a_tag_keeps_its_digest_for_its_lifetime_and_is_asked_for_by_head_after_it():
    it = bench()
    digest = it.registry.add(APP, image_body("old"), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
        moved = it.registry.add(APP, image_body("new"), "v1")
        assert (await gate.pull(by_tag(), "client")).manifest.digest == digest
        it.clock.advance(61)
        assert (await gate.pull(by_tag(), "client")).manifest.digest == moved
        it.clock.advance(61)
        await gate.pull(by_tag(), "client")
    assert [one.split()[0] for one in it.registry.asked] == ["GET", "HEAD", "GET", "HEAD"]


async def test_an_upstream_that_does_not_say_a_digest_is_asked_for_the_manifest():
    it = bench()
    it.registry.resolves = False
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
        it.clock.advance(61)
        await gate.pull(by_tag(), "client")
    assert [one.split()[0] for one in it.registry.asked] == ["GET", "HEAD", "GET"]


async def test_a_refusal_is_forgotten_sooner_than_an_acceptance():
    it = bench()
    digest = it.registry.add(APP, image_body("late"), "v1")
    async with it.gate() as gate:
        assert not (await gate.pull(by_digest(digest), "client")).decision.served
        it.notebook.signed[digest] = ("release",)
        assert not (await gate.pull(by_digest(digest), "client")).decision.served
        it.clock.advance(31)
        assert (await gate.pull(by_digest(digest), "client")).decision.served
        it.notebook.signed.clear()
        it.clock.advance(3599)
        assert (await gate.pull(by_digest(digest), "client")).decision.served
        it.clock.advance(2)
        assert not (await gate.pull(by_digest(digest), "client")).decision.served


async def test_a_restart_keeps_verdicts_and_grants():
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
    async with it.gate() as gate:
        pulled = await gate.pull(by_digest(digest), "client")
        grant = await gate.blob(APP, layer("good"), "client")
    assert pulled.decision.served
    assert grant.served
    assert len(it.watcher.judged_) == 1


async def test_an_outage_of_the_signatures_is_undetermined_and_never_remembered():
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.unreached.append("the referrers")
    async with it.gate() as gate:
        first = await gate.pull(by_tag(), "client")
        it.notebook.unreached.clear()
        it.notebook.signed[digest] = ("release",)
        second = await gate.pull(by_tag(), "client")
    assert isinstance(first.decision.verdict, Undetermined)
    assert not first.decision.served
    assert second.decision.served


async def test_an_outage_does_not_touch_what_was_accepted():
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
        it.notebook.unreached.append("the referrers")
        it.registry.fault = UnavailableError("the registry is down")
        assert (await gate.pull(by_digest(digest), "client")).decision.served
        it.clock.advance(61)
        with pytest.raises(UnavailableError):
            await gate.pull(by_tag(), "client")


async def test_an_upstream_that_counts_our_requests_leaves_the_tag_as_it_was():
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
        it.registry.fault = UnavailableError("429", rate_limited=True)
        for seconds in (61, 3600):
            it.clock.advance(seconds)
            pulled = await gate.pull(by_tag(), "client")
            assert (pulled.manifest.digest, pulled.decision.served) == (digest, True)
        it.clock.advance(6 * 3600)
        with pytest.raises(UnavailableError):
            await gate.pull(by_tag(), "client")
        with pytest.raises(UnavailableError):
            await gate.pull(by_tag("never-seen"), "client")


async def test_on_outage_insecure_allow_serves_the_image_and_the_blobs_of_one_pull():
    it = bench(on_outage=OnOutage.INSECURE_ALLOW)
    it.registry.add(APP, image_body("good"), "v1")
    it.notebook.unreached.append("the referrers")
    async with it.gate() as gate:
        assert (await gate.pull(by_tag(), "client")).decision.served
        assert (await gate.blob(APP, layer("good"), "client")).served
        looked = len(it.notebook.looked)
        assert (await gate.blob(APP, layer("good"), "client")).served
    assert len(it.notebook.looked) == looked


@pytest.mark.parametrize("mode", [Mode.WARN, Mode.AUDIT])
async def test_warn_and_audit_serve_what_they_would_refuse(mode):
    it = bench(mode=mode)
    it.registry.add(APP, image_body("bad"), "v1")
    async with it.gate() as gate:
        pulled = await gate.pull(by_tag(), "client")
        grant = await gate.blob(APP, layer("bad"), "client")
    assert isinstance(pulled.decision.verdict, Refused)
    assert pulled.decision.served
    assert grant.served


async def test_a_rule_may_let_images_through_unseen():
    it = bench("unverified")
    it.registry.add(APP, image_body("any"), "v1")
    async with it.gate() as gate:
        pulled = await gate.pull(by_tag(), "client")
    assert isinstance(pulled.decision.verdict, InsecureUnverified)
    assert it.notebook.looked == []


async def test_without_a_rule_nothing_is_served():
    it = Bench(registry=FakeRegistry(), notebook=Notebook())
    it.registry.add(APP, image_body("any"), "v1")
    async with it.gate() as gate:
        pulled = await gate.pull(by_tag(), "client")
    assert pulled.decision.reason is Reason.NO_RULE


# Children of an index


async def test_a_child_of_an_accepted_index_needs_no_signature_of_its_own():
    it = bench()
    child = image_body("child")
    child_digest = it.registry.add(APP, child)
    digest = it.registry.add(APP, index_body(child), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        assert not (await gate.pull(by_digest(child_digest), "client")).decision.served
        await gate.pull(by_tag(), "client")
        assert (await gate.pull(by_digest(child_digest), "client")).decision.served
        assert (await gate.blob(APP, layer("child"), "client")).served
        it.clock.advance(3601)  # both verdicts have expired: the index is judged again
        assert (await gate.pull(by_digest(child_digest), "client")).decision.served


async def test_a_child_of_a_refused_index_is_refused():
    it = bench()
    child = image_body("child")
    child_digest = it.registry.add(APP, child)
    it.registry.add(APP, index_body(child), "v1")
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
        assert not (await gate.pull(by_digest(child_digest), "client")).decision.served


async def test_a_signature_never_travels_upwards():
    it = bench()
    child = image_body("child")
    child_digest = it.registry.add(APP, child)
    it.registry.add(APP, index_body(child), "v1")
    it.notebook.signed[child_digest] = ("release",)
    async with it.gate() as gate:
        assert (await gate.pull(by_digest(child_digest), "client")).decision.served
        assert not (await gate.pull(by_tag(), "client")).decision.served


def forget_parents(it: Bench) -> None:
    it.memory = replace(it.memory, memberships=MemoryMemberships())


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("moved", [True, False])
async def test_a_child_whose_index_was_forgotten_or_is_new_is_found_by_a_tag_that_was_resolved(signed, moved):
    """`name@child`, where no store knows who lists it, but a tag of the repository names the index now."""
    it = bench()
    child = it.registry.add(APP, image_body("child"))
    before = index_body(image_body("old")) if moved else index_body(image_body("child"))
    it.registry.add(APP, before, "v1")
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
    it.clock.advance(61)
    index = it.registry.add(APP, index_body(image_body("child")), "v1")
    it.notebook.signed[index] = ("release",) if signed else ()
    forget_parents(it)
    async with it.gate() as gate:
        pulled = await gate.pull(by_digest(child), "client")
        assert pulled.decision.served is signed
        assert (await gate.blob(APP, layer("child"), "client")).served is signed
    assert pulled.decision.note == ("" if signed else f"part of index {index.short}, which is not accepted: not signed")


@pytest.mark.parametrize("kind", ["layer type", "other repository", "by tag", "tag is gone", "registry is down"])
async def test_what_does_not_make_a_child(kind):
    it = bench()
    child = it.registry.add(APP, image_body("child"), "child" if kind == "by tag" else None)
    body = index_body(image_body("child"))
    if kind == "layer type":
        document = json.loads(body)
        document["manifests"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip"
        body = json.dumps(document).encode()
    where = OTHER if kind == "other repository" else APP
    index = it.registry.add(where, body, "v1")
    it.notebook.signed[index] = ("release",)
    async with it.gate() as gate:
        await gate.pull(by_tag(repository=where), "client")
        await gate.pull(by_digest(child), "client")
    it.clock.advance(3700)
    forget_parents(it)
    if kind == "tag is gone":
        del it.registry.manifests[APP, "v1"]
    async with it.gate() as gate:
        if kind == "registry is down":
            it.notebook.unreached = ["the registry is down"]
            it.registry.fault = UnavailableError("the registry is down")
        decision = (await gate.pull(by_tag("child") if kind == "by tag" else by_digest(child), "client")).decision
    assert not decision.served
    assert decision.note == ""


async def test_few_tags_are_tried_for_a_digest_that_is_refused():
    it = bench()
    for number in range(10):
        it.registry.add(APP, image_body(f"image {number}"), f"v{number}")
    child = it.registry.add(APP, image_body("child"))
    async with it.gate() as gate:
        for number in range(10):
            await gate.pull(by_tag(f"v{number}"), "client")
            it.clock.advance(61)
        it.registry.asked.clear()
        for _ in range(3):
            assert not (await gate.pull(by_digest(child), "client")).decision.served
    assert sorted(it.registry.asked) == [
        f"GET {APP.path} {str(child)[:14]}",
        *(f"HEAD {APP.path} v{n}" for n in range(6, 10)),
    ]


async def test_a_manifest_that_an_accepted_image_names_as_a_layer_is_no_child_of_it():
    it = bench()
    evil = image_body("evil")
    evil_digest = it.registry.add(APP, evil)
    digest = it.registry.add(APP, image_body("good", layers=[evil]), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        assert (await gate.pull(by_tag(), "client")).decision.served
        assert not (await gate.pull(by_digest(evil_digest), "client")).decision.served


# Blobs


async def test_a_blob_that_no_manifest_names_is_unknown():
    it = bench()
    async with it.gate() as gate:
        assert await gate.blob(APP, layer("any"), "client") is None


async def test_a_blob_of_an_accepted_image_is_granted_to_its_own_repository_only():
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
        assert (await gate.blob(APP, layer("good"), "client")).served
        assert (await gate.blob(APP, layer("good"), "client")).served
        assert await gate.blob(OTHER, layer("good"), "client") is None
    assert ("grant", True) in it.watcher.lookups


async def test_a_blob_of_a_refused_image_is_refused_with_its_verdict():
    it = bench()
    it.registry.add(APP, image_body("bad"), "v1")
    async with it.gate() as gate:
        pulled = await gate.pull(by_tag(), "client")
        grant = await gate.blob(APP, layer("bad"), "client")
    assert not grant.served
    assert grant.decision.id == pulled.decision.id


async def test_a_base_layer_is_granted_by_any_image_that_is_served():
    it = bench()
    base = b"base layer"
    good = it.registry.add(APP, image_body("good", layers=[base]), "good")
    it.registry.add(APP, image_body("bad", layers=[base]), "bad")
    it.notebook.signed[good] = ("release",)
    async with it.gate() as gate:
        for tag in ("good", "bad"):
            await gate.pull(by_tag(tag), "client")
        assert (await gate.blob(APP, Digest.of(base), "client")).served


@pytest.mark.parametrize("of_an_index", [False, True])
async def test_refused_images_cannot_hide_a_layer_however_many_name_it(of_an_index):
    it = bench()
    base = b"base layer"
    image = image_body("good", layers=[base])
    child = it.registry.add(APP, image)
    good = it.registry.add(APP, index_body(image) if of_an_index else image, "good")
    it.notebook.signed[good] = ("release",)
    async with it.gate() as gate:
        await gate.pull(by_tag("good"), "client")
        await gate.pull(by_digest(child), "client")
        for number in range(30):
            it.registry.add(APP, image_body(f"bad {number}", layers=[base]), f"bad-{number}")
            await gate.pull(by_tag(f"bad-{number}"), "client")
        assert (await gate.blob(APP, Digest.of(base), "client")).served


def wrong_size(body: bytes) -> bytes:
    """The same manifest, but it says that its layers are longer than they are."""
    document = json.loads(body)
    for one in document["layers"]:
        one["size"] += 1
    return json.dumps(document).encode()


BASE = b"base layer"


@pytest.mark.parametrize("require", ["release", "unverified"])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("decoy_first", [True, False])
async def test_a_decoy_that_names_a_layer_with_a_wrong_size_does_not_deny_it(require, signed, decoy_first):
    """Where a mode or a rule serves what nobody signed, anybody's manifest speaks of a layer."""
    it = bench(require, mode=Mode.WARN if require == "release" else Mode.ENFORCE)
    good = it.registry.add(APP, image_body("good", layers=[BASE]), "good")
    it.registry.add(APP, wrong_size(image_body("decoy", layers=[BASE])), "decoy")
    it.registry.blobs[Digest.of(BASE)] = BASE
    if signed:
        it.notebook.signed[good] = ("release",)
    async with it.gate() as gate:
        for tag in ("decoy", "good") if decoy_first else ("good", "decoy"):
            await gate.pull(by_tag(tag), "client")
        for _ in range(2):
            assert (await gate.blob(APP, Digest.of(BASE), "client")).member.size == len(BASE)
    assert sum(one.startswith("HEAD-BLOB") for one in it.registry.asked) <= 1


async def test_a_decoy_that_was_asked_for_alone_does_not_stay_in_the_way():
    it = bench("unverified")
    it.registry.add(APP, wrong_size(image_body("decoy", layers=[BASE])), "decoy")
    it.registry.add(APP, image_body("good", layers=[BASE]), "good")
    it.registry.blobs[Digest.of(BASE)] = BASE
    async with it.gate() as gate:
        await gate.pull(by_tag("decoy"), "client")
        assert (await gate.blob(APP, Digest.of(BASE), "client")).member.size != len(BASE)
        await gate.pull(by_tag("good"), "client")
        assert (await gate.blob(APP, Digest.of(BASE), "client")).member.size == len(BASE)


async def test_where_sizes_differ_and_the_upstream_does_not_say_which_is_right_the_newest_counts():
    it = bench("unverified")
    it.registry.add(APP, wrong_size(image_body("old", layers=[BASE])), "old")
    it.registry.add(APP, image_body("new", layers=[BASE]), "new")
    async with it.gate() as gate:
        for tag in ("old", "new"):
            await gate.pull(by_tag(tag), "client")
        assert (await gate.blob(APP, Digest.of(BASE), "client")).member.size == len(BASE)


async def test_an_unsigned_layer_that_all_describe_alike_is_granted_by_the_first_of_them():
    it = bench(mode=Mode.WARN)
    for number in range(3):
        it.registry.add(APP, image_body(f"image {number}", layers=[BASE]), f"v{number}")
        async with it.gate() as gate:
            await gate.pull(by_tag(f"v{number}"), "client")
    looked = len(it.notebook.looked)
    it.clock.advance(31)
    async with it.gate() as gate:
        assert (await gate.blob(APP, Digest.of(BASE), "client")).served
    assert len(it.notebook.looked) == looked + 1


async def test_a_grant_that_has_expired_is_renewed_by_judging_again():
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
        assert (await gate.blob(APP, layer("good"), "client")).served
        it.clock.advance(3601)
        it.notebook.signed.clear()
        assert not (await gate.blob(APP, layer("good"), "client")).served


async def test_a_manifest_that_is_gone_grants_nothing_any_more():
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
    it.registry.manifests.clear()
    it.forget_manifests()
    async with it.gate() as gate:
        assert await gate.blob(APP, layer("good"), "client") is None


async def test_an_outage_while_a_grant_is_renewed_is_no_grant():
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
    it.registry.fault = UnavailableError("the registry is down")
    it.forget_manifests()
    async with it.gate() as gate:
        with pytest.raises(UnavailableError):
            await gate.blob(APP, layer("good"), "client")


# Signature artefacts


def polyglot() -> bytes:
    """One layer that is JSON and a tar archive at once: `{"` begins the name of its first file."""
    header = bytearray(
        b'{"x":"' + b"a" * 94 + b"0000644 " + b"0000000 " * 2 + b"00000000000 " * 2 + b" " * 8 + b"0" * 356
    )
    header[148:156] = b"%06o  " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))
    return bytes(header[:512]) + b'"}'


async def test_a_signature_artefact_is_data():
    it = bench()
    signature = b'{"critical":{}}'
    it.registry.blobs[Digest.of(signature)] = signature
    it.registry.add(APP, artifact_body(signature), "sha256-0.sig")
    async with it.gate() as gate:
        assert (await gate.pull(by_tag("sha256-0.sig"), "client")).decision is None
        grant = await gate.blob(APP, Digest.of(signature), "client")
        await gate.blob(APP, Digest.of(signature), "client")
    assert grant.decision is None  # to be served as a signature, and as nothing else
    assert [one.split()[0] for one in it.registry.asked].count("BLOB") == 1


@pytest.mark.parametrize("content", [b"\x1f\x8b a layer", b"[]", polyglot()])
async def test_layers_that_are_only_called_signatures_are_judged_as_an_image(content):
    it = bench()
    it.registry.blobs[Digest.of(content)] = content
    it.registry.add(APP, artifact_body(b"{}", content), "decoy")
    it.registry.blobs[Digest.of(b"{}")] = b"{}"
    async with it.gate() as gate:
        pulled = await gate.pull(by_tag("decoy"), "client")
        assert pulled.decision.reason is Reason.NOT_SIGNED
        assert not (await gate.blob(APP, Digest.of(content), "client")).served


async def test_layers_of_a_signed_image_do_not_make_an_artefact_either():
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.signed[digest] = ("release",)
    it.registry.add(APP, image_body("evil config", SIMPLE_SIGNING, [b"good layer 0"]), "decoy")
    async with it.gate() as gate:
        await gate.pull(by_tag(), "client")
        assert not (await gate.pull(by_tag("decoy"), "client")).decision.served
        assert (await gate.blob(APP, layer("good"), "client")).served


async def test_an_artefact_that_cannot_be_looked_at_now_is_an_outage():
    it = bench()
    it.registry.add(APP, artifact_body(b'{"critical":{}}'), "sha256-0.sig")
    async with it.gate() as gate:
        await gate.pull(by_tag("sha256-0.sig"), "client")
        it.registry.fault = UnavailableError("the registry is down")
        with pytest.raises(UnavailableError):
            await gate.pull(by_tag("sha256-0.sig"), "client")


async def test_a_refused_blob_is_asked_about_again_when_another_image_names_it():
    it = bench()
    base = b"base layer"
    it.registry.add(APP, image_body("bad", layers=[base]), "bad")
    good = it.registry.add(APP, image_body("good", layers=[base]), "good")
    it.notebook.signed[good] = ("release",)
    async with it.gate() as gate:
        await gate.pull(by_tag("bad"), "client")
        assert not (await gate.blob(APP, Digest.of(base), "client")).served
        await gate.pull(by_tag("good"), "client")
        assert (await gate.blob(APP, Digest.of(base), "client")).served


# The judge


async def test_an_examination_shows_every_candidate():
    it = bench()
    digest = it.registry.add(APP, image_body("good"), "v1")
    it.notebook.signed[digest] = ("stranger", "release")
    judge = Judge(it.registry, it.clock, Lifetimes(), seconds=5, at_once=1)
    examination = await judge.examine(it.rules.match(APP), Subject(APP, digest))
    assert [(one.signer, one.signature.location) for one in examination.candidates] == [
        ("release", "stranger"),
        ("release", "release"),
    ]
    assert isinstance(examination.verdict, Accepted)


async def test_what_is_not_there_is_not_found():
    it = bench()
    async with it.gate() as gate:
        with pytest.raises(NotFoundError):
            await gate.pull(by_tag(), "client")


async def test_a_search_that_takes_too_long_is_an_outage():
    it = bench()
    it.registry.add(APP, image_body("good"), "v1")
    it.notebook.wait = asyncio.Event().wait
    judge = Judge(it.registry, it.clock, Lifetimes(), seconds=0, at_once=1)
    async with it.gate() as gate:
        gate._judge = judge
        pulled = await gate.pull(by_tag(), "client")
    assert isinstance(pulled.decision.verdict, Undetermined)
    assert "longer than" in pulled.decision.verdict.cause
