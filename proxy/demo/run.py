"""The demonstration: an embedded registry in Docker Hub's place, Sealgate in front of it, and clients that pull."""

import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from proxy import app
from proxy.config import Settings, load
from proxy.demo import machine
from proxy.demo.clients import Pull, Style, pull
from proxy.demo.examples import TAG, Example, Hand, examples
from proxy.demo.registry import Registry, serve
from proxy.demo.signing import SigningKey
from proxy.oci.reference import DOCKER_HUB, Reference
from proxy.verdict import Accepted, Verdict

REGISTRY_PORT = 5000
ADMIN_PORT = 5001
# Every refusal of ours begins with it; a client that shows it was stopped by us and by nothing else.
_OUR_WORD = "sealgate"


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs: Sealgate's addresses, the registry behind it, and what it was configured with."""

    addresses: app.Addresses
    upstream: str
    settings: Settings
    config: Path
    shown: Sequence[Example]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One pull by one client: what came of it, and whether that is what had to."""

    client: str
    example: Example
    pull: Pull

    @property
    def as_expected(self) -> bool:
        """Say whether a good image came and a bad one did not, with our reason in what the client shows."""
        if self.example.is_served:
            return self.pull.digest is not None
        return self.pull.digest is None and _OUR_WORD in self.pull.message


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """Run the registry and Sealgate on loopback while the context lasts; everything that is kept is in `folder`."""
    registry = Registry()
    shown = examples()
    keys = {hand: SigningKey.generate() for hand in (Hand.RELEASE, Hand.STRANGER)}
    for example in shown:
        example.put(registry, keys)
    async with serve(registry) as upstream:
        config = folder / "config.toml"
        config.write_text(_configuration(upstream, keys, folder), encoding="utf-8")
        settings = load(config)
        async with app.running(settings) as addresses:
            yield Stage(addresses, upstream, settings, config, shown)


async def verdicts(on: Stage) -> Mapping[str, Verdict]:
    """Judge each image as `sealgate verify` does, by name."""
    return {
        example.name: (await app.verify(on.settings, Reference.parse(f"{DOCKER_HUB}/{example.name}"))).verdict
        for example in on.shown
    }


def signers(verdict: Verdict) -> tuple[str, ...]:
    """Return who signed, as far as it was proven."""
    return tuple(dict.fromkeys(one.signer for one in verdict.evidence)) if isinstance(verdict, Accepted) else ()


async def pulls(on: Stage) -> AsyncIterator[Outcome]:
    """Pull each image in each client's way of asking."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        for style in Style:
            for example in on.shown:
                got = await pull(session, on.addresses.registry, style, example.repository, TAG)
                yield Outcome(str(style), example, got)


async def works_here(on: Stage, client: machine.Client) -> bool:
    """Say whether a client of this machine can pull without Sealgate: the control of the pulls with it."""
    control = await client.try_pull(on.upstream, on.upstream, f"{DOCKER_HUB}/{on.shown[0].name}")
    return control.digest is not None


async def machine_pulls(on: Stage, client: machine.Client) -> AsyncIterator[Outcome]:
    """Pull each image with a client of this machine."""
    for example in on.shown:
        got = await client.try_pull(on.addresses.registry, on.upstream, f"{DOCKER_HUB}/{example.name}")
        yield Outcome(client.name, example, got)


def _configuration(upstream: str, keys: Mapping[Hand, SigningKey], folder: Path) -> str:
    return (
        f'[server]\nlisten = "127.0.0.1:{_port(REGISTRY_PORT)}"\nadmin_listen = "127.0.0.1:{_port(ADMIN_PORT)}"\n'
        f'state_dir = "{folder / "state"}"\n\n'
        f'[upstreams."{DOCKER_HUB}"]\nurl = "{upstream}"\n\n'
        f'[signers.{Hand.RELEASE}]\ntype = "cosign-key"\nkey = """\n{keys[Hand.RELEASE].public_pem.decode()}"""\n\n'
        f'[[rules]]\nname = "everything"\nimages = ["**"]\nrequire = "{Hand.RELEASE}"\n'
    )


def _port(wanted: int) -> int:
    """Return the port if it is free, else 0, which takes any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return 0
    return wanted
