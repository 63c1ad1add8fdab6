"""The system's resolver in threads of its own.

A lookup may hang for as long as the DNS does not answer (resolv.conf(5): 5 s, twice, for each server) and cannot be
given up. asyncio's own threads are few (processors and 4), and files, long documents and hashes wait for them too.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from socket import AF_INET, AF_INET6, AI_ADDRCONFIG, AI_NUMERICHOST, AI_NUMERICSERV, SOCK_STREAM, AddressFamily

from aiohttp.abc import AbstractResolver, ResolveResult

# Of one pool of connections: a registry, its token service, its storage. The same name is looked up once for all.
LOOKUPS_MAX = 4


class SystemResolver(AbstractResolver):
    """Looks names up with `getaddrinfo`; raises OSError as it does."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS_MAX, "lookup")

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        """Return the addresses of a host."""
        look_up = partial(socket.getaddrinfo, host, port, family=family, type=SOCK_STREAM, flags=AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [
            ResolveResult(
                hostname=host,
                host=_address(address),
                port=port,
                family=kind,
                proto=protocol,
                flags=AI_NUMERICHOST | AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
            if kind in {AF_INET, AF_INET6}
        ]

    async def close(self) -> None:
        """Take no more lookups, and wait for none."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _address(address: tuple[object, ...]) -> str:
    """Return the address, with the link where it is valid on one link only (RFC 4007, section 11)."""
    host = str(address[0])
    has_scope = len(address) == 4 and bool(address[3])  # noqa: PLR2004 (address, port, flow, scope)
    return f"{host}%{address[3]}" if has_scope and "%" not in host else host
