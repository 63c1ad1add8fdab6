"""The words of `sealgate client-config`: endpoint, file, set-up, and whether it is held or sealed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import Self
from urllib.parse import urlsplit

from proxy.oci.errors import MalformedError
from proxy.oci.reference import canonical_registry

# One name for the CA on a node, for the clients that are told a path.
NODE_CA = PurePosixPath("/etc/sealgate/ca.crt")
_PORTS = range(1, 65536)
_PEM_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
# Two certificates of a chain and a comment are some 5 kB; a file beyond this is no CA file.
CA_BYTES_MAX = 1024 * 1024


class InputError(ValueError):
    """What the user gave cannot be used; `hint` says what would be."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Client(StrEnum):
    """Whose configuration is wanted."""

    DOCKER = "docker"
    CONTAINERD = "containerd"
    PODMAN = "podman"


class Hold(StrEnum):
    """What keeps the client from going round Sealgate."""

    HELD = "held"  # the form of the refusal; a dead Sealgate is gone round
    SEALED = "sealed"  # there is no other way in the client's configuration


@dataclass(frozen=True, slots=True)
class File:
    """A file for the node: where, what, and what it does.

    With `merge` the content is a JSON object, whose members go into the object that may be there already.
    """

    path: PurePosixPath
    content: str
    why: str
    merge: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """One way to put a client behind Sealgate. `steps` are for people, in order, after the files are there."""

    title: str
    hold: Hold
    statement: str
    files: tuple[File, ...]
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Sealgate as the nodes reach it. `ca` is the PEM text of its CA, where that is not one the nodes know."""

    scheme: str
    authority: str
    ca: str | None = None

    @classmethod
    def parse(cls, text: str, ca: str | None = None) -> Self:
        """Read `http(s)://HOST[:PORT]`; raises InputError for anything more or less."""
        hint = "write it as the nodes reach it: --endpoint https://sealgate.example:5000"
        try:
            url = urlsplit(text)
            authority = canonical_registry(url.netloc)
            in_range = url.port is None or url.port in _PORTS
        except (ValueError, MalformedError) as err:
            is_name = isinstance(err, MalformedError) and "://" in text and "@" not in text
            reason = f": {err}".partition("; ")[0] if is_name else ""
            raise InputError(f"endpoint {text[:120]!r} is not http(s)://HOST[:PORT]{reason}", hint) from err
        if url.scheme not in ("http", "https") or not in_range or url.path.strip("/") or url.query or url.fragment:
            raise InputError(f"endpoint {text[:120]!r} is not http(s)://HOST[:PORT] and nothing more", hint)
        if _is_any(url.hostname or ""):
            raise InputError(
                f"endpoint {text[:120]!r} stands for all addresses of a machine and can be asked at none", hint
            )
        if ca is not None and url.scheme == "http":
            raise InputError("a CA file makes no sense with an http endpoint", "use https:// or leave --ca away")
        if ca is not None and not _PEM_BLOCK.search(ca):
            raise InputError("the CA file holds no PEM certificate", "it starts with -----BEGIN CERTIFICATE-----")
        return cls(url.scheme, authority, ca)

    @property
    def url(self) -> str:
        """The address without a slash at the end."""
        return f"{self.scheme}://{self.authority}"

    @property
    def is_loopback(self) -> bool:
        """Return whether nodes reach Sealgate on loopback, so that it runs on the node itself."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def nft_match(self) -> str:
        """What matches it in an nftables rule; an address is left to be filled in where only a name is known."""
        url = urlsplit(self.url)
        port = url.port or (443 if self.scheme == "https" else 80)
        host = url.hostname or ""
        try:
            family = "ip6" if ip_address(host).version == 6 else "ip"  # noqa: PLR2004 (the protocol's own number)
        except ValueError:
            return f"ip daddr <address of {host}> tcp dport {port}"
        return f"{family} daddr {host} tcp dport {port}"

    def ca_file(self, path: PurePosixPath) -> tuple[File, ...]:
        """Return the CA as a file at that path, or nothing where there is none."""
        return (File(path, self.ca, "the CA that Sealgate's certificate is checked with"),) if self.ca else ()

    @property
    def plain_http_warning(self) -> tuple[str, ...]:
        """What must be said of an http endpoint."""
        if self.scheme == "https":
            return ()
        return ("plain http: whoever stands between node and Sealgate can answer in its place; keep it to loopback",)


def _is_any(host: str) -> bool:
    """Whether this is the address to listen on everywhere: `0.0.0.0` or `::`."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def check_registries(registries: Iterable[str]) -> tuple[str, ...]:
    """Return canonical names in the order given, each once; raises InputError for what is no host name."""
    try:
        return tuple(dict.fromkeys(canonical_registry(name) for name in registries))
    except MalformedError as err:
        raise InputError(str(err).partition("; ")[0], "give the host only: --registry ghcr.io") from err
