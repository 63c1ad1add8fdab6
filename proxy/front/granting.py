"""Answers to requests for blobs, by the decisions about the images that name them.

Docker's classic store goes on to the next registry whatever it is answered instead of a config. So it gets that of a
refused image too, which runs nothing; and where there is none to give, it gets no answer and waits, until it leaves.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from proxy.front import errors
from proxy.front.agents import docker_of
from proxy.front.blobs import Blobs, blob_headers, is_known, not_modified
from proxy.front.errors import Refusal
from proxy.front.refusals import Form
from proxy.front.routes import Asked, Dialect
from proxy.gate import BlobGrant, Gate
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError, RegistryError
from proxy.oci.manifest import IMAGE_CONFIG_TYPES
from proxy.oci.reference import Repository
from proxy.policy.model import Decision
from proxy.stores.grants import Member

# The first and the longest pause before a config that Docker's classic store waits for is asked for again.
CONFIG_RETRY_SECONDS = 0.5
CONFIG_RETRY_SECONDS_MAX = 15.0

#: Returns what is decided about a blob of a repository, for a client, in time.
Ask = Callable[[Repository, Digest, str], Awaitable[BlobGrant | None]]


@dataclass
class Refused(Exception):  # noqa: N818 (no error: it carries a refusal to the one place that answers it)
    """A refusal on its way to the client."""

    refusal: Refusal
    image: str
    decision: Decision | None = None


class Observer(Protocol):
    """Receiver of events about blobs: bytes that were sent, and refusals without an answer."""

    def refused(
        self, request: web.BaseRequest, image: str, refusal: Refusal, form: str, decision: Decision | None
    ) -> None:
        """Record that a pull was refused in this form."""
        ...

    def sent(self, kind: str, size: int) -> None:
        """Count bytes of a body that were sent."""
        ...


class Granting:
    """Serves blobs to clients that may have them."""

    def __init__(self, gate: Gate, ask: Ask, blobs: Blobs, form: Form, observer: Observer) -> None:
        self._gate = gate
        self._ask = ask
        self._blobs = blobs
        self._form = form
        self._observer = observer

    async def serve(
        self, request: web.BaseRequest, asked: Asked, repository: Repository, image: str
    ) -> web.StreamResponse:
        """Answer a request for a blob; raises Refused or oci.errors where that stops its client."""
        digest = Digest.parse(asked.reference)
        try:
            return await self._granted(request, asked, repository, image)
        except (Refused, RegistryError) as no:
            if asked.method != "GET" or not would_move_on(asked, self._form):
                raise
            is_config = await self._gate.is_named_as(repository, digest, IMAGE_CONFIG_TYPES)
            if is_config is False:
                raise
            # Of a blob that no manifest names, or of a repository of which nothing is read, only the client's name says
            # that it may be a config that it needs.
            is_sure = is_config is True and self._gate.refused_by_name(repository) is None
            if is_sure or asked.is_classic_docker:
                return await self._waited_for(request, asked, repository, image, no)
            config = await self._let_through(repository, digest)
            if config is None:
                raise
            return self._whole(digest, config)

    async def _granted(
        self, request: web.BaseRequest, asked: Asked, repository: Repository, image: str
    ) -> web.StreamResponse:
        check_name(self._gate, repository, image)
        digest = Digest.parse(asked.reference)
        try:
            grant = await self._ask(repository, digest, client_of(request))
            if grant is not None and grant.served and is_known(request.headers, digest):
                return not_modified(digest)
            if grant is not None and grant.served and request.method == "HEAD":
                return web.Response(headers=blob_headers(digest, grant.member.size))
            if grant is not None and grant.decision is None:
                content = await self._blobs.small.artifact(repository, grant)
                return web.Response(body=content, headers=blob_headers(digest, len(content)))
            if grant is not None and grant.served:
                config = await self._whole_config(asked, repository, grant.member)
                if config is not None:
                    return self._whole(digest, config)
                return await self._blobs.send(request, repository, grant.member)
        except MalformedError as err:
            raise Refused(errors.from_error(err, image), image) from None
        if grant is None or grant.decision is None:
            raise Refused(errors.unknown_blob(image), image)
        raise Refused(errors.from_decision(grant.decision, image), image, grant.decision)

    async def _whole_config(self, asked: Asked, repository: Repository, member: Member) -> bytes | None:
        """Return a config as a whole, for clients that must not see it broken off; None for other blobs and clients."""
        if member.media_type not in IMAGE_CONFIG_TYPES or not would_move_on(asked, self._form):
            return None
        return await self._blobs.configs.content(repository, member.digest, member.size)

    async def _let_through(self, repository: Repository, digest: Digest) -> bytes | None:
        """Return the config of an image that is refused, None for what is none or cannot be had."""
        if self._gate.refused_by_name(repository) is not None:
            return None
        return await self._blobs.small.config(repository, digest)

    async def _waited_for(
        self,
        request: web.BaseRequest,
        asked: Asked,
        repository: Repository,
        image: str,
        no: Refused | RegistryError,
    ) -> web.StreamResponse:
        """Serve a config as soon as it can be had; raises `no` or what became of it for what is no config."""
        digest = Digest.parse(asked.reference)
        is_told, pause = False, CONFIG_RETRY_SECONDS
        while True:
            config, may_come = await self._sought(asked, repository, digest)
            if config is not None:
                return self._whole(digest, config)
            if not may_come:
                raise no
            if not is_told:
                self._tell(request, image, no)
                is_told = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, CONFIG_RETRY_SECONDS_MAX)
            if request.transport is None or request.transport.is_closing():
                raise no  # to nobody
            try:
                return await self._granted(request, asked, repository, image)
            except (Refused, RegistryError) as again:
                no = again

    async def _sought(self, asked: Asked, repository: Repository, digest: Digest) -> tuple[bytes | None, bool]:
        """Return a config that is let through, None for none; and whether to wait for it, or for something else."""
        if self._gate.refused_by_name(repository) is not None:
            return None, True
        try:
            return await self._blobs.small.config_or_error(repository, digest), False
        except MalformedError:  # it can be had, and is let through to nobody
            return None, asked.is_classic_docker
        except RegistryError:
            return None, True

    def _tell(self, request: web.BaseRequest, image: str, no: Refused | RegistryError) -> None:
        held = no if isinstance(no, Refused) else Refused(errors.from_error(no, image), image)
        self._observer.refused(request, image, held.refusal, Form.HOLD, held.decision)

    def _whole(self, digest: Digest, content: bytes) -> web.Response:
        self._observer.sent("blobs", len(content))
        return web.Response(body=content, headers=blob_headers(digest, len(content)))


def would_move_on(asked: Asked, form: Form) -> bool:
    """Return whether this may be Docker's classic store, which goes on to the next registry if it gets no config."""
    is_held = form is Form.HOLD and asked.dialect is Dialect.DOCKER and not asked.is_explicit
    return is_held and docker_of(asked.agent) is not None


def check_name(gate: Gate, repository: Repository, image: str) -> None:
    """Refuse every read of a repository that no image may come from, before anything is asked for it."""
    no = gate.refused_by_name(repository)
    if no is not None:
        raise Refused(errors.from_rule(*no, image), image)


def client_of(request: web.BaseRequest) -> str:
    """Return the client's address, for the audit log."""
    return request.remote or "unknown"
