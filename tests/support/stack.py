"""The whole proxy but for its settings: a gate and a front over real connections to a registry on loopback."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count

from aiohttp import ClientResponse, ClientSession, web
from support.cosign import key_signer
from support.fakes import Clock, Watcher

from proxy.crypto.keys import PublicKey
from proxy.demo.registry import Registry
from proxy.demo.signing import SignatureArtifact, SigningKey, bundle_signature, classic_signature
from proxy.formats.cosign.signer import CosignSigner
from proxy.front.blobs import Blobs
from proxy.front.external import ExternalUrls
from proxy.front.refusals import Form
from proxy.front.routes import Namespaces
from proxy.front.server import Front
from proxy.front.suspects import Suspects
from proxy.front.warm import Warm
from proxy.gate import Gate, Judge, Memory
from proxy.gate.transfers import Transfers
from proxy.oci.digest import Digest
from proxy.oci.manifest import Descriptor
from proxy.oci.reference import Repository
from proxy.policy.evaluate import Lifetimes
from proxy.policy.expression import parse
from proxy.policy.match import Pattern
from proxy.policy.model import Rule
from proxy.policy.rules import Rules
from proxy.stores.content import ContentStore
from proxy.stores.grants import MemoryMemberships
from proxy.stores.verdicts import MemoryVerdicts
from proxy.upstream.endpoint import Endpoint, Limits
from proxy.upstream.retry import Backoff
from proxy.upstream.table import Upstreams

KEY = SigningKey.generate()
STRANGER = SigningKey.generate()


def signer(key: SigningKey = KEY) -> CosignSigner:
    public: PublicKey = key.public
    return key_signer(public)


def rule(**settings: object) -> Rule:
    return Rule("all", (Pattern.parse("**"),), parse("release"), {"release": signer()}, **settings)


def sign(  # noqa: PLR0913 (what is signed, where, by whom and how)
    registry: Registry, repository: str, media_type: str, body: bytes, *, key=KEY, kind="bundle"
) -> None:
    """Put a signature of a manifest into the registry, in one of the shapes that cosign writes."""
    image = Descriptor(media_type, Digest.of(body), len(body))
    made: SignatureArtifact = (
        bundle_signature(key, image)
        if kind == "bundle"
        else classic_signature(key, image, referrer=kind == "classic-referrer")
    )
    for blob in made.blobs.values():
        registry.add_blob(repository, blob)
    registry.add_manifest(repository, made.media_type, made.manifest_body, made.tag)


@dataclass
class Watch(Watcher):
    """Writes down what the front tells its observer."""

    answers: list[tuple[str, str, int]] = field(default_factory=list)
    refusals: list[tuple[str, str, str]] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)
    artifacts: list[tuple[str, str]] = field(default_factory=list)
    cuts: list[str] = field(default_factory=list)
    bytes_sent: int = 0
    transfers: list[str] = field(default_factory=list)

    def transfer(self, outcome):
        self.transfers.append(outcome)

    def warm(self, method):
        self.answers.append(("warm", method, 200))

    def begun(self) -> None:
        pass

    def answered(self, kind, method, status, outcome, seconds):
        self.answers.append((str(kind), method, status, str(outcome)))

    def refused(self, request, image, refusal, form, decision):
        self.refusals.append((image, refusal.label, str(form)))

    def served_unverified(self, request, image, decision):
        self.unverified.append(image)

    def served_artifact(self, request, image, manifest, kind):
        self.artifacts.append((image, kind))

    def sent(self, kind, size):
        self.bytes_sent += size

    def failed(self, path, error):
        self.cuts.append(f"{path}: {error!r}")

    def cut(self, image, error):
        self.cuts.append(f"{image}: {error}")


@dataclass
class Stack:
    """A running front, its observer, and a client that changes nothing on the way."""

    url: str
    watch: Watch
    clock: Clock
    session: ClientSession
    suspects: Suspects
    gate: Gate
    warm: Warm

    def use(self, rules: Rules) -> None:
        """Decide by other rules from now on, as a reload does."""
        self.gate.use(rules)
        self.warm.clear()

    def repository(self, name: str) -> Repository:
        return Repository.of("docker.io", name)

    def ask(self, path: str, method: str = "GET", **headers: str) -> "ClientResponse":
        return self.session.request(
            method,
            self.url + path,
            allow_redirects=False,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    async def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, ClientResponse, bytes]:
        async with self.ask(path, method, **headers) as response:
            return response.status, response, await response.read()


@asynccontextmanager
async def listening(handler) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def no_sleep(_: float) -> None:
    await asyncio.sleep(0)


@asynccontextmanager
async def running(  # noqa: PLR0913 (each with a default)
    upstream: str,
    *rules: Rule,
    form: Form = Form.HOLD,
    external_urls: ExternalUrls = ExternalUrls.REFUSE,
    limits: Limits | None = None,
    others: dict[str, str] | None = None,
    content: ContentStore | None = None,
    prefetch_layers: bool = False,
) -> AsyncIterator[Stack]:
    """Run a front before the registry at `upstream`, which is called docker.io."""
    table = {"docker.io": upstream, **(others or {})}
    clock, watch, ids = Clock(), Watch(), count()
    async with (
        Upstreams(
            [Endpoint(name, url) for name, url in table.items()], Backoff(time.monotonic, no_sleep), limits
        ) as ups,
        asyncio.TaskGroup() as tasks,
    ):
        gate = Gate(
            rules=Rules(rules or [rule()]),
            registry=ups,
            judge=Judge(ups, clock, Lifetimes(), seconds=10, at_once=4),
            memory=Memory(MemoryVerdicts(), MemoryMemberships(), timedelta(seconds=60)),
            clock=clock,
            new_id=lambda: f"id{next(ids)}",
            observer=watch,
            tasks=tasks,
        )
        suspects, warm = Suspects(time.monotonic), Warm(clock)
        transfers = Transfers(
            source=ups, store=content, tasks=tasks, observer=watch, on_cut=suspects.cut, sleep=no_sleep
        )
        front = Front(
            gate=gate,
            upstreams=ups,
            blobs=Blobs(ups, transfers, suspects, watch, prefetch_layers=prefetch_layers),
            namespaces=Namespaces(frozenset(table), "docker.io"),
            form=form,
            external_urls=external_urls,
            warm=warm,
            observer=watch,
            monotonic=time.monotonic,
            new_id=lambda: f"id{next(ids)}",
            tasks=tasks,
        )
        async with listening(front.handle) as url, ClientSession(auto_decompress=False) as session:
            yield Stack(url, watch, clock, session, suspects, gate, warm)
