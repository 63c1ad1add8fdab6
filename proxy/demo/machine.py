"""The clients that are on this machine, run against the demonstration without touching what is theirs.

Each gets a folder of its own for everything that it keeps, an environment that leads nowhere but to loopback, and
behind the proxy a registry that would serve every image: what is refused and not pulled was held. As root they run in
a mount namespace in which /var/lib and /run are empty, for some keep a cache there whatever they are told.
"""

import asyncio
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from proxy.demo.clients import ARCHITECTURE, Pull
from proxy.oci.digest import Digest
from proxy.oci.reference import DOCKER_HUB

# A pull from loopback takes a second; a daemon of its own needs some to start.
CLIENT_SECONDS = 60.0
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_APART = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount -t tmpfs none /var/lib && mount -t tmpfs none /run && exec "$@"',
    "sh",
)
# Nothing listens on loopback's discard port: a client that would leave the machine finds no way.
_NOWHERE = "http://127.0.0.1:9"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """A folder for one pull, and two addresses: the proxy, and the registry behind it that serves everything."""

    folder: Path
    proxy: str
    registry: str

    def write(self, name: str, text: str) -> Path:
        """Write a configuration file of this pull."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    async def start(self, output: int, *command: str | Path, **environment: str | Path) -> asyncio.subprocess.Process:
        """Start a program apart from the machine's state; `output` is PIPE or DEVNULL, for both its outputs."""
        home = {"PATH": os.environ.get("PATH", os.defpath), "HOME": self.folder, "TMPDIR": self.folder}
        ways_out = {"HTTPS_PROXY": _NOWHERE, "HTTP_PROXY": _NOWHERE, "NO_PROXY": "127.0.0.1"}
        return await asyncio.create_subprocess_exec(
            *(_APART if _is_root() else ()),
            *map(str, command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env={name: str(value) for name, value in (home | ways_out | environment).items()},
            start_new_session=True,
        )

    async def run(self, *command: str | Path, **environment: str | Path) -> tuple[int, str]:
        """Run a program to its end; return its exit code and what it said."""
        process = await self.start(asyncio.subprocess.PIPE, *command, **environment)
        try:
            async with asyncio.timeout(CLIENT_SECONDS):
                said, _ = await process.communicate()
        except TimeoutError:
            said = f"no end after {CLIENT_SECONDS:g} s".encode()
        finally:
            await _stop(process)
        return process.returncode or 0, said.decode(errors="replace").strip()

    @asynccontextmanager
    async def daemon(self, socket: Path, *command: str | Path) -> AsyncIterator[None]:
        """Run a daemon while the context lasts, from when its socket is there; OSError where it does not come up."""
        process = await self.start(asyncio.subprocess.DEVNULL, *command)
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not socket.exists():  # noqa: ASYNC240 (another program makes it)
                    if process.returncode is not None:
                        raise ChildProcessError(f"{command[0]} ended with {process.returncode}")
                    await asyncio.sleep(0.05)
            yield
        finally:
            await _stop(process)


@dataclass(frozen=True, slots=True)
class Client:
    """A client: the programs that it needs, whether only root can set it apart, and how it pulls."""

    name: str
    programs: tuple[str, ...]
    needs_root: bool
    pull: Callable[[Place, str], Awaitable[Pull]]

    @property
    def is_here(self) -> bool:
        """Say whether this machine has it, and we may set it apart."""
        can_be_apart = shutil.which("unshare") is not None if _is_root() else not self.needs_root
        return can_be_apart and all(shutil.which(program) for program in self.programs)

    async def try_pull(self, proxy: str, registry: str, image: str) -> Pull:
        """Pull `image` of Docker Hub through the proxy, with the registry to fall back to; nothing is left of it."""
        with TemporaryDirectory(prefix="sealgate-demo-", ignore_cleanup_errors=True) as folder:
            try:
                return await self.pull(Place(Path(folder), proxy, registry), image)
            except OSError as err:  # TimeoutError is one
                return Pull(None, f"{self.name} could not be run: {str(err) or 'it does not come up'}")


async def _skopeo(place: Place, image: str) -> Pull:
    to = place.folder / "image"
    flags = ("--insecure-policy", "--override-os", "linux", "--override-arch", ARCHITECTURE)
    configuration = _containers_configuration(place)
    # Unlike podman it does not take the variable for this file.
    registries = ("--registries-conf", configuration["CONTAINERS_REGISTRIES_CONF"])
    code, said = await place.run(
        "skopeo", *registries, *flags, "copy", f"docker://{image}", f"dir:{to}", **configuration
    )
    if code:
        return Pull(None, _why(said))
    return Pull(str(Digest.of((to / "manifest.json").read_bytes())))


async def _podman(place: Place, image: str) -> Pull:
    policy = place.write("policy.json", json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    folder = place.folder
    podman = ("podman", "--root", folder / "root", "--runroot", folder / "run", "--tmpdir", folder / "tmp")
    storage = ("--storage-driver", "vfs", "--events-backend", "none", "--cgroup-manager", "cgroupfs")
    pull = ("pull", "--signature-policy", policy, "--arch", ARCHITECTURE, image)
    configuration = _containers_configuration(place)
    code, said = await place.run(*podman, *storage, *pull, **configuration)
    if code:
        return Pull(None, _why(said))
    _, digest = await place.run(
        *podman, *storage, "image", "inspect", "--format", "{{.Digest}}", image, **configuration
    )
    return _pulled(digest)


def _containers_configuration(place: Place) -> dict[str, str | Path]:
    """Return the environment that makes the proxy the mirror of Docker Hub and the embedded registry Docker Hub."""
    conf = (
        f'[[registry]]\nprefix = "{DOCKER_HUB}"\nlocation = "{_authority(place.registry)}"\ninsecure = true\n'
        f'[[registry.mirror]]\nlocation = "{_authority(place.proxy)}"\ninsecure = true\n'
    )
    return {
        "CONTAINERS_REGISTRIES_CONF": place.write("registries.conf", conf),
        "REGISTRY_AUTH_FILE": place.write("auth.json", "{}"),
        "XDG_RUNTIME_DIR": place.folder,
    }


async def _containerd(place: Place, image: str) -> Pull:
    folder, socket = place.folder, place.folder / "c.sock"
    disabled = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
    config = place.write(
        "config.toml",
        f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\ndisabled_plugins = {json.dumps(disabled)}\n'
        f'[grpc]\n  address = "{socket}"\n[ttrpc]\n  address = "{socket}.ttrpc"\n',
    )
    place.write(
        f"hosts/{DOCKER_HUB}/hosts.toml",
        f'server = "{place.registry}"\n[host."{place.proxy}"]\n  capabilities = ["pull", "resolve"]\n',
    )
    ctr = ("ctr", "--address", socket)
    async with place.daemon(socket, "containerd", "--config", config):
        fetch = ("content", "fetch", "--platform", f"linux/{ARCHITECTURE}", "--hosts-dir", folder / "hosts", image)
        code, said = await place.run(*ctr, *fetch)
        if code:
            return Pull(None, _why(said))
        _, listed = await place.run(*ctr, "images", "ls")
    return _pulled(listed)


async def _docker(place: Place, image: str) -> Pull:
    folder, socket = place.folder, place.folder / "d.sock"
    settings = {
        "data-root": f"{folder}/data",
        "exec-root": f"{folder}/exec",
        "pidfile": f"{folder}/pid",
        "hosts": [f"unix://{socket}"],
        "registry-mirrors": [place.proxy],
        "bridge": "none",
        "iptables": False,
        "ip6tables": False,
        "storage-driver": "vfs",
    }
    docker = ("docker", "--host", f"unix://{socket}")
    async with place.daemon(socket, "dockerd", "--config-file", place.write("daemon.json", json.dumps(settings))):
        code, said = await place.run(*docker, "pull", image)
        if code:
            return Pull(None, _why(said))
        _, digests = await place.run(*docker, "image", "inspect", "--format", "{{.RepoDigests}}", image)
    return _pulled(digests)


CLIENTS = (
    Client("docker", ("docker", "dockerd", "containerd"), needs_root=True, pull=_docker),
    Client("containerd", ("ctr", "containerd"), needs_root=True, pull=_containerd),
    # Without root podman keeps a process of its own running in a user namespace.
    Client("podman", ("podman",), needs_root=True, pull=_podman),
    Client("skopeo", ("skopeo",), needs_root=False, pull=_skopeo),
)


def _is_root() -> bool:
    return os.geteuid() == 0


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End the process, if it has not, and those it started: they are a session of their own."""
    if process.returncode is not None:
        return
    _signal(process, signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        _signal(process, signal.SIGKILL)
        await process.wait()
    except asyncio.CancelledError:
        _signal(process, signal.SIGKILL)  # nobody waits any more
        raise


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _authority(url: str) -> str:
    return url.partition("://")[2]


def _why(said: str) -> str:
    """Return the line that has our message; without one, the last."""
    lines = said.splitlines() or ["no message"]
    return next((line for line in lines if "sealgate" in line), lines[-1])


def _pulled(text: str) -> Pull:
    found = _DIGEST.search(text)
    return Pull(found[0] if found else None, "" if found else f"no digest in {text[:80]!r}")
