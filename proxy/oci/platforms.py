"""Platforms: what an index says its children are for (image-spec, image-index.md, `platform`).

Nothing is decided by them: they choose what to bring in ahead. So what cannot be read is no error, and names none.
"""

import re
from dataclasses import dataclass
from typing import Any, Self

from proxy.oci.errors import MalformedError
from proxy.oci.manifest import Manifest
from proxy.oci.strict_json import loads_object

# Go's GOOS and GOARCH, and the variants that the specification lists.
_PART = re.compile(r"[a-z0-9_.-]{1,32}", re.ASCII)
# What systems call architectures that Go, and so every index, names otherwise (containerd platforms/database.go).
_ARCHITECTURES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "armv6l": "arm",
    "armv7l": "arm",
    "i386": "386",
    "i686": "386",
}


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and an architecture, as in `linux/arm64`; `variant` is empty where none is named."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def of(cls, os: str, architecture: str, variant: str = "") -> Self:
        """Give an architecture its usual name. That of arm64 has one variant, v8, which is not always named."""
        architecture = _ARCHITECTURES.get(architecture, architecture)
        return cls(os, architecture, "" if (architecture, variant) == ("arm64", "v8") else variant)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `linux/amd64` or `linux/arm/v7`; raises MalformedError for anything else."""
        os, _, rest = (text.lower() if text.isascii() else "").partition("/")
        architecture, slash, variant = rest.partition("/")
        parts = (os, architecture, variant) if slash else (os, architecture)
        if not all(map(_PART.fullmatch, parts)):
            raise MalformedError(f"platform {text!a:.80} is not an operating system and an architecture")
        return cls.of(os, architecture, variant)

    def covers(self, other: "Platform") -> bool:
        """Say whether the other is this one; one that names no variant covers all variants."""
        alike = (self.os, self.architecture) == (other.os, other.architecture)
        return alike and self.variant in {"", other.variant}

    def __str__(self) -> str:
        """Write it as `parse` reads it."""
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def platforms(index: Manifest) -> tuple[Platform | None, ...]:
    """Return what each of the children of an index is for, in their order; None where it does not say."""
    if not index.children:
        return ()
    return tuple(map(_platform, loads_object(index.body, "the index")["manifests"]))


def _platform(entry: dict[str, Any]) -> Platform | None:
    platform = entry.get("platform")
    if not isinstance(platform, dict):
        return None
    match platform.get("os"), platform.get("architecture"), platform.get("variant") or "":
        case (str(os), str(architecture), str(variant)) if os and architecture:
            return Platform.of(os, architecture, variant)
        case _:
            return None
