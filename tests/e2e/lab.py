"""The stage: a real registry as the upstream, a fake Docker Hub, proxies in between, and the judge of every pull."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from e2e import content, hub, sandbox
from e2e.clients import Client, Pull
from e2e.packages import Toolbox

# All in a network namespace of our own, so that no port is taken. Only the hub's own is given.
_HUB = ("127.77.0.1", 443)
_UPSTREAM = ("127.0.0.1", 5055)
# The discard port: nothing listens there.
DEAD = "http://127.0.0.1:9"


class Outcome(StrEnum):
    """What a pull came to."""

    OK = "ok"  # exactly that image, and not one request to the hub
    VIA_HUB = "via hub"  # that image, but the client asked the hub
    HELD = "held"  # no image, an exit code that says so, and not one request to the hub
    ASKED_HUB = "asked hub"  # no image, but the client asked the hub
    SILENT = "silent"  # no image, but the exit code is 0
    OTHER_IMAGE = "other image"


@dataclass(frozen=True)
class Record:
    """One pull by one client, the requests of its own that the hub saw, and what it came to.

    `case` is what the table of docs/bypass.md calls it.
    """

    case: str
    image: str
    client: Client
    pull: Pull
    hub: list[hub.Request]
    outcome: Outcome

    def __str__(self) -> str:
        """Say all, for a test that fails."""
        return f"{self.client.name}: {self.outcome}, exit code {self.pull.code}, hub {self.hub}\n{self.pull.output}"


@dataclass(frozen=True)
class Lab:
    """What is running, and what it holds. `shelf` is what the hub serves: everything, the refused images too."""

    tools: Toolbox
    folder: Path
    ca: Path
    hub: hub.Registry
    shelf: content.Shelf
    upstream: str
    records: list[Record] = field(default_factory=list)

    @contextlib.contextmanager
    def box(self) -> Iterator[sandbox.Box]:
        """Make a world for one client, in which Docker Hub's names lead to the fake one."""
        with sandbox.fresh_box(self.tools, dict.fromkeys(hub.HUB_NAMES, _HUB[0]), self.ca) as box:
            yield box

    def pull(self, case: str, client: Client, mirror: str, image: content.Named, by: str) -> Record:
        """Let a client pull through a mirror, `by_tag` or `by_digest`, and judge."""
        self.hub.settle()
        with self.box() as box:
            pull = client.pull(box, mirror, getattr(image, by))
        asked = self.hub.settle()
        outcome = judge(pull, client.expected(image), asked=bool(asked))
        self.records.append(Record(f"{case} {by.replace('_', ' ')}", image.repository, client, pull, asked, outcome))
        return self.records[-1]


def judge(pull: Pull, expected: str, *, asked: bool) -> Outcome:
    """Say what a pull came to."""
    if pull.has and expected not in pull.has:
        return Outcome.OTHER_IMAGE
    if pull.has:
        return Outcome.VIA_HUB if asked else Outcome.OK
    if asked:
        return Outcome.ASKED_HUB
    return Outcome.SILENT if pull.code == 0 else Outcome.HELD


@contextlib.contextmanager
def running(tools: Toolbox) -> Iterator[Lab]:
    """Run a lab until the block ends."""
    with ExitStack() as stack:
        stack.enter_context(sandbox.own_network())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="e2e-")))
        ca, certificate, key = sandbox.throwaway_ca(folder, hub.HUB_NAMES)
        shelf = content.Shelf()
        fake = hub.Registry(_HUB, shelf, hub.tls_context(certificate, key))
        stack.enter_context(hub.serving(fake))
        upstream = stack.enter_context(docker_registry(tools, folder / "upstream", _UPSTREAM))
        yield Lab(tools, folder, ca, fake, shelf, upstream)


@contextlib.contextmanager
def docker_registry(tools: Toolbox, folder: Path, address: tuple[str, int]) -> Iterator[str]:
    """Run Debian's docker-registry until the block ends; yields its URL."""
    folder.mkdir()
    host, port = address
    (folder / "config.yml").write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/data}}}}\nhttp: {{addr: '{host}:{port}'}}\n",
        encoding="utf-8",
    )
    with service([tools.find("docker-registry"), "serve", str(folder / "config.yml")], folder, tools, address):
        yield f"http://{host}:{port}"


def configure(  # noqa: PLR0913, PLR0917 (a configuration, by its few parts)
    folder: Path, port: int, upstream: str, key: bytes, more: str = "", server: str = ""
) -> Path:
    """Write the configuration of a Sealgate for Docker Hub at the upstream, trusting the key; return its path.

    `more` are further tables, `server` further keys of [server]. The state is in the folder's `state`.
    """
    folder.mkdir(exist_ok=True)
    (folder / "release.pub").write_bytes(key)
    config = folder / "config.toml"
    config.write_text(
        f'[server]\nlisten = "127.0.0.1:{port}"\nadmin_listen = "127.0.0.1:{port + 1}"\nstate_dir = "state"\n{server}'
        f'[upstreams."docker.io"]\nurl = "{upstream}"\n'
        '[signers.release]\ntype = "cosign-key"\nkey_file = "release.pub"\n'
        '[[rules]]\nname = "everything"\nimages = ["**"]\nrequire = "release"\n'
        f"{more}",
        encoding="utf-8",
    )
    return config


@contextlib.contextmanager
def sealgate(  # noqa: PLR0913, PLR0917 (a configuration, by its few parts)
    tools: Toolbox, folder: Path, port: int, upstream: str, key: bytes, more: str = "", server: str = ""
) -> Iterator[str]:
    """Run `sealgate serve` until the block ends, with the configuration of `configure`; yields its URL."""
    config = configure(folder, port, upstream, key, more, server)
    program = Path(sys.executable).with_name("sealgate")
    with service([str(program), "serve", "--config", str(config)], folder, tools, ("127.0.0.1", port)):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def service(command: list[str], folder: Path, tools: Toolbox, address: tuple[str, int]) -> Iterator[Path]:
    """Run a server until the block ends; yields its log."""
    run, value = sandbox.RUN.split("=")
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 (docker-registry, and the proxy under test)
            command,
            cwd=folder,
            env={**os.environ, **tools.environment(), run: value},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        sandbox.wait_until(lambda: sandbox.listening(address), process, log)
        yield log
    finally:
        sandbox.end(process)
