"""Pulls as real clients make them, request by request (docs/bypass.md).

They show what a node's own client would see. They are no proof that a refusal holds: that is measured with the clients
themselves.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import aiohttp

from proxy.oci.digest import Digest
from proxy.oci.manifest import INDEX_TYPES, MANIFEST_TYPES
from proxy.oci.reference import DOCKER_HUB

_ACCEPT = ", ".join(sorted(MANIFEST_TYPES | INDEX_TYPES))
_SCHEMA_VERSION = 2
# The architecture that a node of the demonstration has.
ARCHITECTURE = "amd64"


class Style(StrEnum):
    """How a client asks."""

    DOCKER = "docker mirror"
    CONTAINERD = "containerd ns="
    PODMAN = "podman mirror"
    EXPLICIT = "explicit name"


@dataclass(frozen=True, slots=True)
class Pull:
    """What came of a pull: the digest that the client now has, or the message that it showed."""

    digest: str | None
    message: str = ""
    blobs: int = 0


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class _StoppedError(Exception):
    """The client stops here and shows this text."""


async def pull(session: aiohttp.ClientSession, proxy: str, style: Style, repository: str, tag: str) -> Pull:
    """Pull `repository:tag` of Docker Hub through the proxy at this URL, as a client of this style does.

    The session has to leave bodies and redirects alone: `auto_decompress=False`.
    """
    client = _Client(session, proxy, style, repository)
    try:
        digest = await client.resolve(tag)
        blobs = await client.fetch(digest)
    except _StoppedError as stop:
        return Pull(None, str(stop))
    return Pull(digest, blobs=blobs)


@dataclass(frozen=True, slots=True)
class _Client:
    session: aiohttp.ClientSession
    proxy: str
    style: Style
    repository: str

    async def resolve(self, tag: str) -> str:
        """Learn the tag's digest: by HEAD, by the GET that Docker makes of a fruitless HEAD, by GET alone in podman."""
        if self.style is not Style.PODMAN:
            head = await self._ask("HEAD", "manifests", tag)
            if head.status == HTTPStatus.OK and "Docker-Content-Digest" in head.headers:
                return head.headers["Docker-Content-Digest"]
            if self.style is Style.CONTAINERD:
                raise _StoppedError(f"unexpected status from HEAD request: {head.status} {head.reason}")
        return str(Digest.of(_manifest(await self._ask("GET", "manifests", tag))))

    async def fetch(self, digest: str) -> int:
        """Get the manifest, of an index the one for our architecture, and its blobs; return how many these were."""
        body = _manifest(await self._ask("GET", "manifests", digest))
        if not Digest.parse(digest).matches(body):
            raise _StoppedError(f"failed commit on ref: unexpected digest: {body.decode(errors='replace')}")
        document = json.loads(body)
        if "manifests" in document:
            return await self.fetch(_platform(document))
        blobs = [document["config"], *document["layers"]]
        for blob in blobs:
            answer = await self._ask("GET", "blobs", blob["digest"])
            if not Digest.parse(blob["digest"]).matches(answer.body):
                raise _StoppedError(f"blob {blob['digest']}: {_message(answer)}")
        return len(blobs)

    async def _ask(self, method: str, kind: str, reference: str) -> _Answer:
        name = f"{DOCKER_HUB}/{self.repository}" if self.style is Style.EXPLICIT else self.repository
        query = f"?ns={DOCKER_HUB}" if self.style is Style.CONTAINERD else ""
        headers = {"Accept": _ACCEPT} if kind == "manifests" else {}
        if self.style is Style.PODMAN:
            headers["Docker-Distribution-API-Version"] = "registry/2.0"
        url = f"{self.proxy}/v2/{name}/{kind}/{reference}{query}"
        async with self.session.request(method, url, headers=headers, allow_redirects=False) as answer:
            return _Answer(answer.status, answer.reason or "", dict(answer.headers), await answer.read())


def _manifest(answer: _Answer) -> bytes:
    """Return the body of a manifest; stop at whatever is none, with the text that the client would show."""
    try:
        is_manifest = answer.status == HTTPStatus.OK and json.loads(answer.body)["schemaVersion"] == _SCHEMA_VERSION
    except (ValueError, KeyError, TypeError):
        is_manifest = False
    if not is_manifest:
        raise _StoppedError(_message(answer))
    return answer.body


def _message(answer: _Answer) -> str:
    """Find the text that a client shows: an address it cannot follow, the first OCI error, a body it cannot parse."""
    if "Location" in answer.headers:
        return answer.headers["Location"]
    text = answer.body.decode(errors="replace")
    try:
        return str(json.loads(text)["errors"][0]["message"])
    except (ValueError, KeyError, TypeError, IndexError):
        return text


def _platform(index: Mapping[str, Any]) -> str:
    return next(
        str(one["digest"]) for one in index["manifests"] if one.get("platform", {}).get("architecture") == ARCHITECTURE
    )
