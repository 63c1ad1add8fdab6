"""Where a request may go: the registry, its token service, the storage that it redirects to.

What an upstream names is checked here as it is written; what a name resolves to is checked where it is dialled
(`dialling`).
"""

import re
from collections.abc import Set as AbstractSet

from yarl import URL

from proxy.oci.errors import MalformedError, UnavailableError, UpstreamDeniedError
from proxy.upstream.addresses import Place, is_plain, place_of, read_address

_DEFAULT_SCHEMES = ("https", "http")
# RFC 9110, section 10.2.2, and RFC 3986: a URI reference is printable ASCII.
_URI = re.compile(r"[!-~]+", re.ASCII)
# Letters, digits, hyphens and underscores, or an IPv6 address without a zone, so that the checked host is the one that
# is dialled. No percent-encoding and no empty label, which one reader decodes or drops and the next one does not.
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?", re.ASCII)
_PORT = re.compile(r"(?:[0-9]{1,5})?", re.ASCII)
_SIX = re.compile(r"[0-9a-f:.]*:[0-9a-f:.]*", re.ASCII)
# A parent like co.uk or com.au: two labels, a country of two letters below which a short label is a category.
_CATEGORY_SUFFIX = re.compile(r"[^.]{1,3}\.[a-z]{2}", re.ASCII)


def read_origin(text: str) -> URL:
    """Read scheme, host and port of a registry's configured URL; raises MalformedError where it has more but a path."""
    try:
        url = URL(text)
    except ValueError:
        raise MalformedError(f"{text[:80]!r} is not a URL; write https://HOST or https://HOST:PORT") from None
    if url.scheme not in _DEFAULT_SCHEMES or not url.host:
        hint = "; write https:// before the host" if "://" not in text else ""
        raise MalformedError(f"{text[:80]!r} is not an http or https URL{hint}")
    host = url.raw_host or ""
    if not (_NAME.fullmatch(host) or _SIX.fullmatch(host.partition("%")[0])):
        raise MalformedError(
            f"{text[:80]!r} has no host name between https:// and the path; write it without * and spaces"
        )
    if not is_plain(url.raw_host or ""):
        raise MalformedError(f"{url.host[:80]!r} is no usual way to write an address; write it as in 192.0.2.1")
    if url.user is not None or url.password is not None:
        raise MalformedError("the URL of a registry has no user; write username and password_file")
    if "?" in text or "#" in text:
        raise MalformedError("the URL of a registry has no query and no fragment; leave out what begins with ? or #")
    return origin_of(url)


def origin_of(url: URL) -> URL:
    """Return scheme, host and port of a URL; equal for `https://a.test` and `https://a.test:443`, as URLs are not."""
    return URL(str(url.origin()))


def is_loopback(host: str) -> bool:
    """Return whether the host is written as this machine: `localhost`, `127.0.0.1`, `::1`."""
    return place_of(host) is Place.LOOPBACK


def host_of(url: URL) -> str:
    """Return the host that is dialled, in lower case and without a final dot; empty where it is no name or address."""
    host = (url.raw_host or "").lower()
    return host.removesuffix(".") if _NAME.fullmatch(host) or _SIX.fullmatch(host) else ""


def may_be_internal(by: Place | None, to: Place) -> bool:
    """Return whether a server in one network may name a host in another: private to private, this machine to itself."""
    return by is to and to in {Place.LOOPBACK, Place.PRIVATE}


def redirect_target(  # noqa: PLR0913 (who leads where, and what the configuration says of it)
    current: URL, location: str, registry: URL, hosts: AbstractSet[str], *, plain: bool, place: Place | None = None
) -> URL:
    """Return where a redirect leads, as it was written, for a signed URL must not be normalised.

    `place` is the network in which the server that redirects was reached, where its host is a name. Refused with an
    UnavailableError: leaving https, plain http unless to loopback or `plain`, and an internal address unless it is the
    registry's own host, one of `hosts`, or of the network that the redirecting server is in itself.
    """
    try:
        url = current.join(URL(location, encoded=True)) if _URI.fullmatch(location) else URL()
        _ = url.port  # parsed only now
    except ValueError:
        url = URL()
    host = host_of(url)
    if url.scheme not in _DEFAULT_SCHEMES or not host or url.user is not None or url.password is not None:
        raise UnavailableError(f"{registry.host} redirects to something that is no http URL")
    if url.scheme == "http" and (current.scheme == "https" or not (plain or is_loopback(host))):
        raise UnavailableError(f"{registry.host} redirects to plain http at {host[:80]!r}, which is refused")
    there = place_of(host)
    if there is None or host == host_of(registry) or is_listed(host, url.port, hosts):
        return url
    if may_be_internal(place_of(host_of(current)) or place, there):
        return url
    raise UnavailableError(
        f"{registry.host} redirects to the internal address {host[:80]!r}, which is refused: "
        "if that is its storage, add it to redirect_hosts"
    )


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
        url = URL(realm) if _URI.fullmatch(realm) else URL()
    except ValueError:
        url = URL()
    host = host_of(url)
    if url.scheme not in _DEFAULT_SCHEMES or not host or url.user is not None or url.password is not None:
        raise UpstreamDeniedError(f"{registry.host} names a token service that is no http URL")
    if url.scheme == "http" and (registry.scheme == "https" or not (plain or is_loopback(host))):
        raise UpstreamDeniedError(
            f"{registry.host} names a token service at plain http ({host[:80]}), which is refused"
        )
    if not (_same_family(host, host_of(registry)) or is_listed(host, url.port, realms)):
        raise UpstreamDeniedError(
            f"{registry.host} names a token service at {host[:80]}, which is not of its domain: "
            f"if it is to get the credentials, add {host[:80]} to token_realms"
        )
    return url.with_fragment(None)


def _same_family(host: str, registry: str) -> bool:
    if host == registry:
        return True
    if read_address(registry) or "." not in registry:
        return False
    parent = registry.partition(".")[2]
    is_domain = "." in parent and not _CATEGORY_SUFFIX.fullmatch(parent)
    return host.endswith("." + registry) or (is_domain and (host == parent or host.endswith("." + parent)))


def check_hosts(key: str, hosts: AbstractSet[str]) -> None:
    """Raise MalformedError for an entry that no host could ever match, such as a URL."""
    for one in sorted(hosts):
        host, port = one.lower(), ""
        if not _SIX.fullmatch(host):
            host, _, port = host.partition("]:") if host.startswith("[") else host.partition(":")
            host = host.removeprefix("[").removesuffix("]")
        if not (_NAME.fullmatch(host) or _SIX.fullmatch(host)) or not _PORT.fullmatch(port):
            raise MalformedError(
                f"{key}: {one[:80]!r} is not a host; write a name or an address, with or without a port, as in "
                "storage.example.com:9000"
            )


def is_listed(host: str, port: int | None, hosts: AbstractSet[str]) -> bool:
    """Return whether a configured list has the host, or the host with this port."""
    written = f"[{host}]" if ":" in host else host
    return not {host, written, f"{host}:{port}", f"{written}:{port}"}.isdisjoint(one.lower() for one in hosts)
