"""Answers that are not as they should be: those that harm nothing, and those that would. The judged type is served."""

import json

import pytest
from support.faulty import Reply, faulty
from support.upstreams import REPOSITORY, upstream_at

from proxy.demo.images import image
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError, MalformedError, UnavailableError
from proxy.oci.manifest import DOCKER_LIST, OCI_INDEX, OCI_MANIFEST
from proxy.oci.reference import Reference

IMAGE = image("web")
TAG = Reference(REPOSITORY, tag="v1")
MANIFEST = "/v2/team/app/manifests/v1"
DOCUMENT = json.loads(IMAGE.body)
OTHER = Digest.of(b"other")


def body(**members):
    return json.dumps({name: value for name, value in {**DOCUMENT, **members}.items() if value is not None}).encode()


async def got(reply):
    async with faulty({MANIFEST: reply}) as (_, url), upstream_at(url) as upstream:
        return await upstream.manifest(TAG)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=utf-8",
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/octet-stream",
        "",
        f"{OCI_MANIFEST}; charset=utf-8",
    ],
)
async def test_the_body_states_the_type(content_type):
    manifest = await got(Reply(200, {"Content-Type": content_type}, body(mediaType=OCI_MANIFEST)))
    assert (manifest.media_type, manifest.digest) == (OCI_MANIFEST, Digest.of(body(mediaType=OCI_MANIFEST)))


@pytest.mark.parametrize(
    ("content_type", "content", "text"),
    [
        ("application/json", body(mediaType=None), "media type 'application/json' is no image manifest"),
        ("", body(mediaType=None), "media type '' is no image manifest"),
        ("application/json", body(mediaType=1), "is no image manifest"),
        ("application/json", body(mediaType="application/json"), "is no image manifest"),
        ("text/plain", b"hello", "is no image manifest"),
        ("text/plain", body(mediaType="text/html"), "a web page came in place of a manifest"),
        ("text/html", body(mediaType=OCI_MANIFEST), "a web page came in place of a manifest"),
        ("application/xml", body(mediaType=OCI_MANIFEST), "is no image manifest"),
        ("text/plain", body(mediaType=OCI_INDEX), "both a manifest and an index|has no manifests"),
        ("application/json", body(mediaType=OCI_INDEX, manifests=[]), "both a manifest and an index"),
        (DOCKER_LIST, body(mediaType=OCI_MANIFEST), "its mediaType says"),
        ("application/json", body(mediaType=OCI_MANIFEST)[:-1] + b', "MediaType": "x"}', "MediaType"),
        ("application/json", body(mediaType=OCI_MANIFEST)[:-1] + b', "mediaType": "x"}', "is no image manifest"),
        ("application/json", body(mediaType=OCI_MANIFEST, schemaVersion=1), "schemaVersion"),
    ],
)
async def test_what_no_header_or_body_makes_a_manifest(content_type, content, text):
    with pytest.raises(MalformedError, match=text):
        await got(Reply(200, {"Content-Type": content_type}, content))


@pytest.mark.parametrize("named", ["", " ", str(IMAGE.digest)])
async def test_digest_headers_that_say_nothing_or_the_truth(named):
    raw = Reply(200, {"Content-Type": IMAGE.media_type}, IMAGE.body).head()[:-2]
    reply = Reply(raw=raw + f"Docker-Content-Digest: {named}\r\n\r\n".encode(), body=IMAGE.body)
    assert (await got(reply)).digest == IMAGE.digest


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([str(OTHER)], CorruptError),
        (["", str(OTHER)], CorruptError),
        ([str(IMAGE.digest), str(OTHER)], CorruptError),
        (["none"], MalformedError),
    ],
)
async def test_digest_headers_that_lie(lines, error):
    raw = Reply(200, {"Content-Type": IMAGE.media_type}, IMAGE.body).head()[:-2]
    fields = "".join(f"Docker-Content-Digest: {one}\r\n" for one in lines)
    with pytest.raises(error):
        await got(Reply(raw=raw + f"{fields}\r\n".encode(), body=IMAGE.body))


@pytest.mark.parametrize(
    ("encoding", "passes"), [("identity", True), ("none", True), ("aws-chunked", True), ("gzip", False), ("br", False)]
)
async def test_content_encodings(encoding, passes):
    reply = Reply(200, {"Content-Type": IMAGE.media_type, "Content-Encoding": encoding}, IMAGE.body)
    if passes:
        assert (await got(reply)).digest == IMAGE.digest
    else:
        with pytest.raises(UnavailableError, match="encodes the content"):
            await got(reply)


@pytest.mark.parametrize(
    ("content_type", "digest", "claims"),
    [
        ("application/json", str(IMAGE.digest), True),
        ("", str(IMAGE.digest), True),
        ("application/json", "", False),
        ("text/html", str(IMAGE.digest), False),
    ],
)
async def test_what_a_head_says(content_type, digest, claims):
    headers = {"Content-Type": content_type, "Docker-Content-Digest": digest}
    async with faulty({MANIFEST: Reply(200, headers)}) as (_, url), upstream_at(url) as upstream:
        assert await upstream.resolve(TAG) == (IMAGE.digest if claims else None)
