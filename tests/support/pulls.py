"""A client that believes nothing: it hashes every manifest and every blob, and goes on by Range where it was cut."""

import asyncio
import json
from dataclasses import dataclass

from aiohttp import ClientConnectionError, ClientPayloadError, ClientSession, ClientTimeout, TCPConnector

from proxy.oci.digest import Digest
from proxy.oci.manifest import INDEX_TYPES, MANIFEST_TYPES

ACCEPT = {"Accept": ", ".join(sorted(MANIFEST_TYPES | INDEX_TYPES))}
# As Docker's classic store does.
TRIES = 5
_READ_BYTES = 256 * 1024


class WrongError(AssertionError):
    """An answer that was complete and is not what was asked for: the one thing that must never happen."""


@dataclass
class NotServedError(Exception):
    """An answer that is no: its status, and what was asked."""

    status: int
    path: str


@dataclass
class CutError(Exception):
    """A blob that did not come whole, however often it was asked for."""

    path: str


def session(connections: int = 0) -> ClientSession:
    """Open a session that changes nothing on the way; 0 connections are as many as are needed."""
    timeout = ClientTimeout(total=None, sock_connect=60, sock_read=60)
    return ClientSession(connector=TCPConnector(limit=connections), auto_decompress=False, timeout=timeout)


async def pull(client: ClientSession, url: str, name: str, reference: str) -> str:
    """Pull an image as a client does, all blobs at once; return its digest."""
    digest, body = await manifest(client, url, name, reference)
    await blobs(client, url, name, body)
    return digest


async def manifest(client: ClientSession, url: str, name: str, reference: str) -> tuple[str, bytes]:
    """Return a manifest's digest and bytes."""
    path = f"/v2/{name}/manifests/{reference}"
    async with client.get(url + path, headers=ACCEPT, allow_redirects=False) as response:
        body = await response.read()
        if response.status != 200:
            raise NotServedError(response.status, path)
        digest = str(Digest.of(body))
        if response.headers["Docker-Content-Digest"] != digest or (":" in reference and reference != digest):
            raise WrongError(f"{path} is {digest}")
        return digest, body


async def blobs(client: ClientSession, url: str, name: str, body: bytes) -> None:
    """Pull all that a manifest names."""
    document = json.loads(body)
    named = {one["digest"]: one["size"] for one in [document["config"], *document["layers"]]}
    pulls = [blob(client, url, name, digest, size) for digest, size in named.items()]
    failures = [one for one in await asyncio.gather(*pulls, return_exceptions=True) if one is not None]
    for failure in sorted(failures, key=lambda one: not isinstance(one, WrongError)):
        raise failure


async def blob(client: ClientSession, url: str, name: str, digest: str, size: int) -> None:
    """Take a whole blob, and go on where it was after a cut.

    What came whole in one answer and does not have its digest is wrong. What was put together from several may lack it
    by what the first of them was cut for, and is taken anew.
    """
    path = f"/v2/{name}/blobs/{digest}"
    hasher, received = Digest.parse(digest).hasher(), 0
    for _ in range(TRIES):
        start = received
        headers = {"Range": f"bytes={start}-"} if start else {}
        try:
            async with client.get(url + path, headers=headers, allow_redirects=False) as response:
                if response.status not in {200, 206}:
                    raise NotServedError(response.status, path)
                if response.status == 200:
                    hasher, start, received = Digest.parse(digest).hasher(), 0, 0
                async for chunk in response.content.iter_chunked(_READ_BYTES):
                    hasher.update(chunk)
                    received += len(chunk)
        except (ClientPayloadError, ClientConnectionError):
            continue
        if received == size and hasher.hexdigest() == digest.partition(":")[2]:
            return
        if not start or received != size:
            raise WrongError(f"{path} ended as complete after {received} bytes of {size}")
        hasher, received = Digest.parse(digest).hasher(), 0
    raise CutError(path)
