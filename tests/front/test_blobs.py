"""Blobs on their way: parts, whole ones, and what must never end as complete."""

import threading
from collections.abc import AsyncIterator

import pytest
from support.fakes import LAYER

from proxy.front.blobs import CONFIG_BYTES_MAX, _begin, read_config
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError
from proxy.oci.reference import Repository
from proxy.oci.strict_json import loads_object
from proxy.stores.grants import Member
from proxy.upstream.blobs import BlobStream


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def stream(status: int, size: int | None = None, content_range: str | None = None) -> BlobStream:
    return BlobStream(status, size, content_range, None, pieces())


MEMBER = Member(Digest.of(b"0123456789"), 10, LAYER)


@pytest.mark.parametrize(
    ("answer", "length"),
    [
        (stream(200, 10), "10"),
        (stream(200, None), "10"),
        (stream(206, 5, "bytes 5-9/10"), "5"),
        (stream(206, 1, "bytes 0-0/10"), "1"),
        (stream(416), "0"),
    ],
)
def test_the_length_that_is_promised(answer, length):
    assert _begin(answer, MEMBER)[0].headers["Content-Length"] == length


@pytest.mark.parametrize(
    "answer",
    [
        stream(200, 9),
        stream(200, 11),
        stream(206, 5, None),
        stream(206, 5, "bytes 5-9/11"),
        stream(206, 5, "bytes 5-10/10"),
        stream(206, 5, "bytes 9-5/10"),
        stream(206, 5, "bytes 5-9/*"),
        stream(206, 5, "pages 5-9/10"),
    ],
)
def test_an_upstream_that_contradicts_the_manifest(answer):
    with pytest.raises(CorruptError):
        _begin(answer, MEMBER)


class OneBlob:
    """Upstreams that have one blob."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def open_blob(self, repository, digest, *, range_header):
        assert (repository.path, range_header) == ("team/app", None)
        return self

    async def __aenter__(self):
        return BlobStream(200, None, None, None, pieces(self._content[:7], self._content[7:]))

    async def __aexit__(self, *_):
        return None


@pytest.mark.parametrize(
    ("content", "is_config"),
    [
        (b'{"architecture":"amd64","rootfs":{}}', True),
        (b'{"architecture":"amd64","rootfs":[]}', False),
        (b'{"rootfs":{}}', False),
        (b'{"architecture":"amd64","rootfs":{},"pad":"' + b" " * CONFIG_BYTES_MAX + b'"}', False),
        (b"\x1f\x8b\x08 a layer", False),
        (b"[]", False),
    ],
)
async def test_only_a_small_config_is_let_through(content, is_config):
    repository = Repository.of("docker.io", "team/app")
    got = await read_config(OneBlob(content), repository, Digest.of(content))
    assert got == (content if is_config else None)
    assert await read_config(OneBlob(content), repository, Digest.of(b"other")) is None


async def test_a_config_is_parsed_beside_the_event_loop(monkeypatch):
    """256 KiB of hostile JSON take 45 ms, in which nobody else would be answered."""
    threads = []

    def parse(content: bytes, what: str) -> dict[str, object]:
        threads.append(threading.current_thread())
        return loads_object(content, what)

    monkeypatch.setattr("proxy.front.blobs.loads_object", parse)
    content = b'{"architecture":"amd64","rootfs":{}}'
    assert await read_config(OneBlob(content), Repository.of("docker.io", "team/app"), Digest.of(content)) == content
    assert len(threads) == 1
    assert threading.main_thread() not in threads
