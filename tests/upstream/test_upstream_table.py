"""The closed table: each registry is asked for its own, and no other is dialled."""

import pytest
from support.upstreams import MadeTime

from proxy.demo.images import image
from proxy.demo.registry import Registry, serve
from proxy.formats.api import Referrers, Source
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError, UnknownUpstreamError
from proxy.oci.manifest import Descriptor
from proxy.oci.reference import Reference, Repository
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.table import Upstreams

IMAGES = {name: image(name) for name in ("a.test", "b.test")}


def everything(upstreams: Upstreams, registry: str):
    repository = Repository(registry, "app")
    made = IMAGES.get(registry, IMAGES["a.test"])
    blob = made.blobs[0]
    tag = Reference(repository, tag="v1")
    named = Descriptor("application/json", Digest.of(blob), len(blob))
    return {
        "manifest": lambda: upstreams.manifest(tag),
        "resolve": lambda: upstreams.resolve(tag),
        "blob": lambda: upstreams.blob(repository, named, 10_000),
        "head_blob": lambda: upstreams.head_blob(repository, named.digest),
        "open_blob": lambda: opened(upstreams, repository, named.digest),
        "referrers": lambda: upstreams.referrers(repository, made.digest),
        "tags": lambda: upstreams.tags(repository),
    }


async def opened(upstreams, repository, digest):
    async with upstreams.open_blob(repository, digest) as stream:
        return b"".join([chunk async for chunk in stream.chunks])


async def test_each_registry_is_asked_for_its_own():
    registries = {name: Registry() for name in IMAGES}
    for name, registry in registries.items():
        IMAGES[name].add_to(registry, "app", "v1")
    async with serve(registries["a.test"]) as a, serve(registries["b.test"]) as b:
        endpoints = [Endpoint("a.test", a), Endpoint("b.test", b)]
        async with Upstreams(endpoints, MadeTime().backoff()) as upstreams:
            source: Source = upstreams
            assert source is upstreams
            assert upstreams.names == ("a.test", "b.test")
            for name, made in IMAGES.items():
                found = {operation: await ask() for operation, ask in everything(upstreams, name).items()}
                assert found["manifest"].digest == found["resolve"] == made.digest
                assert found["blob"] == found["open_blob"] == made.blobs[0]
                assert found["head_blob"] == len(found["blob"])
                assert (found["referrers"], found["tags"]) == (Referrers(), (["v1"], None))
    assert len(registries["a.test"].requests) == len(registries["b.test"].requests) == 7


@pytest.mark.parametrize("operation", list(everything(None, "c.test")))
async def test_unknown_registries_are_never_dialled(operation):
    registry = Registry()
    async with serve(registry) as url, Upstreams([Endpoint("a.test", url)], MadeTime().backoff()) as upstreams:
        with pytest.raises(UnknownUpstreamError, match=r"c\.test is not one of the configured"):
            await everything(upstreams, "c.test")[operation]()
    assert registry.requests == []


async def test_a_table_with_a_bad_ca_file_does_not_open(tmp_path):
    endpoints = [Endpoint("a.test", "https://a.test"), Endpoint("b.test", "https://b.test", tmp_path / "missing.pem")]
    with pytest.raises(MalformedError, match=r"the CA file .*missing\.pem cannot be used"):
        async with Upstreams(endpoints, MadeTime().backoff()):
            pass
