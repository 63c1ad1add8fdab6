"""`/v2/<name>/tags/list` and `/v2/<name>/referrers/<digest>` (distribution-spec, Content Discovery)."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from proxy.formats.api import Source
from proxy.front.errors import COMMON_HEADERS
from proxy.front.positions import Position
from proxy.front.routes import Asked
from proxy.gate.flight import SingleFlight
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError, NotFoundError, UnavailableError, UpstreamDeniedError
from proxy.oci.manifest import OCI_INDEX, Descriptor
from proxy.oci.reference import Reference, Repository
from proxy.upstream.links import Continuation
from proxy.upstream.table import Upstreams

# One page of tags, as large as Docker Hub's own.
TAGS_PAGE_MAX = 1000
# Of 2**63 - 1: clients that want all tags ask for as many as their integers hold.
_N_DIGITS_MAX = 19
_Last = str | Continuation | None


class Tags:
    """Pages of tags: asked upstream once for all who ask for the same page at once."""

    def __init__(self, upstreams: Upstreams, tasks: asyncio.TaskGroup) -> None:
        self._upstreams = upstreams
        self._asking: SingleFlight[tuple[Repository, int, _Last], tuple[list[str], _Last]] = SingleFlight(tasks)

    async def response(self, asked: Asked, repository: Repository) -> web.Response:
        """Return one page of tags; the Link to the next one leads here and not to the upstream.

        Where the upstream pages by something else than a tag, the Link has that in it (`Position`).
        """
        query = asked.query or {}
        n = query.get("n", str(TAGS_PAGE_MAX))
        if not (n.isascii() and n.isdigit() and len(n) <= _N_DIGITS_MAX):
            raise MalformedError(f"n={n[:20]!r} is not a number of tags")
        position = Position.parse(query.get("last"), query.get("continuation"))
        key = (repository, min(int(n), TAGS_PAGE_MAX), position.last)
        tags, following = await self._asking.do(key, lambda: self._ask(*key))
        headers = dict(COMMON_HEADERS)
        if following is not None:
            where = position.after(following, n) | ({"ns": asked.ns} if asked.ns else {})
            headers["Link"] = f'</v2/{asked.name}/tags/list?{urlencode(where)}>; rel="next"'
        return web.json_response({"name": asked.name, "tags": list(tags)}, headers=headers)

    async def _ask(self, repository: Repository, n: int, last: _Last) -> tuple[list[str], _Last]:
        try:
            tags, following = await self._upstreams.tags(repository, n, last)
        except MalformedError as err:  # the upstream's fault, not the client's
            raise UnavailableError(f"{repository.registry} sent a list of tags that cannot be used: {err}") from None
        if following is not None and following == last:
            raise UnavailableError(f"{repository.registry} names the page that was asked for as the next one")
        return tags, following


class Referrers:
    """What refers to a manifest: asked upstream once for all who ask at once, and written beside the event loop."""

    def __init__(self, upstreams: Source, tasks: asyncio.TaskGroup) -> None:
        self._upstreams = upstreams
        self._asking: SingleFlight[tuple[Repository, Digest], Sequence[Descriptor]] = SingleFlight(tasks)
        self._writing: SingleFlight[tuple[Repository, Digest, str | None], bytes] = SingleFlight(tasks)

    async def response(self, asked: Asked, repository: Repository) -> web.Response:
        """Return all referrers in one page: what the API lists and what the fallback tag does, each once.

        A registry that takes a `subject` without having the API leaves the list in the tag; clients that see an API
        never look there, so both are read here.
        """
        digest = Digest.parse(asked.reference)
        wanted = (asked.query or {}).get("artifactType")
        body = await self._writing.do((repository, digest, wanted), lambda: self._write(repository, digest, wanted))
        headers = COMMON_HEADERS | ({"OCI-Filters-Applied": "artifactType"} if wanted is not None else {})
        return web.Response(body=body, content_type=OCI_INDEX, headers=headers)

    async def _write(self, repository: Repository, digest: Digest, wanted: str | None) -> bytes:
        found = await self._asking.do((repository, digest), lambda: self._ask(repository, digest))
        # Whoever may push to a repository can make this megabytes long.
        return await asyncio.to_thread(_index, found, wanted)

    async def _ask(self, repository: Repository, digest: Digest) -> Sequence[Descriptor]:
        merged: dict[Digest, Descriptor] = {}
        for ask in (_fallback, _listed):
            try:
                merged |= {one.digest: one for one in await ask(self._upstreams, repository, digest)}
            except UpstreamDeniedError as err:  # as where signatures are looked for: formats.cosign.fetch
                if not err.may_be_absence:
                    raise
                await self._upstreams.manifest(Reference(repository, digest=digest))
            except MalformedError as err:  # the upstream's fault, not the client's
                raise UnavailableError(f"{repository.registry} sent referrers that cannot be used: {err}") from None
        return tuple(merged.values())


async def _listed(upstreams: Source, repository: Repository, digest: Digest) -> Sequence[Descriptor]:
    try:
        listed = await upstreams.referrers(repository, digest)
    except NotFoundError:
        return ()
    if listed.cut is not None:  # clients take what they get for the whole list
        raise UnavailableError(listed.cut.detail)
    return listed.descriptors


async def _fallback(upstreams: Source, repository: Repository, digest: Digest) -> Sequence[Descriptor]:
    try:
        index = await upstreams.manifest(Reference(repository, tag=f"{digest.algorithm}-{digest.hex[:64]}"))
    except (NotFoundError, MalformedError):
        return ()
    return index.children


def _index(descriptors: Sequence[Descriptor], wanted: str | None) -> bytes:
    # One by one: the json module holds the interpreter's lock for as long as a whole document takes.
    found = [json.dumps(_json(one)) for one in descriptors if wanted is None or one.artifact_type == wanted]
    return f'{{"schemaVersion": 2, "mediaType": "{OCI_INDEX}", "manifests": [{", ".join(found)}]}}'.encode()


def _json(descriptor: Descriptor) -> dict[str, Any]:
    members = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
        "artifactType": descriptor.artifact_type,
        "annotations": dict(descriptor.annotations),
    }
    return {name: value for name, value in members.items() if value not in (None, {})}
