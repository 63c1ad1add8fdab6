"""The registry's own words: passed on in one printable line, without anything secret."""

import asyncio
import json

import pytest
from support.faulty import Reply, faulty
from support.tls import make_tls
from support.upstreams import REPOSITORY, MadeTime, upstream_at

from proxy.demo.images import image
from proxy.oci.errors import RegistryError, UnavailableError, UnservableError, UpstreamDeniedError
from proxy.oci.reference import Reference
from proxy.upstream.endpoint import Credentials
from proxy.upstream.error_text import TEXT_CHARS_MAX, error_text

IMAGE = image("web")
TAG = Reference(REPOSITORY, tag="v1")
MANIFEST = "/v2/team/app/manifests/v1"
GOOD = Reply(200, {"Content-Type": IMAGE.media_type}, IMAGE.body)
SECRET = Credentials("ann", "s3cret-pass")
DIGEST = f"sha256:{'ab' * 32}"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2ln"


def errors(*messages):
    return json.dumps({"errors": [{"code": "DENIED", "message": one} for one in messages]})


@pytest.mark.parametrize(
    ("body", "media_type", "text"),
    [
        (
            errors("You have reached your pull rate limit."),
            "application/json",
            "You have reached your pull rate limit.",
        ),
        (errors("one", "two", "three", "four"), "", "one; two; three"),
        ('{"errors": [{"code": "NAME_UNKNOWN"}]}', "", "NAME_UNKNOWN"),
        ('{"errors": [{"message": 1}, "x", {"message": "y"}]}', "", "y"),
        ('{"errors": [], "message": "not this"}', "", ""),
        ('{"errors": {"message": "x"}}', "", ""),
        ('{"details": "incorrect username or password"}', "", "incorrect username or password"),
        ('{"error": "invalid_grant", "error_description": "token expired"}', "", "token expired"),
        ('{"error": "invalid_grant"}', "", "invalid_grant"),
        ('{"message": ["x"]}', "", ""),
        ("Your Authorization Token has expired.\nmore\n", "text/plain", "Your Authorization Token has expired."),
        ("quota", "text/html", ""),
        ("\0\1", "text/plain", ""),
        ("", "text/plain", ""),
        ("Client sent an HTTP request to an HTTPS server.\n", "", "it speaks TLS at this port: write https:// in url"),
        ("<html>The plain HTTP request was sent to HTTPS port</html>", "text/html", "it speaks TLS at this port"),
        ("<html>400 No required SSL certificate was sent</html>", "text/html", "it asks for a client certificate"),
        (errors("a\r\n\tb\x00\x1b[31mc\u202ed\u2028e\ud83d\ude00\xe9f"), "", "a b [31mc d e f"),
        (errors(f"blocked: {DIGEST} by policy"), "", f"blocked: {DIGEST} by policy"),
        (errors("Basic YW5uOnMzY3JldA== is wrong, so is bearer abc"), "", "[hidden] is wrong, so is [hidden]"),
        (errors("see https://ann:pw@h.test/x?sig=abc&t=1 there"), "", "see https://[hidden]h.test/x[hidden] there"),
        (errors(f"token {JWT} expired"), "", "token [hidden] expired"),
        (errors("key AKIA0123456789ABCDEF0123456789ABCDEF no"), "", "key [hidden] no"),
        (errors("password s3cret-pass is old"), "", "password [hidden] is old"),
        (errors("why? ask me"), "", "why? ask me"),
    ],
)
def test_reasons(body, media_type, text):
    assert error_text(body.encode(errors="surrogatepass"), media_type, ("s3cret-pass", "")).startswith(text)
    if not text:
        assert error_text(body.encode(), media_type) == ""


def test_long_texts_are_cut():
    text = error_text(errors("word " * 10_000).encode(), "application/json")
    assert len(text) == TEXT_CHARS_MAX
    assert text.endswith("...")


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (403, UpstreamDeniedError, r"refuses us the manifest team/app:v1 \(403\): blocked by policy"),
        (412, UnservableError, "answered 412 when asked for the manifest team/app:v1: blocked by policy"),
        (429, UnavailableError, "answered 429 .*: blocked by policy"),
        (451, UnservableError, "answered 451 .*: blocked by policy"),
        (503, UnavailableError, "answered 503 .*: blocked by policy"),
    ],
)
async def test_a_refusal_has_the_registrys_reason(status, error, text):
    reply = Reply(status, {"Content-Type": "application/json"}, errors("blocked by policy").encode())
    async with faulty({MANIFEST: reply}) as (_, url), upstream_at(url) as upstream:
        with pytest.raises(RegistryError, match=text) as caught:
            await upstream.manifest(TAG)
    assert isinstance(caught.value, error)


@pytest.mark.parametrize("part", ["?", "://", "basic ", "eyJ", "?x=", "a+", "bearer"])
def test_texts_that_are_slow_to_search_are_not(part):
    """A search of the whole would take seconds; the time limit of a test is the measure."""
    for _ in range(20):
        error_text(errors(part * (15_000 // len(part))).encode(), "application/json")


async def test_who_leaves_while_the_reason_comes_leaves_no_connection():
    reply = Reply(403, {}, b"{", length=99, hang=True)
    async with faulty({MANIFEST: reply}) as (_, url), upstream_at(url) as upstream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await upstream.manifest(TAG)


async def test_a_refusal_whose_body_is_cut_is_still_a_refusal():
    async with faulty({MANIFEST: Reply(403, {}, b"{", length=99)}) as (_, url), upstream_at(url) as upstream:
        with pytest.raises(UpstreamDeniedError, match=r"\(403\)$"):
            await upstream.manifest(TAG)


async def test_a_401_says_why_and_nothing_of_what_we_sent():
    basic = {"WWW-Authenticate": "Basic realm=x"}
    reply = Reply(401, basic, errors("s3cret-pass of ann (YW5uOnMzY3JldC1wYXNz) has expired").encode())
    async with faulty({MANIFEST: reply}) as (_, url), upstream_at(url, credentials=SECRET) as upstream:
        for _ in range(2):
            with pytest.raises(UpstreamDeniedError, match="has expired") as caught:
                await upstream.manifest(TAG)
            assert "s3cret" not in str(caught.value)
            assert "YW5u" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_token_service_says_why(status):
    async with faulty({}) as (server, url), upstream_at(url, credentials=SECRET) as upstream:
        server.answers[MANIFEST] = [Reply(401, {"WWW-Authenticate": f'Bearer realm="{url}/token"'})]
        server.answers["/token"] = [Reply(status, {}, b'{"details": "s3cret-pass is wrong"}')]
        with pytest.raises(UpstreamDeniedError, match=rf"token .*\({status}\): \[hidden\] is wrong"):
            await upstream.manifest(TAG)


@pytest.mark.parametrize(
    ("made", "trusted", "text"),
    [
        pytest.param({"until": 2021}, True, "it has expired", id="expired"),
        pytest.param({"since": 2110}, True, "it is not valid yet", id="not yet"),
        pytest.param({"address": "127.0.0.2"}, True, "it is for another name: .*url", id="another name"),
        pytest.param({}, False, "its authority is unknown: .*ca_file", id="unknown authority"),
    ],
)
async def test_certificates(tmp_path, made, trusted, text):
    tls, time = make_tls(tmp_path, **made), MadeTime()
    members = {"ca_file": tls.certificate} if trusted else {}
    async with faulty({MANIFEST: GOOD}, tls.context) as (_, url), upstream_at(url, time, **members) as upstream:
        host = url.removeprefix("https://")
        with pytest.raises(UnavailableError, match=rf"TLS certificate that is not trusted \(that of {host}\): {text}"):
            await upstream.manifest(TAG)
    assert time.slept == []


async def test_plain_http_where_tls_is_configured():
    async def answer(_, writer):
        writer.write(Reply(400).head())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, upstream_at(f"https://127.0.0.1:{port}") as upstream:
        with pytest.raises(UnavailableError, match=r"no TLS is spoken there; .*http:// in url"):
            await upstream.manifest(TAG)


async def test_tls_where_plain_http_is_configured():
    """The answer of Go's net/http."""
    reply = Reply(400, {}, b"Client sent an HTTP request to an HTTPS server.\n")
    async with faulty({MANIFEST: reply}) as (_, url), upstream_at(url) as upstream:
        with pytest.raises(UnservableError, match="write https:// in url"):
            await upstream.manifest(TAG)


async def test_the_host_that_is_named_is_the_one_that_was_dialled(tmp_path):
    tls = make_tls(tmp_path)
    async with faulty({}, tls.context) as (_, there):
        away = there.replace("127.0.0.1", "[::1]")
        async with faulty({MANIFEST: Reply(307, {"Location": there})}) as (_, url), upstream_at(url) as upstream:
            with pytest.raises(UnavailableError, match=f"that of {there.removeprefix('https://')}"):
                await upstream.manifest(TAG)
        async with faulty({MANIFEST: Reply(307, {"Location": away})}) as (_, url), upstream_at(url) as upstream:
            with pytest.raises(UnavailableError, match=r"^::1, to which registry\.test redirects, could not"):
                await upstream.manifest(TAG)
