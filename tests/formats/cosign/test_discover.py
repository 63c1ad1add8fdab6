"""Where signatures are looked for, in which order, and what becomes of what cannot be had."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cosign import (
    IMAGE,
    KEY,
    REPOSITORY,
    SIGNER,
    STRANGER,
    SUBJECT,
    TAG,
    classic_layer,
    encoded,
    judge,
    referrer,
    repository_of,
    source_of,
    tagged,
)
from support.snapshot import REGISTRY, SnapshotSource

from proxy.demo.signing import (
    BUNDLE_TYPE,
    artifact,
    bundle_signature,
    classic_signature,
    layer_of,
    simple_signing_payload,
)
from proxy.formats.cosign.discover import (
    CANDIDATES_MAX,
    LAYERS_MAX,
    CosignDiscovery,
    _chosen_referrers,
    _from_both_ends,
)
from proxy.formats.cosign.fetch import BYTES_MAX, FETCHES_AT_ONCE, TOTAL_BYTES_MAX, Fetcher
from proxy.formats.cosign.simplesigning import PAYLOAD_TYPE
from proxy.oci.digest import Digest
from proxy.oci.errors import NotFoundError, UnavailableError, UnservableError, UpstreamDeniedError
from proxy.oci.manifest import OCI_MANIFEST, Descriptor, Manifest
from proxy.oci.reference import Repository
from proxy.verdict import Failure, Reason

CLASSIC = classic_signature(KEY, IMAGE)
GENUINE = bundle_signature(KEY, IMAGE)
PAYLOAD = simple_signing_payload(IMAGE.digest)
JUNK = classic_layer(PAYLOAD, encoded(STRANGER.sign(PAYLOAD)))


async def discover(source, discovery=SIGNER.discovery, subject=SUBJECT):
    return await discovery(subject, source)


def reasons(found):
    return {one.reason for one in found.rejections}


async def test_nothing_there():
    source = SnapshotSource({REPOSITORY.path: {"tags": {}, "manifests": {}, "blobs": {}}}, referrers_api=False)
    found = await discover(source)
    assert (found.signatures, found.rejections, found.unreached) == ((), (), ())
    assert sorted(source.asked) == sorted([TAG, f"{TAG}.sig", "referrers"])


async def test_both_lists_are_one():
    source = source_of(GENUINE, referrers_api=True)
    found = await discover(source)
    assert [one.location for one in found.signatures] == [str(GENUINE.digest)]
    assert source.asked.count(str(GENUINE.digest)) == 1


async def test_a_payload_is_fetched_once():
    source = source_of(tagged(*[JUNK] * 40))
    found = await discover(source)
    assert len(found.signatures) == 40
    assert source.asked.count(str(Digest.of(PAYLOAD))) == 1
    assert {one.location for one in found.signatures} == {f"{TAG}.sig layer {n}" for n in range(1, 41)}


@pytest.mark.parametrize("place", [0, 1, 499, 500, 998, 999])
@pytest.mark.parametrize("payloads", [1, 998])
async def test_a_good_one_among_as_many_as_cosign_reads(place, payloads):
    """Seen: of 100 were looked at, the good one in the middle was missed."""
    strange = [classic_layer(b"%d" % (n % payloads), encoded(STRANGER.sign(b"%d" % n))) for n in range(LAYERS_MAX - 1)]
    strange.insert(place, classic_layer(PAYLOAD, encoded(KEY.sign(PAYLOAD))))
    source = source_of(tagged(*strange))
    evidence, _, unreached = await judge(source)
    assert ([one.signature for one in evidence], unreached) == ([f"{TAG}.sig layer {place + 1}"], ())
    assert len(source.asked) == 3 + payloads + 1  # each payload once


async def test_likely_payloads_come_first():
    """Large ones, and those without a signature, may take the time and the bytes that are left."""
    large = [classic_layer(b"%d" % n + b" " * 200_000, "AAAA") for n in range(30)]
    bare = [(layer_of(PAYLOAD_TYPE, b"%d" % n), b"%d" % n) for n in range(30)]
    good = classic_layer(PAYLOAD, encoded(KEY.sign(PAYLOAD)))
    source = source_of(tagged(*large, *bare, good, *bare, *large))
    assert (await discover(source)).signatures[0].payload == PAYLOAD
    assert source.asked[3] == str(Digest.of(PAYLOAD))


@pytest.mark.parametrize("error", [UnavailableError("timed out"), UpstreamDeniedError("401 Unauthorized")])
@pytest.mark.parametrize("what", [f"{TAG}.sig", TAG, "referrers", str(CLASSIC.digest), str(Digest.of(PAYLOAD))])
async def test_an_outage_is_not_an_absence(what, error):
    referring = classic_signature(KEY, IMAGE, referrer=True)
    if what == str(CLASSIC.digest):
        what = str(referring.digest)
    source = source_of(referring, failures={what: error})
    evidence, rejections, unreached = await judge(source)
    assert rejections == []
    assert len(unreached) == 1
    assert unreached[0].endswith(f": {error}")
    assert bool(evidence) == (what in {f"{TAG}.sig", "referrers"})


DENIED = UpstreamDeniedError("it refuses us the manifest (403)")
NO_IMAGE = {str(IMAGE.digest): DENIED}


def with_image(source, image=IMAGE, body=b"the manifest of the image"):
    """Let the registry give the image."""

    async def manifest(reference, ask=source.manifest):
        if reference.digest == image.digest and str(image.digest) not in source.failures:
            return Manifest(image.digest, OCI_MANIFEST, body)
        return await ask(reference)

    source.manifest = manifest
    return source


@pytest.mark.parametrize("place", [f"{TAG}.sig", TAG, "referrers"])
@pytest.mark.parametrize(
    ("image", "error", "is_absent"),
    [
        ({}, DENIED, True),
        ({}, UpstreamDeniedError("401"), True),
        (NO_IMAGE, DENIED, False),
        ({str(IMAGE.digest): NotFoundError("no")}, DENIED, False),
        ({str(IMAGE.digest): UnavailableError("away")}, DENIED, False),
        ({}, UpstreamDeniedError("403", may_be_absence=False), False),
        ({}, UnavailableError("503"), False),
    ],
)
async def test_a_denied_place_is_absent_where_the_image_is_given(place, image, error, is_absent):
    """Artifactory answers 403 for tags that are not there."""
    source = with_image(source_of(referrers_api=True, failures={place: error} | image))
    _, rejections, unreached = await judge(source)
    assert bool(unreached) is not is_absent
    assert [(one.reason, one.signature) for one in rejections] == (
        [(Reason.NOT_SIGNED, where(place))] if is_absent else []
    )
    if is_absent:
        assert rejections[0].detail == f"denied though the image is given, so taken as absent: {error}"


def where(place):
    return f"referrers of {IMAGE.digest}" if place == "referrers" else place


@pytest.mark.parametrize("places", [[f"{TAG}.sig", TAG], ["referrers", TAG], [f"{TAG}.sig", "referrers"]])
async def test_what_is_denied_hides_nothing_elsewhere(places):
    artifacts = [CLASSIC, GENUINE]
    source = with_image(source_of(*artifacts, referrers_api=True, failures=dict.fromkeys(places, DENIED)))
    evidence, _, unreached = await judge(source)
    assert (len(evidence), unreached) == (1, ())


@pytest.mark.parametrize("what", [str(GENUINE.digest), str(next(d for d, b in GENUINE.blobs.items() if len(b) > 2))])
async def test_what_is_listed_and_denied_is_there(what):
    found = await discover(with_image(source_of(GENUINE, failures={what: DENIED})))
    assert (len(found.unreached), found.rejections) == (1, ())


async def test_in_another_repository_a_denial_may_be_of_the_credentials():
    elsewhere = Repository.of(REGISTRY, "security/signatures")
    content = {elsewhere.path: repository_of(), REPOSITORY.path: repository_of()}
    source = with_image(SnapshotSource(content, referrers_api=True, failures={f"{TAG}.sig": DENIED}))
    found = await discover(source, CosignDiscovery(elsewhere))
    assert (len(found.unreached), found.rejections) == (1, ())


@pytest.mark.parametrize("what", [str(GENUINE.digest), str(next(d for d, b in GENUINE.blobs.items() if len(b) > 2))])
async def test_what_is_listed_and_not_there_is_an_answer(what):
    found = await discover(source_of(GENUINE, failures={what: NotFoundError("no")}))
    assert (found.signatures, found.unreached) == ((), ())
    assert [(one.reason, one.signature) for one in found.rejections] == [(Reason.CORRUPT, what)]


@pytest.mark.parametrize(("what", "listed"), [(str(GENUINE.digest), True), (f"{TAG}.sig", False), (TAG, False)])
async def test_what_the_registry_will_not_be_asked_for_is_an_outage_only_where_nobody_listed_it(what, listed):
    """A list can name what the registry has no answer for, say a digest by another algorithm."""
    found = await discover(source_of(GENUINE, failures={what: UnservableError("answered 400")}))
    assert bool(found.unreached) is not listed
    assert [one.reason for one in found.rejections] == ([Reason.UNSUPPORTED] if listed else [])


async def test_another_repository():
    elsewhere = Repository.of(REGISTRY, "security/signatures")
    content = {elsewhere.path: repository_of(CLASSIC, GENUINE), REPOSITORY.path: repository_of()}
    source = SnapshotSource(content, referrers_api=True)
    assert (await discover(source)).signatures == ()
    found = await discover(source, CosignDiscovery(elsewhere))
    assert len(found.signatures) == 2


async def test_a_list_that_was_cut_is_a_rejection_and_what_was_read_counts():
    source = source_of(GENUINE, referrers_api=True)
    source.cut = Failure(Reason.OVER_LIMIT, "more than 20 pages")
    evidence, rejections, unreached = await judge(source)
    assert (len(evidence), unreached) == (1, ())
    assert [(one.reason, one.detail) for one in rejections] == [(Reason.OVER_LIMIT, "more than 20 pages")]


async def test_only_sha256_is_signed():
    found = await discover(source_of(), subject=replace(SUBJECT, digest=Digest("sha512", "0" * 128)))
    assert reasons(found) == {Reason.UNSUPPORTED}


async def test_junk_of_no_kind_is_passed_over():
    source = source_of(referrer(b"{}", "application/spdx+json"), artifact(IMAGE, "a/b", [], None), GENUINE)
    found = await discover(source)
    assert (len(found.signatures), found.rejections) == (1, ())


async def test_likely_ones_come_first():
    boxed = [artifact(IMAGE, f"a/{n}", [(layer_of(BUNDLE_TYPE, b"{}"), b"{}")], None) for n in range(80)]
    listed = [layer_of(OCI_MANIFEST, one.manifest_body) | {"artifactType": f"a/{n}"} for n, one in enumerate(boxed)]
    middle = [*boxed[:40], GENUINE, *boxed[40:]]
    for kind in (None, "application/vnd.oci.empty.v1+json", BUNDLE_TYPE):
        mark = {"artifactType": kind} if kind else {}
        entries = [*listed[:40], layer_of(OCI_MANIFEST, GENUINE.manifest_body) | mark, *listed[40:]]
        found = await discover(source_of(*(replace(one, tag=f"t{n}") for n, one in enumerate(middle)), listed=entries))
        assert found.signatures[0].location == str(GENUINE.digest)
        assert "81 referrers, of which 64" in found.rejections[0].detail


async def test_large_things_leave_room_for_small_ones():
    blobs = [b"%d" % n + b" " * (BYTES_MAX - 4) for n in range(TOTAL_BYTES_MAX // BYTES_MAX + 2)]
    junk = [artifact(IMAGE, "", [(layer_of(BUNDLE_TYPE, blob), blob)], None) for blob in blobs]
    found = await discover(source_of(*junk, GENUINE))
    assert str(GENUINE.digest) in {one.location for one in found.signatures}
    assert sum(len(one.payload) for one in found.signatures) <= TOTAL_BYTES_MAX
    assert reasons(found) == {Reason.OVER_LIMIT}


async def test_candidates_of_one_image():
    crowds = [artifact(IMAGE, "", [JUNK] * LAYERS_MAX, None) for _ in range(1)]
    crowds += [artifact(replace(IMAGE, size=n), "", [JUNK] * LAYERS_MAX, None) for n in range(3)]
    found = await discover(source_of(*crowds))
    assert len(found.signatures) == CANDIDATES_MAX
    assert reasons(found) == {Reason.OVER_LIMIT}


async def test_crowded_manifests_do_not_push_out_others():
    """Each manifest gives its first candidate, then each its second; the tag's are one half of them."""
    crowds = [artifact(replace(IMAGE, size=n), "", [JUNK] * LAYERS_MAX, None) for n in range(4)]
    classic = classic_layer(PAYLOAD, encoded(KEY.sign(PAYLOAD)))
    signatures = tagged(*[JUNK] * 30, classic, *[JUNK] * 30)
    found = await discover(source_of(*crowds, GENUINE, signatures))
    locations = [one.location for one in found.signatures]
    assert str(GENUINE.digest) in locations[:20]
    assert f"{TAG}.sig layer 31" in locations
    assert len(locations) == CANDIDATES_MAX


class Counting(SnapshotSource):
    """Counts how many manifests are asked for at the same time."""

    now = most = 0

    async def manifest(self, reference):
        """Serve a manifest, slowly."""
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        return await super().manifest(reference)


async def test_fetches_at_once():
    crowd = [artifact(replace(IMAGE, size=n), "", [JUNK], None) for n in range(50)]
    source = Counting(source_of(*crowd).registry, referrers_api=False)
    await discover(source)
    assert source.most == FETCHES_AT_ONCE


@given(items=st.lists(st.integers()))
def test_from_both_ends(items):
    ordered = _from_both_ends(items)
    assert sorted(ordered) == sorted(items)
    assert ordered[::2] == items[len(items) // 2 :][::-1]
    assert ordered[1::2] == items[: len(items) // 2]


def test_a_discovery_is_its_value():
    assert len({CosignDiscovery(), CosignDiscovery(), SIGNER.discovery, CosignDiscovery(REPOSITORY)}) == 2


def test_a_genuine_referrer_that_is_listed_again_as_something_else_stays_likely():
    def listed(content, artifact_type):
        return Descriptor(OCI_MANIFEST, Digest.of(content), len(content), artifact_type)

    genuine = listed(b"genuine", "application/vnd.dev.sigstore.bundle.v0.3+json")
    decoys = [listed(b"decoy %d" % n, genuine.artifact_type) for n in range(60)]
    junk = [listed(b"junk %d" % n, "x/y") for n in range(60)]
    again = listed(b"genuine", "x/y")
    fetcher = Fetcher(None, None)
    chosen = _chosen_referrers(fetcher, [genuine, *decoys, *junk, again], "tag")
    assert genuine in chosen
