"""The real clients, each as `client.pull(box, mirror, reference)`.

Where Sealgate writes a client's configuration itself (`sealgate client-config`), that very text is used. A *mirror*
set-up leaves the client its own way to the hub; a *sealed* one does not.
"""

import contextlib
import hashlib
import http.client
import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlencode

from e2e.content import ARCHITECTURE, Named
from e2e.sandbox import Box, Ended, listening_unix

from proxy.cli.clients import Client as Kind
from proxy.cli.clients import Endpoint, setups
from proxy.cli.clients.model import Hold

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# What containers/image itself asks of an image (containers-policy.json): nothing.
_ANYTHING = '{"default": [{"type": "insecureAcceptAnything"}]}'


@dataclass(frozen=True)
class Pull:
    """What became of a pull: the exit code, what the user saw, and the digests the client shows for what it has now."""

    code: int | None
    output: str
    has: frozenset[str]


class Client(Protocol):
    """A client in one set-up."""

    name: str
    sealed: bool

    def expected(self, image: Named) -> str:
        """Return the digest that this client shows when it has exactly this image."""
        ...

    def pull(self, box: Box, mirror: str, reference: str) -> Pull:
        """Pull, with nothing there from before, through the proxy at this address."""
        ...


def _use(box: Box, kind: Kind, hold: Hold, mirror: str) -> None:
    """Write the files that `sealgate client-config` writes for this kind of client."""
    for setup in setups(kind, Endpoint.parse(mirror), ["docker.io"]):
        if setup.hold is hold:
            for file in setup.files:
                box.write(str(file.path), file.content)


def _digests(text: str) -> frozenset[str]:
    return frozenset(_DIGEST.findall(text))


DockerCommand = Callable[..., Ended]


@contextlib.contextmanager
def dockerd(box: Box, mirror: str, driver: str = "vfs") -> Iterator[DockerCommand]:
    """Run a Docker daemon behind the mirror; yields a function that runs `docker` with these arguments against it."""
    _use(box, Kind.DOCKER, Hold.HELD, mirror)
    plugins = [str(Path(folder).parent / "libexec/docker/cli-plugins") for folder in box.tools.path]
    box.write("home/.docker/config.json", json.dumps({"cliPluginsExtraDirs": plugins}))
    socket = box.folder / "docker.sock"
    places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    options = [f"--{option}={box.folder / place}" for option, place in places.items()]
    alone = ["--bridge=none", "--iptables=false", "--ip6tables=false"]
    # The containerd image store, from Docker 28 on, is another client altogether.
    is_containerd = bool(os.environ.get("SEALGATE_E2E_CONTAINERD_STORE"))
    store = "feature=containerd-snapshotter" if is_containerd else f"storage-driver={driver}"

    def docker(*arguments: str) -> Ended:
        return box.run("docker", "-H", f"unix://{socket}", *arguments)

    def ready() -> bool:
        return listening_unix(socket) and docker("version").code == 0

    with box.daemon("dockerd", f"--host=unix://{socket}", *options, *alone, f"--{store}", ready=ready):
        yield docker


class _OverUnix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=60)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket file."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def create_image(path: Path, name: str, reference: str) -> str:
    """Pull by the daemon's API at this socket (POST /images/create); return what it says."""
    with contextlib.closing(_OverUnix(path)) as connection:
        connection.request("POST", f"/images/create?{urlencode({'fromImage': name, 'tag': reference})}")
        return connection.getresponse().read().decode()


@dataclass(frozen=True)
class Docker:
    """`docker pull`, with the classic image store."""

    name: str = "docker"
    sealed: bool = False

    def expected(self, image: Named) -> str:
        """RepoDigests name what the tag named."""
        return str(image.image.digest)

    def pull(self, box: Box, mirror: str, reference: str) -> Pull:
        """Pull with a fresh daemon."""
        with dockerd(box, mirror) as docker:
            pulled = docker("pull", reference)
            seen = docker("image", "inspect", "-f", "{{.RepoDigests}}", reference)
        return Pull(pulled.code, pulled.output, _digests(seen.output) if seen.code == 0 else frozenset())


@dataclass(frozen=True)
class DockerBuild:
    """`docker build` of a Dockerfile that begins with the image: BuildKit, a puller of its own."""

    name: str = "docker build"
    sealed: bool = False

    def expected(self, image: Named) -> str:
        """What was built has the image's layer."""
        return image.diff_id

    def pull(self, box: Box, mirror: str, reference: str) -> Pull:
        """Build with a fresh daemon."""
        box.write("context/Dockerfile", f"FROM {reference}\nLABEL built=yes\n")
        with dockerd(box, mirror) as docker:
            built = docker("build", "--progress=plain", "-t", "built:1", str(box.folder / "context"))
            seen = docker("image", "inspect", "-f", "{{.RootFS.Layers}}", "built:1")
        return Pull(built.code, built.output, _digests(seen.output) if seen.code == 0 else frozenset())


@dataclass(frozen=True)
class Containerd:
    """`ctr images pull`; sealed with our hosts.toml, or with the hub as the server behind the mirror."""

    name: str
    sealed: bool

    def expected(self, image: Named) -> str:
        """The list of images names what the tag named."""
        return str(image.image.digest)

    def pull(self, box: Box, mirror: str, reference: str) -> Pull:
        """Pull with a fresh daemon; the CRI, which would look for a network, stays out."""
        if self.sealed:
            _use(box, Kind.CONTAINERD, Hold.SEALED, mirror)
        else:
            box.write(
                "/etc/containerd/certs.d/docker.io/hosts.toml",
                f'server = "https://registry-1.docker.io"\n\n[host."{mirror}"]\n  capabilities = ["pull", "resolve"]\n',
            )
        socket, folder = box.folder / "s", box.folder
        cri = '"io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"'
        box.write(
            "containerd.toml",
            f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\ndisabled_plugins = [{cri}]\n'
            f'[grpc]\n  address = "{socket}"\n[ttrpc]\n  address = "{socket}.ttrpc"\n'
            # containerd 2 unpacks what it is told here; before, what the command line says.
            '[[plugins."io.containerd.transfer.v1.local".unpack_config]]\n  snapshotter = "native"\n'
            f'  platform = "linux/{ARCHITECTURE}"\n',
        )
        ctr = ("ctr", "-a", str(socket), "images")
        hosts = ("--hosts-dir", "/etc/containerd/certs.d", "--snapshotter", "native")
        with box.daemon("containerd", "-c", str(folder / "containerd.toml"), ready=lambda: listening_unix(socket)):
            pulled = box.run(*ctr, "pull", *hosts, reference)
            listed = box.run(*ctr, "ls").output
        rows = [line.removeprefix(reference) for line in listed.splitlines() if line.startswith(f"{reference} ")]
        return Pull(pulled.code, pulled.output, _digests("".join(rows)))


@dataclass(frozen=True)
class Containers:
    """podman, buildah and skopeo, which share a library; sealed by our remap, or with a mirror before the hub."""

    name: str
    sealed: bool

    @property
    def program(self) -> str:
        """The first word of the name."""
        return self.name.split()[0]

    def expected(self, image: Named) -> str:
        """All three keep this machine's manifest; podman shows the index as well, skopeo and buildah do not."""
        return str(image.own_platform.digest)

    def __str__(self) -> str:
        return self.name

    def configure(self, box: Box, mirror: str, policy: str = _ANYTHING) -> None:
        """Write /etc/containers."""
        if self.sealed:
            _use(box, Kind.PODMAN, Hold.SEALED, mirror)
        else:
            location = mirror.removeprefix("http://")
            box.write(
                "/etc/containers/registries.conf",
                '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n'
                f'[[registry.mirror]]\nlocation = "{location}"\ninsecure = true\n',
            )
        box.write("/etc/containers/policy.json", policy)
        box.write("/etc/containers/containers.conf", '[engine]\nevents_logger = "file"\ncgroup_manager = "cgroupfs"\n')

    def pull(self, box: Box, mirror: str, reference: str, policy: str = _ANYTHING) -> Pull:
        """Pull into an empty store."""
        self.configure(box, mirror, policy)
        if self.program == "skopeo":
            pulled = box.run("skopeo", "copy", f"docker://{reference}", f"dir:{box.folder}/image")
            manifest = box.folder / "image" / "manifest.json"
            has = {"sha256:" + hashlib.sha256(manifest.read_bytes()).hexdigest()} if manifest.exists() else set()
            return Pull(pulled.code, pulled.output, frozenset(has))
        base = (self.program, f"--root={box.folder}/root", f"--runroot={box.folder}/runroot", "--storage-driver=vfs")
        pulled = box.run(*base, "pull", reference)
        inspect = ("image", "inspect") if self.program == "podman" else ("inspect", "--type", "image")
        seen = box.run(*base, *inspect, reference)
        return Pull(pulled.code, pulled.output, _digests(seen.output) if seen.code == 0 else frozenset())


CLIENTS: tuple[Client, ...] = (
    Docker(),
    DockerBuild(),
    Containerd("containerd mirror", sealed=False),
    Containerd("containerd sealed", sealed=True),
    Containers("podman mirror", sealed=False),
    Containers("podman sealed", sealed=True),
    Containers("skopeo mirror", sealed=False),
    Containers("skopeo sealed", sealed=True),
    Containers("buildah mirror", sealed=False),
    Containers("buildah sealed", sealed=True),
)
