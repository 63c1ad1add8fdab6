"""TLS: the CA file of an upstream, and never from https to http."""

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.faulty import Reply, faulty
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


@dataclass(frozen=True)
class Tls:
    certificate: Path
    context: ssl.SSLContext


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry.test")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start.replace(year=2120))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return Tls(folder / "ca.pem", context)


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
