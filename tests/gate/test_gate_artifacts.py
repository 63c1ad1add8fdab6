"""Artifacts, which are served without a verdict: what makes one, and what makes an image of it."""

import json

import pytest
from support.artifacts import CONFIG_TYPE, PAYLOAD, SPDX, SPDX_TYPE, artifact_body, config, document, of
from support.fakes import image_body, index_body
from support.tar_text import blank
from test_gate import APP, OTHER, bench, by_digest, by_tag, layer

from proxy.oci.digest import Digest
from proxy.oci.errors import UnavailableError
from proxy.oci.manifest import OCI_MANIFEST
from proxy.policy.model import Mode
from proxy.verdict import Reason


def pushed(body: bytes, *blobs: bytes):
    """A gate over a registry that has this manifest, these blobs, and no signature."""
    it = bench()
    it.registry.add(APP, body, "it")
    it.registry.blobs = {Digest.of(blob): blob for blob in blobs}
    return it


INERT = config(PAYLOAD)
RUNS = config(PAYLOAD, config={"Entrypoint": ["/attack"]})
# containerd takes the file system that it has unpacked for these diff IDs, whatever the layers are.
BORROWS = config(b"layer of an image that was accepted")


@pytest.mark.parametrize(
    ("content", "is_artifact"),
    [(INERT, True), (b"{}", True), (RUNS, False), (BORROWS, False), (b"[]", False), (b"\x1f\x8b\x08", False)],
    ids=["cosign's", "empty", "runs", "borrows", "a list", "an archive"],
)
async def test_a_config_is_read_before_its_manifest_is_served(content, is_artifact):
    it = pushed(artifact_body(PAYLOAD, config=of(CONFIG_TYPE, content)), PAYLOAD, content)
    async with it.gate() as gate:
        pulled = await gate.pull(by_tag("it"), "client")
        grants = [await gate.blob(APP, Digest.of(blob), "client") for blob in (PAYLOAD, content)]
    assert (pulled.decision is None) is is_artifact
    assert [one.served for one in grants] == [is_artifact] * 2
    if not is_artifact:
        assert pulled.decision.reason is Reason.NOT_SIGNED


@pytest.mark.parametrize("missing", [INERT, PAYLOAD], ids=["config", "payload"])
async def test_what_is_not_there_was_not_read(missing):
    blobs = {INERT, PAYLOAD} - {missing}
    it = pushed(artifact_body(PAYLOAD, config=of(CONFIG_TYPE, INERT)), *blobs)
    async with it.gate() as gate:
        assert (await gate.pull(by_tag("it"), "client")).decision.reason is Reason.NOT_SIGNED


async def test_a_config_that_cannot_be_read_now_is_an_outage():
    it = pushed(artifact_body(PAYLOAD, config=of(CONFIG_TYPE, INERT)), PAYLOAD)
    async with it.gate() as gate:
        await gate.pull(by_tag("it"), "client")
        it.registry.fault = UnavailableError("the registry is down")
        with pytest.raises(UnavailableError):
            await gate.pull(by_tag("it"), "client")


async def test_the_empty_blob_is_known_without_being_asked_for():
    it = pushed(artifact_body(PAYLOAD), PAYLOAD)
    async with it.gate() as gate:
        assert (await gate.pull(by_tag("it"), "client")).decision is None
    assert [one.split()[0] for one in it.registry.asked].count("BLOB") == 1


async def test_a_payload_that_is_an_archive_to_go():
    it = pushed(artifact_body(PAYLOAD, blank()), PAYLOAD, blank())
    async with it.gate() as gate:
        assert (await gate.pull(by_tag("it"), "client")).decision.reason is Reason.NOT_SIGNED


async def test_an_image_stays_one_whatever_it_is_called():
    it = pushed(image_body("bad"), b"bad layer 0")
    async with it.gate() as gate:
        assert not (await gate.pull(by_tag("it"), "client")).decision.served
        assert not (await gate.blob(APP, layer("bad"), "client")).served


# Documents about images, and lists of them: the wall besides their shape is the acceptance of the image


GOOD, BAD = image_body("good"), image_body("bad")
TAG = f"sha256-{Digest.of(GOOD).hex}"


def about(image: bytes, media_type: str = SPDX_TYPE, content: bytes = SPDX) -> bytes:
    return json.dumps(document(of(OCI_MANIFEST, image), media_type, content)).encode()


def listing(*documents: bytes) -> bytes:
    return index_body(*documents)


def two_images(*manifests: bytes, tag: str = TAG):
    """A registry with a signed image and an unsigned one, and manifests of which the last has a tag."""
    it = bench()
    it.notebook.signed[it.registry.add(APP, GOOD, "good")] = ("release",)
    it.registry.add(APP, BAD, "bad")
    for body in manifests:
        it.registry.add(APP, body, tag if body is manifests[-1] else None)
    it.registry.blobs = {Digest.of(blob): blob for blob in (SPDX, b"{}", blank())}
    return it


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (about(GOOD), "referrer"),
        (about(BAD), None),
        (about(b"an image that is not there"), None),
        (about(GOOD, content=b'{"not":"there"}'), None),
        (about(GOOD, content=blank()), None),
        (about(GOOD, media_type="application/octet-stream"), None),
        (about(GOOD, media_type="text/plain"), None),
    ],
    ids=["accepted", "refused", "nowhere", "not read", "an archive", "another type", "not what its type says"],
)
async def test_a_document_is_served_while_its_image_is_accepted(body, kind):
    it = two_images(body)
    async with it.gate() as gate:
        for reference in (by_digest(Digest.of(body)), by_tag(TAG)):
            pulled = await gate.pull(reference, "client")
            assert (pulled.kind, pulled.decision is None) == (kind, kind is not None)
            if kind is None:
                assert pulled.decision.reason is Reason.NOT_SIGNED
        grant = await gate.blob(APP, Digest.of(SPDX), "client")
        assert (grant is not None and grant.served) is (kind is not None)


async def test_a_document_ends_with_the_acceptance():
    it = two_images(about(GOOD))
    digest = Digest.of(about(GOOD))
    async with it.gate() as gate:
        pulled = await gate.pull(by_digest(digest), "client")
        assert pulled.expires == (await gate.pull(by_digest(Digest.of(GOOD)), "client")).expires
        assert (await gate.blob(APP, Digest.of(SPDX), "client")).served
        it.notebook.signed.clear()
        it.clock.advance(3601)
        assert not (await gate.pull(by_digest(digest), "client")).decision.served
        assert not (await gate.blob(APP, Digest.of(SPDX), "client")).served


async def test_a_document_of_another_repository_is_about_no_image_here():
    it = two_images()
    it.registry.add(OTHER, about(GOOD), "it")
    it.registry.add(OTHER, GOOD)
    it.notebook.signed.clear()
    async with it.gate() as gate:
        it.notebook.signed[Digest.of(GOOD)] = ("release",)
        await gate.pull(by_tag("good"), "client")
        it.notebook.signed.clear()
        assert not (await gate.pull(by_tag("it", OTHER), "client")).decision.served


@pytest.mark.parametrize("require", ["release", "unverified"])
async def test_an_image_that_is_served_without_being_accepted_has_no_documents(require):
    it = bench(require, mode=Mode.WARN)
    it.registry.add(APP, BAD)
    it.registry.add(APP, about(BAD), "it")
    it.registry.blobs = {Digest.of(SPDX): SPDX}
    async with it.gate() as gate:
        pulled = await gate.pull(by_tag("it"), "client")
    assert pulled.kind is None
    assert pulled.decision.served  # as any image, with the warning


@pytest.mark.parametrize("by", ["tag", "digest after the tag"])
async def test_the_list_of_referrers_of_an_accepted_image(by):
    index = listing(about(GOOD), about(BAD), BAD)
    it = two_images(about(GOOD), about(BAD), index)
    it.registry.add(APP, listing(about(GOOD)), "another")
    async with it.gate() as gate:
        for _ in range(2):
            await gate.pull(by_tag("another"), "client")
            pulled = await gate.pull(by_tag(TAG), "client")
            if by != "tag":
                pulled = await gate.pull(by_digest(Digest.of(index)), "client")
            assert pulled.kind == "referrers_tag"
        # What is listed has a verdict of its own.
        assert (await gate.pull(by_digest(Digest.of(about(GOOD))), "client")).kind == "referrer"
        assert not (await gate.pull(by_digest(Digest.of(about(BAD))), "client")).decision.served
        assert not (await gate.pull(by_digest(Digest.of(BAD)), "client")).decision.served


@pytest.mark.parametrize(
    ("index", "tag"),
    [
        (listing(about(GOOD)), f"sha256-{Digest.of(BAD).hex}"),
        (listing(about(GOOD)), "list"),
        (listing(), f"sha256-{Digest.of(BAD).hex}"),
        (listing(about(GOOD)).replace(b'"size"', b'"platform": {}, "size"'), TAG),
    ],
    ids=["of a refused image", "under another tag", "empty, of a refused image", "with platforms"],
)
async def test_an_index_that_is_no_such_list(index, tag):
    it = two_images(about(GOOD), index, tag=tag)
    async with it.gate() as gate:
        assert not (await gate.pull(by_tag(tag), "client")).decision.served
        assert not (await gate.pull(by_digest(Digest.of(index)), "client")).decision.served


async def test_an_index_by_digest_that_nobody_asked_for_by_tag_is_judged():
    it = two_images(about(GOOD), listing(about(GOOD)))
    async with it.gate() as gate:
        assert not (await gate.pull(by_digest(Digest.of(listing(about(GOOD)))), "client")).decision.served


async def test_an_empty_list_by_digest_is_judged():
    it = two_images(listing())
    async with it.gate() as gate:
        assert (await gate.pull(by_tag(TAG), "client")).kind == "referrers_tag"
        assert not (await gate.pull(by_digest(Digest.of(listing())), "client")).decision.served


async def test_a_list_of_referrers_gives_out_no_blobs():
    """What is listed was not read, and may be text of any kind: the config of an unsigned image."""
    index = index_body(RUNS, about(GOOD))
    it = two_images(about(GOOD), index)
    it.registry.blobs[Digest.of(RUNS)] = RUNS
    async with it.gate() as gate:
        assert (await gate.pull(by_tag(TAG), "client")).kind == "referrers_tag"
        assert await gate.blob(APP, Digest.of(RUNS), "client") is None
        await gate.pull(by_digest(Digest.of(about(GOOD))), "client")
        assert (await gate.blob(APP, Digest.of(SPDX), "client")).served
