"""Names: registry, repository, tag (distribution-spec, Pulling manifests).

A client's name is read once, here, into a frozen type. What Docker writes in short (`alpine`) is made
long (`docker.io/library/alpine`), so that a policy has one spelling to match.
"""

import re
from dataclasses import dataclass
from typing import Self

from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError

DOCKER_HUB = "docker.io"
# What clients also call Docker Hub (moby registry/config.go: IndexName, IndexHostname, DefaultRegistryHost).
_DOCKER_HUB_ALIASES = frozenset({"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
# distribution-spec: many clients limit host and name together to 255 characters.
NAME_MAX = 255
PORT_MAX = 65535
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
_REGISTRY = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:]+\])(?::[0-9]{1,5})?",
    re.ASCII,
)


def canonical_registry(text: str) -> str:
    """Read a registry's host name, `:port` allowed; all names of Docker Hub become `docker.io`.

    A bare word other than `localhost` is refused: in an image name it is the first part of a path at Docker Hub.
    """
    # Only ASCII has one lower case: the Kelvin sign's is an ordinary k.
    name = text.lower() if text.isascii() else ""
    if len(name) > NAME_MAX or not _REGISTRY.fullmatch(name) or _port(name) > PORT_MAX:
        hint = "; write the host only, as in ghcr.io or localhost:5000" if "/" in text or " " in text else ""
        raise MalformedError(f"registry name {text!a:.80} is not a host name, with or without a port{hint}")
    if not looks_like_registry(name):
        raise MalformedError(f"registry name {text!a:.80} needs a dot or a port, or it is read as a path at Docker Hub")
    return DOCKER_HUB if name in _DOCKER_HUB_ALIASES else name


def _port(name: str) -> int:
    port = name.rpartition(":")[2]
    return int(port) if port.isdigit() else 0


def looks_like_registry(first_part: str) -> bool:
    """Say whether the first part of a name is a host (distribution reference.go, splitDockerDomain)."""
    return "." in first_part or ":" in first_part or first_part == "localhost"


def is_tag(text: str) -> bool:
    """Return whether the text matches the specification's pattern of a tag."""
    return _TAG.fullmatch(text) is not None


def check_tag(text: str) -> str:
    """Return the tag unchanged; raises MalformedError where the specification's pattern does not match."""
    if not text:
        raise MalformedError("the tag is empty")
    if not is_tag(text):
        raise MalformedError(f"tag {text!a:.140} does not match [a-zA-Z0-9_][a-zA-Z0-9._-]{{0,127}}")
    return text


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at a registry, in canonical spelling."""

    registry: str
    path: str

    @classmethod
    def of(cls, registry: str, path: str) -> Self:
        """Check both parts and make them canonical (`docker.io` and one part: `library/` goes before)."""
        registry = canonical_registry(registry)
        if registry == DOCKER_HUB and "/" not in path:
            path = f"library/{path}"
        if len(registry) + 1 + len(path) > NAME_MAX:
            raise MalformedError(f"name {path!a:.40}... is longer than {NAME_MAX} characters with its registry")
        if not path.rpartition("/")[2]:
            raise MalformedError(f"repository name {path!a:.80} is empty or ends with a slash")
        if path != path.lower():
            raise MalformedError(f"repository name {path!a:.80} has upper case letters; write it in lower case")
        if not _PATH.fullmatch(path):
            raise MalformedError(
                f"repository name {path!a:.80} breaks the pattern of names; "
                "it may have a-z and 0-9, and between them '.', '_', '-' and '/'"
            )
        return cls(registry, path)

    @classmethod
    def parse(cls, text: str, default_registry: str = DOCKER_HUB) -> Self:
        """Read `alpine`, `org/app` or `ghcr.io/org/app`."""
        first, slash, rest = text.partition("/")
        if slash and looks_like_registry(first):
            return cls.of(first, rest)
        return cls.of(default_registry, text)

    def __str__(self) -> str:
        """Write the long form, `docker.io/library/alpine`."""
        return f"{self.registry}/{self.path}"


@dataclass(frozen=True, slots=True)
class Reference:
    """What a client asks for: a repository with a tag, a digest or both."""

    repository: Repository
    tag: str | None = None
    digest: Digest | None = None

    def __post_init__(self) -> None:
        """Refuse a reference that names nothing."""
        if self.tag is None and self.digest is None:
            raise MalformedError(f"{self.repository} has neither a tag nor a digest")

    @classmethod
    def of(cls, repository: Repository, text: str) -> Self:
        """Read the `<reference>` of `/v2/<name>/manifests/<reference>`: a digest where there is a colon, else a tag."""
        if ":" in text:
            return cls(repository, digest=Digest.parse(text))
        return cls(repository, tag=check_tag(text))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an image name as a person writes it: `alpine`, `ghcr.io/org/app:1@sha256:...`."""
        name, at, digest = text.partition("@")
        head, colon, last = name.rpartition(":")
        tag = last if colon and "/" not in last else None
        repository = Repository.parse(head if tag is not None else name)
        if tag is None and not at:
            tag = "latest"
        return cls(repository, check_tag(tag) if tag is not None else None, Digest.parse(digest) if at else None)

    def __str__(self) -> str:
        """Write the long form."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")
