"""The registry API: every request comes in here and every answer leaves from here."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

from aiohttp import web

from proxy.front import errors
from proxy.front.agents import Docker, docker_of
from proxy.front.blobs import Blobs
from proxy.front.errors import Outcome, Refusal
from proxy.front.external import ExternalUrls, fetched_elsewhere, refuses
from proxy.front.granting import Granting, Refused, check_name, client_of, would_move_on
from proxy.front.heads import Unreadable
from proxy.front.listings import Referrers, Tags
from proxy.front.manifests import manifest_response
from proxy.front.refusals import Answer, Form, answer
from proxy.front.routes import PULLS, Asked, Dialect, Kind, Namespaces, guess, guess_head, parse
from proxy.front.trailer import BrokenTrailer
from proxy.front.warm import Warm, always
from proxy.gate import BlobGrant, Gate, Pulled
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError, RegistryError, UnavailableError
from proxy.oci.manifest import MANIFEST_TYPES, Manifest
from proxy.oci.reference import Reference, Repository
from proxy.policy.model import Decision
from proxy.stores.grants import Rank
from proxy.upstream.admission import Use
from proxy.upstream.table import Upstreams
from proxy.verdict import Accepted


class Observer(Protocol):
    """Receiver of events about requests: metrics and the audit log."""

    def warm(self, method: str) -> None:
        """Count a manifest that was served from memory, for which no other event is sent."""
        ...

    def begun(self) -> None:
        """Count a request that came in."""
        ...

    def answered(self, kind: str, method: str, status: int, outcome: str, seconds: float) -> None:
        """Count its answer; `seconds` are until it was complete or broke off.

        `status` is that of the answer, and of a refusal the one that it stands for in whatever form it was sent.
        """
        ...

    def refused(
        self, request: web.BaseRequest, image: str, refusal: Refusal, form: str, decision: Decision | None
    ) -> None:
        """Record that a pull was refused in this form."""
        ...

    def unreadable(self, client: str, refusal: Refusal, form: str) -> None:
        """Count a request that could not be read, and was refused in this form."""
        ...

    def served_unverified(self, request: web.BaseRequest, image: str, decision: Decision) -> None:
        """Record an image that was served without being accepted: by a mode, or an insecure setting."""
        ...

    def served_artifact(self, request: web.BaseRequest, image: str, manifest: Manifest, kind: str) -> None:
        """Record an artifact of this kind that was served without a verdict."""
        ...

    def sent(self, kind: str, size: int) -> None:
        """Count bytes of a body that were sent."""
        ...

    def failed(self, path: str, error: Exception) -> None:
        """Log a mistake in this program."""
        ...

    def cut(self, image: str, error: RegistryError) -> None:
        """Record a transfer that was broken off: the upstream's bytes were wrong or ended early."""
        ...


# Docker's classic store gives up on /v2/ after 15 s, containerd 2.3 and BuildKit on any header after 30 s; then they go
# to the next registry (measured). So an answer is there before that, whatever the upstream does.
MANIFEST_SECONDS = 18.0

T = TypeVar("T")

# Characters of a name that are logged: more than any valid one has (distribution-spec: 255, and a digest).
IMAGE_TEXT_MAX = 400

# RFC 7617, section 2: the realm is shown by clients that ask for a password.
_NO_ACCOUNTS = 'Basic realm="sealgate: no accounts, no password is checked"'

_MISSING = {Kind.BLOBS: "BLOB_UNKNOWN", Kind.TAGS: "NAME_UNKNOWN"}


class Front:
    """Serves the pull part of the OCI distribution API over a gate."""

    def __init__(  # noqa: PLR0913 (one composition root calls this, with names)
        self,
        *,
        gate: Gate,
        upstreams: Upstreams,
        blobs: Blobs,
        namespaces: Namespaces,
        form: Form,
        warm: Warm,
        observer: Observer,
        monotonic: Callable[[], float],
        new_id: Callable[[], str],
        tasks: asyncio.TaskGroup,
        external_urls: ExternalUrls = ExternalUrls.REFUSE,
    ) -> None:
        self._gate = gate
        self._external_urls = external_urls
        self._upstreams = upstreams
        self._blobs = blobs
        self._granting = Granting(gate, self._grant, blobs, form, observer)
        self._namespaces = namespaces
        self._form = form
        self._warm = warm
        self._observer = observer
        self._monotonic = monotonic
        self._new_id = new_id
        self._tags = Tags(upstreams, tasks)
        self._referrers = Referrers(upstreams.used_for(Use.LIST), tasks)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request. Nothing but a broken connection leaves here as an exception."""
        warm = self._warm.get(request)
        if warm is not None:
            self._observer.warm(request.method)
            return warm
        begun = self._monotonic()
        self._observer.begun()
        kind, status = Kind.MANIFESTS, 500
        try:
            kind, response, status = await self._parse_and_serve(request)
            return response
        finally:
            outcome = Outcome.of(status)
            self._observer.answered(kind, request.method, status, outcome, self._monotonic() - begun)

    def again(self, content: bytes) -> bytes | None:
        """Return the answer to a request that was answered from memory when it came in exactly these bytes."""
        warm = self._warm.again(content)
        if warm is None:
            return None
        method, response = warm
        self._observer.warm(method)
        return response

    def reject(self, unreadable: Unreadable, client: str) -> web.Response:
        """Return the answer to a request that cannot be read, in the form that stops what it looks like."""
        asked = guess_head(unreadable.head)
        refusal = errors.with_id(errors.unreadable(unreadable.status, unreadable.reason), self._new_id())
        given = answer(asked, refusal, self._form)
        self._observer.unreadable(client, refusal, given.form)
        return _whole(given)

    async def _parse_and_serve(self, request: web.BaseRequest) -> tuple[Kind, web.StreamResponse, int]:
        """Return the kind of request, the answer, and the status that it stands for."""
        try:
            asked = self._namespaces.placed(parse(request.method, request.raw_path, request.headers))
        except MalformedError as err:
            asked = guess(request.method, request.raw_path, request.headers)
            no = Refused(errors.bad_request(err), request.raw_path[:IMAGE_TEXT_MAX])
            return asked.kind, *self._refuse(request, asked, no)
        try:
            response = await self._serve(request, asked)
        except Refused as no:
            return asked.kind, *self._refuse(request, asked, no)
        except Exception as err:  # noqa: BLE001 (a mistake of ours must not send the client to another registry)
            self._observer.failed(request.raw_path, err)
            return asked.kind, *self._refuse(request, asked, Refused(errors.our_mistake(), asked.name))
        return asked.kind, response, response.status

    def _refuse(self, request: web.BaseRequest, asked: Asked, no: Refused) -> tuple[web.StreamResponse, int]:
        refusal = no.refusal if no.refusal.id else errors.with_id(no.refusal, self._new_id())
        given = answer(asked, refusal, self._form)
        if asked.kind in PULLS:
            self._observer.refused(request, no.image, refusal, given.form, no.decision)
        return _response(given), refusal.status

    async def _serve(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        match asked.kind:
            case Kind.PING:
                if "Authorization" in request.headers:
                    raise Refused(errors.no_accounts(), "")
                return _ping(asked)
            case Kind.UNSUPPORTED:
                raise Refused(errors.unsupported(asked.method), request.raw_path[:IMAGE_TEXT_MAX])
        what = ("@" if asked.by_digest else ":") + asked.reference if asked.reference else ""
        image = f"{asked.ns + '/' if asked.ns else ''}{asked.name}{what}"[:IMAGE_TEXT_MAX]
        try:
            repository = self._namespaces.repository(asked)
            image = f"{repository}{what}"
            if asked.kind is Kind.BLOBS:
                return await self._granting.serve(request, asked, repository, image)
            check_name(self._gate, repository, image)
            match asked.kind:
                case Kind.MANIFESTS:
                    return await self._manifest(request, asked, repository, image)
                case Kind.TAGS:
                    return await _in_time(lambda: self._tags.response(asked, repository))
                case _:
                    return await _in_time(lambda: self._referrers.response(asked, repository))
        except MalformedError as err:
            raise Refused(errors.bad_request(err), image) from None
        except RegistryError as err:
            raise Refused(errors.from_error(err, image, _MISSING.get(asked.kind, "MANIFEST_UNKNOWN")), image) from None

    async def _manifest(
        self, request: web.BaseRequest, asked: Asked, repository: Repository, image: str
    ) -> web.StreamResponse:
        reference = Reference.of(repository, asked.reference)
        docker = docker_of(asked.agent) if would_move_on(asked, self._form) else None
        try:
            pulled, why = await _in_time(lambda: self._pull(reference, docker, client_of(request)))
        except RegistryError as err:  # malformed is the image's fault, not the request's
            raise Refused(errors.from_manifest_error(err, image), image) from None
        if pulled.decision is not None and not pulled.decision.served:
            raise Refused(errors.from_decision(pulled.decision, image), image, pulled.decision)
        elsewhere = fetched_elsewhere(pulled.manifest)
        if elsewhere is not None and pulled.decision is not None and refuses(self._external_urls, pulled.decision.mode):
            raise Refused(errors.external(image, elsewhere), image)
        if why is not None:
            raise Refused(errors.unusable(image, why), image)
        response = manifest_response(pulled, asked.ns, image, elsewhere)
        if pulled.decision is None:  # never from memory, as each one that is served is in the audit log
            if request.method == "GET":
                self._observer.served_artifact(request, image, pulled.manifest, str(pulled.kind))
            return response
        if not isinstance(pulled.decision.verdict, Accepted):
            self._observer.served_unverified(request, image, pulled.decision)
            return response
        if request.method == "GET":
            self._blobs.prefetch(repository, pulled.manifest)
        # An index may be named as an image from now on, which is not seen here.
        may_change = docker is not None and asked.by_digest and pulled.manifest.is_index
        if pulled.rules is self._gate.rules and not may_change:
            holds = partial(self._blobs.configs.are_here, pulled.manifest) if docker is not None else always
            self._warm.put(request, response, pulled.expires, holds)
        return response

    async def _grant(self, repository: Repository, digest: Digest, client: str) -> BlobGrant | None:
        return await _in_time(lambda: self._gate.blob(repository, digest, client))

    async def _pull(self, reference: Reference, docker: Docker | None, client: str) -> tuple[Pulled, str | None]:
        """Return what is decided, and why this Docker, if it is one, cannot use what is served; its config is here."""
        pulled = await self._gate.pull(reference, client)
        if docker is None or (pulled.decision is not None and not pulled.decision.served):
            return pulled, None
        if pulled.decision is None:  # a signature or another document, which tools read and Docker cannot use
            return pulled, "it is no image" if docker.named else None
        # Docker does not look at the type in the entry, and cannot be held in an index in an index (`usable`). An index
        # that is refused is not followed by Docker, and may be pushed by anybody.
        named = (reference.repository, pulled.manifest.digest, MANIFEST_TYPES, Rank.SERVED)
        if docker.named and pulled.manifest.is_index and await self._gate.is_named_as(*named):
            return pulled, "an index, where an index of this repository names an image"
        try:
            return pulled, await self._blobs.configs.why_unusable(reference.repository, pulled.manifest, docker)
        except RegistryError as err:
            raise UnavailableError(f"the config of this image cannot be had: {err}") from None


async def _in_time(work: Callable[[], Awaitable[T]]) -> T:
    """Wait for an answer as long as every client does; the work itself goes on in the gate."""
    try:
        async with asyncio.timeout(MANIFEST_SECONDS):
            return await work()
    except TimeoutError:
        raise UnavailableError("the answer takes too long; ask again, the work goes on") from None


def _ping(asked: Asked) -> web.Response:
    """Answer the version check. Clients repeat it with credentials to test a login, and pull without a check.

    containers/image reads a challenge of a 200 too, and sends credentials to it, or an empty user name where it has
    none (measured: podman 4.3, skopeo 1.9); pulls go on as before, and a login is recognized and refused. The others
    read the challenge of a 401 only, which would send Docker's pulls to Docker Hub.
    """
    headers = {**errors.COMMON_HEADERS, "Content-Type": "application/json"}
    if asked.dialect is Dialect.CONTAINERS_IMAGE:
        headers["WWW-Authenticate"] = _NO_ACCOUNTS
    return web.Response(body=b"{}", headers=headers)


def _response(given: Answer) -> web.StreamResponse:
    if given.trailer:
        return BrokenTrailer({**errors.COMMON_HEADERS, **given.headers}, given.trailer)
    return _whole(given)


def _whole(given: Answer) -> web.Response:
    headers = {**errors.COMMON_HEADERS, **given.headers}
    return web.Response(status=given.status, reason=given.reason, body=given.body, headers=headers)
