"""Registries that lie, cut, stall, redirect and burst: each bad answer beside the good one nearest to it."""

import asyncio
import hashlib
import socket
from contextlib import AsyncExitStack
from dataclasses import replace
from types import SimpleNamespace

import pytest
from multidict import CIMultiDict
from support.faulty import Reply, faulty
from support.upstreams import REPOSITORY, MadeTime, upstream_at
from yarl import URL

from proxy.demo.images import image
from proxy.oci.digest import Digest
from proxy.oci.errors import (
    CorruptError,
    MalformedError,
    NotFoundError,
    UnavailableError,
    UpstreamDeniedError,
)
from proxy.oci.manifest import MANIFEST_BYTES_MAX, OCI_INDEX, OCI_MANIFEST, SCHEMA1_TYPES, Descriptor
from proxy.oci.reference import Reference
from proxy.upstream.client import ACCEPT
from proxy.upstream.endpoint import Credentials, Limits
from proxy.upstream.links import Continuation
from proxy.upstream.listing import LISTING_SECONDS, REFERRER_PAGES_MAX, REFERRERS_ENOUGH, all_referrers
from proxy.upstream.transport import REDIRECTS_MAX, Request
from proxy.verdict import Reason

IMAGE = image("web")
BODY = IMAGE.body
DIGEST = IMAGE.digest
OTHER = Digest.of(b"other")
TAG = Reference(REPOSITORY, tag="v1")
MANIFEST = "/v2/team/app/manifests/v1"
BLOB = b"0123456789" * 1000
BLOB_PATH = f"/v2/team/app/blobs/{Digest.of(BLOB)}"
REFERRERS = f"/v2/team/app/referrers/{DIGEST}"
TAGS = "/v2/team/app/tags/list"
SECRET = Credentials("ann", "s3cret")
BASIC = {"WWW-Authenticate": 'Basic realm="r"'}
INSTANT = Limits(connect=0.05, read=0.05, total=0.05, blob_open=0.05, blob_stall=0.05)


def good(body=BODY, **changes):
    headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": str(Digest.of(body))}
    options = {name: changes.pop(name) for name in ("status", "length", "hang") if name in changes}
    return Reply(
        headers=headers | {name.replace("_", "-"): value for name, value in changes.items()}, body=body, **options
    )


def redirect(location, status=307):
    return Reply(status, {"Location": location})


def padded(size):
    return BODY + b" " * (size - len(BODY))


def unframed(body):
    return Reply(
        raw=f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {OCI_MANIFEST}\r\n\r\n".encode(), body=body
    )


@pytest.mark.parametrize(
    "reply",
    [
        good(),
        good(Docker_Content_Digest=""),
        good(Docker_Content_Digest=f"sha512:{hashlib.sha512(BODY).hexdigest()}"),
        good(Content_Type=OCI_MANIFEST + "; charset=utf-8"),
        good(Content_Type=OCI_MANIFEST.upper()),
        good(Content_Encoding="identity"),
        good(X_Long="x" * 20_000),
        good(padded(MANIFEST_BYTES_MAX)),
        unframed(BODY),
        good(Link="<no link of ours"),
    ],
    ids=lambda _: None,
)
async def test_good_answers(reply):
    async with faulty({MANIFEST: reply}) as (server, url), upstream_at(url) as upstream:
        assert (await upstream.manifest(TAG)).body == reply.body
    assert server.seen[0].headers["accept"] == ACCEPT
    assert server.seen[0].headers["accept-encoding"] == "identity"
    assert server.seen[0].headers["user-agent"] == "sealgate"


BAD_ANSWERS = {
    "another digest": (good(Docker_Content_Digest=str(OTHER)), CorruptError, "lacks the digest"),
    "a digest of no kind": (good(Docker_Content_Digest="md5:00"), MalformedError, "does not start with sha256"),
    "no type": (good(b'{"schemaVersion": 2}', Content_Type=""), MalformedError, "media type ''"),
    "another type": (good(Content_Type="text/html"), MalformedError, "a web page came in place of a manifest"),
    "the type of an index": (good(Content_Type=OCI_INDEX), MalformedError, "its mediaType says"),
    "schema 1": (good(Content_Type=min(SCHEMA1_TYPES)), MalformedError, "schema 1"),
    "gzip": (good(Content_Encoding="gzip"), UnavailableError, "encodes the content"),
    "a byte too many": (good(padded(MANIFEST_BYTES_MAX + 1)), MalformedError, "larger than 4194304 bytes"),
    "far too many, no length": (unframed(padded(MANIFEST_BYTES_MAX + 10)), MalformedError, "larger than"),
    "a byte too few": (good(BODY[:-1], Docker_Content_Digest=str(DIGEST)), CorruptError, "lacks the digest"),
    "a longer length": (good(length=len(BODY) + 1), UnavailableError, "cut its answer short"),
    "a header over the limit": (good(X_Long="x" * 40_000), UnavailableError, "not valid HTTP"),
    "no HTTP": (Reply(raw=b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), UnavailableError, "not valid HTTP"),
    "nothing": (Reply(raw=b""), UnavailableError, "closed the connection"),
    "not found": (Reply(404), NotFoundError, "has no manifest team/app:v1"),
    "gone": (Reply(410), NotFoundError, "has no manifest"),
    "forbidden": (Reply(403), UpstreamDeniedError, r"refuses us the manifest team/app:v1 \(403\)"),
    "teapot": (Reply(418), UnavailableError, "answered 418 when asked for the manifest"),
    "a part": (good(status=206), UnavailableError, "answered 206"),
    "not modified": (Reply(304), UnavailableError, "answered 304"),
    "redirect to nowhere": (Reply(302), UnavailableError, "no http URL"),
    "redirect with a space": (redirect("/a b"), UnavailableError, "no http URL"),
    "redirect to ftp": (redirect("ftp://127.0.0.1/x"), UnavailableError, "no http URL"),
    "redirect to a bad port": (redirect("http://127.0.0.1:99999/x"), UnavailableError, "no http URL"),
    "redirect with a user": (redirect("http://a:b@127.0.0.1/x"), UnavailableError, "no http URL"),
    "redirect to itself": (redirect(MANIFEST), UnavailableError, f"redirects more than {REDIRECTS_MAX} times"),
    "redirect to metadata": (redirect("https://169.254.169.254/"), UnavailableError, "internal address '169.254"),
    "redirect to plain http": (redirect("http://192.0.2.1/x"), UnavailableError, "plain http at '192"),
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
async def test_bad_answers(case):
    reply, error, text = BAD_ANSWERS[case]
    async with faulty({MANIFEST: reply}) as (_, url), upstream_at(url) as upstream:
        with pytest.raises(error, match=text):
            await upstream.manifest(TAG)


async def test_more_bytes_than_the_length_says():
    async with faulty({MANIFEST: good(length=len(BODY) - 1)}) as (_, url), upstream_at(url) as upstream:
        with pytest.raises((CorruptError, UnavailableError)):  # as the bytes come: cut at the length, or no valid HTTP
            await upstream.manifest(TAG)


async def test_bytes_of_another_digest():
    async with faulty({f"/v2/team/app/manifests/{OTHER}": good()}) as (_, url), upstream_at(url) as upstream:
        with pytest.raises(CorruptError):
            await upstream.manifest(Reference(REPOSITORY, digest=OTHER))


@pytest.mark.parametrize(
    ("reply", "digest"),
    [
        (good(), DIGEST),
        (good(Docker_Content_Digest=""), None),
        (good(Docker_Content_Digest="md5:1"), None),
        (good(Content_Type=min(SCHEMA1_TYPES)), None),
        (Reply(405), None),
    ],
)
async def test_resolve_says_only_what_is_usable(reply, digest):
    async with faulty({MANIFEST: reply}) as (_, url), upstream_at(url) as upstream:
        assert await upstream.resolve(TAG) == digest


BURSTS = {
    "none": ([good()], [], None, 1),
    "one 503": ([Reply(503), good()], [0.125], None, 2),
    "two of them": ([Reply(502), Reply(500), good()], [0.125, 0.25], None, 3),
    "three of them": ([Reply(503)] * 3 + [good()], [0.125, 0.25], "answered 503", 3),
    "one cut": ([good(length=len(BODY) + 1), good()], [0.125], None, 2),
    "a closed connection": ([Reply(raw=b""), good()], [], None, 2),  # aiohttp itself asks again at once
    "two closed connections": ([Reply(raw=b"")] * 2 + [good()], [0.125], None, 3),
    "429": ([Reply(429), good()], [0.125], None, 2),
    "429 with seconds": ([Reply(429, {"Retry-After": "3"}), good()], [3.0], None, 2),
    "503 with seconds": ([Reply(503, {"Retry-After": "3"}), good()], [3.0], None, 2),
    "429 too long": ([Reply(429, {"Retry-After": "15"}), good()], [], "answered 429", 1),
    "501 is for good": ([Reply(501), good()], [], "answered 501", 1),
    "404 is an answer": ([Reply(404), good()], [], "has no manifest", 1),
}


@pytest.mark.parametrize("case", BURSTS)
async def test_bursts(case):
    replies, slept, error, asked = BURSTS[case]
    time = MadeTime()
    async with faulty({MANIFEST: replies}) as (server, url), upstream_at(url, time) as upstream:
        if error is None:
            assert (await upstream.manifest(TAG)).digest == DIGEST
        else:
            with pytest.raises((UnavailableError, NotFoundError), match=error):
                await upstream.manifest(TAG)
    assert time.slept == slept
    assert len(server.seen) == asked


async def test_the_wait_that_an_upstream_asks_for_is_passed_on():
    async with faulty({MANIFEST: Reply(429, {"Retry-After": "3600"})}) as (_, url), upstream_at(url) as upstream:
        with pytest.raises(UnavailableError) as caught:
            await upstream.manifest(TAG)
    assert caught.value.retry_after == 3600


STALLS = {
    "no head": Reply(raw=b"", hang=True),
    "half a head": Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Type: ", hang=True),
    "half a body": good(length=len(BODY) + 1, hang=True),
    "a redirect and no end": Reply(307, {"Location": MANIFEST}, b"", 5, hang=True),
}


@pytest.mark.parametrize("reply", STALLS.values(), ids=list(STALLS))
async def test_stalls_end_in_time(reply):
    async with faulty({MANIFEST: reply}) as (_, url), upstream_at(url, limits=INSTANT) as upstream:
        with pytest.raises(UnavailableError, match="did not answer"):
            await upstream.manifest(TAG)


async def test_nobody_listens():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        async with upstream_at(f"http://127.0.0.1:{held.getsockname()[1]}") as upstream:
            with pytest.raises(UnavailableError, match=r"registry\.test could not be reached"):
                await upstream.manifest(TAG)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("signed", ["/bytes?sig=a%2Fb%20c%3D&x=%E2%82%AC", "/by%2Ftes/a+b?q=1&q=2"])
async def test_redirect_target_is_asked_as_it_was_written(status, signed):
    async with faulty({"/bytes": good(), "/by%2Ftes/a+b": good()}) as (storage, there):
        answers = {MANIFEST: redirect(there + signed, status)}
        async with faulty(answers) as (_, url), upstream_at(url) as upstream:
            assert (await upstream.manifest(TAG)).digest == DIGEST
    assert [(seen.method, seen.target) for seen in storage.seen] == [("GET", signed)]


@pytest.mark.parametrize("hops", [REDIRECTS_MAX, REDIRECTS_MAX + 1])
async def test_redirects_are_counted(hops):
    answers = {f"/{n}": redirect(f"/{n + 1}") for n in range(1, hops)} | {MANIFEST: redirect("/1"), f"/{hops}": good()}
    async with faulty(answers) as (_, url), upstream_at(url) as upstream:
        if hops <= REDIRECTS_MAX:
            assert (await upstream.manifest(TAG)).digest == DIGEST
        else:
            with pytest.raises(UnavailableError, match="redirects more than"):
                await upstream.manifest(TAG)


async def test_no_other_origin_sees_the_credentials_not_even_on_the_way_back():
    async with faulty({}) as (storage, there), faulty({}) as (server, url):
        server.answers |= {MANIFEST: [Reply(401, BASIC), redirect("/same")], "/same": [redirect(f"{there}/away")]}
        server.answers["/back"] = [good()]
        storage.answers["/away"] = [redirect(f"{url}/back")]
        async with upstream_at(url, credentials=SECRET) as upstream:
            assert (await upstream.manifest(TAG)).digest == DIGEST
    shown = [(seen.path, seen.authorization is not None) for seen in server.seen]
    assert shown == [(MANIFEST, False), (MANIFEST, True), ("/same", True), ("/back", False)]
    assert [seen.authorization for seen in storage.seen] == [None]
    assert "cookie" not in storage.seen[0].headers


async def test_no_other_origin_can_challenge():
    async with faulty({"/away": Reply(401, BASIC)}) as (storage, there):
        answers = {MANIFEST: redirect(f"{there}/away")}
        async with faulty(answers) as (_, url), upstream_at(url, credentials=SECRET) as upstream:
            with pytest.raises(UpstreamDeniedError):
                await upstream.manifest(TAG)
    assert [seen.authorization for seen in storage.seen] == [None]


async def test_errors_do_not_show_where_a_signed_redirect_led():
    async with faulty({"/away": Reply(500)}) as (_, there):
        answers = {MANIFEST: redirect(f"{there}/away?sig=s3cret")}
        async with faulty(answers) as (_, url), upstream_at(url) as upstream:
            with pytest.raises(UnavailableError) as caught:
                await upstream.manifest(TAG)
    assert str(caught.value) == "registry.test answered 500 when asked for the manifest team/app:v1"
    assert caught.value.__cause__ is None


BLOBS = {
    "whole": (None, Reply(body=BLOB), (200, len(BLOB), None), BLOB),
    "without length": (None, unframed(BLOB), (200, None, None), BLOB),
    "part": ("bytes=1-2", Reply(206, {"Content-Range": "bytes 1-2/10000"}, b"12"), (206, 2, "bytes 1-2/10000"), b"12"),
    "range ignored": ("bytes=1-2", Reply(body=BLOB), (200, len(BLOB), None), BLOB),
    "range ignored, header kept": ("bytes=1-2", Reply(200, {"Content-Range": "x"}, BLOB), (200, len(BLOB), None), BLOB),
    "outside": ("bytes=99999-", Reply(416, {"Content-Range": "bytes */10000"}, b"{}"), (416, 0, "bytes */10000"), b""),
}


@pytest.mark.parametrize("case", BLOBS)
async def test_blobs(case):
    asked, reply, expected, body = BLOBS[case]
    async with (
        faulty({BLOB_PATH: reply}) as (server, url),
        upstream_at(url) as upstream,
        upstream.open_blob(REPOSITORY, Digest.of(BLOB), range_header=asked) as stream,
    ):
        assert (stream.status, stream.size, stream.content_range) == expected
        assert b"".join([chunk async for chunk in stream.chunks]) == body
    assert server.seen[0].headers.get("range") == asked


BAD_BLOBS = {
    "cut": (None, Reply(body=BLOB, length=len(BLOB) + 1), "cut its answer short"),
    "stalled": (None, Reply(body=BLOB, length=len(BLOB) + 1, hang=True), "did not answer"),
    "never opened": (None, Reply(raw=b"", hang=True), "did not answer"),
    "gzip": (None, Reply(200, {"Content-Encoding": "gzip"}, BLOB), "encodes the content"),
    "a part not asked for": (None, Reply(206, {"Content-Range": "bytes 0-1/2"}, b"12"), "answered 206"),
    "a part of unknown place": ("bytes=1-", Reply(206, {}, b"12"), "does not say which"),
    "several parts": ("bytes=1-", Reply(206, {"Content-Type": "multipart/byteranges"}, b"12"), "does not say which"),
    "a range refused unasked": (None, Reply(416), "answered 416"),
}


@pytest.mark.parametrize("case", BAD_BLOBS)
async def test_bad_blobs(case):
    asked, reply, text = BAD_BLOBS[case]
    limits = INSTANT if reply.hang else None
    async with faulty({BLOB_PATH: reply}) as (_, url), upstream_at(url, limits=limits) as upstream:
        with pytest.raises(UnavailableError, match=text):
            async with upstream.open_blob(REPOSITORY, Digest.of(BLOB), range_header=asked) as stream:
                _ = [chunk async for chunk in stream.chunks]


CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n"


@pytest.mark.parametrize("end", [b"ZZZ\r\n", b"-1\r\n", b"0\r\n: \x00\r\n\r\n", b"5\r\nhelloXX"])
@pytest.mark.parametrize("size", [5, 300_000])
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_body_that_stops_being_http_is_an_outage(size, end, at_once):
    """aiohttp has several ways to tell the reader; one is to tell it nothing, and to drop its own time limit."""
    chunk = CHUNK % (size, b"x" * size)
    reply = Reply(raw=chunk + end, hang=True) if at_once else Reply(raw=chunk, later=end)
    limits = Limits(blob_stall=0.2)
    async with faulty({BLOB_PATH: reply}) as (server, url), upstream_at(url, limits=limits) as upstream:
        with pytest.raises(UnavailableError):
            async with upstream.open_blob(REPOSITORY, Digest.of(BLOB)) as stream:
                _ = [server.go_on.set() async for _ in stream.chunks]


async def test_what_is_asked_after_the_end_is_an_outage():
    async with faulty({MANIFEST: good()}) as (_, url):
        async with upstream_at(url) as upstream:
            pass
        with pytest.raises(UnavailableError, match="closed the connection"):
            await upstream.manifest(TAG)


async def test_opening_a_blob_is_repeated_but_not_its_body():
    async with (
        faulty({BLOB_PATH: [Reply(503), Reply(body=BLOB)]}) as (server, url),
        upstream_at(url) as upstream,
        upstream.open_blob(REPOSITORY, Digest.of(BLOB)) as stream,
    ):
        assert b"".join([chunk async for chunk in stream.chunks]) == BLOB
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    ("body", "good_bytes"),
    [(BLOB, True), (BLOB[:-1] + b"x", False), (BLOB[:-1], False), (BLOB + b"x", False), (BLOB * 9, False)],
)
async def test_whole_blob_is_checked(body, good_bytes):
    named = Descriptor("application/octet-stream", Digest.of(BLOB), len(BLOB))
    async with faulty({BLOB_PATH: Reply(body=body)}) as (_, url), upstream_at(url) as upstream:
        if good_bytes:
            assert await upstream.blob(REPOSITORY, named, len(BLOB)) == BLOB
        else:
            with pytest.raises(CorruptError):
                await upstream.blob(REPOSITORY, named, len(BLOB))


async def test_blob_without_length_has_no_size():
    raw = Reply(raw=b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    async with faulty({BLOB_PATH: raw}) as (_, url), upstream_at(url) as upstream:
        with pytest.raises(UnavailableError, match="does not say how large"):
            await upstream.head_blob(REPOSITORY, Digest.of(BLOB))


def page(count=1, link=None, **changes):
    entry = f'{{"mediaType": "{OCI_MANIFEST}", "digest": "{OTHER}", "size": 5}}'
    body = f'{{"schemaVersion": 2, "mediaType": "{OCI_INDEX}", "manifests": [{",".join([entry] * count)}]}}'.encode()
    headers = {"Content-Type": OCI_INDEX} | ({"Link": f'<{link}>; rel="next"'} if link else {})
    return Reply(headers=headers | changes, body=body)


@pytest.mark.parametrize("status", [400, 404, 405, 406])
async def test_answers_of_registries_without_referrers(status):
    async with faulty({REFERRERS: Reply(status)}) as (_, url), upstream_at(url) as upstream:
        with pytest.raises(NotFoundError, match="has no referrers API"):
            await upstream.referrers(REPOSITORY, DIGEST)


@pytest.mark.parametrize("kind", ["text/html", "application/json", OCI_MANIFEST])
async def test_referrers_of_another_type_are_no_referrers(kind):
    async with faulty({REFERRERS: page(**{"Content-Type": kind})}) as (_, url), upstream_at(url) as upstream:
        with pytest.raises(NotFoundError, match="has no referrers API"):
            await upstream.referrers(REPOSITORY, DIGEST)


BAD_REFERRERS = {
    "a Link elsewhere": ({REFERRERS: page(link="http://127.0.0.2:1/x")}, UnavailableError, "next page that is not its"),
    "a Link that is none": ({REFERRERS: page(link="http://127.0.0.1:99999/")}, UnavailableError, "next page"),
    "a page in pieces": ({REFERRERS: page(link="/2"), "/2": Reply(503)}, UnavailableError, "answered 503"),
    "forbidden": ({REFERRERS: Reply(403)}, UpstreamDeniedError, "refuses us the list of referrers"),
}


@pytest.mark.parametrize("case", BAD_REFERRERS)
async def test_bad_referrers(case):
    answers, error, text = BAD_REFERRERS[case]
    async with faulty(answers) as (_, url), upstream_at(url) as upstream:
        with pytest.raises(error, match=text):
            await upstream.referrers(REPOSITORY, DIGEST)


NO_JSON = Reply(200, {"Content-Type": OCI_INDEX}, b"<html>")
# What comes after the first page, what the whole list is called for it, and how many descriptors were read.
CUT_REFERRERS = {
    "a Link to itself": ([page(link=REFERRERS)], Reason.OVER_LIMIT, f"more than {REFERRER_PAGES_MAX} pages", 20),
    "a page gone": ([page(link="/2")], Reason.MALFORMED, "a page that it names is not there", 1),
    "one page over the limit": ([page(50_000)], Reason.OVER_LIMIT, "longer than 4194304 bytes", 0),
    "over the limit together": (
        [replace(page(500, link=REFERRERS), body=page(500).body.ljust(1024 * 1024))],
        Reason.OVER_LIMIT,
        "longer than 4194304 bytes",
        2000,
    ),
    "too many in a page": ([page(link=REFERRERS), page(1001)], Reason.OVER_LIMIT, "manifests has 1001 entries", 1),
    "no JSON": ([NO_JSON], Reason.MALFORMED, "not strict JSON", 0),
    "no JSON in the end": ([page(2, link=REFERRERS), NO_JSON], Reason.MALFORMED, "not strict JSON", 2),
}


@pytest.mark.parametrize("case", CUT_REFERRERS)
async def test_what_whoever_pushes_can_do_to_a_list_is_no_outage(case):
    replies, reason, text, count = CUT_REFERRERS[case]
    async with faulty({REFERRERS: replies}) as (_, url), upstream_at(url) as upstream:
        found = await upstream.referrers(REPOSITORY, DIGEST)
    assert (found.cut.reason, len(found.descriptors)) == (reason, count)
    assert text in found.cut.detail


@pytest.mark.parametrize(
    ("slow_page", "entries", "pages"),
    [
        (LISTING_SECONDS * 0.4, REFERRERS_ENOUGH, 3),
        (LISTING_SECONDS + 1, REFERRERS_ENOUGH, 1),
        (LISTING_SECONDS + 1, REFERRERS_ENOUGH // 2, 2),
        (LISTING_SECONDS + 1, REFERRERS_ENOUGH - 1, 2),
        (LISTING_SECONDS + 1, 1, REFERRER_PAGES_MAX),
        (0, 1, REFERRER_PAGES_MAX),
    ],
)
async def test_a_list_of_slow_pages_is_cut_where_there_is_enough_of_it(slow_page, entries, pages, monkeypatch):
    loop = asyncio.get_running_loop()
    late, time = 0.0, loop.time
    monkeypatch.setattr(loop, "time", lambda: time() + late)

    class Slow:
        """Answers each page late, and names another one."""

        async def fetch(self, request, limit, seconds):
            nonlocal late
            late += slow_page
            reply = page(entries, link="/2")
            return SimpleNamespace(status=200, headers=CIMultiDict(reply.headers), url=request.url), reply.body

    first = Request("GET", URL("http://127.0.0.1/1"), "team/app", "list")
    found = await all_referrers(Slow(), first, "it", 15.0)
    assert (found.cut.reason, len(found.descriptors)) == (Reason.OVER_LIMIT, pages * entries)


async def test_a_page_that_does_not_come_is_an_outage():
    async with (
        faulty({REFERRERS: page(link="/2"), "/2": Reply(length=9, hang=True)}) as (_, url),
        upstream_at(url, limits=INSTANT) as upstream,
    ):
        with pytest.raises(UnavailableError, match="did not answer"):
            await upstream.referrers(REPOSITORY, DIGEST)


@pytest.mark.parametrize(
    "link", ["/2?a=b%2Fc", "2?a=b%2Fc", "https://127.0.0.1/2?a=b%2Fc", "http://127.0.0.1:5000/2?a=b%2Fc"]
)
async def test_a_registry_that_does_not_know_how_it_is_reached(link):
    answers = {REFERRERS: page(1, link), "/2": page(2), "/v2/team/app/referrers/2": page(2)}
    async with faulty(answers) as (server, url), upstream_at(url) as upstream:
        found = await upstream.referrers(REPOSITORY, DIGEST)
    assert (len(found.descriptors), found.cut) == (3, None)
    assert server.seen[1].query == {"a": "b/c"}


@pytest.mark.parametrize("pages", [1, 2, REFERRER_PAGES_MAX])
async def test_good_referrers(pages):
    answers = {f"/{n}": page(n, f"/{n + 1}" if n < pages else None) for n in range(2, pages + 1)}
    answers[REFERRERS] = page(1, "/2" if pages > 1 else None, **{"Content-Type": OCI_INDEX + ";x=y"})
    async with faulty(answers) as (server, url), upstream_at(url) as upstream:
        found = await upstream.referrers(REPOSITORY, DIGEST)
    assert (len(found.descriptors), found.cut) == (sum(range(1, pages + 1)), None)
    assert {seen.headers["accept"] for seen in server.seen} == {OCI_INDEX}


@pytest.mark.parametrize(
    ("body", "link", "expected"),
    [
        (b'{"tags": ["a", "b"]}', None, (["a", "b"], None)),
        (b'{"tags": null}', None, ([], None)),
        (b"{}", None, ([], None)),
        (b'{"tags": ["a", "b"]}', f"{TAGS}?n=2&last=a%2Bx", (["a", "b"], "a+x")),
        (b'{"tags": ["a", "b"]}', f"{TAGS}?n=2&last=b", (["a", "b"], "b")),
        (b'{"tags": []}', f"{TAGS}?last=b", ([], "b")),
        (b'{"tags": ["a", "b"]}', f"{TAGS}?next_page=gAAA", (["a", "b"], Continuation("next_page=gAAA"))),
        (b'{"tags": []}', f"{TAGS}?next_page=%2F%3D%3D&n=2", ([], Continuation("next_page=%2F%3D%3D&n=2"))),
        (b'{"tags": ["a"]}', "?last=a+b", (["a"], Continuation("last=a+b"))),
        (b'{"tags": ["a"]}', "?last=a&x=1", (["a"], Continuation("last=a&x=1"))),
        (b'{"tags": ["a"]}', "?last=", (["a"], Continuation("last="))),
        (b'{"tags": ["a"]}', "list?last=b", (["a"], "b")),
        (b'{"tags": ["a"]}', "https://127.0.0.1:1/elsewhere?last=b", (["a"], "b")),
        (b'{"tags": ["a/../b", "ok", "", "-", "x y", "a\\u0000"]}', None, (["ok"], None)),
        (b'{"tags": [1, null, ["a"], {"a": "b"}, "ok"]}', None, (["ok"], None)),
        (b'{"tags": [' + b'"a",' * 60_000 + b'"a"]}', None, (["a"] * 60_001, None)),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_tags(body, link, expected):
    headers = {"Link": f'<{link}>; rel="next"'} if link else {}
    async with faulty({TAGS: Reply(200, headers, body)}) as (server, url), upstream_at(url) as upstream:
        assert await upstream.tags(REPOSITORY, 2, "a&b") == expected
    assert server.seen[0].query == {"n": "2", "last": "a&b"}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"tags": "a"}', "not a list"),
        (b'{"tags": {"a": 1}}', "not a list"),
        (b"[]", "not a JSON object"),
        (b'{"tags": [], "tags": ["a"]}', "occurs twice"),
        (b'{"tags": [' + b'"a",' * 100_000 + b'"a"]}', "more than the 100000 that are read"),
    ],
    ids=lambda value: value[:20],
)
async def test_bad_tags(body, text):
    async with faulty({TAGS: Reply(body=body)}) as (_, url), upstream_at(url) as upstream:
        with pytest.raises(MalformedError, match=text):
            await upstream.tags(REPOSITORY)


async def test_a_page_of_tags_has_an_end():
    async with faulty({TAGS: Reply(body=b" " * 8_388_609)}) as (_, url), upstream_at(url) as upstream:
        with pytest.raises(UnavailableError, match="list longer than 8388608 bytes"):
            await upstream.tags(REPOSITORY)


async def test_blobs_do_not_hold_up_manifests(monkeypatch):
    monkeypatch.setattr("proxy.upstream.client.BLOB_CONNECTIONS_MAX", 1)
    answers = {BLOB_PATH: Reply(body=BLOB, length=len(BLOB) + 1, hang=True), MANIFEST: good()}
    async with faulty(answers) as (_, url), upstream_at(url) as upstream, AsyncExitStack() as stack:
        await stack.enter_async_context(upstream.open_blob(REPOSITORY, Digest.of(BLOB)))
        waiting = stack.enter_async_context(upstream.open_blob(REPOSITORY, Digest.of(BLOB)))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting, 0.05)
        assert (await upstream.manifest(TAG)).digest == DIGEST
