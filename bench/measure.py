"""How a number is taken: wrk for what is hot, one request after another for what is cold; ratios within a round."""

import contextlib
import http.client
import re
import socket
import ssl
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from proxy.oci.manifest import INDEX_TYPES, MANIFEST_TYPES

ACCEPT = ", ".join(sorted(MANIFEST_TYPES | INDEX_TYPES))
_PIECE = 2**20
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


@dataclass(frozen=True)
class Rate:
    """What wrk measured: requests and bytes a second."""

    requests: float
    bytes: float


def wrk(program: str, url: str, *, connections: int, seconds: float, header: str = "") -> Rate:
    """Ask for one URL as fast as it is answered; raises RuntimeError where anything but 200 comes back."""
    command = [
        program,
        *(["-H", header] if header else []),
        "-t1",
        f"-c{connections}",
        f"-d{seconds:.0f}s",
        "--timeout",
        "30s",
        "-H",
        f"Accept: {ACCEPT}",
        url,
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    requests = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    transfer = re.search(r"Transfer/sec:\s+([0-9.]+)([KMG]?)B", said)
    if requests is None or transfer is None or "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"{url}:\n{said}")
    return Rate(float(requests[1]), float(transfer[1]) * _UNITS[transfer[2]])


def rounds(count: int, subjects: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure every subject once a round, so that what disturbs one round disturbs all of them."""
    taken: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(count):
        for name, measure in subjects.items():
            taken[name].append(measure())
    return taken


def ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """Return the median of the ratios within each round."""
    return statistics.median(one / other for one, other in zip(of, to, strict=True))


def connection(url: str, timeout: float) -> http.client.HTTPConnection:
    """Return a connection to a server of ours; over TLS without asking who it is, as wrk does."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout, context=context)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)


class Client:
    """One kept connection, as a client has it in the middle of a pull."""

    def __init__(self, url: str) -> None:
        self._connection = connection(url, timeout=30)

    def seconds(self, path: str) -> float:
        """Return how long a GET takes, to its last byte; raises RuntimeError where it is not 200."""
        begun = time.perf_counter()
        self._connection.request("GET", path, headers={"Accept": ACCEPT})
        answer = self._connection.getresponse()
        body = answer.read()
        taken = time.perf_counter() - begun
        if answer.status != http.client.OK:
            raise RuntimeError(f"{path}: {answer.status} {answer.reason} {body[:300]!r}")
        return taken

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


class Quick:
    """A kept connection that reads no more of an answer than it must: what is measured is the server's work."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.netloc
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30)

    def get(self, path: str) -> int:
        """Ask, and return how many bytes the body has; raises RuntimeError where it is not answered by 200."""
        request = f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nAccept: {ACCEPT}\r\n\r\n"
        self._socket.sendall(request.encode("ascii"))
        got = b""
        while b"\r\n\r\n" not in got:
            got += self._more(path)
        head, _, body = got.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            raise RuntimeError(f"{path}: {head!r}")
        size = len(body)
        while size < int(length[1]):
            size += len(self._more(path))
        return size

    def _more(self, path: str) -> bytes:
        piece = self._socket.recv(2**16)
        if not piece:
            raise RuntimeError(f"{path}: the connection was closed")
        return piece

    def close(self) -> None:
        """End the connection."""
        self._socket.close()


def ask(url: str, path: str) -> float:
    """Return how long a GET takes on a connection of its own; raises RuntimeError where it is not answered by 200."""
    with contextlib.closing(Client(url)) as client:
        return client.seconds(path)


def fetch(url: str, path: str) -> int:
    """Take a blob and let it go, in pieces of a megabyte; return how many bytes it had, all that were promised."""
    room = bytearray(_PIECE)
    with contextlib.closing(connection(url, timeout=60)) as connected:
        connected.request("GET", path)
        answer = connected.getresponse()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{url}{path}: {answer.status} {answer.reason}")
        promised, got = int(answer.headers["Content-Length"]), 0
        while taken := answer.readinto(room):
            got += taken
    if got != promised:
        raise RuntimeError(f"{url}{path}: {got} bytes of {promised}")
    return got


def together(url: str, paths: Sequence[str]) -> float:
    """Fetch all paths at the same time; return the bytes a second of all together."""
    with ThreadPoolExecutor(len(paths)) as threads:
        begun = time.perf_counter()
        size = sum(threads.map(partial(fetch, url), paths))
        return size / (time.perf_counter() - begun)
