"""Artifacts, which are served without a verdict: what makes one, and what makes an image of it."""

import pytest
from support.artifacts import CONFIG_TYPE, PAYLOAD, artifact_body, config, of
from support.fakes import image_body
from support.tar_text import blank
from test_gate import APP, bench, by_tag, layer

from proxy.oci.digest import Digest
from proxy.oci.errors import UnavailableError
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
