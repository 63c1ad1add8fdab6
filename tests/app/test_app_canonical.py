"""From the configuration to the verdict: a mirror that lost the signatures, and the registry that it stands for."""

import pytest
from support.stack import sign
from support.whole import configuration

from proxy.app import verify
from proxy.config import load
from proxy.demo.images import image
from proxy.demo.registry import Registry, serve
from proxy.oci.reference import Reference
from proxy.verdict import Accepted, Refused

APP = image("app")


@pytest.mark.parametrize("configured", [True, False])
async def test_a_mirror_that_lost_the_signatures(tmp_path, configured):
    mirror, canonical = Registry(), Registry(token_auth=True)
    APP.add_to(mirror, "team/app", "1")
    sign(canonical, "team/app", APP.media_type, APP.body)
    async with serve(mirror) as at, serve(canonical) as beyond:
        signatures = f'[upstreams."docker.io".signatures]\nurl = "{beyond}"' if configured else ""
        path = configuration(tmp_path, at, more=signatures)
        verdict = (await verify(load(path), Reference.parse("team/app:1"))).verdict
    assert isinstance(verdict, Accepted if configured else Refused)
    assert bool(canonical.requests) is configured
    images = {f"/v2/team/app/manifests/{name}" for name in ("1", APP.digest)}
    assert images.isdisjoint(path for _, path in canonical.requests)
