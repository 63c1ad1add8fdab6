"""Make `.venv` with a pinned uv in it. Needs Python 3.11 and no more: bare Debian has neither pip nor ensurepip.

    python3 tools/bootstrap.py .venv

The wheel comes from the package index that pip would use (PIP_INDEX_URL), and counts only if it has the SHA-256 below.
"""

import hashlib
import os
import platform
import re
import ssl
import stat
import sys
import urllib.error
import urllib.parse
import urllib.request
import venv
import zipfile
from io import BytesIO
from pathlib import Path

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


def fetch(url: str) -> tuple[str, bytes]:
    """Return the final address and the body. A machine without CA certificates can still fetch: the hash decides."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 (https, or the index the user chose)
            return answer.url, answer.read()
    except urllib.error.URLError as err:
        if not isinstance(err.reason, ssl.SSLCertVerificationError):
            raise
    unverified = ssl._create_unverified_context()  # noqa: S323, SLF001 (what is fetched is pinned by SHA-256)
    with urllib.request.urlopen(url, timeout=60, context=unverified) as answer:  # noqa: S310
        return answer.url, answer.read()


def uv_binary() -> bytes:
    """Fetch the pinned wheel and return the program in it."""
    machine = (platform.system(), platform.machine())
    if machine not in WHEELS:
        sys.exit(
            f"sealgate: error: no pinned uv for {machine}\nsealgate: hint: put uv {UV} in .venv/bin and run make again"
        )
    tag, sha256 = WHEELS[machine]
    name = f"uv-{UV}-py3-none-{tag}.whl"
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
    page, listing = fetch(f"{index}/uv/")
    href = re.search(rf'href="([^"]*/{re.escape(name)})[#"]', listing.decode())
    if not href:
        sys.exit(
            f"sealgate: error: {index} does not list {name}\nsealgate: hint: set PIP_INDEX_URL to an index that has it"
        )
    _, wheel = fetch(urllib.parse.urljoin(page, href[1]))
    if hashlib.sha256(wheel).hexdigest() != sha256:
        sys.exit(f"sealgate: error: {name} does not have the pinned SHA-256\nsealgate: hint: the download is broken")
    return zipfile.ZipFile(BytesIO(wheel)).read(f"uv-{UV}.data/scripts/uv")


def main(folder: Path) -> None:
    """Make the environment and put uv in it."""
    if sys.version_info < (3, 11):  # noqa: UP036 (older ones do come here)
        sys.exit("sealgate: error: Python 3.11 or later is needed\nsealgate: hint: make PYTHON=/path/to/python3.11")
    venv.create(folder, symlinks=True)
    program = folder / "bin" / "uv"
    program.write_bytes(uv_binary())
    program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
