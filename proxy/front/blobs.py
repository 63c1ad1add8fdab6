"""`/v2/<name>/blobs/<digest>`: streamed from the upstream, hashed on the way, never ended as complete if wrong."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from aiohttp import web
from cachetools import TTLCache

from proxy.front.errors import COMMON_HEADERS
from proxy.gate import BlobGrant
from proxy.gate.streams import exactly, part_of, verified
from proxy.oci.artifacts import ARTIFACT_BLOB_BYTES_MAX, is_signature_content
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError, MalformedError, RegistryError, UnavailableError
from proxy.oci.manifest import Descriptor
from proxy.oci.reference import Repository
from proxy.oci.strict_json import loads_object
from proxy.upstream.blobs import BlobStream
from proxy.upstream.table import Upstreams

# One range from a byte on (RFC 9110, 14.1.2): what clients resume with. Any other Range is ignored, as the RFC allows.
_RANGE = re.compile(r"bytes=[0-9]{1,18}-[0-9]{0,18}", re.ASCII)
# Until the upstream's headers: containerd 2.3 and BuildKit give up after 30 s. Its later reads have their own limit.
HEADER_SECONDS = 25.0
# A client that takes nothing for so long is gone, and holds a connection to the upstream that others need.
CLIENT_STALL_SECONDS = 300.0
# How long, how many, and from which weight on a blob is suspect: Docker tries a layer five times, and each try may be
# silent for as long as the upstream client bears it.
SUSPECT_SECONDS = 600.0
SUSPECTS_MAX = 10_000
SUSPECT_WEIGHT = 3
# Image configs are some kilobytes; the largest published ones stay below 256 KiB.
CONFIG_BYTES_MAX = 256 * 1024


def wanted_range(header: str | None) -> str | None:
    """Return the Range header if it is one that is passed on."""
    return header if header is not None and _RANGE.fullmatch(header) else None


def blob_headers(digest: Digest, size: int) -> dict[str, str]:
    """Return the headers of a whole blob; a HEAD gets the same ones."""
    return {
        **COMMON_HEADERS,
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size),
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
        "Accept-Ranges": "bytes",
    }


class Suspects:
    """Blobs whose transfers broke off lately, and which are therefore not begun again for a while.

    Docker's classic store tries a layer that was cut five times and then pulls the whole image from the next registry,
    whatever its tag means there; an answer that it can read stops it (`refusals`). Wrong bytes are wrong the next time
    too; a cut may pass, so that the third within SUSPECT_SECONDS counts.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._weights: TTLCache[tuple[Repository, Digest], int] = TTLCache(SUSPECTS_MAX, SUSPECT_SECONDS, monotonic)

    def check(self, repository: Repository, digest: Digest) -> None:
        """Raise UnavailableError for a blob that is suspect."""
        if self._weights.get((repository, digest), 0) >= SUSPECT_WEIGHT:
            raise UnavailableError("the upstream's transfers of this blob break off or bring wrong bytes")

    def cut(self, repository: Repository, digest: Digest, error: RegistryError) -> None:
        """Take note of a transfer that broke off."""
        weight = SUSPECT_WEIGHT if isinstance(error, CorruptError) else 1
        self._weights[repository, digest] = self._weights.get((repository, digest), 0) + weight


class Observer(Protocol):
    """Who is told what went out, and what did not."""

    def sent(self, kind: str, size: int) -> None:
        """Take note that bytes of a body went out."""
        ...

    def cut(self, image: str, error: RegistryError) -> None:
        """Take note of a transfer that was broken off: the upstream's bytes were wrong or ended early."""
        ...


async def send_blob(  # noqa: PLR0913, PLR0917 (who asks, what for, from where, and who is told)
    request: web.BaseRequest,
    upstreams: Upstreams,
    repository: Repository,
    grant: BlobGrant,
    suspects: Suspects,
    observer: Observer,
) -> web.StreamResponse:
    """Stream a granted blob, the whole of it or the range asked for.

    Raises oci.errors as long as nothing was sent; afterwards an error cuts the connection, so that the client sees a
    transfer that failed and not a blob that is short.
    """
    member = grant.member
    suspects.check(repository, member.digest)
    asked_range = wanted_range(request.headers.get("Range"))
    try:
        async with (
            asyncio.timeout(HEADER_SECONDS) as limit,
            upstreams.open_blob(repository, member.digest, range_header=asked_range) as stream,
        ):
            limit.reschedule(None)
            response, chunks = _begin(stream, grant)
            try:
                await response.prepare(request)
                async for chunk in chunks:
                    async with asyncio.timeout(CLIENT_STALL_SECONDS):
                        await response.write(chunk)
                    observer.sent("blobs", len(chunk))
            except TimeoutError:
                _abort(request)
            except ConnectionError:
                pass  # the client has left, which is its right
            except Exception as err:  # noqa: BLE001 (no second answer may follow in the middle of a body)
                unnamed = UnavailableError(f"the transfer failed: {type(err).__name__}")
                cause = err if isinstance(err, RegistryError) else unnamed
                suspects.cut(repository, member.digest, cause)
                observer.cut(f"{repository}@{member.digest}", cause)
                _abort(request)
            return response
    except TimeoutError:
        raise UnavailableError(f"the upstream sends no blob within {HEADER_SECONDS:g} s") from None


def _abort(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


def _begin(stream: BlobStream, grant: BlobGrant) -> tuple[web.StreamResponse, AsyncIterator[bytes]]:
    member = grant.member
    response = web.StreamResponse(status=stream.status, headers=blob_headers(member.digest, member.size))
    if stream.status == web.HTTPPartialContent.status_code:
        length = len(part_of(stream, member.size))
        response.headers["Content-Length"] = str(length)
        response.headers["Content-Range"] = stream.content_range or ""
        return response, exactly(stream.chunks, length)
    if stream.status == web.HTTPRequestRangeNotSatisfiable.status_code:
        headers = {**COMMON_HEADERS, "Content-Range": f"bytes */{member.size}", "Content-Length": "0"}
        return web.StreamResponse(status=stream.status, headers=headers), exactly(stream.chunks, 0)
    if stream.size not in {None, member.size}:
        raise CorruptError(f"the upstream's blob is {stream.size} bytes long, the manifest says {member.size}")
    return response, verified(exactly(stream.chunks, member.size), member.digest)


async def read_artifact_blob(upstreams: Upstreams, repository: Repository, grant: BlobGrant) -> bytes:
    """Return a blob of a signature artefact: JSON, or nothing.

    A layer that some manifest calls a signature stays a layer; none is JSON, so none leaves this way.
    """
    member = grant.member
    descriptor = Descriptor(member.media_type, member.digest, member.size)
    content = await upstreams.blob(repository, descriptor, ARTIFACT_BLOB_BYTES_MAX)
    if not await asyncio.to_thread(is_signature_content, content):
        raise MalformedError("what is called a signature is none")
    return content


async def read_config(upstreams: Upstreams, repository: Repository, digest: Digest) -> bytes | None:
    """Return a blob that is a small image config (image-spec, config.md), None if it is anything else.

    Only for Docker's classic store, which would go on to the next registry if it were refused.
    """
    content = bytearray()
    hasher = digest.hasher()
    try:
        async with upstreams.open_blob(repository, digest, range_header=None) as stream:
            async for chunk in stream.chunks:
                content += chunk
                hasher.update(chunk)
                if len(content) > CONFIG_BYTES_MAX:
                    return None
        config = await asyncio.to_thread(loads_object, bytes(content), "the config")
    except RegistryError:
        return None
    return bytes(content) if hasher.hexdigest() == digest.hex and _is_config(config) else None


def _is_config(config: dict[str, Any]) -> bool:
    return isinstance(config.get("rootfs"), dict) and isinstance(config.get("architecture"), str)
