"""Classify a host by its network: public, this machine, or an internal one that upstreams must not make us dial.

A host is classified as the system's resolver would read it: `getaddrinfo` takes `127.1`, `0x7f.1` and `2130706433` for
addresses (WHATWG URL, section 3.5, "ends in a number"; inet_aton(3)), and an IPv6 address may carry an IPv4 one.
"""

import re
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address


class Place(StrEnum):
    """A network that is not the public one."""

    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    PRIVATE = "private"
    RESERVED = "reserved"


# A decimal, octal (leading 0) or hexadecimal number: what a last label must be for a host to be read as IPv4.
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+", re.ASCII)
_DOTTED = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})(?:\.|$)){4}", re.ASCII)
_NUMBERS_MAX = 4
# IANA: the only block that global unicast addresses are given out of.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# The system sends what is for these to the IPv4 address in the last 32 bits (RFC 4291, 2.5.5; RFC 2765).
_SAME_AS_IPV4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("::/96"), IPv6Network("::ffff:0:0:0/96"))
# A gateway sends what is for these to an IPv4 address: NAT64 (RFC 6052) and 6to4 (RFC 3056). Teredo and the local
# NAT64 prefix (RFC 8215, of unknown length) are not global in any case.
_NAT64, _6TO4 = IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16")
# Global for some of the Python versions that we run on: IETF protocol assignments (192.0.0.192 is Oracle's metadata
# service) and documentation (RFC 9637). Global by number, the cloud's own by use: Azure's host agent
# (learn.microsoft.com, "What is IP address 168.63.129.16").
_MORE_PRIVATE_FOUR = (IPv4Network("192.0.0.0/24"), IPv4Network("168.63.129.16/32"))
_MORE_PRIVATE_SIX = IPv6Network("3fff::/20")


def place_of(host: str) -> Place | None:
    """Return the network that a host is written as belonging to; None for public addresses and for names."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return Place.LOOPBACK
    address = read_address(name)
    place = place_of_address(address) if address is not None else None
    # Nobody writes a public address otherwise, and resolvers differ in how they read it.
    return place if place is not None or is_plain(name) else Place.RESERVED


def is_plain(host: str) -> bool:
    """Return whether all readers agree on how to read a host: a name, four decimal numbers, or an IPv6 address."""
    last = host.rstrip(".").lower().rpartition(".")[2]
    return ":" in host or _DOTTED.fullmatch(host) is not None or not _NUMBER.fullmatch(last)


def read_address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is written as, without its zone, in any form that a resolver reads."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return _inet_aton(host)


@lru_cache(maxsize=1024)
def place_of_address(address: IPv4Address | IPv6Address) -> Place | None:
    """Return the network of an address, of the IPv4 address in it if there is one; None for the public one."""
    if isinstance(address, IPv4Address):
        return _place_of_four(address)
    low = IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64:
        return _beyond_a_gateway(low)
    if address in _6TO4:
        return _beyond_a_gateway(IPv4Address(int(address) >> 80 & 0xFFFFFFFF))
    if not address.is_loopback and any(address in network for network in _SAME_AS_IPV4):
        return _place_of_four(low)
    is_public = address.is_global and address in _GLOBAL_UNICAST and address not in _MORE_PRIVATE_SIX
    return None if is_public else _internal(address)


def _place_of_four(address: IPv4Address) -> Place | None:
    # 0.0.0.0/8 is dialled as this machine, but has no legitimate use as a destination.
    is_reserved = address.is_multicast or address.is_reserved or int(address) >> 24 == 0
    is_public = address.is_global and not is_reserved and not any(address in one for one in _MORE_PRIVATE_FOUR)
    return None if is_public else Place.RESERVED if is_reserved else _internal(address)


def _internal(address: IPv4Address | IPv6Address) -> Place:
    if address.is_loopback:
        return Place.LOOPBACK
    if address.is_link_local:
        return Place.LINK_LOCAL
    return Place.RESERVED if address.is_multicast or address.is_reserved else Place.PRIVATE


def _beyond_a_gateway(address: IPv4Address) -> Place | None:
    """Return None for a public address; an internal one is the gateway's, and so never the same place as ours."""
    return None if _place_of_four(address) is None else Place.RESERVED


def _inet_aton(host: str) -> IPv4Address | None:
    """Read one to four numbers, the last of which fills the remaining bytes."""
    labels = host.split(".")
    if len(labels) > _NUMBERS_MAX or not all(_NUMBER.fullmatch(label) for label in labels):
        return None
    try:
        *bytes_, last = (int(label[2:] or "0", 16) if label[:2] == "0x" else _decimal(label) for label in labels)
    except ValueError:
        return None
    if any(one > 0xFF for one in bytes_) or last >= 256 ** (_NUMBERS_MAX - len(bytes_)):  # noqa: PLR2004 (bytes)
        return None
    return IPv4Address(sum(one << (24 - 8 * at) for at, one in enumerate(bytes_)) + last)


def _decimal(label: str) -> int:
    # A number of thousands of digits is a ValueError too (CPython, int_max_str_digits).
    return int(label, 8 if label[0] == "0" else 10)
