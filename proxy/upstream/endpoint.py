"""An upstream as it is configured: where it is, how it is trusted, what we may show it, how long we wait."""

from dataclasses import dataclass
from pathlib import Path

from yarl import URL

from proxy.oci.errors import MalformedError
from proxy.oci.reference import canonical_registry
from proxy.upstream.base_url import BaseUrl
from proxy.upstream.credentials import IDENTITY_TOKEN_USER, Credentials
from proxy.upstream.forward_proxy import DIRECT, Proxies, Proxy
from proxy.upstream.origins import check_hosts, is_loopback

__all__ = ["IDENTITY_TOKEN_USER", "Credentials", "Endpoint", "Limits"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One line of the closed table of upstreams.

    `name` is the registry's canonical name (`docker.io`), `url` where it is asked (`https://registry-1.docker.io`,
    or below a path: `base_url`).
    `ca_file` (PEM) is trusted besides the system's roots, as Docker's `ca.crt` is. Plain http is for loopback, or with
    `insecure_http`. `token_realms` and `redirect_hosts` are host names (or `host:port`) of token services and of
    storage that the rules of `origins` would refuse. `signatures` is the registry that this one is a mirror of, where
    the mirror loses signatures: asked for these besides it, with nothing of what is said here about the mirror.
    `client_certificate` and `client_key` (PEM) are shown to the registry and the hosts of `token_realms`, no others.
    `proxies` are asked in place of the host of a URL, also for its token service and storage.
    `denied_is_absent` says what it means that a registry denies a signature (401, 403) whose image it gives.
    Raises MalformedError for a name or URL that does not fit.
    """

    name: str
    url: str
    ca_file: Path | None = None
    credentials: Credentials | None = None
    insecure_http: bool = False
    token_realms: frozenset[str] = frozenset()
    redirect_hosts: frozenset[str] = frozenset()
    signatures: "Endpoint | None" = None
    proxies: Proxies = DIRECT
    client_certificate: Path | None = None
    client_key: Path | None = None
    denied_is_absent: bool = True

    def __post_init__(self) -> None:
        """Check once what everything below relies on."""
        if canonical_registry(self.name) != self.name:
            raise MalformedError(f"{self.name!r} is not the canonical name; write {canonical_registry(self.name)!r}")
        check_hosts("token_realms", self.token_realms)
        check_hosts("redirect_hosts", self.redirect_hosts)
        origin = self.base.origin
        if origin.scheme == "http" and not (self.insecure_http or is_loopback(origin.host or "")):
            raise MalformedError(f"{self.url} is plain http and not loopback; use https, or set insecure_http = true")

    @property
    def base(self) -> BaseUrl:
        """The parts of `url`."""
        return BaseUrl.parse(self.url)

    @property
    def proxy(self) -> Proxy | None:
        """The proxy through which the registry itself is asked, if any."""
        return self.proxies.for_url(URL(self.url))


@dataclass(frozen=True, slots=True)
class Limits:
    """How long we wait, in seconds.

    A manifest request must be answered within 20 s (containerd and Docker 29 give up after 30 s and go round the
    mirror), so everything that it waits for ends before: `total` has all attempts, tokens and redirects in it.
    `blob_open` is the same for the head of a blob, `blob_stall` the longest silence in its body.
    """

    connect: float = 5.0
    read: float = 10.0
    total: float = 15.0
    blob_open: float = 25.0
    blob_stall: float = 60.0
