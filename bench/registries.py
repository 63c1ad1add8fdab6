"""The registries that we are measured against, plain and pulling through: docker-registry and distribution v3."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from e2e import lab
from e2e.packages import MissingError, Toolbox

DISTRIBUTION = "v3.1.2"
_MODULE = f"github.com/distribution/distribution/v3/cmd/registry@{DISTRIBUTION}"
_CACHE = Path(__file__).parents[1] / ".cache" / "distribution" / DISTRIBUTION
# The cache of descriptors is in the configuration that both come with: a third more manifests a second.
_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}, cache: {{blobdescriptor: inmemory}}}}
http: {{addr: '{host}:{port}'}}
{proxy}
"""


def distribution() -> str:
    """Return the program that REGISTRY3 names, or the one that Go has built into .cache; raises MissingError."""
    named = os.environ.get("REGISTRY3")
    if named:
        return named
    built = _CACHE / "registry"
    if built.exists():
        return str(built)
    go = shutil.which("go")
    if go is None:
        raise MissingError(f"distribution {DISTRIBUTION}: no Go to build it, and REGISTRY3 names no program")
    print(f"building distribution {DISTRIBUTION}: some two minutes, once", file=sys.stderr, flush=True)
    environment = {**os.environ, "GOBIN": str(_CACHE), "GOFLAGS": "-modcacherw"}
    ended = subprocess.run([go, "install", _MODULE], env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise MissingError(f"distribution {DISTRIBUTION}: go install says {ended.stderr.strip().splitlines()[-1:]}")
    return str(built)


@contextlib.contextmanager
def registry(
    tools: Toolbox, folder: Path, address: tuple[str, int], program: str, remote: str | None = None
) -> Iterator[str]:
    """Run a registry, for `remote` a cache that pulls through, until the block ends; yields its URL."""
    folder.mkdir()
    host, port = address
    proxy = f"proxy: {{remoteurl: '{remote}'}}" if remote else ""
    config = folder / "config.yml"
    config.write_text(_CONFIG.format(folder=folder, host=host, port=port, proxy=proxy), encoding="utf-8")
    # Version 3 would look for a collector of traces.
    command = ["/usr/bin/env", "OTEL_TRACES_EXPORTER=none", program, "serve", str(config)]
    with lab.service(command, folder, tools, address):
        yield f"http://{host}:{port}"
