"""The one `hosts.toml` that every containerd from 1.6 to 2.4 and Docker from 28 read, and read without a fallback.

Why each line is as it is, all measured:
- `server` is the last host that is asked; without it containerd adds the image's own registry by itself.
- `[host]`, empty: containerd before 1.7.32 does not parse a file without it, and a file that it does not parse is
  left out with one line in its log, which opens the way to the registry. With the proxy in it, it is asked twice.
- `capabilities` never has "referrers": containerd before 2.2 does not parse that.
"""

from pathlib import PurePosixPath

from proxy.cli.clients.model import Endpoint, File

FAILS_OPEN = (
    "hosts.toml fails open: one that does not parse is left out, with a line in the daemon's log, and the registry is "
    'asked directly. Do not edit it, never add "referrers" to its capabilities, try a refused image after each change'
)


def hosts_files(
    folder: PurePosixPath, registries: tuple[str, ...], endpoint: Endpoint, ca: PurePosixPath
) -> tuple[File, ...]:
    """Return `_default/hosts.toml` for every registry, and one for each of `registries`.

    A folder of a registry's own takes precedence over `_default`, so that one left from earlier would be a way round.
    """
    content = _content(endpoint, ca)
    default = File(folder / "_default" / "hosts.toml", content, "every registry that has no folder of its own")
    own = (File(folder / name / "hosts.toml", content, f"{name}, in place of any older file") for name in registries)
    return (default, *own)


def _content(endpoint: Endpoint, ca: PurePosixPath) -> str:
    ca_line = f'ca = "{ca}"\n' if endpoint.ca else ""
    return (
        "# Written by `sealgate client-config`. Sealgate is the only host, so there is no way round it.\n"
        "# Keep it as it is: a file that does not parse is ignored, and the client asks the registry directly.\n"
        f'server = "{endpoint.url}"\n'
        'capabilities = ["pull", "resolve"]\n'
        f"{ca_line}"
        "\n"
        "# Empty on purpose: containerd before 1.7.32 does not read the file without it.\n"
        "[host]\n"
    )
