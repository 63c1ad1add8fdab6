"""The registry that a mirror stands for: asked for its own, with nothing of what the mirror is shown."""

import pytest
from support.upstreams import MadeTime

from proxy.demo.images import image
from proxy.demo.registry import Registry, serve
from proxy.formats.api import Referrers, Source
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError, NotFoundError, UpstreamDeniedError
from proxy.oci.manifest import Descriptor
from proxy.oci.reference import Reference, Repository
from proxy.upstream.endpoint import Credentials, Endpoint
from proxy.upstream.table import Upstreams

NAME = "a.test"
MIRRORED, CANONICAL = image("mirrored"), image("canonical")
OURS = ("robot", "password")


def everything(source: Source, registry: str = NAME):
    repository = Repository(registry, "app")
    blob = CANONICAL.blobs[0]
    return [
        lambda: source.manifest(Reference(repository, tag="v1")),
        lambda: source.blob(repository, Descriptor("application/json", Digest.of(blob), len(blob)), 10_000),
        lambda: source.referrers(repository, CANONICAL.digest),
    ]


async def test_each_is_asked_for_its_own():
    mirror, canonical = Registry(), Registry()
    MIRRORED.add_to(mirror, "app", "v1")
    CANONICAL.add_to(canonical, "app", "v1")
    async with serve(mirror) as at, serve(canonical) as beyond:
        endpoints = [Endpoint(NAME, at, signatures=Endpoint(NAME, beyond)), Endpoint("b.test", at)]
        async with Upstreams(endpoints, MadeTime().backoff()) as upstreams:
            manifest, blob, referrers = [await ask() for ask in everything(upstreams.canonical)]
            assert (manifest.digest, blob, referrers) == (CANONICAL.digest, CANONICAL.blobs[0], Referrers())
            assert mirror.requests == []
            assert (await upstreams.manifest(Reference(Repository(NAME, "app"), tag="v1"))).digest == MIRRORED.digest
            assert len(canonical.requests) == 3
            for ask in everything(upstreams.canonical, "b.test") + everything(upstreams.canonical, "c.test"):
                with pytest.raises(NotFoundError, match="in no second place"):
                    await ask()
    assert (len(mirror.requests), len(canonical.requests)) == (1, 3)


async def test_without_any_there_is_none():
    async with Upstreams([Endpoint(NAME, "https://a.test")], MadeTime().backoff()) as upstreams:
        assert upstreams.canonical is None


@pytest.mark.parametrize("shown", ["mirror", "canonical"])
async def test_neither_is_shown_the_credentials_of_the_other(shown):
    """A25."""
    registries = {"mirror": Registry(credentials=OURS), "canonical": Registry(credentials=OURS)}
    for registry in registries.values():
        CANONICAL.add_to(registry, "app", "v1")
    given = {shown: Credentials(*OURS)}
    async with serve(registries["mirror"]) as at, serve(registries["canonical"]) as beyond:
        canonical = Endpoint(NAME, beyond, credentials=given.get("canonical"))
        mirror = Endpoint(NAME, at, credentials=given.get("mirror"), signatures=canonical)
        async with Upstreams([mirror], MadeTime().backoff()) as upstreams:
            for name, source in {"mirror": upstreams, "canonical": upstreams.canonical}.items():
                ask = everything(source)[0]
                if name == shown:
                    assert (await ask()).digest == CANONICAL.digest
                else:
                    with pytest.raises(UpstreamDeniedError, match="none is configured"):
                        await ask()


async def test_a_bad_ca_file_does_not_open(tmp_path):
    canonical = Endpoint(NAME, "https://a.test", tmp_path / "missing.pem")
    with pytest.raises(MalformedError, match=r"missing\.pem cannot be used"):
        async with Upstreams([Endpoint(NAME, "https://m.test", signatures=canonical)], MadeTime().backoff()):
            pass
