"""`/v2/<name>/blobs/<digest>`: sent from the store or as it comes in, never ended as complete if wrong.

A part (Range) is cut from a blob whose digest is confirmed. One that ends with the blob may also be sent as the blob
comes in, for its end is held until then. Any other part that is not confirmed in time, or that no store can keep, is
answered with the whole blob, as RFC 9110, section 14.2, allows.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import aclosing, closing

from aiohttp import web

from proxy.front.configs import CONFIG_BYTES_MAX, Configs
from proxy.front.errors import COMMON_HEADERS
from proxy.front.sending import Observer, Sending
from proxy.front.small import SmallBlobs
from proxy.front.suspects import Suspects
from proxy.gate.arriving import HELD_BYTES, Arriving
from proxy.gate.streams import part_from, verified, within
from proxy.gate.transfers import Transfers
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError, UnavailableError
from proxy.oci.manifest import Manifest
from proxy.oci.reference import Repository
from proxy.stores.content import StoredBlob
from proxy.stores.grants import Member
from proxy.upstream.blobs import PARTIAL, RANGE_NOT_SATISFIABLE
from proxy.upstream.table import Upstreams

# One range from a byte on (RFC 9110, 14.1.2): what clients resume with. Any other Range is ignored, as the RFC allows.
_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})", re.ASCII)
# Until ours: containerd 2.3 and BuildKit give up after 30 s. Later reads of the upstream have their own limit.
HEADER_SECONDS = 25.0
_TOO_LATE = f"the upstream sends no blob within {HEADER_SECONDS:g} s"


def wanted_part(headers: Mapping[str, str], member: Member) -> range | None:
    """Return the bytes that are asked for, empty where there are none such; None for the whole blob."""
    found = _RANGE.fullmatch(headers.get("Range", ""))
    if found is None or headers.get("If-Range", _etag(member.digest)) != _etag(member.digest):
        return None
    start, last = int(found[1]), int(found[2] or member.size - 1)
    if found[2] and last < start:
        return None  # RFC 9110, 14.1.1: no range at all
    return range(start, min(last + 1, member.size))


def is_known(headers: Mapping[str, str], digest: Digest) -> bool:
    """Return whether the client has this content and asks for other only (RFC 9110, 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in headers.get("If-None-Match", "").split(",")]
    return _etag(digest) in tags or tags == ["*"]


def not_modified(digest: Digest) -> web.Response:
    """Return the answer to a client that has it."""
    headers = {**COMMON_HEADERS, "Docker-Content-Digest": str(digest), "ETag": _etag(digest)}
    return web.Response(status=web.HTTPNotModified.status_code, headers=headers)


def _etag(digest: Digest) -> str:
    return f'"{digest}"'


def blob_headers(digest: Digest, size: int) -> dict[str, str]:
    """Return the headers of a whole blob; a HEAD gets the same ones."""
    return {
        **COMMON_HEADERS,
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size),
        "Docker-Content-Digest": str(digest),
        "ETag": _etag(digest),
        "Accept-Ranges": "bytes",
    }


class Blobs:
    """Sends granted blobs: from the store, as they arrive in it, or straight through where they are not kept."""

    def __init__(
        self,
        upstreams: Upstreams,
        transfers: Transfers,
        suspects: Suspects,
        observer: Observer,
        *,
        prefetch_layers: bool = False,
    ) -> None:
        self._upstreams = upstreams
        self._transfers = transfers
        self._suspects = suspects
        self._observer = observer
        self._prefetch_layers = prefetch_layers
        #: For those that are looked at before they are sent.
        self.small = SmallBlobs(upstreams, transfers)
        #: For Docker's classic store.
        self.configs = Configs(upstreams, transfers)

    def prefetch(self, repository: Repository, manifest: Manifest) -> None:
        """Let the blobs of an accepted image come in that will be asked for next: its config, and its layers if set."""
        small = [manifest.config] if manifest.config is not None and manifest.config.size <= CONFIG_BYTES_MAX else []
        wanted = [*small, *manifest.layers] if self._prefetch_layers else small
        self._transfers.prefetch(repository, [(one.digest, one.size) for one in wanted])

    async def send(self, request: web.BaseRequest, repository: Repository, member: Member) -> web.StreamResponse:
        """Send a granted blob, the whole of it or the range asked for.

        Raises oci.errors as long as nothing was sent; afterwards an error cuts the connection, so that the client sees
        a transfer that failed and not a blob that is short.
        """
        part = wanted_part(request.headers, member)
        if part is not None and not part:
            return web.Response(status=RANGE_NOT_SATISFIABLE, headers=_unsatisfiable(member))
        if part is None and self._suspects.asked_again(request.remote, member.digest):
            await self._transfers.verify(member.digest)
        if not member.size and not member.digest.matches(b""):  # a head alone would be complete
            raise CorruptError(f"the manifest says that {member.digest} has no bytes")
        deadline = asyncio.get_running_loop().time() + HEADER_SECONDS
        found = await self._find(repository, member, deadline)
        sending = Sending(request, f"{repository}@{member.digest}", self._observer)
        if found is None:
            return await self._send_straight(sending, repository, member, part)
        with closing(found):
            if isinstance(found, Arriving) and (_is_less(part, member) or member.size <= HELD_BYTES):
                confirmed = await _confirmed(found, deadline)
                part = part if confirmed or _is_end(part, member) else None
            whole = part if part is not None else range(member.size)
            response = _response(member, part)
            if isinstance(found, StoredBlob):
                if await sending.file(response, found.file, whole):
                    return response
                self._transfers.doubt(found.digest)
            else:
                async with aclosing(found.chunks(whole)) as chunks:
                    await sending.chunks(response, chunks)
            return response

    async def _find(self, repository: Repository, member: Member, deadline: float) -> StoredBlob | Arriving | None:
        stored = self._transfers.stored(member.digest, member.size)
        if stored is not None:
            return stored
        self._suspects.check(repository, member.digest)
        try:
            async with asyncio.timeout_at(deadline):
                return await self._transfers.open(repository, member.digest, member.size)
        except TimeoutError:
            raise UnavailableError(_TOO_LATE) from None

    async def _send_straight(
        self, sending: Sending, repository: Repository, member: Member, part: range | None
    ) -> web.StreamResponse:
        part = part if _is_end(part, member) else None
        try:
            async with (
                asyncio.timeout(HEADER_SECONDS) as limit,
                self._upstreams.open_blob(repository, member.digest, range_header=None) as stream,
            ):
                limit.reschedule(None)
                chunks = verified(part_from(stream, range(member.size), member.size), member.digest)
                response = _response(member, part)
                cause = await sending.chunks(response, within(chunks, part) if part is not None else chunks)
                if cause is not None:
                    self._suspects.cut(repository, member.digest, cause)
                return response
        except TimeoutError:
            raise UnavailableError(_TOO_LATE) from None


async def _confirmed(found: Arriving, deadline: float) -> bool:
    """Wait for the digest of the whole; False where it is not confirmed in time, or will not be kept."""
    try:
        async with asyncio.timeout_at(deadline):
            return await found.confirm()
    except TimeoutError:
        return False


def _is_less(part: range | None, member: Member) -> bool:
    return part is not None and len(part) < member.size


def _is_end(part: range | None, member: Member) -> bool:
    return part is not None and part.stop == member.size


def _response(member: Member, part: range | None) -> web.StreamResponse:
    response = web.StreamResponse(headers=blob_headers(member.digest, member.size))
    if part is not None:
        response.set_status(PARTIAL)
        response.headers["Content-Length"] = str(len(part))
        response.headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{member.size}"
    return response


def _unsatisfiable(member: Member) -> dict[str, str]:
    return {**COMMON_HEADERS, "Content-Range": f"bytes */{member.size}", "Content-Length": "0"}
