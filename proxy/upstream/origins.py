"""Where a request may go: the registry, its token service, the storage that it redirects to.

What an upstream names is checked as it is written. Not covered: a DNS name of a foreign zone that resolves to an
internal address; who must exclude that limits the proxy's egress.
"""

import re
from collections.abc import Set as AbstractSet
from ipaddress import IPv4Address, IPv6Address, ip_address

from yarl import URL

from proxy.oci.errors import MalformedError, UnavailableError, UpstreamDeniedError

_DEFAULT_SCHEMES = ("https", "http")
# RFC 9110, section 10.2.2, and RFC 3986: a URI reference is printable ASCII.
_URI = re.compile(r"[!-~]+", re.ASCII)
# What getaddrinfo reads as an IPv4 address though it is not written as one (WHATWG URL, "ends in a number").
_NUMERIC_LABEL = re.compile(r"0x[0-9a-f]*|[0-9]+", re.ASCII)
# A parent like co.uk or com.au: two labels, a country of two letters below which a short label is a category.
_CATEGORY_SUFFIX = re.compile(r"[^.]{1,3}\.[a-z]{2}", re.ASCII)


def read_origin(text: str) -> URL:
    """Read the configured URL of a registry: scheme, host and port, nothing else; raises MalformedError."""
    try:
        url = URL(text)
    except ValueError:
        raise MalformedError(f"{text[:80]!r} is not a URL") from None
    if url.scheme not in _DEFAULT_SCHEMES or not url.host:
        raise MalformedError(f"{text[:80]!r} is not an http or https URL")
    if url != url.origin().with_path("/"):
        raise MalformedError("the URL of a registry is only scheme, host and port: no user, path or query")
    return origin_of(url)


def origin_of(url: URL) -> URL:
    """Return scheme, host and port of a URL; equal for `https://a.test` and `https://a.test:443`, as URLs are not."""
    return URL(str(url.origin()))


def is_loopback(host: str) -> bool:
    """Say whether the host is written as this machine: `localhost`, `127.0.0.1`, `::1`."""
    return _place(host) == "loopback"


def redirect_target(current: URL, location: str, registry: URL, hosts: AbstractSet[str], *, plain: bool) -> URL:
    """Return where a redirect leads, as it was written, for a signed URL must not be normalised.

    Refused with an UnavailableError: leaving https, plain http unless to loopback or `plain`, and an internal address
    where the registry is not of the same place (loopback, link-local, private) and the host is not one of `hosts`.
    """
    try:
        url = current.join(URL(location, encoded=True)) if _URI.fullmatch(location) else URL()
        _ = url.port  # parsed only now
    except ValueError:
        url = URL()
    host = url.host or ""
    if url.scheme not in _DEFAULT_SCHEMES or not host or url.user is not None or url.password is not None:
        raise UnavailableError(f"{registry.host} redirects to something that is no http URL")
    if url.scheme == "http" and (current.scheme == "https" or not (plain or is_loopback(host))):
        raise UnavailableError(f"{registry.host} redirects to plain http at {host[:80]!r}, which is refused")
    if _place(host) not in {None, _place(registry.host or "")} and not _listed(url, hosts):
        raise UnavailableError(
            f"{registry.host} redirects to the internal address {host[:80]!r}, which is refused: "
            "if that is its storage, add it to redirect_hosts"
        )
    return url


def token_service(realm: str, registry: URL, realms: AbstractSet[str], *, plain: bool) -> URL:
    """Return the URL of the token service that a registry's challenge names, if credentials may go there.

    That is: https (http where the registry itself is, and only to loopback or with `plain`), and as host
    1. the registry's own or one below it, or
    2. the registry's parent domain or one below that (registry-1.docker.io: docker.io, auth.docker.io), where the
       parent has two labels or more and does not look like a public suffix (co.uk), or
    3. one of `realms`.
    Everything else raises UpstreamDeniedError: CVE-2025-27403 and CVE-2026-33540 sent credentials to any realm.
    """
    try:
        url = URL(realm)
    except ValueError:
        url = URL()
    host = url.host or ""
    if url.scheme not in _DEFAULT_SCHEMES or not host or url.user is not None or url.password is not None:
        raise UpstreamDeniedError(f"{registry.host} names a token service that is no http URL")
    if url.scheme == "http" and (registry.scheme == "https" or not (plain or is_loopback(host))):
        raise UpstreamDeniedError(
            f"{registry.host} names a token service at plain http ({host[:80]}), which is refused"
        )
    if not (_same_family(host, registry.host or "") or _listed(url, realms)):
        raise UpstreamDeniedError(
            f"{registry.host} names a token service at {host[:80]}, which is not of its domain: "
            f"if it is to get the credentials, add {host[:80]} to token_realms"
        )
    return url.with_fragment(None)


def _same_family(host: str, registry: str) -> bool:
    if host == registry:
        return True
    if _address(registry) or "." not in registry:
        return False
    parent = registry.partition(".")[2]
    is_domain = "." in parent and not _CATEGORY_SUFFIX.fullmatch(parent)
    return host.endswith("." + registry) or (is_domain and (host == parent or host.endswith("." + parent)))


def _listed(url: URL, hosts: AbstractSet[str]) -> bool:
    return url.host in hosts or f"{url.host}:{url.port}" in hosts


def _place(host: str) -> str | None:
    """Return "loopback", "link-local" or "private" for a host written as such, None for all others."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return "loopback"
    address = _address(name)
    if address is None:
        return "private" if _NUMERIC_LABEL.fullmatch(name.rpartition(".")[2]) else None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    return None if address.is_global else "private"


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
