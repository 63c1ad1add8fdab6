"""`make image-proof`: build the image with buildah on a Debian base that mmdebstrap makes, run it, ask for its health.

Needs root, buildah and mmdebstrap. Nothing is left but the base, in the cache folder. The build and the run see a
network of nothing but loopback: what the image needs is in wheels/ and in the base.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from e2e import lab, sandbox
from e2e.packages import Toolbox

from proxy.demo.signing import SigningKey

ROOT = Path(__file__).resolve().parent.parent
SUITE = "bookworm"
USER = 65532
STOP_SECONDS = 20
INCLUDE = ("python3", "ca-certificates")
# What a finished image has no use for.
TOOLS = ("pip", "pip3", "cc", "gcc", "make", "git", "uv")
CONFIG = """\
[server]
listen = "0.0.0.0:5000"
admin_listen = "127.0.0.1:5001"
[signers.release]
type = "cosign-key"
key_file = "release.pub"
[[rules]]
name = "everything"
images = ["**"]
require = "release"
"""


class Buildah:
    """buildah, with storage of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        policy = folder / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}', encoding="ascii")
        self._base = ["buildah", f"--root={folder}/root", f"--runroot={folder}/run", "--storage-driver=vfs"]
        self.trust = f"--signature-policy={policy}"

    def command(self, *arguments: str) -> list[str]:
        """Return the command line."""
        return [*self._base, *arguments]

    def __call__(self, *arguments: str) -> str:
        """Run it and return what it prints."""
        done = subprocess.run(self.command(*arguments), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.strip()

    def inside(self, container: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a container."""
        run = self.command("run", "--isolation=chroot", container, "--", *command)
        return subprocess.run(run, capture_output=True, text=True, check=False)


def base_archive() -> Path:
    """Return the base, made once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sealgate" / "image"
    archive = cache / f"{SUITE}-{'-'.join(INCLUDE)}.tar"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = archive.with_suffix(".part.tar")
        make = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(INCLUDE)}", SUITE, str(part)]
        subprocess.run(make, check=True)
        part.rename(archive)
    return archive


def build(buildah: Buildah, archive: Path) -> str:
    """Build the image on that base and return a container of it."""
    scratch = buildah("from", "scratch")
    buildah("add", "--quiet", scratch, str(archive), "/")
    buildah("commit", "--quiet", buildah.trust, scratch, "localhost/base")
    how = ("--quiet", "--isolation=chroot", "--format=docker", "--pull-never", "--build-arg=BASE=localhost/base")
    buildah("bud", *how, buildah.trust, "--tag=localhost/sealgate", ".")
    return buildah("from", "--pull-never", buildah.trust, "localhost/sealgate")


def check(*, fact: bool, what: str) -> None:
    """Say what was found, and stop where it is not so."""
    print(f"{'ok' if fact else 'NOT SO'}: {what}")
    if not fact:
        sys.exit(1)


def inspect(buildah: Buildah, container: str) -> list[str]:
    """Check what the image is; return the command of its health check."""
    config = json.loads(buildah("inspect", "--type=image", "localhost/sealgate"))["Docker"]["config"]
    check(fact=config["User"] == f"{USER}:{USER}", what=f"runs as {config['User']}")
    check(fact=config["StopSignal"] == "SIGTERM", what="is stopped by SIGTERM")
    check(fact=set(config["ExposedPorts"]) == {"5000/tcp", "5001/tcp"}, what="exposes 5000 and 5001")
    check(fact=buildah.inside(container, "id", "-u").stdout.strip() == str(USER), what="is not root inside")
    there = buildah.inside(container, "sh", "-c", f"command -v {' '.join(TOOLS)}; ls -d /wheels").stdout.split()
    check(fact=not there, what=f"holds no {', '.join(TOOLS)}, no wheels {' '.join(there)}")
    size = buildah.inside(container, "du", "-sm", "/opt/sealgate").stdout.split()[0]
    print(f"{size} MB in /opt/sealgate")
    kind, *command = config["Healthcheck"]["Test"]
    check(fact=kind == "CMD", what="has a health check without a shell")
    return command


def serve(buildah: Buildah, container: str, folder: Path, health: list[str]) -> None:
    """Run the image as its command line says, and ask for its health as its health check does."""
    folder.mkdir()
    (folder / "config.toml").write_text(CONFIG, encoding="ascii")
    (folder / "release.pub").write_bytes(SigningKey.generate().public_pem)
    check(fact=buildah.inside(container, *health).returncode != 0, what="is not healthy before it runs")
    mount = f"--volume={folder}:/etc/sealgate:ro"
    run = (
        "run",
        "--isolation=chroot",
        mount,
        container,
        "--",
        "sealgate",
        "serve",
        "--config=/etc/sealgate/config.toml",
    )
    tools = Toolbox(tuple(os.environ["PATH"].split(os.pathsep)))
    begun = time.monotonic()
    with lab.service(buildah.command(*run), folder, tools, ("127.0.0.1", 5000)) as log:
        print(f"serves after {time.monotonic() - begun:.1f} s")
        asked = buildah.inside(container, *health)
        check(fact=asked.returncode == 0, what=f"is healthy {asked.stderr}")
        for pid in running_inside():
            os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while running_inside() and time.monotonic() < end:
            time.sleep(0.1)
        check(fact=not running_inside() and "stopping" in log.read_text("utf-8"), what="ends in order on SIGTERM")


def running_inside() -> list[int]:
    """Return the image's own processes in our network namespace, without buildah's, whose end would kill them."""
    own = Path("/proc/thread-self/ns/net").readlink()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            program = (entry / "cmdline").read_bytes().partition(bytes(1))[0]
            if program.startswith(b"/opt/sealgate/") and (entry / "ns/net").readlink() == own:
                found.append(int(entry.name))
    return found


def main() -> None:
    """Prove it."""
    missing = [program for program in ("buildah", "mmdebstrap") if not shutil.which(program)]
    if missing:
        sys.exit(f"prove_image: error: missing: {', '.join(missing)}")
    if not (ROOT / "wheels" / "requirements.txt").exists():
        sys.exit("prove_image: error: wheels/ is empty\nprove_image: hint: tools/wheels.py wheels")
    archive = base_archive()
    with sandbox.own_network(), tempfile.TemporaryDirectory(prefix="image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        buildah = Buildah(folder)
        try:
            container = build(buildah, archive)
            serve(buildah, container, folder / "config", inspect(buildah, container))
        finally:
            buildah("rm", "--all")
    print("sealgate: the image builds, serves and ends as it should")


if __name__ == "__main__":
    main()
