"""Validity windows: from when until when a key, a log or an authority of a trust root may be believed."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Window:
    """A closed interval of time; without an `end` it is open to the future (protobuf-specs, TimeRange).

    Both ends count: a time that equals the end is covered (Sigstore client spec, and its conformance suite).
    """

    start: datetime
    end: datetime | None = None

    def covers(self, moment: datetime) -> bool:
        """Say whether this time lies in the window."""
        return self.start <= moment and (self.end is None or moment <= self.end)
