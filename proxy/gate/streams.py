"""Bytes of a blob on their way: no more and no fewer than promised, the last of them only with the right digest."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError, UnavailableError
from proxy.upstream.blobs import OK, PARTIAL, BlobStream

if TYPE_CHECKING:
    from hashlib import _Hash

# Below this a piece is hashed at once; above it in a thread beside its transfer (hashlib lets go of the GIL).
THREAD_BYTES = 64 * 1024
_READ_BYTES = 1024 * 1024
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.ASCII)


def part_of(stream: BlobStream, size: int) -> range:
    """Return which bytes of a blob of `size` bytes a part (206) has; CorruptError where that contradicts the size.

    Source: RFC 9110, 14.4.
    """
    shape = _CONTENT_RANGE.fullmatch(stream.content_range or "")
    if shape is None or int(shape[3]) != size or not int(shape[1]) <= int(shape[2]) < size:
        raise CorruptError("the upstream's Content-Range does not fit the size that the manifest states")
    return range(int(shape[1]), int(shape[2]) + 1)


async def exactly(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """Pass the chunks on; CorruptError at the first byte more than `size`, or at the end of fewer."""
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        if received > size:
            raise CorruptError("the upstream sent more bytes than it should")
        yield chunk
    if received != size:
        raise CorruptError(f"the upstream sent {received} bytes of {size}")


async def verified(chunks: AsyncIterator[bytes], digest: Digest, hasher: "_Hash | None" = None) -> AsyncIterator[bytes]:
    """Pass the chunks on, the last one only when all of them together have the digest; CorruptError if not.

    `hasher` has seen what came before them.
    """
    hasher = hasher or digest.hasher()
    held: bytes | None = None
    async for chunk in chunks:
        if len(chunk) < THREAD_BYTES:
            hasher.update(chunk)
            if held is not None:
                yield held
        else:
            hashing = asyncio.get_running_loop().run_in_executor(None, hasher.update, chunk)
            try:
                if held is not None:
                    yield held
            finally:
                await hashing
        held = chunk
    if hasher.hexdigest() != digest.hex:
        raise CorruptError(f"the upstream's bytes do not have the digest {digest}")
    if held is not None:
        yield held


async def within(chunks: AsyncIterator[bytes], part: range) -> AsyncIterator[bytes]:
    """Pass on this part of the bytes; what comes after it is not waited for."""
    at = 0
    async for chunk in chunks:
        wanted = chunk[max(0, part.start - at) : max(0, part.stop - at)]
        at += len(chunk)
        if wanted:
            yield wanted
        if at >= part.stop:
            return


def part_from(stream: BlobStream, wanted: range, size: int) -> AsyncIterator[bytes]:
    """Return these bytes of a blob of `size` bytes; CorruptError where the upstream sends others."""
    if stream.status == PARTIAL and part_of(stream, size) == wanted:
        return exactly(stream.chunks, len(wanted))
    if stream.status == OK:
        if stream.size not in {None, size}:
            raise CorruptError(f"the upstream's blob is {stream.size} bytes long, the manifest says {size}")
        whole = exactly(stream.chunks, size)
        return whole if len(wanted) == size else within(whole, wanted)
    raise CorruptError("the upstream does not send the part of the blob that it was asked for")


def hash_of(file: BinaryIO, digest: Digest, count: int) -> "_Hash":
    """Hash the first `count` bytes of a file; UnavailableError where they cannot be read."""
    hasher, at = digest.hasher(), 0
    with suppress(OSError):
        while at < count and (chunk := os.pread(file.fileno(), min(_READ_BYTES, count - at), at)):
            hasher.update(chunk)
            at += len(chunk)
    if at < count:
        raise UnavailableError("what was received of the blob cannot be read any more")
    return hasher
