"""Manifests that let clients fetch content past us: refused, unless it has no other place or a setting allows it."""

import json

import pytest
from support.stack import running, sign

from proxy.demo.images import image, index
from proxy.demo.registry import Registry, serve
from proxy.front.external import FOREIGN_LAYER_TYPES, ExternalUrls, fetched_elsewhere
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_INDEX, OCI_MANIFEST, Manifest
from proxy.policy.match import Pattern
from proxy.policy.model import InsecureAllowUnverified, Mode, Rule

URL = "https://evil.example/layer"
NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
FOREIGN = sorted(FOREIGN_LAYER_TYPES)
ONE, MULTI = image("app"), index([image("app", architecture=one) for one in ("amd64", "arm64")])


def changed(member: str, *, media_type: str | None = None, urls: object = (URL,)) -> Manifest:
    """Return an image or an index with addresses in its first descriptor of this member."""
    whole = MULTI if member == "manifests" else ONE
    document = json.loads(whole.body)
    one = document.setdefault("subject", dict(document["config"])) if member == "subject" else document[member]
    one = one[0] if isinstance(one, list) else one
    one |= {"urls": urls} | ({"mediaType": media_type} if media_type else {})
    body = json.dumps(document).encode()
    return Manifest.parse(Digest.of(body), OCI_INDEX if whole is MULTI else OCI_MANIFEST, body)


REFUSE = [
    (changed("layers"), "layer"),
    (changed("layers", media_type=NONDISTRIBUTABLE), "layer"),
    (changed("layers", urls=["", URL]), "layer"),
    (changed("config"), "config"),
    (changed("config", media_type=FOREIGN[0]), "config"),
    (changed("subject"), "subject"),
    (changed("manifests"), "manifest"),
    (changed("manifests", media_type=FOREIGN[0]), "manifest"),
]
SERVE = [
    *(changed("layers", media_type=one) for one in FOREIGN),
    changed("layers", urls=[]),
    changed("layers", urls=None),
    changed("manifests", urls=[]),
]


def registry(manifest: Manifest) -> Registry:
    made = Registry()
    for one in (ONE, MULTI):
        one.add_to(made, "library/app", "plain")
    made.add_manifest("library/app", manifest.media_type, manifest.body, "1")
    sign(made, "library/app", manifest.media_type, manifest.body)
    return made


@pytest.mark.parametrize(("manifest", "what"), REFUSE)
@pytest.mark.parametrize("ns", ["", "?ns=docker.io"])
async def test_an_accepted_manifest_that_sends_clients_elsewhere_is_refused(manifest, what, ns):
    async with serve(registry(manifest)) as url, running(url) as stack:
        for reference in ("1", str(manifest.digest)):
            status, _, body = await stack.get(f"/v2/docker.io/library/app/manifests/{reference}")
            message = json.loads(body)["errors"][0]["message"]
            assert status == 403
            assert f"its {what} " in message
            assert "past this proxy (external_urls) (id id" in message
            _, response, body = await stack.get(f"/v2/library/app/manifests/{reference}{ns}")
            assert manifest.body not in body
            assert "Docker-Content-Digest" not in response.headers
        assert {label for _, label, _ in stack.watch.refusals} == {"external_urls"}


@pytest.mark.parametrize("manifest", SERVE)
async def test_one_that_does_not_or_has_no_other_place_is_served(manifest):
    assert fetched_elsewhere(manifest) is None
    async with serve(registry(manifest)) as url, running(url) as stack:
        for _ in range(2):
            status, response, body = await stack.get("/v2/library/app/manifests/1")
            assert (status, body) == (200, manifest.body)
            assert "Warning" not in response.headers


async def test_the_setting_serves_it_with_a_warning():
    manifest, _ = REFUSE[0]
    async with serve(registry(manifest)) as url, running(url, external_urls=ExternalUrls.INSECURE_ALLOW) as stack:
        for _ in range(2):  # also from memory
            status, response, body = await stack.get("/v2/library/app/manifests/1")
            assert (status, body) == (200, manifest.body)
            assert "is to be fetched from https://evil.example/layer, past this proxy" in response.headers["Warning"]


@pytest.mark.parametrize(
    ("mode", "status", "warned"), [(Mode.ENFORCE, 307, False), (Mode.WARN, 200, True), (Mode.AUDIT, 200, False)]
)
async def test_a_mode_that_refuses_nothing_does_not_refuse_this(mode, status, warned):
    manifest, _ = REFUSE[0]
    unseen = Rule("unseen", (Pattern.parse("**"),), InsecureAllowUnverified(), mode=mode)
    async with serve(registry(manifest)) as url, running(url, unseen) as stack:
        got, response, _ = await stack.get("/v2/library/app/manifests/1")
        assert got == status
        assert ("Warning" in response.headers) is warned
