"""The images of the tests, and the two places they are put into: a real registry, by pushing, and the fake hub."""

import json
import platform
import urllib.request
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from proxy.demo import images
from proxy.oci.digest import Digest

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
_OTHER_ARCHITECTURE = "riscv64"


class Place(Protocol):
    """What images and signatures are put into, as `proxy.demo` knows it."""

    def add_manifest(self, repository: str, media_type: str, body: bytes, tag: str | None = None) -> Digest:
        """Keep a manifest or index."""
        ...

    def add_blob(self, repository: str, body: bytes) -> Digest:
        """Keep a blob."""
        ...


@dataclass(frozen=True)
class Named:
    """An image of Docker Hub's under its name."""

    repository: str
    tag: str
    image: images.Image

    @property
    def by_tag(self) -> str:
        """The name as people write it."""
        return f"docker.io/{self.repository}:{self.tag}"

    @property
    def by_digest(self) -> str:
        """The name that cannot move."""
        return f"docker.io/{self.repository}@{self.image.digest}"

    @property
    def own_platform(self) -> images.Image:
        """The manifest for this machine."""
        return next((child for child in self.image.children if child.architecture == ARCHITECTURE), self.image)

    @property
    def diff_id(self) -> str:
        """The digest of this machine's first layer, not compressed."""
        config = json.loads(self.own_platform.blobs[0])
        return str(config["rootfs"]["diff_ids"][0])

    def put(self, place: Place) -> None:
        """Put all of it there."""
        self.image.add_to(place, self.repository, self.tag)


def single(name: str) -> Named:
    """Make an image of one manifest, in Docker's own media types."""
    return Named(f"library/{name}", "1", images.image(name, docker=True, architecture=ARCHITECTURE))


def multi(name: str) -> Named:
    """Make an image for two platforms, in the OCI's media types."""
    children = [images.image(name, architecture=it) for it in (_OTHER_ARCHITECTURE, ARCHITECTURE)]
    return Named(f"library/{name}", "1", images.index(children))


class Answer(NamedTuple):
    """What is served at one path."""

    media_type: str
    body: bytes
    digest: str


class Shelf:
    """A place in memory: `answers` has what a GET of each path brings."""

    def __init__(self) -> None:
        self.answers = {"/v2/": Answer("application/json", b"{}", "")}

    def add_manifest(self, repository: str, media_type: str, body: bytes, tag: str | None = None) -> Digest:
        """Keep a manifest or index."""
        digest = Digest.of(body)
        for reference in filter(None, (str(digest), tag)):
            self.answers[f"/v2/{repository}/manifests/{reference}"] = Answer(media_type, body, str(digest))
        return digest

    def add_blob(self, repository: str, body: bytes) -> Digest:
        """Keep a blob."""
        digest = Digest.of(body)
        self.answers[f"/v2/{repository}/blobs/{digest}"] = Answer("application/octet-stream", body, str(digest))
        return digest


_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def get(url: str) -> bytes:
    """Return what a URL of our own servers brings."""
    with _open(url, timeout=10) as answer:
        return answer.read()


class PushTo:
    """A registry at this address, filled through its API (distribution-spec, Push)."""

    def __init__(self, url: str) -> None:
        self.url = url

    def add_manifest(self, repository: str, media_type: str, body: bytes, tag: str | None = None) -> Digest:
        """Push a manifest whose parts are there."""
        digest = Digest.of(body)
        self._send("PUT", f"{self.url}/v2/{repository}/manifests/{tag or digest}", body, media_type)
        return digest

    def add_blob(self, repository: str, body: bytes) -> Digest:
        """Push a blob in one piece."""
        digest = Digest.of(body)
        location = self._send("POST", f"{self.url}/v2/{repository}/blobs/uploads/", b"", "application/octet-stream")
        self._send("PUT", f"{location}&digest={digest}", body, "application/octet-stream")
        return digest

    def _send(self, method: str, url: str, body: bytes, media_type: str) -> str:
        request = urllib.request.Request(url, body, {"Content-Type": media_type}, method=method)  # noqa: S310
        with _open(request, timeout=10) as answer:
            return str(answer.headers.get("Location", ""))
