"""The common members of every line of the log and of the audit log, in the order in which they are written.

`time` is RFC 3339 in UTC with `Z`; `schema` the version of the names and their meaning, raised where one changes;
`host` and `instance` say which Sealgate it was. `fault` is whose it is where something did not go well: the client's,
the image's, the upstream's or Sealgate's own.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from proxy.policy import plain

# 2: times end in Z, `evidence` was `signers`, and level, schema, host, instance and fault are new.
SCHEMA = 2
_TROUBLE = frozenset({"warning", "error", "critical"})


class Fault(StrEnum):
    """The party at fault where something was not served, or failed."""

    CLIENT = "client"
    IMAGE = "image"
    UPSTREAM = "upstream"
    SEALGATE = "sealgate"


# By the labels of refusals (`front/errors`); all others are reasons of the policy, and so the image's.
_FAULTS = {
    "not_found": Fault.CLIENT,
    "name_unknown": Fault.CLIENT,
    "name_invalid": Fault.CLIENT,
    "unreadable": Fault.CLIENT,
    "unknown_blob": Fault.CLIENT,
    "undetermined": Fault.UPSTREAM,
    "unavailable": Fault.UPSTREAM,
    "upstream_denied": Fault.UPSTREAM,
    "corrupt": Fault.UPSTREAM,
    "internal_error": Fault.SEALGATE,
}


def fault_of(reason: str) -> Fault:
    """Return whose fault a refusal with this label is."""
    return _FAULTS.get(reason, Fault.IMAGE)


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of one Sealgate, by its host and its `instance`, the address of its admin listener."""

    host: str
    instance: str

    @classmethod
    def here(cls, instance: str = "") -> "Lines":
        """Return the lines of a Sealgate on this machine."""
        return cls(socket.gethostname(), instance)

    def line(self, time: datetime, level: str, event: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the members of a line. Trouble that names no other fault is our own."""
        begin = {
            "time": plain.moment(time),
            "level": level,
            "schema": SCHEMA,
            "host": self.host,
            "instance": self.instance,
            "event": event,
        }
        fault = {"fault": Fault.SEALGATE} if level in _TROUBLE and "fault" not in fields else {}
        return begin | fault | dict(fields)
