"""Clients by their User-Agent, where nothing else shows what they do after a refusal.

Docker's classic store and many tools send the same requests to a registry without a name in the path. Docker goes on to
Docker Hub by itself; the tools have nowhere else to go, and use what Docker cannot use.
"""

import re
from dataclasses import dataclass

from proxy.oci.errors import MalformedError
from proxy.oci.platforms import Platform

# Tools that ask one registry only. A client that lies about its name harms itself.
_TOOLS = re.compile(
    r"(?:curl|wget|crane|gcrane|krane|cosign|regclient|regctl|regsync|regbot|oras|oras-go|notation|helm|flux|trivy|syft"
    r"|grype|sealgate)[/ ]|.*\bgo-containerregistry/",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
# moby, dockerversion/useragent.go: `docker/20.10.24 go/go1.19.8 git-commit/x kernel/6.1 os/linux arch/amd64
# UpstreamClient(...)`. What the client of the daemon says of itself comes last and is not the daemon's.
_DOCKER = re.compile(r"docker/(?P<version>\S*)", re.ASCII)
_VERSION = re.compile(r"(?P<major>[0-9]{1,4})\.(?P<minor>[0-9]{1,4})(?![0-9])", re.ASCII)
_OS = re.compile(r" os/(\S+)", re.ASCII)
_ARCH = re.compile(r" arch/(\S+)", re.ASCII)
# On Windows the kernel is `10.0 17763 (17763.1.amd64fre.rs5_release.180914-1434)`.
_BUILD = re.compile(r" kernel/10\.0 ([0-9]{1,6})[ .]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Docker:
    """A Docker daemon by its User-Agent; None for what is missing there or cannot be read.

    `named` says that it calls itself Docker: then what is unknown counts as the least. `build` is that of Windows.
    """

    named: bool
    version: tuple[int, int] | None = None
    platform: Platform | None = None
    build: int | None = None


def docker_of(agent: str) -> Docker | None:
    """Read the User-Agent of a request in the dialect of Docker's classic store; None for a tool that is known."""
    found = _DOCKER.match(agent)
    if found is None:
        return None if _TOOLS.match(agent) is not None else Docker(named=False)
    own = agent.partition(" UpstreamClient(")[0]
    version = _VERSION.match(found["version"])
    build = _BUILD.search(own)
    return Docker(
        named=True,
        version=(int(version["major"]), int(version["minor"])) if version is not None else None,
        platform=_platform(own),
        build=int(build[1]) if build is not None else None,
    )


def _platform(agent: str) -> Platform | None:
    os, arch = _OS.search(agent), _ARCH.search(agent)
    if os is None or arch is None:
        return None
    try:
        return Platform.parse(f"{os[1]}/{arch[1]}")
    except MalformedError:
        return None
