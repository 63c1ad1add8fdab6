"""What all parts of the bench share: the programs, a folder, the key that signs, and how often is measured."""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from e2e import content, lab, stage
from e2e.packages import Toolbox
from measure import wrk

from proxy.demo import images
from proxy.demo.signing import SigningKey, classic_signature

HERE = Path(__file__).parent
LOOPBACK = "127.0.0.1"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Bench:
    """What a part is given."""

    tools: Toolbox
    folder: Path
    key: SigningKey
    rounds: int
    seconds: float

    def sealgate(
        self, name: str, port: int, upstream: str, more: str = "", server: str = ""
    ) -> AbstractContextManager[str]:
        """Run Sealgate on a port; `more` are further tables of its configuration, `server` further keys of [server]."""
        return lab.sealgate(self.tools, self.folder / name, port, upstream, self.key.public_pem, more, server)

    def script(self, name: str, port: int, *arguments: object) -> AbstractContextManager[Path]:
        """Run one of the servers in this folder."""
        folder = self.folder / f"{name}-{port}"
        folder.mkdir()
        command = [sys.executable, str(HERE / name), str(port), *map(str, arguments)]
        return lab.service(command, folder, self.tools, (LOOPBACK, port))

    def requests_a_second(self, url: str, connections: int = 16, header: str = "") -> Callable[[], float]:
        """Return a measurement of how often a manifest can be had; with one more header, if one is given."""
        program = self.tools.find("wrk")
        return lambda: wrk(program, url, connections=connections, seconds=self.seconds, header=header).requests

    def read_a_second(self, url: str, connections: int = 16) -> Callable[[], float]:
        """Return the same for requests with credentials, which Sealgate reads anew each time."""
        return self.requests_a_second(url, connections, "Authorization: Basic Zm9yIG5vYm9keQ==")

    def bytes_a_second(self, url: str, connections: int) -> Callable[[], float]:
        """Return a measurement of how fast a blob can be had."""
        program = self.tools.find("wrk")
        return lambda: wrk(program, url, connections=connections, seconds=self.seconds).bytes


def signed(place: content.Place, name: str, key: SigningKey, sign: Callable = classic_signature, **shape: int) -> str:
    """Put a signed image there; return the path of its manifests."""
    image = content.Named(f"library/{name}", "1", images.image(name, **shape))
    image.put(place)
    stage.put_signature(place, image.repository, sign(key, stage.descriptor(image)))
    return f"/v2/{image.repository}/manifests/"


def processes(folder: Path) -> list[Path]:
    """Return the entries in /proc of what was started with a file of this folder on its command line."""
    wanted = f"{folder}/".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (entry / "cmdline").read_bytes():
                found.append(entry)
        except OSError:  # it has ended
            continue
    return found


def cpu_seconds(folder: Path) -> float:
    """Return the CPU time that those processes have taken so far (proc(5), /proc/pid/stat: utime and stime)."""
    ticks = 0
    for entry in processes(folder):
        fields = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS
