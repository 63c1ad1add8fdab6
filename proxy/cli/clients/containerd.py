"""containerd, and with it Kubernetes: one `hosts.toml` without a fallback. Sealed."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from proxy.cli.clients.hosts_toml import FAILS_OPEN, hosts_files
from proxy.cli.clients.model import NODE_CA, Endpoint, Hold, Setup

CERTS_D = PurePosixPath("/etc/containerd/certs.d")
_CONFIG_PATH = f"""\
let containerd read that folder, in /etc/containerd/config.toml:

    # containerd 2 (version = 3)
    [plugins."io.containerd.cri.v1.images".registry]
      config_path = "{CERTS_D}"

    # containerd 1 (version = 2)
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = "{CERTS_D}"
"""
_NO_LEGACY_MIRRORS = (
    "remove `registry.mirrors` and `registry.configs` from config.toml: with them containerd always adds the registry "
    "itself as the last host"
)


def setups(endpoint: Endpoint, registries: Sequence[str]) -> tuple[Setup, ...]:
    """Return the one set-up: every registry, asked for with `?ns=`."""
    return (
        Setup(
            title="containerd 1.6 and later",
            hold=Hold.SEALED,
            statement="Every registry is asked for at Sealgate and nowhere else. If Sealgate is away, pulls fail.",
            files=hosts_files(CERTS_D, tuple(registries), endpoint, NODE_CA) + endpoint.ca_file(NODE_CA),
            steps=(
                _CONFIG_PATH,
                _NO_LEGACY_MIRRORS,
                "systemctl restart containerd (for config.toml only; hosts.toml is read at every pull)",
                f"try an image that no rule accepts: crictl pull IMAGE, or ctr images pull --hosts-dir {CERTS_D} IMAGE",
            ),
            warnings=(
                FAILS_OPEN,
                "a registry that is not among Sealgate's upstreams can no longer be pulled from: add it there",
                f"ctr reads {CERTS_D} only with --hosts-dir",
                "HTTPS_PROXY in containerd's unit applies to Sealgate as well: put its host into NO_PROXY",
                *endpoint.plain_http_warning,
            ),
        ),
    )
