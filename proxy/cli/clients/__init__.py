"""What to write on a node so that its client pulls through Sealgate: pure functions, nothing is read or written here.

Every form is one that was measured against real clients (docs/bypass.md). `sealed`: the client's configuration names
no other place, so a dead or refusing Sealgate means no image. `held`: the client keeps its way to the registry;
Sealgate's refusals stop it, a dead Sealgate does not.
"""

from collections.abc import Sequence

from proxy.cli.clients import containerd, docker, podman
from proxy.cli.clients.egress import egress_rule
from proxy.cli.clients.model import Client, Endpoint, File, InputError, Setup, check_registries

__all__ = ["Client", "Endpoint", "File", "InputError", "Setup", "check_registries", "egress_rule", "setups"]

_MAKERS = {
    Client.DOCKER: docker.setups,
    Client.CONTAINERD: containerd.setups,
    Client.PODMAN: podman.setups,
}


def setups(client: Client, endpoint: Endpoint, registries: Sequence[str]) -> tuple[Setup, ...]:
    """Return the set-ups for a client; each may be used with the others of the same client.

    `registries` are canonical host names without duplicates, as `check_registries` returns them.
    """
    return _MAKERS[client](endpoint, registries)
