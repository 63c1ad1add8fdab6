"""podman, buildah, skopeo and CRI-O, which share one library and one registries.conf: remapped, and so sealed."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from proxy.cli.clients.model import Endpoint, File, Hold, Setup

CONF = PurePosixPath("/etc/containers/registries.conf.d/50-sealgate.conf")
CERTS_D = PurePosixPath("/etc/containers/certs.d")


def setups(endpoint: Endpoint, registries: Sequence[str]) -> tuple[Setup, ...]:
    """Return the remap of each registry to its path at Sealgate; this library sends no `?ns=` and has no catch-all."""
    header = (
        "# Written by `sealgate client-config`. A remapped registry has one source, so there is no way round it.\n"
        "# One table a registry: one that is not listed here is asked directly.\n"
    )
    content = header + "".join(_remap(endpoint, name) for name in registries)
    return (
        Setup(
            title="podman, buildah, skopeo, CRI-O",
            hold=Hold.SEALED,
            statement=(
                f"{', '.join(registries)}: asked for at Sealgate and nowhere else; if Sealgate is away, pulls fail. "
                "Every other registry is asked directly: give one --registry for each."
            ),
            files=(
                File(CONF, content, "sends each registry to its path at Sealgate"),
                *endpoint.ca_file(CERTS_D / endpoint.authority / "ca.crt"),
            ),
            steps=(
                "podman, buildah and skopeo read it at every pull; CRI-O: systemctl reload crio",
                "try it: podman pull with an image that no rule accepts",
            ),
            warnings=(
                "a user's own ~/.config/containers/registries.conf, or CONTAINERS_REGISTRIES_CONF, takes its place",
                "mirror-by-digest-only and pull-from-mirror skip Sealgate for the other kind: never use them",
                "a mirror is sealed only if its registry is blocked:\n\n"
                + _mirror_and_blocked(endpoint, registries[0]),
                *endpoint.plain_http_warning,
            ),
        ),
    )


def _remap(endpoint: Endpoint, registry: str) -> str:
    return f'\n[[registry]]\nprefix = "{registry}"\nlocation = "{endpoint.authority}/{registry}"\n{_insecure(endpoint)}'


def _mirror_and_blocked(endpoint: Endpoint, registry: str) -> str:
    text = (
        f'[[registry]]\nprefix = "{registry}"\nlocation = "{registry}"\nblocked = true\n'
        f'[[registry.mirror]]\nlocation = "{endpoint.authority}/{registry}"\n{_insecure(endpoint)}'
    )
    return "".join(f"    {line}\n" for line in text.splitlines())


def _insecure(endpoint: Endpoint) -> str:
    # The library's word for plain http; it would also take a certificate that it cannot check.
    return "insecure = true\n" if endpoint.scheme == "http" else ""
