"""Make `.venv` with a pinned uv and Sealgate in it. Needs Python 3.11 and no more: bare Debian has no pip.

    python3 tools/bootstrap.py .venv [--dev]

Everything is checked by hash: uv by the SHA-256 below, packages by uv.lock. They come from pypi.org, or from the index
that pip or uv is configured to use: PIP_INDEX_URL, UV_DEFAULT_INDEX, UV_INDEX_URL, pip.conf. `--dev` adds the tools of
the tests and checks.
"""

import configparser
import hashlib
import os
import platform
import re
import ssl
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import venv
import zipfile
from base64 import b64encode
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import NoReturn

PYPI = "https://pypi.org/simple"
UV = "0.13.8"
# From the package index's own file list; by machine, for any C library (the musllinux wheels are static).
WHEELS = {
    ("Linux", "x86_64"): (
        "manylinux_2_17_x86_64.manylinux2014_x86_64",
        "e18a57b8b352eb7c8feb317b9f6f533c8f0ad9673fd6cf34bbe3cf1a9f6a8984",
    ),
    ("Linux", "aarch64"): (
        "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
        "0b3e8b1a4f5e405e31e2ff33de8af4744831e9f7338539671efbd8c3c94e791d",
    ),
    ("Darwin", "x86_64"): (
        "macosx_10_12_x86_64",
        "b7124ca1956ec2e476a1003ea5715a15f0266afaec37f4dc9c6972ba8183e6d1",
    ),
    ("Darwin", "arm64"): (
        "macosx_11_0_arm64",
        "62b6943c7fd64fac6854f780bea6e0359e5a5bc3241f83ee357bb38276afac49",
    ),
}
_INDEX_VARIABLES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
_INDEX_HINT = (
    "the first set-up needs a package index: behind a company's own set PIP_INDEX_URL to it and run make again"
)
_CONNECT_SECONDS = 30


def fail(message: str, hint: str) -> NoReturn:
    """End with the two lines that every command of Sealgate ends with."""
    sys.exit(f"sealgate: error: {message}\nsealgate: hint: {hint}")


def note(message: str) -> None:
    """Print a line of progress."""
    print(f"sealgate: {message}", file=sys.stderr, flush=True)


def configured_index(environment: Mapping[str, str], home: Path) -> str:
    """Return the package index that pip, or else uv, is configured to use; PyPI's where neither is.

    Source: pip's documentation, Configuration: the environment first, then the file that PIP_CONFIG_FILE names, the
    user's and the machine's.
    """
    named = [environment.get("PIP_CONFIG_FILE", "")]
    users = [home / ".pip/pip.conf", Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"]
    files = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), *users, *map(Path, filter(None, named))]
    read = configparser.RawConfigParser(strict=False)
    if named != [os.devnull]:  # pip's way to read no file
        try:
            read.read(files, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as err:
            fail(f"the configuration of pip cannot be read: {err}", "correct it, or set PIP_CONFIG_FILE=/dev/null")
    in_files = [read.get(section, "index-url", fallback="") for section in ("install", "global")]
    candidates = [*(environment.get(name, "") for name in _INDEX_VARIABLES), *in_files]
    return next(filter(None, (one.strip().rstrip("/") for one in candidates)), PYPI)


def without_credentials(url: str) -> str:
    """Return a URL fit to be printed."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def fetch(url: str) -> tuple[str, bytes]:
    """Return the final address and the body; user and password in the address are sent as Basic credentials.

    A machine without CA certificates can still fetch, because the hash decides; but credentials are never shown to a
    server that cannot be authenticated.
    """
    parts = urllib.parse.urlsplit(url)
    request = urllib.request.Request(without_credentials(url))  # noqa: S310 (https, or the index the user chose)
    if parts.username is not None:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        # Unredirected: a redirect goes without them.
        request.add_unredirected_header("Authorization", f"Basic {b64encode(pair.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=_CONNECT_SECONDS) as answer:  # noqa: S310
            return answer.url, answer.read()
    except urllib.error.URLError as err:
        untrusted = isinstance(err.reason, ssl.SSLCertVerificationError)
        if not untrusted or parts.username is not None:
            raise
    unverified = ssl._create_unverified_context()  # noqa: S323, SLF001 (what is fetched is pinned by SHA-256)
    with urllib.request.urlopen(request, timeout=_CONNECT_SECONDS, context=unverified) as answer:  # noqa: S310
        return answer.url, answer.read()


def uv_binary(index: str) -> bytes:
    """Fetch the pinned wheel and return the program in it."""
    machine = (platform.system(), platform.machine())
    if machine not in WHEELS:
        fail(f"no pinned uv for {machine}", f"put uv {UV} in .venv/bin and run make again")
    tag, sha256 = WHEELS[machine]
    name = f"uv-{UV}-py3-none-{tag}.whl"
    shown = without_credentials(index)
    try:
        page, listing = fetch(f"{index}/uv/")
        href = re.search(rf'href="([^"]*/{re.escape(name)})[#"]', listing.decode(errors="replace"))
        if not href:
            fail(f"{shown} does not list {name}", "set PIP_INDEX_URL to an index that has it")
        wheel = fetch(_beside(index, page, href[1]))[1]
    except (OSError, ValueError) as err:
        reason = getattr(err, "reason", None) or err
        fail(f"the package index {shown} cannot be used: {reason}", _INDEX_HINT)
    if hashlib.sha256(wheel).hexdigest() != sha256:
        fail(f"{name} does not have the pinned SHA-256", "the download is broken, or the index serves another file")
    return zipfile.ZipFile(BytesIO(wheel)).read(f"uv-{UV}.data/scripts/uv")


def _beside(index: str, page: str, href: str) -> str:
    """Return the address of a file, with the credentials of the index where it lies on the same host."""
    target = urllib.parse.urlsplit(urllib.parse.urljoin(page, href))
    own = urllib.parse.urlsplit(index)
    if target.hostname == own.hostname and target.port == own.port and target.scheme == own.scheme:
        target = target._replace(netloc=own.netloc)
    return target.geturl()


def install_uv(folder: Path, index: str) -> Path:
    """Make the environment with the pinned uv in it, unless it is there; return the program."""
    program = folder / "bin" / "uv"
    marker = folder / f".uv-{UV}"
    if program.exists() and marker.exists():
        return program
    note(f"setting up {folder}: uv {UV} from {without_credentials(index)}")
    binary = uv_binary(index)
    venv.create(folder, symlinks=True)
    program.write_bytes(binary)
    program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    marker.touch()
    return program


def has_system_certificates() -> bool:
    """Whether the machine has certificate authorities of its own; bare Debian has none."""
    paths = ssl.get_default_verify_paths()
    folder = paths.capath or ""
    return paths.cafile is not None or (Path(folder).is_dir() and any(Path(folder).iterdir()))


def install_packages(uv: Path, folder: Path, index: str, *, dev: bool) -> None:
    """Install what uv.lock names, checked by its hashes, and Sealgate itself from this folder.

    The lock file has PyPI's addresses; for another index they are left out and the hashes stay.
    """
    note(f"installing packages{' with the development tools' if dev else ''}; the first time they are downloaded")
    dropped = ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX")
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    environment |= {"VIRTUAL_ENV": str(folder.resolve()), "UV_PYTHON_DOWNLOADS": "never"}
    if has_system_certificates():  # a company's own authority, whose proxy opens TLS, is there and not in uv
        environment.setdefault("UV_SYSTEM_CERTS", "true")
    groups = [] if dev else ["--no-dev"]
    if index == PYPI:
        _run([uv, "sync", "--locked", "--inexact", *groups], environment)
        return
    environment |= {"UV_DEFAULT_INDEX": index}
    if "PIP_CERT" in environment:
        environment.setdefault("SSL_CERT_FILE", environment["PIP_CERT"])
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / "requirements.txt"
        _run([uv, "export", "--quiet", "--frozen", "--no-emit-project", *groups, "--output-file", listed], environment)
        _run([uv, "pip", "install", "--require-hashes", "--requirements", listed], environment)
        _run([uv, "pip", "install", "--no-deps", "--editable", "."], environment)


def _run(command: list[Path | str], environment: Mapping[str, str]) -> None:
    """Run uv; a person sees its progress, everybody its error."""
    shown = sys.stderr.isatty()
    done = subprocess.run(
        command,
        env=dict(environment),
        stdout=subprocess.DEVNULL,
        stderr=None if shown else subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or b"").decode(errors="replace").strip()
        fail(f"uv could not install the packages{': ' if said else ''}{said}", _INDEX_HINT)


def main(folder: Path, *, dev: bool) -> None:
    """Make the environment, put uv in it, install what is locked."""
    if sys.version_info < (3, 11):  # noqa: UP036 (older ones do come here)
        fail("Python 3.11 or later is needed", "make PYTHON=/path/to/python3.11")
    index = configured_index(os.environ, Path.home())
    install_packages(install_uv(folder, index), folder, index, dev=dev)


if __name__ == "__main__":
    main(Path(sys.argv[1]), dev="--dev" in sys.argv[2:])
