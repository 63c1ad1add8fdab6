"""TLS: the CA file of an upstream, and never from https to http."""

import pytest
from support.faulty import Reply, faulty
from support.tls import make_tls
from support.upstreams import REPOSITORY, MadeTime, upstream_at

from proxy.demo.images import image
from proxy.oci.errors import MalformedError, UnavailableError, UpstreamDeniedError
from proxy.oci.reference import Reference
from proxy.upstream.endpoint import Credentials

IMAGE = image("web")
TAG = Reference(REPOSITORY, tag="v1")
MANIFEST = "/v2/team/app/manifests/v1"
GOOD = Reply(200, {"Content-Type": IMAGE.media_type}, IMAGE.body)
SECRET = Credentials("ann", "s3cret")


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return make_tls(tmp_path_factory.mktemp("tls"))


async def test_the_ca_file_is_trusted(tls):
    async with faulty({MANIFEST: GOOD}, tls.context) as (_, url), upstream_at(url, ca_file=tls.certificate) as upstream:
        assert (await upstream.manifest(TAG)).digest == IMAGE.digest


async def test_without_it_nothing_is_asked(tls):
    time = MadeTime()
    async with faulty({MANIFEST: GOOD}, tls.context) as (server, url), upstream_at(url, time) as upstream:
        with pytest.raises(UnavailableError, match="TLS certificate that is not trusted"):
            await upstream.manifest(TAG)
    assert (server.seen, time.slept) == ([], [])


async def test_a_file_that_is_no_certificate(tmp_path):
    (tmp_path / "ca.pem").write_text("none")
    with pytest.raises(MalformedError, match="cannot be used"):
        async with upstream_at("https://registry.test", ca_file=tmp_path / "ca.pem"):
            pass


async def test_no_redirect_and_no_realm_leaves_https(tls):
    async with (
        faulty({"/away": GOOD}) as (plain, there),
        faulty({}, tls.context) as (server, url),
        upstream_at(url, ca_file=tls.certificate, credentials=SECRET, insecure_http=True) as upstream,
    ):
        server.answers[MANIFEST] = [Reply(307, {"Location": f"{there}/away"})]
        with pytest.raises(UnavailableError, match="redirects to plain http"):
            await upstream.manifest(TAG)
        server.answers[MANIFEST] = [Reply(401, {"WWW-Authenticate": f'Bearer realm="{there}/away"'})]
        with pytest.raises(UpstreamDeniedError, match="token service at plain http"):
            await upstream.manifest(TAG)
    assert plain.seen == []
