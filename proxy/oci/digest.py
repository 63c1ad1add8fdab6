"""Digest: the one name of content that can be checked (image-spec, descriptor.md, Digests)."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Self

from proxy.oci.errors import MalformedError

# The registered algorithms (image-spec, descriptor.md); an unknown one is refused, as it cannot be checked.
_HEX_LENGTHS = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)
# Enough to distinguish content for people.
SHORT = 12
# Also as a tag has it (distribution-spec, Referrers Tag Schema).
_IN_TEXT = re.compile(rf"(sha(?:256|512)[:-][0-9a-f]{{{SHORT}}})[0-9a-f]{{{64 - SHORT},}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Digest:
    """Algorithm and lower-case hex of some content."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `sha256:<64 hex>` or `sha512:<128 hex>`; raises MalformedError for anything else."""
        algorithm, separator, digits = text.partition(":")
        length = _HEX_LENGTHS.get(algorithm)
        if not separator or length is None:
            raise MalformedError(f"digest {text!a:.80} does not start with sha256: or sha512:")
        if len(digits) != length or not _HEX.fullmatch(digits):
            raise MalformedError(f"digest {text!a:.80} does not have {length} lower-case hex digits")
        return cls(algorithm, digits)

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Return the sha256 digest of the content."""
        return cls("sha256", hashlib.sha256(content).hexdigest())

    def hasher(self) -> "hashlib._Hash":
        """Return a new hash object of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def matches(self, content: bytes) -> bool:
        """Say whether the content has this digest."""
        hasher = self.hasher()
        hasher.update(content)
        return hmac.compare_digest(hasher.hexdigest(), self.hex)

    @property
    def short(self) -> str:
        """The first 12 hex digits: for people, never for decisions."""
        return self.hex[:SHORT]

    def __str__(self) -> str:
        """Write the form that `parse` reads."""
        return f"{self.algorithm}:{self.hex}"


def shorten_digests(text: str) -> str:
    """Return the text with the first 12 digits of each digest, so that more of a line that is cut can be read."""
    return _IN_TEXT.sub(r"\1", text)
