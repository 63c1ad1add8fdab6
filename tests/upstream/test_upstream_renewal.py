"""Passwords, tokens and certificates that are replaced while we run, and authorities as companies have them."""

import os
import shutil
import ssl
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.faulty import Reply, faulty
from support.tls import make_tls
from support.upstreams import REGISTRY, REPOSITORY, MadeTime, upstream_at
from yarl import URL

from proxy.demo.images import image
from proxy.oci.errors import MalformedError, UnavailableError, UpstreamDeniedError
from proxy.oci.reference import Reference
from proxy.upstream.credentials import IDENTITY_TOKEN_USER, Credentials, CurrentCredentials
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.tls import Contexts, trusting
from proxy.upstream.watched import LOOK_SECONDS, Watched

IMAGE = image("web")
TAG = Reference(REPOSITORY, tag="v1")
MANIFEST = "/v2/team/app/manifests/v1"
GOOD = Reply(200, {"Content-Type": IMAGE.media_type}, IMAGE.body)
# base64 of ann:first and ann:second
FIRST, SECOND = "Basic YW5uOmZpcnN0", "Basic YW5uOnNlY29uZA=="
CHALLENGE = Reply(401, {"WWW-Authenticate": "Basic realm=x"})


def replaced(path: Path, text: str) -> Path:
    """Put another file in its place, as Kubernetes and careful tools do."""
    other = path.with_suffix(".new")
    other.write_text(text)
    other.rename(path)
    return path


@pytest.fixture
def password(tmp_path):
    return replaced(tmp_path / "password", "first\n")


async def test_a_password_is_read_again_when_it_is_refused(password):
    answers = {MANIFEST: CHALLENGE, f"{MANIFEST} {FIRST}": [GOOD, CHALLENGE], f"{MANIFEST} {SECOND}": GOOD}
    async with faulty(answers) as (server, url), upstream_at(url, credentials=read(password)) as upstream:
        await upstream.manifest(TAG)
        replaced(password, "second\n")
        await upstream.manifest(TAG)
    assert [seen.authorization for seen in server.seen] == [None, FIRST, FIRST, SECOND]


def read(file: Path, username: str = "ann") -> Credentials:
    return Credentials.read(username, file)


async def test_a_password_is_read_again_when_its_file_changes(password):
    time = MadeTime()
    answers = {MANIFEST: CHALLENGE, f"{MANIFEST} {FIRST}": GOOD, f"{MANIFEST} {SECOND}": GOOD}
    async with faulty(answers) as (server, url), upstream_at(url, time, credentials=read(password)) as upstream:
        await upstream.manifest(TAG)
        replaced(password, "second\n")
        await upstream.manifest(TAG)
        time.now += LOOK_SECONDS
        await upstream.manifest(TAG)
    assert [seen.authorization for seen in server.seen] == [None, FIRST, FIRST, SECOND]


async def test_a_password_that_is_still_refused_is_not_sent_again(password):
    answers = {MANIFEST: CHALLENGE}
    async with faulty(answers) as (server, url), upstream_at(url, credentials=read(password)) as upstream:
        with pytest.raises(UpstreamDeniedError, match="refuses us"):
            await upstream.manifest(TAG)
        with pytest.raises(UpstreamDeniedError, match="refuses our credentials"):
            await upstream.manifest(TAG)
    assert [seen.authorization for seen in server.seen] == [None, FIRST, FIRST]


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_what_a_token_service_refuses_is_read_again(password, status):
    async with faulty({}) as (server, url), upstream_at(url, credentials=read(password)) as upstream:
        replaced(password, "second\n")
        server.answers |= {
            MANIFEST: [Reply(401, {"WWW-Authenticate": f'Bearer realm="{url}/token"'})],
            f"{MANIFEST} Bearer abc": [GOOD],
            f"/token {FIRST}": [Reply(status)],
            f"/token {SECOND}": [Reply(200, {}, b'{"token": "abc"}')],
        }
        assert (await upstream.manifest(TAG)).digest == IMAGE.digest
    assert [seen.authorization for seen in server.seen] == [None, FIRST, SECOND, "Bearer abc"]


async def test_identity_tokens_are_read_again_too(password):
    credentials = read(password, IDENTITY_TOKEN_USER)
    async with faulty({}) as (server, url), upstream_at(url, credentials=credentials) as upstream:
        replaced(password, "second\n")
        server.answers |= {
            MANIFEST: [Reply(401, {"WWW-Authenticate": f'Bearer realm="{url}/token"'})],
            f"{MANIFEST} Bearer abc": [GOOD],
            "/token": [Reply(401), Reply(200, {}, b'{"access_token": "abc"}')],
        }
        assert (await upstream.manifest(TAG)).digest == IMAGE.digest
    sent = [seen.body for seen in server.seen if seen.path == "/token"]
    assert [b"refresh_token=first" in sent[0], b"refresh_token=second" in sent[1]] == [True, True]


def test_a_file_that_cannot_be_read_changes_nothing(password):
    time = MadeTime()
    current = CurrentCredentials(read(password), time.clock)
    for spoil in (password.unlink, lambda: password.write_bytes(b"\xff"), lambda: password.write_text("\n")):
        spoil()
        time.now += LOOK_SECONDS
        assert current.now() == Credentials("ann", "first")
        assert current.renew() is False
    password.write_text("second")
    time.now += LOOK_SECONDS
    assert current.now() == Credentials("ann", "second")
    assert current.renew() is False


def test_what_stands_in_no_file_does_not_change():
    time = MadeTime()
    for given in (None, Credentials("ann", "first")):
        current = CurrentCredentials(given, time.clock)
        time.now += LOOK_SECONDS
        assert (current.now(), current.renew()) == (given, False)


def test_a_change_that_leaves_no_trace_is_found_when_it_is_refused(password):
    current = CurrentCredentials(read(password), MadeTime().clock)
    before = password.stat()
    password.write_text("other\n")
    os.utime(password, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (current.renew(), current.now()) == (True, Credentials("ann", "other"))


def test_changes_are_looked_for_now_and_then(tmp_path):
    time = MadeTime()
    file = replaced(tmp_path / "file", "a")
    watched = Watched([file, tmp_path / "absent"], time.clock)
    replaced(file, "b")
    assert not watched.changed()
    time.now += LOOK_SECONDS
    assert watched.changed()
    time.now += LOOK_SECONDS
    assert not watched.changed()
    watched.forget()
    time.now += LOOK_SECONDS
    assert watched.changed()
    assert not Watched([], time.clock).changed()


@pytest.fixture
def demanding(tmp_path):
    """Make the certificate of a server that asks for one of the same authority, which is its own."""
    tls = make_tls(tmp_path)
    tls.context.verify_mode = ssl.CERT_REQUIRED
    tls.context.load_verify_locations(tls.certificate)
    # What a client sees of a refusal depends on who closes first with TLS 1.3.
    tls.context.maximum_version = ssl.TLSVersion.TLSv1_2
    return tls


async def test_a_client_certificate_is_shown(demanding):
    members = {"client_certificate": demanding.certificate, "client_key": demanding.key}
    async with faulty({MANIFEST: GOOD}, demanding.context) as (_, url):
        async with upstream_at(url, ca_file=demanding.certificate, **members) as upstream:
            assert (await upstream.manifest(TAG)).digest == IMAGE.digest
        async with upstream_at(url, ca_file=demanding.certificate) as upstream:
            with pytest.raises(UnavailableError):
                await upstream.manifest(TAG)


def test_who_is_shown_the_client_certificate(demanding):
    endpoint = Endpoint(
        REGISTRY,
        "https://registry.corp/v2/x",
        token_realms=frozenset({"login.corp"}),
        redirect_hosts=frozenset({"storage.corp"}),
        client_certificate=demanding.certificate,
        client_key=demanding.key,
    )
    contexts = Contexts(endpoint, MadeTime().clock)
    shown = contexts.of(URL("https://registry.corp/v2/"))
    assert contexts.of(URL("https://login.corp/token")) is shown
    for url in ("https://storage.corp/x", "https://other.corp/x", "https://x.registry.corp", "https://registry.corp.x"):
        assert contexts.of(URL(url)) is not shown


def test_certificates_are_read_again(tmp_path):
    """Of a pair one is replaced first: what was there before serves until both fit."""
    old, new = make_tls(folder(tmp_path / "old")), make_tls(folder(tmp_path / "new"))
    pair = tmp_path / "client.crt", tmp_path / "client.key"
    for source, target in zip((old.certificate, old.key), pair, strict=True):
        shutil.copy(source, target)
    time = MadeTime()
    endpoint = Endpoint(REGISTRY, "https://registry.corp", client_certificate=pair[0], client_key=pair[1])
    contexts, url = Contexts(endpoint, time.clock), URL("https://registry.corp")
    first = contexts.of(url)
    replaced(pair[0], new.certificate.read_text())
    time.now += LOOK_SECONDS
    assert contexts.of(url) is first
    replaced(pair[1], new.key.read_text())
    time.now += LOOK_SECONDS
    second = contexts.of(url)
    assert second is not first
    time.now += LOOK_SECONDS
    assert contexts.of(url) is second


async def test_an_authority_is_read_again(tmp_path):
    """The registry's certificate is renewed by another authority, and its file with it."""
    old, new = make_tls(folder(tmp_path / "old")), make_tls(folder(tmp_path / "new"))
    time, ca_file = MadeTime(), tmp_path / "ca.crt"
    shutil.copy(old.certificate, ca_file)
    async with faulty({MANIFEST: GOOD}, new.context) as (_, url), upstream_at(url, time, ca_file=ca_file) as upstream:
        with pytest.raises(UnavailableError, match="TLS certificate"):
            await upstream.manifest(TAG)
        replaced(ca_file, new.certificate.read_text())
        time.now += LOOK_SECONDS
        assert (await upstream.manifest(TAG)).digest == IMAGE.digest


@pytest.mark.parametrize(("certificate", "key"), [("absent", "tls.key"), ("tls.crt", "absent"), ("tls.key", "tls.crt")])
async def test_what_is_no_client_certificate(tmp_path, certificate, key):
    make_tls(tmp_path)
    members = {"client_certificate": tmp_path / certificate, "client_key": tmp_path / key}
    with pytest.raises(
        MalformedError, match=r"absent: no such file|tls.key has no certificate in PEM; are certificate and key swapped"
    ):
        async with upstream_at("https://registry.test", **members):
            pass


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def signed(subject, issuer, key, by, *extensions):
    """Make a certificate with these extensions and no others."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (subject, issuer)]
    builder = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC)).not_valid_after(
        datetime(2120, 1, 1, tzinfo=UTC)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def company(tmp_path):
    """Make a root and an authority below it, without key usage and key identifiers, and a server's certificate."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    authority = (x509.BasicConstraints(ca=True, path_length=None), False)  # not critical, as RFC 5280 wants it
    (tmp_path / "root.crt").write_bytes(signed("root", "root", keys[0], keys[0], authority))
    below = signed("below", "root", keys[1], keys[0], authority)
    (tmp_path / "below.crt").write_bytes(below)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    chain = signed("server", "below", keys[2], keys[1], (names, False)) + below
    (tmp_path / "server.crt").write_bytes(chain)
    private = keys[2].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "server.key").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    return tmp_path, context


@pytest.mark.parametrize("strict", [True, False], ids=["Python 3.13", "before"])
@pytest.mark.parametrize(("ca_file", "trusted"), [("root.crt", True), ("below.crt", True), ("other.crt", False)])
async def test_the_authorities_of_companies(company, monkeypatch, strict, ca_file, trusted):
    """Whatever a version of Python begins with, the same are trusted."""
    files, context = company
    shutil.copy(make_tls(folder(files / "other")).certificate, files / "other.crt")
    default = ssl.create_default_context

    def begin():
        made = default()
        made.verify_flags &= ~(ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN)
        if strict:
            made.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        return made

    monkeypatch.setattr(ssl, "create_default_context", begin)
    async with faulty({MANIFEST: GOOD}, context) as (_, url), upstream_at(url, ca_file=files / ca_file) as upstream:
        if trusted:
            assert (await upstream.manifest(TAG)).digest == IMAGE.digest
        else:
            with pytest.raises(UnavailableError, match="its authority is unknown"):
                await upstream.manifest(TAG)
    assert trusting(None).verify_mode is ssl.CERT_REQUIRED
    assert trusting(None).check_hostname
