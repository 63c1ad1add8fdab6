"""Signatures in memory, and what it costs to judge them: by itself, in processes, and beside an event loop.

verdicts.py IMAGES GAP frozen|plain    print the longest hold of the loop in ms, while so many images are judged
"""

import asyncio
import gc
import importlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path

from support.fakes import Watcher, image_body
from support.policy import rule
from support.sigstore.authority import IDENTITY, ISSUER, Request
from support.sigstore.draft import Draft, Shape, file_of, signature_of
from support.sigstore.private import Sigstore
from support.snapshot import REGISTRY, SnapshotSource
from support.tsa import Tsa

from proxy.demo.signing import SigningKey
from proxy.formats.api import UntrustedSignature
from proxy.formats.cosign.identity import WantedIdentity
from proxy.formats.cosign.patterns import Exact
from proxy.formats.cosign.proof import NO_DEMANDS, Demands
from proxy.formats.cosign.shapes import Kind
from proxy.formats.cosign.signer import CosignSigner
from proxy.formats.cosign.trust_root import NO_TRUST_ROOT, TrustRoot
from proxy.formats.cosign.verify import Wanted, WantedKey
from proxy.gate import Gate, Judge, Memory, Pulled
from proxy.oci.digest import Digest
from proxy.oci.manifest import OCI_MANIFEST, Descriptor
from proxy.oci.reference import Reference, Repository
from proxy.policy.evaluate import Lifetimes
from proxy.policy.rules import Rules
from proxy.stores.grants import MemoryMemberships
from proxy.stores.verdicts import MemoryVerdicts
from proxy.verdict import Accepted, Evidence, Subject

NOW = datetime(2026, 11, 22, tzinfo=UTC)
AT = NOW - timedelta(days=3)
REPOSITORY = Repository.of(REGISTRY, "team/app")
TICK = 0.001
# As by default: `limits.verifications_at_once`.
AT_ONCE = 16
_SECONDS = 0.25
_LIFETIMES = Lifetimes(accepted=timedelta(hours=1), refused=timedelta(seconds=30))


@cache
def sigstore() -> Sigstore:
    """Make the services that all signatures come from."""
    return Sigstore.create(tsa=Tsa.create())


@cache
def key() -> SigningKey:
    """Make the key of all signers."""
    return SigningKey.generate()


@cache
def root() -> bytes:
    """Write the trust root."""
    return json.dumps(sigstore().trusted_root()).encode()


def signer(demands: Demands | None) -> CosignSigner:
    """Want the identity with these proofs; without any, the key."""
    if demands is None:
        return CosignSigner("release", Wanted(WantedKey(key().public), NO_TRUST_ROOT, NO_DEMANDS))
    who = WantedIdentity(Exact(ISSUER), Exact(IDENTITY))
    return CosignSigner("release", Wanted(who, TrustRoot.parse(root()), demands))


@dataclass(frozen=True)
class Sample:
    """A signature, and the CPU time that its verification may take, in milliseconds."""

    name: str
    limit: float
    shape: Shape
    demands: Demands | None = None
    logs: tuple[str, ...] = ()

    @property
    def is_stamped(self) -> bool:
        """Whether it has a timestamp."""
        return self.demands is not None and self.demands.timestamp

    def draft(self, body: bytes) -> Draft:
        """Sign an image."""
        image = Descriptor(OCI_MANIFEST, Digest.of(body), len(body))
        who = key() if self.demands is None else Request(key=key(), at=AT - timedelta(minutes=1))
        return sigstore().sign(signature_of(image, self.shape), who, AT, logs=self.logs, stamped=self.is_stamped)

    def verification(self) -> Callable[[], None]:
        """Return one verification: of bytes as they come from a registry, to evidence."""
        body = image_body("sample")
        layer, content = self.draft(body).layer()
        kind = Kind.BUNDLE if self.shape is Shape.BUNDLE else Kind.CLASSIC
        candidate = UntrustedSignature(kind, "here", content, layer.get("annotations", {}))
        wanted, subject = signer(self.demands), Subject(REPOSITORY, Digest.of(body))

        def verify() -> None:
            if not isinstance(finding := wanted.verify(subject, candidate, NOW), Evidence):
                raise TypeError(f"{self.name}: {finding}")

        return verify

    def peer(self) -> Callable[[], None] | None:
        """Return the verification of the same bundle by sigstore-python, which reads no other shape and no key."""
        if self.shape is not Shape.BUNDLE or self.demands is None:
            return None
        # Not at the top: what stands in a process's memory is part of what holds its loop (garbage collection).
        objection = importlib.import_module("support.sigstore_python").objection
        body = image_body("sample")
        document = json.dumps(self.draft(body).bundle()).encode()

        def verify() -> None:
            if said := objection(document, root(), content=body, issuer=ISSUER, subject=IDENTITY):
                raise TypeError(f"{self.name}: {said}")

        return verify


REKOR1 = ("rekor1",)
SAMPLES = (
    Sample("key, classic", 0.5, Shape.SIG),
    Sample("key, bundle", 0.5, Shape.BUNDLE),
    Sample("keyless, classic, Rekor 1", 2.5, Shape.SIG, Demands(), REKOR1),
    Sample("keyless, bundle, Rekor 1", 2.5, Shape.BUNDLE, Demands(), REKOR1),
    Sample("keyless, bundle, Rekor 1, timestamp", 5.0, Shape.BUNDLE, Demands(timestamp=True), REKOR1),
    Sample("keyless, bundle, Rekor 2, timestamp", 5.0, Shape.BUNDLE, Demands(timestamp=True), ("rekor2",)),
)
COLD = SAMPLES[2]


def cpu_milliseconds(work: Callable[[], None]) -> float:
    """Return the CPU time of one call, over a quarter of a second of them."""
    work()
    calls, begun = 0, time.process_time()
    while (taken := time.process_time() - begun) < _SECONDS:
        work()
        calls += 1
    return taken / calls * 1000


def cosign_milliseconds(program: str, folder: Path) -> float:
    """Return how long one `cosign verify-blob` takes, offline: a keyless bundle of a file, logged by Rekor 1."""
    content, bundle, trusted = (folder / name for name in ("content", "bundle.json", "root.json"))
    content.write_bytes(b"a file")
    request = Request(key=key(), at=AT - timedelta(minutes=1))
    bundle.write_text(json.dumps(sigstore().sign(file_of(b"a file"), request, AT).bundle()))
    trusted.write_bytes(root())
    who = (f"--certificate-identity={IDENTITY}", f"--certificate-oidc-issuer={ISSUER}")
    begun = time.perf_counter()
    subprocess.run(
        [program, "verify-blob", f"--bundle={bundle}", f"--trusted-root={trusted}", *who, str(content)],
        check=True,
        capture_output=True,
        env={**os.environ, "HOME": str(folder)},
    )
    return (time.perf_counter() - begun) * 1000


class Shelf(SnapshotSource):
    """A registry in memory, as the gate knows one."""

    async def resolve(self, reference: Reference) -> Digest | None:
        """Name the manifest that a tag means."""
        return (await self.manifest(reference)).digest


def shelf(images: int) -> Shelf:
    """Hold so many images, each signed without a key, under their numbers as tags."""
    tags, manifests, blobs = {}, {}, {}
    for number in range(images):
        body = image_body(f"image {number}")
        signature = COLD.draft(body).artifact()
        manifests[str(Digest.of(body))] = (OCI_MANIFEST, body)
        manifests[str(signature.digest)] = (signature.media_type, signature.manifest_body)
        tags |= {str(number): str(Digest.of(body)), signature.tag: str(signature.digest)}
        blobs |= {str(digest): blob for digest, blob in signature.blobs.items()}
    content = {REPOSITORY.path: {"tags": tags, "manifests": manifests, "blobs": blobs}}
    return Shelf(content, referrers_api=False)


async def pull_all(registry: Shelf, images: int, gap: float = 0.0) -> float:
    """Pull the images through a gate that has seen none of them; return the longest hold of the loop, in ms.

    They are asked for `gap` seconds one after another, whether or not those before are done. A task that wants to be
    woken every millisecond sees how much later it is woken.
    """
    held = 0.0

    async def tick() -> None:
        nonlocal held
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(TICK)
            held = max(held, time.perf_counter() - begun - TICK)

    numbers = count()
    async with asyncio.TaskGroup() as tasks:
        gate = Gate(
            rules=Rules([rule("release", release=signer(COLD.demands))]),
            registry=registry,
            judge=Judge(registry, lambda: NOW, _LIFETIMES, seconds=60, at_once=AT_ONCE),
            memory=Memory(MemoryVerdicts(), MemoryMemberships(), timedelta(seconds=60)),
            clock=lambda: NOW,
            new_id=lambda: str(next(numbers)),
            observer=Watcher(),
            tasks=tasks,
        )
        ticking = tasks.create_task(tick())

        async def pull(number: int) -> Pulled:
            await asyncio.sleep(number * gap)
            return await gate.pull(Reference(REPOSITORY, tag=str(number)), "client")

        pulled = await asyncio.gather(*map(pull, range(images)))
        ticking.cancel()
    if not all(isinstance(one.decision.verdict, Accepted) for one in pulled):
        raise TypeError("an image was not accepted")
    return held * 1000


def verdicts_a_second(registry: Shelf, images: int, processes: int) -> float:
    """Return how many cold verdicts so many processes reach in a second, each with its own loop, on the same images."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(registry, images)) as pool:
        list(pool.map(_pull_all, range(processes)))  # all are there, and warm
        begun = time.perf_counter()
        list(pool.map(_pull_all, range(processes)))
        return processes * images / (time.perf_counter() - begun)


_given: list[tuple[Shelf, int]] = []


def _begin(registry: Shelf, images: int) -> None:
    _given.append((registry, images))


def _pull_all(_number: int) -> float:
    return asyncio.run(pull_all(*_given[0]))


def hold(images: int, gap: float, memory: str) -> float:
    """Measure with what a server has in its memory; `frozen`: what was there at its start is never collected again."""
    importlib.import_module("proxy.cli.commands")
    registry = shelf(images)
    asyncio.run(pull_all(registry, images, gap))  # what is made once is made
    if memory == "frozen":
        gc.collect()
        gc.freeze()
    return asyncio.run(pull_all(registry, images, gap))


if __name__ == "__main__":
    print(hold(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]))
