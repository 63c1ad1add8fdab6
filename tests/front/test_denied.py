"""A registry that answers 403 for what is not there makes no outage of an image that nobody signed."""

import json

import pytest
from support.stack import rule, running, sign
from support.unruly import answers, unruly
from support.upstreams import REPOSITORY, upstream_at

from proxy.demo.images import image
from proxy.oci.digest import Digest
from proxy.oci.errors import UpstreamDeniedError
from proxy.oci.manifest import OCI_MANIFEST, Descriptor
from proxy.oci.reference import Reference
from proxy.policy.model import OnOutage

GOOD, BAD = image("good"), image("bad")


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("kind", ["bundle", "classic"])
async def test_unsigned_is_refused_and_signed_is_served(status, kind):
    async with unruly() as registry:
        for one, name in ((GOOD, "good"), (BAD, "bad")):
            one.add_to(registry, f"team/{name}", "1")
        sign(registry, "team/good", GOOD.media_type, GOOD.body, kind=kind)

        async def denies(_request, honest):
            return honest if honest.status != 404 else await answers(status, WWW_Authenticate="Basic")(None, None)

        registry.plague("/v2/team/", denies)
        async with running(registry.url, rule(on_outage=OnOutage.INSECURE_ALLOW)) as stack:
            found, _, body = await stack.get("/v2/docker.io/team/bad/manifests/1")
            message = json.loads(body)["errors"][0]["message"]
            assert (found, "not signed: denied though the image is given" in message) == (403, True)
            assert (await stack.get("/v2/docker.io/team/good/manifests/1"))[0] == 200
            assert stack.watch.unverified == []


async def test_referrers_that_are_denied_are_none_to_clients():
    async with unruly() as registry:
        GOOD.add_to(registry, "team/good", "1")
        registry.plague("referrers", answers(403))
        async with running(registry.url) as stack:
            known, unknown = (f"/v2/team/good/referrers/{digest}" for digest in (GOOD.digest, Digest.of(b"")))
            status, _, body = await stack.get(known)
            assert (status, json.loads(body)["manifests"]) == (200, [])
            assert (await stack.get(unknown))[0] == 404
            registry.plague(f"manifests/{GOOD.digest}", answers(403))
            assert (await stack.get(known))[0] == 403


@pytest.mark.parametrize("is_absent", [True, False])
async def test_a_setting_says_what_it_means(is_absent):
    async with unruly() as registry:
        registry.plague("/v2/", answers(403))
        async with upstream_at(registry.url, denied_is_absent=is_absent) as upstream:
            for ask in (
                upstream.manifest(Reference(REPOSITORY, tag="1")),
                upstream.referrers(REPOSITORY, GOOD.digest),
                upstream.blob(REPOSITORY, Descriptor(OCI_MANIFEST, GOOD.digest, 1), 1),
            ):
                with pytest.raises(UpstreamDeniedError) as caught:
                    await ask
                assert caught.value.may_be_absence is is_absent
