"""One judgement asks each thing once, whoever asks and within whatever limit; other things are other questions."""

import pytest
from support.fakes import FakeRegistry

from proxy.gate.once import Once
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError
from proxy.oci.manifest import Descriptor
from proxy.oci.reference import Repository

APP, OTHER = Repository.of("docker.io", "org/app"), Repository.of("docker.io", "org/other")
BLOB = Descriptor("text/plain", Digest.of(b"bundle"), 6)


class Blobs(FakeRegistry):
    """Every blob is there, and each request is noted."""

    def __init__(self):
        super().__init__()
        self.seen = []

    async def blob(self, repository, descriptor, limit):
        self.seen.append((repository, limit))
        if descriptor.size > limit:
            raise CorruptError("too large")
        return b"bundle"


async def test_a_blob_is_fetched_once_within_any_limit():
    source = Blobs()
    once = Once(source)
    assert [await once.blob(APP, BLOB, limit) for limit in (6, 100, 6)] == [b"bundle"] * 3
    assert await once.blob(OTHER, BLOB, 6) == b"bundle"
    assert source.seen == [(APP, 6), (OTHER, 6)]


async def test_what_is_too_large_for_one_is_not_for_another():
    once = Once(Blobs())
    with pytest.raises(CorruptError):
        await once.blob(APP, BLOB, 5)
    assert await once.blob(APP, BLOB, 6) == b"bundle"
    with pytest.raises(CorruptError):
        await once.blob(APP, BLOB, 5)
