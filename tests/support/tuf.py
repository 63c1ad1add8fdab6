"""A TUF repository in memory that publishes a trust root, with everything in the test's hand, served on loopback."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from aiohttp import web
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from proxy.stores.trust import DOCUMENT, TufRepository

ROLES = ("root", "timestamp", "snapshot", "targets")
# TUF reads the real clock.
LATER, PAST = datetime(2099, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)


def trust_root(comment: str = "") -> bytes:
    """Make a trusted_root.json that proves nothing, another for each comment."""
    return json.dumps({"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}).encode() + (
        b" " * len(comment)
    )


class TufServer:
    """The repository; `publish` signs anew, `files` is what is served, `answers` takes the place of a file."""

    def __init__(self, document: bytes | None) -> None:
        self.signers = {role: CryptoSigner.generate_ed25519() for role in ROLES}
        self.root = Root(version=1, expires=LATER, consistent_snapshot=True)
        for role in ROLES:
            self.root.add_key(self.signers[role].public_key, role)
        self.targets = Targets(expires=LATER)
        self.snapshot = Snapshot(expires=LATER)
        self.timestamp = Timestamp(expires=LATER)
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, Callable[[], web.StreamResponse]] = {}
        self.asked: list[str] = []
        self._sign_root([self.signers["root"]])
        self.bootstrap = self.files["1.root.json"]
        self.set(document)
        self.publish()

    def set(self, document: bytes | None) -> None:
        """Make this the trust root that the next `publish` publishes; None takes it away."""
        self.targets.targets = {}
        if document is not None:
            self.targets.targets[DOCUMENT] = TargetFile.from_data(DOCUMENT, document, ["sha256"])
            self.files[f"targets/{sha256(document).hexdigest()}.{DOCUMENT}"] = document

    def publish(self) -> None:
        """Sign targets, snapshot and timestamp, each with its next version."""
        for role in (self.targets, self.snapshot, self.timestamp):
            role.version += 1
        self.snapshot.meta["targets.json"] = MetaFile(version=self.targets.version)
        self.timestamp.snapshot_meta = MetaFile(version=self.snapshot.version)
        self.files[f"{self.targets.version}.targets.json"] = self.sign("targets", self.targets)
        self.files[f"{self.snapshot.version}.snapshot.json"] = self.sign("snapshot", self.snapshot)
        self.files["timestamp.json"] = self.sign("timestamp", self.timestamp)

    def sign(self, role: str, signed) -> bytes:
        metadata = Metadata(signed)
        metadata.sign(self.signers[role])
        return metadata.to_bytes()

    def rotate(self, *, by_the_old: bool = True) -> None:
        """Publish a root with a new key for each role."""
        old = self.signers
        self.signers = {role: CryptoSigner.generate_ed25519() for role in ROLES}
        for role in ROLES:
            self.root.revoke_key(old[role].public_key.keyid, role)
            self.root.add_key(self.signers[role].public_key, role)
        self.root.version += 1
        self._sign_root([self.signers["root"], *([old["root"]] if by_the_old else [])])

    def _sign_root(self, signers) -> None:
        metadata = Metadata(self.root)
        for signer in signers:
            metadata.sign(signer, append=True)
        self.files[f"{self.root.version}.root.json"] = metadata.to_bytes()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        name = request.path.lstrip("/")
        self.asked.append(name)
        if name in self.answers:
            answer = self.answers[name]()
            return await answer if hasattr(answer, "__await__") else answer
        if name not in self.files:
            return web.Response(status=404)
        return web.Response(body=self.files[name])


@asynccontextmanager
async def serve_tuf(server: TufServer) -> AsyncIterator[str]:
    """Serve it while the context lasts and give its URL."""
    runner = web.ServerRunner(web.Server(server.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def made_clock(start: datetime = datetime(2026, 11, 21, tzinfo=UTC)) -> Callable[[], datetime]:
    """Return a clock that moves by a minute each time it is read."""
    moments = iter(start + timedelta(minutes=n) for n in range(10000))
    return lambda: next(moments)


def repository(server: TufServer, url: str, **members) -> TufRepository:
    return TufRepository("private", url, server.bootstrap, **members)
