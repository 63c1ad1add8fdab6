"""Fill a folder with the wheels of a release: Sealgate's own and what uv.lock names for it, with their hashes.

The container image is built from it without a network: `pip install --no-index --require-hashes`. What is fetched is
checked against uv.lock. The wheels are for Linux on this machine's architecture, and for the Python that `--python`
says, which must be that of the image's base.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = ROOT / ".venv" / "bin" / "uv"
# From the package index. It installs the wheels and does not stay in the image.
PIP = "pip==26.3 --hash=sha256:f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"
# Debian 12 has glibc 2.36; a wheel for an older one runs there too.
GLIBC_MINOR_MAX = 36


def uv(*arguments: str) -> str:
    """Run uv and return what it prints."""
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    return subprocess.run(
        [UV, *arguments], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def hashed(wheel: Path) -> str:
    """Return a line of requirements for a wheel file as it is."""
    name, version = wheel.name.split("-")[:2]
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def fill(folder: Path, python: str) -> None:
    """Make the folder anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    requirements, installer = folder / "requirements.txt", folder / "pip.txt"
    requirements.write_text(
        uv("export", "-q", "--locked", "--no-dev", "--no-emit-project", "--no-annotate", "--no-header"),
        encoding="utf-8",
    )
    installer.write_text(f"{PIP}\n", encoding="utf-8")
    machine = platform.machine()
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MINOR_MAX, 4, -1)]
    target = [f"--python-version={python}", "--implementation=cp", *(f"--platform={it}" for it in platforms)]
    pip = ("run", "--quiet", "--isolated", "--no-project", "--with-requirements", str(installer), "python", "-m", "pip")
    only = ("--quiet", "--require-hashes", "--only-binary=:all:", "--no-deps", "--dest", str(folder))
    for listed in (requirements, installer):
        uv(*pip, "download", *only, *target, "-r", str(listed))
    uv("build", "--quiet", "--wheel", "--out-dir", str(folder))
    (folder / ".gitignore").unlink(missing_ok=True)  # uv's, for a folder that only it fills
    (own,) = folder.glob("sealgate-*.whl")
    with requirements.open("a", encoding="utf-8") as lines:
        lines.write(hashed(own))
    installer.unlink()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.11", help="the Python of the image's base (default: Debian 12's, 3.11)")
    arguments = parser.parse_args()
    fill(arguments.folder.resolve(), arguments.python)
    print(f"{len(list(arguments.folder.glob('*.whl')))} wheels in {arguments.folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
