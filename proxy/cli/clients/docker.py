"""Docker: the classic image store can only be held, the containerd image store (Docker 28 and later) can be sealed."""

import json
from collections.abc import Sequence
from pathlib import PurePosixPath

from proxy.cli.clients.hosts_toml import FAILS_OPEN, hosts_files
from proxy.cli.clients.model import Endpoint, File, Hold, Setup
from proxy.oci.reference import DOCKER_HUB

DAEMON_JSON = PurePosixPath("/etc/docker/daemon.json")
CERTS_D = PurePosixPath("/etc/docker/certs.d")
_WHICH_STORE = (
    "docker info --format '{{.DriverStatus}}' names io.containerd.snapshotter where this image store is on; fresh "
    'installs of Docker 29 have it, elsewhere daemon.json turns it on: "features": {"containerd-snapshotter": true}'
)


def setups(endpoint: Endpoint, registries: Sequence[str]) -> tuple[Setup, ...]:
    """Return both, which may stand on one node.

    The classic store does not read hosts.toml, and to the other the mirror is the host that it asks anyway (moby
    daemon/hosts.go, mergeLegacyConfig).
    """
    return (_containerd_store(endpoint, registries), _classic_store(endpoint, registries))


def _containerd_store(endpoint: Endpoint, registries: Sequence[str]) -> Setup:
    ca = _ca_path(endpoint)
    return Setup(
        title="Docker 28 and later with the containerd image store",
        hold=Hold.SEALED,
        statement=(
            "Every registry is asked for at Sealgate and nowhere else, by pull and by build. If Sealgate is away, "
            "pulls fail."
        ),
        files=hosts_files(CERTS_D, tuple(registries), endpoint, ca) + endpoint.ca_file(ca),
        steps=(
            _WHICH_STORE,
            "no restart is needed: hosts.toml is read at every pull",
            "try it: docker pull with an image that no rule accepts",
        ),
        warnings=(
            FAILS_OPEN,
            "Docker 27 and earlier, and the classic image store, do not read hosts.toml: there the other set-up counts",
            "registry-mirrors in daemon.json may name Sealgate and nothing else: a mirror named there is asked first",
            "a registry that is not among Sealgate's upstreams can no longer be pulled from: add it there",
            "buildx builders of the docker-container kind have a configuration of their own and do not read this one",
            *endpoint.plain_http_warning,
        ),
    )


def _classic_store(endpoint: Endpoint, registries: Sequence[str]) -> Setup:
    content = json.dumps({"registry-mirrors": [endpoint.url]}, indent=2) + "\n"
    others = [name for name in registries if name != DOCKER_HUB]
    return Setup(
        title="Docker with the classic image store (any version)",
        hold=Hold.HELD,
        statement=(
            "Docker Hub images are asked for at Sealgate first, and its refusals stop Docker. Docker keeps its own way "
            "to Docker Hub, and takes it whenever Sealgate does not answer at all."
        ),
        files=(
            File(DAEMON_JSON, content, "Sealgate as the only mirror; the other keys of the file stay", merge=True),
            *endpoint.ca_file(_ca_path(endpoint)),
        ),
        steps=("systemctl restart docker", "try it: docker pull with an image that no rule accepts"),
        warnings=(
            "a dead Sealgate is gone round: the egress rule below is what closes that",
            "Docker asks a mirror for Docker Hub images only; any other registry is asked directly",
            f"name the others through Sealgate: docker pull {endpoint.authority}/{(others or ['ghcr.io'])[0]}/ORG/APP",
            *endpoint.plain_http_warning,
        ),
    )


def _ca_path(endpoint: Endpoint) -> PurePosixPath:
    return CERTS_D / endpoint.authority / "ca.crt"
