"""Registries that answer a HEAD otherwise than a GET."""

import pytest
from aiohttp import web
from support.stack import listening
from support.upstreams import REPOSITORY, MadeTime, upstream_at

from proxy.demo.images import image
from proxy.oci.digest import Digest
from proxy.oci.errors import NotFoundError, UnavailableError, UpstreamDeniedError
from proxy.oci.reference import Reference
from proxy.upstream.answers import UnreachableError
from proxy.upstream.heads import AVOIDED_SECONDS

IMAGE = image("web")
TAG = Reference(REPOSITORY, tag="v1")
BLOB = b"0123456789" * 1000
HEADERS = {401: {"WWW-Authenticate": "Digest realm=x"}, 404: {"Content-Encoding": "gzip"}}
CUT = 0
FAILING = [CUT, 400, 401, 403, 404, 405, 406, 410, 415, 418, 422, 451, 500, 501, 502, 503, 504, 507, 520, 530]


def registry(heads, gets, asked):
    """Answer HEAD with that status, or cut it (0), and GET with that one; write down what was asked."""

    async def handle(request):
        asked.append(request.method)
        if request.method == "HEAD" and not heads:
            request.transport.abort()
        if request.method == "HEAD":
            return web.Response(status=heads or 500, headers=HEADERS.get(heads, {}))
        body = BLOB if "/blobs/" in request.path else IMAGE.body
        return web.Response(status=gets, body=body, content_type=IMAGE.media_type)

    return handle


@pytest.mark.parametrize("status", FAILING)
async def test_a_get_decides_and_is_remembered(status):
    asked, time = [], MadeTime()
    async with listening(registry(status, 200, asked)) as url, upstream_at(url, time) as upstream:
        assert await upstream.resolve(TAG) in {IMAGE.digest, None}
        assert (await upstream.manifest(TAG)).digest == IMAGE.digest
        asked.clear()
        assert await upstream.resolve(TAG) is None
        assert asked == []
        time.now += AVOIDED_SECONDS
        await upstream.resolve(TAG)
        assert asked[0] == "HEAD"


@pytest.mark.parametrize("status", FAILING)
async def test_a_get_decides_about_a_blob_and_is_remembered(status):
    asked, time = [], MadeTime()
    async with listening(registry(status, 200, asked)) as url, upstream_at(url, time) as upstream:
        for _ in range(2):
            assert await upstream.head_blob(REPOSITORY, Digest.of(BLOB)) == len(BLOB)
        assert (asked[0], asked[-2:]) == ("HEAD", ["GET", "GET"])
        asked.clear()
        time.now += AVOIDED_SECONDS
        await upstream.head_blob(REPOSITORY, Digest.of(BLOB))
        assert asked[0] == "HEAD"


ASKS = {
    "resolve": lambda upstream: upstream.resolve(TAG),
    "head_blob": lambda upstream: upstream.head_blob(REPOSITORY, Digest.of(BLOB)),
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS.keys())
@pytest.mark.parametrize(
    ("status", "error"),
    [(404, NotFoundError), (410, NotFoundError), (403, UpstreamDeniedError), (500, UnavailableError)],
)
async def test_where_both_fail_the_get_says_why_and_nothing_is_remembered(status, error, ask):
    asked = []
    async with listening(registry(status, status, asked)) as url, upstream_at(url) as upstream:
        for _ in range(2):
            asked.clear()
            with pytest.raises(error):
                await ask(upstream)
            assert asked[0] == "HEAD"


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS.keys())
async def test_a_rate_limit_counts_both(ask):
    asked = []
    async with listening(registry(429, 200, asked)) as url, upstream_at(url) as upstream:
        with pytest.raises(UnavailableError) as caught:
            await ask(upstream)
    assert caught.value.rate_limited
    assert set(asked) == {"HEAD"}


async def test_nobody_there_is_not_asked_again_with_a_get():
    async with listening(registry(CUT, 200, [])) as url:
        pass
    async with upstream_at(url) as upstream:
        for ask in ASKS.values():
            with pytest.raises(UnreachableError):
                await ask(upstream)


@pytest.mark.parametrize(
    ("encoding", "asked"), [("gzip", ["HEAD", "GET"]), ("br", ["HEAD", "GET"]), ("identity", ["HEAD"])]
)
@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS.keys())
async def test_a_head_that_is_encoded_says_nothing(encoding, asked, ask):
    seen = []

    async def handle(request):
        seen.append(request.method)
        headers = {"Content-Encoding": encoding} if request.method == "HEAD" else {}
        body = BLOB if "/blobs/" in request.path else IMAGE.body
        digest = {"Docker-Content-Digest": str(Digest.of(body)), "Content-Type": IMAGE.media_type}
        return web.Response(
            body=body if request.method == "GET" or not is_encoded(headers) else b"short", headers=headers | digest
        )

    def is_encoded(headers):
        return headers.get("Content-Encoding") not in {None, "identity"}

    async with listening(handle) as url, upstream_at(url) as upstream:
        assert await ask(upstream) in {IMAGE.digest, len(BLOB)}
    assert seen == asked
