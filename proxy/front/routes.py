"""From a request line to what is asked for (distribution-spec 1.1, Endpoints).

Works on the raw path: a decoded `%2f` would make another name of it (measured: aiohttp's `path` decodes), so a path
with `%`, `//` or `..` names nothing here. Two steps, so that a request whose registry is unknown can still be refused
in the form that stops its client: `parse` reads what was written, `Namespaces.repository` says which repository it is.
For the same reason `guess` says of what cannot be read what it looks like.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import parse_qsl

from proxy.oci.errors import MalformedError, UnknownUpstreamError
from proxy.oci.reference import Repository, canonical_registry, looks_like_registry

# No request of this API has more than four query parameters.
QUERY_FIELDS_MAX = 8
_SHAPE = re.compile(
    r"/v2/(?P<name>.+)/(?:(?P<kind>manifests|blobs|referrers)/(?P<reference>[^/]+)|tags/list)", re.ASCII
)
# Whatever can be taken for a pull.
_PULL = re.compile(r".*/(?P<kind>manifests|blobs)/(?P<reference>.*)", re.ASCII | re.IGNORECASE | re.DOTALL)
# moby, dockerversion/useragent.go; daemon/containerd/resolver.go adds the second word. What follows `UpstreamClient(`
# the program says that uses Docker, which may be called anything.
_CLASSIC_DOCKER = re.compile(r"docker/(?!(?:(?! UpstreamClient\().)* containerd-client/)", re.ASCII | re.DOTALL)
_NS = re.compile(r"(?:^|&)ns(?:=|&|$)", re.ASCII)
# The header that only containers/image (podman, skopeo, buildah, CRI-O) sends in requests; measured.
CONTAINERS_IMAGE_HEADER = "Docker-Distribution-API-Version"
_CONTAINERS_IMAGE = re.compile(rb"\r\ndocker-distribution-api-version[ \t]*:", re.IGNORECASE)


class Kind(StrEnum):
    """The endpoints there are."""

    PING = "ping"
    MANIFESTS = "manifests"
    BLOBS = "blobs"
    REFERRERS = "referrers"
    TAGS = "tags"
    UNSUPPORTED = "unsupported"


# What brings content onto a machine, and so what a client may look for elsewhere if it is refused here.
PULLS = frozenset({Kind.MANIFESTS, Kind.BLOBS})


class Dialect(StrEnum):
    """The kind of client, as far as it decides which answer stops it; recognized by its requests, not by its name."""

    CONTAINERS_IMAGE = "containers_image"  # sends Docker-Distribution-API-Version
    CONTAINERD = "containerd"  # sends ?ns= (containerd, BuildKit, Docker with the containerd store)
    DOCKER = "docker"  # sends neither (Docker's classic store), or is none of these


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for, as it was written. Nothing in it has been looked up."""

    method: str
    kind: Kind
    name: str = ""
    reference: str = ""
    query: Mapping[str, str] | None = None
    dialect: Dialect = Dialect.DOCKER
    agent: str = ""
    #: Set by `Namespaces.placed`: the registry in the path may be the namespace of an image at Docker Hub.
    may_be_mirrored: bool = False

    @property
    def ns(self) -> str | None:
        """The registry that a containerd mirror request is meant for (distribution-spec, Registry Proxying)."""
        return (self.query or {}).get("ns")

    @property
    def by_digest(self) -> bool:
        """Say whether the reference is a digest."""
        return ":" in self.reference

    @property
    def names_registry(self) -> bool:
        """Return whether the first part of the path reads as a registry."""
        first, slash, _ = self.name.partition("/")
        return bool(slash) and looks_like_registry(first)

    @property
    def is_explicit(self) -> bool:
        """Say whether the client must have been told this proxy's own name, so that it has nowhere else to go.

        The registry in the path says so, but not for clients that also write it so for a mirror: containerd adds `ns=`,
        and containers/image sends the same request for `podman pull proxy/docker.io/x` as for a mirror at
        `proxy/docker.io`. Nor where Docker may mean an image of Docker Hub: see `Namespaces.placed`.
        """
        return self.names_registry and self.dialect is Dialect.DOCKER and not self.may_be_mirrored

    @property
    def is_classic_docker(self) -> bool:
        """Return whether the User-Agent is Docker's with its classic store: its requests are like those of tools.

        With the containerd store (named in its User-Agent) it adds `ns=` to what it asks of a mirror.
        """
        return self.dialect is Dialect.DOCKER and _CLASSIC_DOCKER.match(self.agent) is not None


def parse(method: str, raw_path: str, headers: Mapping[str, str]) -> Asked:
    """Read a request line and the header that tells the dialect; raises MalformedError for what names nothing.

    What is no pull at all is of the kind UNSUPPORTED.
    """
    path, _, query_text = raw_path.partition("?")
    if path in {"/v2", "/v2/"}:
        return Asked(method, Kind.PING, dialect=_dialect(headers, has_ns=False))
    shape = _SHAPE.fullmatch(path)
    if method not in {"GET", "HEAD"} or (shape is None and _PULL.fullmatch(path) is None):
        return Asked(method, Kind.UNSUPPORTED)
    if shape is None or _is_upload(shape):
        raise MalformedError("the path is not that of a manifest or a blob")
    if "%" in path or "//" in path or "/../" in path:
        raise MalformedError("the path has %, // or .., which no repository name has")
    query = _query(query_text)
    dialect = _dialect(headers, has_ns="ns" in query)
    agent = headers.get("User-Agent", "")
    return Asked(method, Kind(shape["kind"] or "tags"), shape["name"], shape["reference"] or "", query, dialect, agent)


def guess(method: str, raw_path: str, headers: Mapping[str, str]) -> Asked:
    """Say what a request that `parse` cannot read looks like: enough to refuse it in the form that stops its client.

    It has no name, so that it is never taken for one of a client that has nowhere else to go.
    """
    path, _, query_text = raw_path.partition("?")
    shape = _PULL.fullmatch(path)
    if shape is None:
        return Asked(method, Kind.UNSUPPORTED)
    dialect = _dialect(headers, has_ns=_NS.search(query_text) is not None)
    return Asked(method, Kind(shape["kind"].lower()), "", shape["reference"], None, dialect)


def guess_head(head: bytes) -> Asked:
    """Return what a request head looks like that was not read, or not to its end: as `guess` does."""
    method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    sent = {CONTAINERS_IMAGE_HEADER: ""} if _CONTAINERS_IMAGE.search(head) is not None else {}
    return guess(method, rest.partition(" ")[0], sent)


def _dialect(headers: Mapping[str, str], *, has_ns: bool) -> Dialect:
    if CONTAINERS_IMAGE_HEADER in headers:
        return Dialect.CONTAINERS_IMAGE
    return Dialect.CONTAINERD if has_ns else Dialect.DOCKER


def _is_upload(shape: re.Match[str]) -> bool:
    return shape["kind"] == "blobs" and shape["reference"] == "uploads"


def _query(text: str) -> dict[str, str]:
    if not text:
        return {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError as err:
        raise MalformedError(f"the query cannot be read: {err}") from None
    query = dict(pairs)
    if len(query) != len(pairs):
        raise MalformedError("a query parameter occurs twice")
    return query


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The closed table of registries that this proxy stands in front of, and the one that is meant without a hint."""

    registries: Collection[str]
    default: str

    def placed(self, asked: Asked) -> Asked:
        """Mark a request that may mean an image of Docker Hub by a path that begins with a registry.

        Docker asks its mirror for `docker.io/localhost/app` and `docker.io/with.dot/app` without `docker.io`, and goes
        on to Docker Hub when the mirror says no. So a name that begins with no configured registry says nothing about
        the client; nor does one that does, if the client is Docker. Only a port cannot stand in such a path.
        """
        first = asked.name.partition("/")[0]
        is_certain = self._is_configured(first) and (":" in first or not asked.is_classic_docker)
        return replace(asked, may_be_mirrored=asked.names_registry and not is_certain)

    def _is_configured(self, first: str) -> bool:
        try:
            return canonical_registry(first) in self.registries
        except MalformedError:
            return False

    def repository(self, asked: Asked) -> Repository:
        """Say which repository is asked for: by the path's first part, by `ns=`, or at the default registry.

        Raises MalformedError for a bad name or two hints that differ, UnknownUpstreamError for a registry that is not
        in the table.
        """
        first, slash, rest = asked.name.partition("/")
        in_path = canonical_registry(first) if slash and looks_like_registry(first) else None
        in_query = canonical_registry(asked.ns) if asked.ns else None
        if in_path and in_query and in_path != in_query:
            raise MalformedError(f"the path says registry {in_path}, ns= says {in_query}")
        registry = in_path or in_query or self.default
        if registry not in self.registries:
            raise UnknownUpstreamError(f"registry {registry} is not configured here")
        return Repository.of(registry, rest if in_path else asked.name)
