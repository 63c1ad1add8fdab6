"""The connector of an upstream: it checks the very address that is dialled, not only the name that was written.

A name is resolved once for each connection, and only the permitted addresses of the answer are tried, so that the DNS
cannot answer one thing to the check and another to the dial (DNS rebinding). Internal addresses are for

1. the registry's own host, which the operator configured,
2. the hosts of `redirect_hosts` and `token_realms`,
3. hosts that a server led to that was itself reached in the same network (`origins.may_be_internal`).

Behind a proxy the proxy resolves and dials: there only the written form of a host is checked.
"""

from collections.abc import Set as AbstractSet
from socket import AF_INET, EAI_NODATA, AddressFamily

from aiohttp import ClientRequest, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from cachetools import LRUCache
from yarl import URL

from proxy.oci.errors import UnavailableError
from proxy.upstream.addresses import Place, place_of
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.origins import is_listed, may_be_internal
from proxy.upstream.resolver import SystemResolver

# Hosts are named by upstreams; a registry has a token service and a few storage hosts (Docker Hub: 3 in a month).
HOSTS_MAX = 256


class Guard:
    """The addresses that may be dialled for one upstream; shared by its connectors."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._registry = _dialled(endpoint.base.origin)
        self._listed: AbstractSet[str] = endpoint.redirect_hosts | endpoint.token_realms
        self._reached: LRUCache[str, Place | None] = LRUCache(HOSTS_MAX)
        self._led: LRUCache[str, Place] = LRUCache(HOSTS_MAX)

    def place(self, url: URL) -> Place | None:
        """Return the network in which the host was last reached, or to which it is written as belonging."""
        host = _dialled(url)
        return place_of(host) or self._reached.get(host)

    def lead(self, by: URL, to: URL) -> None:
        """Note that the server at `by` named `to`: in its own network this may be an internal address."""
        place = self.place(by)
        if place is not None:
            self._led[_dialled(to)] = place

    def permits(self, host: str, port: int | None, address: str) -> bool:
        """Return whether this address of the host may be dialled; changes no state."""
        name, place = host.lower().rstrip("."), place_of(address)
        if place is None or name == self._registry or is_listed(name, port, self._listed):
            return True
        return may_be_internal(self._led.get(name), place)

    def reached(self, url: URL, address: str) -> None:
        """Note the address at which a host answered; raises UnavailableError where it may not be there."""
        host = _dialled(url)
        if not self.permits(host, url.port, address):
            raise self.refusal(host)
        self._reached[host] = place_of(address)

    def refusal(self, host: str) -> UnavailableError:
        """Return the error for a host with internal addresses only; it does not tell clients which they are."""
        return UnavailableError(
            f"{self._registry} leads to {host[:80]!r}, a name for an internal address, which is refused: if that is "
            "its storage or token service, add it to redirect_hosts or token_realms"
        )


class GuardedResolver(AbstractResolver):
    """The system's resolver without the addresses that the guard does not permit."""

    def __init__(self, guard: Guard, resolver: AbstractResolver) -> None:
        self._guard = guard
        self._resolver = resolver

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        """Return the permitted addresses; raises UnavailableError where there are only others, OSError for none."""
        found = await self._resolver.resolve(host, port, family)
        if self._guard.endpoint.proxies.has(host, port):
            return found  # of which `connect` sees to it that it is asked as a proxy
        permitted = [one for one in found if self._guard.permits(host, port, one["host"])]
        if not permitted:
            raise self._guard.refusal(host) if found else OSError(EAI_NODATA, "no address")
        return permitted

    async def close(self) -> None:
        """Close the system's resolver."""
        await self._resolver.close()


class GuardedConnector(TCPConnector):
    """Connects to what the guard permits. The peer is looked at once more before anything is sent to it.

    That covers addresses that were written as such, which aiohttp does not resolve.
    """

    def __init__(self, guard: Guard, limit: int) -> None:
        super().__init__(resolver=GuardedResolver(guard, SystemResolver()), limit=limit)
        self._guard = guard

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:  # noqa: ASYNC109 (aiohttp's)
        """Return a connection; raises what the guard raises."""
        connection = await super().connect(req, traces, timeout)
        peer = connection.transport.get_extra_info("peername") if connection.transport is not None else None
        if req.proxy is None and peer is not None:
            try:
                self._guard.reached(req.url, peer[0])
            except UnavailableError:
                connection.close()
                raise
        return connection


def _dialled(url: URL) -> str:
    return (url.raw_host or "").lower().rstrip(".")
