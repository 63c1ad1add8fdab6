"""Which network a host belongs to, in every form that some resolver reads as an address."""

import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.addresses import place_of, read_address

PLACES = {
    "loopback": [
        "localhost",
        "LOCALHOST.",
        "x.localhost",
        "127.0.0.1",
        "127.0.0.1.",
        "127.255.255.254",
        "127.1",
        "127.0.1",
        "0x7f.1",
        "0X7F000001",
        "0177.0.0.1",
        "0000000000000000177.1",
        "2130706433",
        "017700000001",
        "127.0.0.0x1",
        "::1",
        "::1%1",
        "0:0:0:0:0:0:0:1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
    ],
    "link-local": [
        "169.254.169.254",
        "0xa9fea9fe",
        "169.254.43518",
        "::ffff:169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "fe80::1%25eth0",
    ],
    "private": [
        "10.0.0.1",
        "10.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "198.18.0.1",
        "203.0.113.1",
        "fd00::1",
        "fd00:ec2::254",
        "fec0::1",
        "::ffff:10.0.0.1",
        "2001:db8::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "3fff::1",
    ],
    "reserved": [
        "0.0.0.0",  # noqa: S104
        "0",
        "0x0",
        "0x",
        "0.1.2.3",
        "::",
        "::ffff:0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "ff02::1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::808:808",
        "2002:a00:1::1",
        "2002:7f00:1::",
        "100::1",
        "16843009",
        "01.1.1.1",
        "1.0x7f",
        "08.1",
        "1.256.1",
        "1.2.3.4.5",
        "4294967296",
        "9" * 5000,
        "name.0x7f",
        "name.1",
    ],
    None: [
        "1.1.1.1",
        "1.1.1.1.",
        "0.example",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "2606:4700::1111%eth0",
        "64:ff9b::808:808",
        "2002:808:808::1",
        "::ffff:8.8.8.8",
        "cdn.example",
        "1cdn.example1",
        "localhost.example",
        "xn--1-6q9a.example",
        "",
    ],
}


@pytest.mark.parametrize(("place", "host"), [(place, host) for place, hosts in PLACES.items() for host in hosts])
def test_the_network_of_a_host(place, host):
    assert place_of(host) == place


INTERNAL = ["127.0.0.1", "10.1.2.3", "172.31.0.9", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"]  # noqa: S104
_BASES = st.sampled_from(["{:d}", "0{:o}", "0x{:x}", "0X{:X}", "000{:o}", "0x00{:x}"])


@st.composite
def written(draw, addresses):
    """Write an IPv4 address in one of the ways that inet_aton reads."""
    address = int(IPv4Address(draw(addresses)))
    count = draw(st.integers(1, 4))
    parts = [address >> 24 - 8 * at & 0xFF for at in range(count - 1)]
    parts.append(address & (1 << 8 * (5 - count)) - 1)
    return ".".join(draw(_BASES).format(part) for part in parts) + draw(st.sampled_from(["", "."]))


@given(host=written(st.sampled_from(INTERNAL)))
def test_no_way_of_writing_an_internal_address_hides_it(host):
    """The system's own reader is the oracle."""
    assert read_address(host.rstrip(".").lower()) == IPv4Address(socket.inet_aton(host.rstrip(".")))
    assert place_of(host) is not None


@given(host=st.text("0123456789abcdefx.X", min_size=1, max_size=24))
def test_what_the_system_reads_as_an_internal_address_is_one(host):
    try:
        address = IPv4Address(socket.inet_aton(host))
    except OSError:
        return
    if not address.is_global:
        assert place_of(host) is not None


@given(host=st.sampled_from(INTERNAL), prefix=st.sampled_from([0, 0xFFFF << 32, 0xFFFF << 48, 0x64FF9B << 96]))
def test_no_ipv6_address_hides_an_internal_ipv4_address(host, prefix):
    assert place_of(str(IPv6Address(prefix | int(IPv4Address(host))))) is not None
    assert place_of(str(IPv6Address(0x2002 << 112 | int(IPv4Address(host)) << 80))) is not None
