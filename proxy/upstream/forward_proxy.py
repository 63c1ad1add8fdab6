"""Forward proxies for requests, by configuration or by the usual environment variables.

The variables are read as Go's golang.org/x/net/http/httpproxy reads them, as Docker and containerd do, so that a
setting of the machine means the same to all. Two forms of curl are accepted too: spaces between the names in NO_PROXY,
and a final dot. Behind a proxy it is the proxy that resolves and dials.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network

from aiohttp import encode_basic_auth
from yarl import URL

from proxy.oci.errors import MalformedError
from proxy.upstream.addresses import Place, place_of, read_address

# `proxy = "none"`: directly, whatever the environment says.
NONE = "none"
_SCHEMES = ("http", "https")
_SEPARATORS = re.compile(r"[,\s]+")
_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*):(?P<port>[0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Proxy:
    """`url` is scheme, host and port; `authorization` what it is shown, if anything (RFC 9110, section 11.7.2)."""

    url: URL
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> "Proxy":
        """Read `http://user:password@host:port`, of which only the host is needed; raises MalformedError.

        The error does not repeat the text, which may have a password.
        """
        try:
            url = URL(text.strip() if "://" in text else f"http://{text.strip()}")
            origin = URL(str(url.origin()))
            user, password = url.user, url.password
        except ValueError:
            raise MalformedError("is not the URL of a proxy; write http://host:port") from None
        if url.scheme not in _SCHEMES or not url.host or url.path != "/" or url.query_string or url.fragment:
            raise MalformedError("is not the URL of an HTTP proxy; write http://host:port (or https), nothing after it")
        if user is None and password is None:
            return cls(origin)
        if ":" in (user or "") or not f"{user}{password}".isprintable():
            raise MalformedError("has a user or password that a proxy cannot be sent; percent-encode what is special")
        return cls(origin, encode_basic_auth(user or "", password or ""))


@dataclass(frozen=True, slots=True)
class _Exception:
    """An entry of NO_PROXY; an address range, or a name that begins with a dot, below which everything is meant."""

    network: IPv4Network | IPv6Network | None
    suffix: str
    is_host_meant: bool
    port: int | None

    def matches(self, host: str, port: int | None) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            address = read_address(host)
            return address is not None and address in self.network
        return host.endswith(self.suffix) or (self.is_host_meant and host == self.suffix[1:])


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies by scheme; none by default. `always` takes precedence over the others, and has no exceptions."""

    http: Proxy | None = None
    https: Proxy | None = None
    exceptions: Sequence[_Exception] = ()
    always: Proxy | None = None

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> "Proxies":
        """Read HTTP_PROXY, HTTPS_PROXY and NO_PROXY, else their lower case; MalformedError names the variable."""
        proxies: list[Proxy | None] = []
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            variable = name if environment.get(name) else name.lower()
            text = environment.get(variable, "")
            try:
                proxies.append(Proxy.parse(text) if text else None)
            except MalformedError as err:
                what = str(err).partition("; ")[0]
                raise MalformedError(
                    f'the environment variable {variable} {what}; write http://host:port there, or proxy = "none" here'
                ) from None
        no_proxy = environment.get("NO_PROXY") or environment.get("no_proxy", "")
        entries = [one for one in _SEPARATORS.split(no_proxy.strip().lower()) if one]
        if "*" in entries:
            return cls()
        exceptions = tuple(one for entry in entries for one in _read_exception(entry))
        return cls(proxies[0], proxies[1], exceptions)

    def for_url(self, url: URL) -> Proxy | None:
        """Return the proxy of a request."""
        if self.always is not None:
            return self.always
        host = (url.raw_host or "").lower().rstrip(".")
        # As Go does: loopback is never asked through a proxy.
        if place_of(host) is Place.LOOPBACK or any(one.matches(host, url.port) for one in self.exceptions):
            return None
        return self.https if url.scheme == "https" else self.http

    def has(self, host: str, port: int) -> bool:
        """Return whether one of the proxies is at this host and port."""
        return any(
            one is not None and (one.url.raw_host, one.url.port) == (host, port)
            for one in (self.http, self.https, self.always)
        )


DIRECT = Proxies()


def _read_exception(entry: str) -> list[_Exception]:
    if (network := _network(entry)) is not None:
        return [_Exception(network, "", is_host_meant=False, port=None)]
    found = _PORT.fullmatch(entry)
    host, port = (found["host"], int(found["port"])) if found else (entry, None)
    host = host.removeprefix("[").removesuffix("]")
    if (network := _network(host)) is not None:
        return [_Exception(network, "", is_host_meant=False, port=port)]
    name = host.removeprefix("*").rstrip(".")
    if not name:
        return []
    return [_Exception(None, name if name.startswith(".") else f".{name}", not name.startswith("."), port)]


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
