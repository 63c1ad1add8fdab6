"""`make cross-check`: real cosign and Sealgate on the same signatures, in one registry, made by either side.

cosign is what COSIGN names, or is built once by Go into .cache/cosign. The registry is Debian's docker-registry, and
the Sigstore is that of the tests, on loopback; nothing else is asked. Prints a table; exit code 1 for a difference that
is not listed in DIFFERENCES, or that is listed and not there.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cross_cases import Case, Workshop, matrix, twists
from cross_signing import signings
from e2e import content, lab, stage
from e2e.packages import MissingError, toolbox
from support.upstreams import REGISTRY, upstream_at

from proxy.formats.cosign.discover import CosignDiscovery
from proxy.formats.cosign.signer import CosignSigner
from proxy.formats.cosign.verify import Wanted
from proxy.oci.reference import Repository
from proxy.verdict import Evidence, Subject

VERSION = "v3.1.3"
_MODULE = f"github.com/sigstore/cosign/v3/cmd/cosign@{VERSION}"
_CACHE = Path(__file__).parents[1] / ".cache" / "cosign" / VERSION
_COSIGN_SECONDS = 60


@dataclass(frozen=True)
class Difference:
    """Where the verdicts differ, by the name of the case (a pattern), what we say there, and why that is right."""

    case: str
    accepted: bool
    why: str


DIFFERENCES = (
    Difference(r"(SIG|ATT), .*P-(384|521)", accepted=True, why="cosign hashes with SHA-256, the signer with its own"),
    Difference(r"Ed25519, rekor", accepted=True, why="in logs cosign takes Ed25519 for Ed25519ph"),
    Difference(r"trust root v0\.2", accepted=True, why="v0.2 is read here"),
    Difference(r"a pattern for the beginning", accepted=False, why="a pattern is for the whole text"),
    Difference(r"SIG, two names", accepted=False, why="a certificate is for one identity"),
    Difference(r"BUNDLE, issuers that differ", accepted=False, why="a certificate has one issuer of the identity"),
    Difference(r"no usage", accepted=False, why="a certificate must be for signing code"),
    Difference(r"an authority$", accepted=False, why="authorities sign certificates only"),
    Difference(r"SIG, an identity, and a key", accepted=False, why="the entry must be about the key itself"),
    Difference(r"SIG, no timestamp", accepted=False, why="cosign uses timestamps where there are, and demands none"),
    Difference(
        r"timestamp (?!by another).*, not asked for", accepted=False, why="with a certificate, all times must be true"
    ),
    Difference(r"BUNDLE, attestation as signature", accepted=False, why="an attestation approves of nothing"),
    Difference(r"SIG, another critical.type", accepted=False, why="it was signed for something else"),
    Difference(r"SIG, a member (twice|in another case)", accepted=False, why="two readers see two images"),
    Difference(r"BUNDLE, another _type", accepted=False, why="not an in-toto statement"),
    Difference(r"a chain with a stranger before, the root .*, allowed", accepted=False, why="a chain has an order"),
    Difference(r"BUNDLE, snake case", accepted=False, why="members have one spelling"),
    Difference(r"BUNDLE, base64 without padding", accepted=False, why="bytes have one spelling"),
)


@dataclass(frozen=True)
class Bench:
    """What every case needs: the program, the registry, and a folder for keys and trust roots."""

    cosign: str
    url: str
    folder: Path

    def run(self, *arguments: str) -> tuple[bool, str]:
        """Run cosign, with no way to any network but loopback's; return whether it is content, and its last words."""
        # A proxy that is not there, and a home without a TUF cache, so that all it knows is what it is given.
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "COSIGN_PASSWORD": ""}
        environment |= {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
        ended = subprocess.run(
            [self.cosign, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=self.folder,
            timeout=_COSIGN_SECONDS,
        )
        words = [line for line in ended.stderr.splitlines() if line.strip()] or [""]
        return ended.returncode == 0, words[-1][:300]

    def place(self, repository: str) -> str:
        """Name a repository as cosign does."""
        return f"{self.url.removeprefix('http://')}/{repository}"

    def put(self, case: Case, shop: Workshop, repository: str) -> None:
        """Put an image and its signature into the registry."""
        place = content.PushTo(self.url)
        shop.image.add_to(place, repository, "1")
        stage.put_signature(place, repository, case.artifact)

    def file(self, name: str, body: bytes) -> str:
        """Write a file for cosign."""
        (self.folder / name).write_bytes(body)
        return str(self.folder / name)

    def theirs(self, case: Case, shop: Workshop, repository: str) -> tuple[bool, str]:
        """Ask cosign."""
        arguments = [f"--trusted-root={self.file('root.json', json.dumps(case.root).encode())}"]
        if case.key is not None:
            arguments.append(f"--key={self.file('key.pub', case.key.public_pem)}")
        image = f"{self.place(repository)}@{shop.image.digest}"
        return self.run(case.command, "--allow-http-registry", *arguments, *case.arguments, image)

    def ours(self, wanted: Wanted, shop: Workshop, repository: str) -> tuple[bool, str]:
        """Ask our own signer, through discovery and the upstream client."""
        return asyncio.run(self._judge(wanted, Subject(Repository.of(REGISTRY, repository), shop.image.digest), shop))

    async def _judge(self, wanted: Wanted, subject: Subject, shop: Workshop) -> tuple[bool, str]:
        signer = CosignSigner("cross-check", wanted, CosignDiscovery(attestations=wanted.attestation is not None))
        async with upstream_at(self.url) as source:
            found = await signer.discovery(subject, source)
        findings = [signer.verify(subject, one, shop.now) for one in found.signatures]
        if any(isinstance(one, Evidence) for one in findings):
            return True, ""
        refused = (*findings, *found.rejections)
        return False, "; ".join(f"{one.reason}: {one.detail}" for one in refused) or "nothing found"


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    name: str
    theirs: bool
    ours: bool
    words: str

    @property
    def difference(self) -> Difference | None:
        """The listed difference that this one is."""
        fitting = (one for one in DIFFERENCES if one.accepted == self.ours and re.search(one.case, self.name))
        return next(fitting, None)

    @property
    def verdict(self) -> str:
        """Say how it fares."""
        if self.theirs == self.ours:
            return "same"
        return f"differs: {self.difference.why}" if self.difference else f"DIFFERS, NOT LISTED: {self.words}"

    def __str__(self) -> str:
        """Write it."""
        words = ["accepts" if one else "refuses" for one in (self.theirs, self.ours)]
        return f"{self.name:<68} {words[0]:<8} {words[1]:<8} {self.verdict}"


def compare(bench: Bench, shop: Workshop, cases: Sequence[Case]) -> Iterator[Line]:
    """Ask both about every case, each in a repository of its own."""
    for number, case in enumerate(cases):
        repository = f"cross/{number}"
        bench.put(case, shop, repository)
        theirs, said = bench.theirs(case, shop, repository)
        ours, reason = bench.ours(case.wanted, shop, repository)
        yield Line(case.name, theirs, ours, reason if theirs else said)


def find_cosign() -> str:
    """Return the program; builds it where it is not there yet. Raises MissingError."""
    if named := os.environ.get("COSIGN"):
        return named
    program = _CACHE / "cosign"
    if not program.exists():
        go = shutil.which("go")
        if go is None:
            raise MissingError("neither COSIGN nor Go, with which cosign could be built, is there")
        print(f"building cosign {VERSION} into {_CACHE}: some minutes, once", file=sys.stderr)
        subprocess.run([go, "install", _MODULE], env={**os.environ, "GOBIN": str(_CACHE)}, check=True)
    return str(program)


def free_port() -> int:
    """Return a port of loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    """Read the command line, compare, report."""
    parser = argparse.ArgumentParser(description="Compare verdicts with those of real cosign.")
    parser.add_argument("--only", help="cases whose name has this pattern only")
    only = re.compile(parser.parse_args().only or "")
    try:
        cosign, tools = find_cosign(), toolbox({"docker-registry": "docker-registry"})
    except MissingError as err:
        print(f"cross-check: error: {err}", file=sys.stderr)
        return 2
    shop = Workshop.open(datetime.fromtimestamp(int(time.time()), UTC))
    lines = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cross-")))
        url = stack.enter_context(lab.docker_registry(tools, folder / "registry", ("127.0.0.1", free_port())))
        bench = Bench(cosign, url, folder)
        cases = [case for make in (matrix, twists) for case in make(shop) if only.search(case.name)]
        for line in compare(bench, shop, cases):
            lines.append(line)
            print(line, flush=True)
        for name, theirs, ours, words in signings(bench, shop, only):
            lines.append(Line(name, theirs, ours, words))
            print(lines[-1], flush=True)
    differing = [line for line in lines if line.theirs != line.ours]
    unlisted = [line for line in differing if line.difference is None]
    met = {line.difference for line in differing}
    dead = [one.case for one in DIFFERENCES if one not in met] if not only.pattern else []
    print(f"\n{len(lines)} cases, {len(differing)} differences, {len(unlisted)} of them not listed; not met: {dead}")
    return 1 if unlisted or dead else 0


if __name__ == "__main__":
    sys.exit(main())
