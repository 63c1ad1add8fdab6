"""How old the trust roots are that a rule's signers rely on: what nobody confirmed for too long proves nothing."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from proxy.policy.model import Rule


class TrustAges:
    """When each trust root in use was last known to be the newest; `relying` says by the signer's name on which."""

    def __init__(self, relying: Mapping[str, str], confirmed: Mapping[str, datetime | None]) -> None:
        self._relying = relying
        self._confirmed = dict(confirmed)

    def confirm(self, root: str, at: datetime) -> None:
        """Take note that this trust root, as it is in use, was found to be the newest."""
        self._confirmed[root] = at

    def too_old(self, rule: Rule, now: datetime) -> Mapping[str, str]:
        """Return the signers whose trust root is as old as the rule forbids, each with that in words."""
        limit = rule.trust_root_max_age
        if limit is None:
            return {}
        relied = {signer: self._relying[signer] for signer in rule.signers if signer in self._relying}
        return {
            signer: _words(root, self._confirmed.get(root), limit, now)
            for signer, root in relied.items()
            if self._is_too_old(root, limit, now)
        }

    def _is_too_old(self, root: str, limit: timedelta, now: datetime) -> bool:
        at = self._confirmed.get(root)
        # What was confirmed in a time to come is of a clock that was set back: it grows no younger by that.
        return at is None or abs(now - at) >= limit


def _words(root: str, at: datetime | None, limit: timedelta, now: datetime) -> str:
    """Name the root, its age and the key; short enough for a refusal's one line."""
    if at is None:
        age = "was never confirmed"
    elif at > now:
        age = f"was last confirmed {_length(at - now)} from now, by a clock that was ahead"
    else:
        age = f"was last confirmed {_length(now - at)} ago"
    return f"trust root {root} {age}, trust_root_max_age is {_length(limit)}"


def _length(time: timedelta) -> str:
    """Write a length of time in the largest unit that it has two of."""
    seconds = int(time.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
