"""The status page: what an operator wants to know first, from a frozen snapshot."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import attrgetter

from jinja2 import Environment, PackageLoader, StrictUndefined

# What fits on a page; the audit log has them all.
REFUSALS_MAX = 20


@dataclass(frozen=True, slots=True)
class UpstreamSeen:
    """How the last request to a registry ended; all None where none was made yet."""

    registry: str
    operation: str | None = None
    outcome: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RuleSeen:
    """A rule and how many verdicts of each name it has given since the start."""

    name: str
    mode: str
    verdicts: Mapping[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class RefusalSeen:
    """A refused pull. `id` is the one in the message that the client was shown."""

    at: datetime
    id: str | None
    image: str
    reason: str
    client: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the page shows.

    `insecure` names the relaxations that are configured, as key paths; `content_fault` is why blobs cannot be kept now,
    `set_aside` names the last database that was damaged, and why; `lost_audit_lines` is how many
    could not be written to their file since the start; `not_reloaded` is why the last reload failed, and
    `missing` what is missing until all workers serve.
    """

    version: str
    now: datetime
    started: datetime
    upstreams: Sequence[UpstreamSeen] = ()
    rules: Sequence[RuleSeen] = ()
    refusals: Sequence[RefusalSeen] = ()
    insecure: Sequence[str] = ()
    content_fault: str | None = None
    set_aside: str | None = None
    lost_audit_lines: int = 0
    not_reloaded: str | None = None
    missing: str | None = None
    workers: int = 1


class Recent:
    """The last refusals, newest first."""

    def __init__(self, limit: int = REFUSALS_MAX) -> None:
        self._entries: deque[RefusalSeen] = deque(maxlen=limit)

    def add(self, refusal: RefusalSeen) -> None:
        """Remember one, in place of the oldest."""
        self._entries.appendleft(refusal)

    def entries(self) -> tuple[RefusalSeen, ...]:
        """Return them."""
        return tuple(self._entries)


class Tally:
    """What the status page is made from. `rules` gives each rule's mode; names that are not configured are left out."""

    def __init__(
        self,
        *,
        version: str,
        started: datetime,
        registries: Sequence[str],
        rules: Mapping[str, str],
        insecure: Sequence[str] = (),
    ) -> None:
        self._version = version
        self._started = started
        self._upstreams = {name: UpstreamSeen(name) for name in registries}
        self._rules = rules
        self._verdicts: dict[str, dict[str, int]] = {name: {} for name in rules}
        self._insecure = tuple(insecure)
        self.recent = Recent()
        #: Why the last blob could not be kept on disk, if so.
        self.content_fault: str | None = None
        #: The last database that was damaged since the start: its name now, and why.
        self.set_aside: str | None = None
        #: Audit lines that could not be written since the start.
        self.lost_audit_lines = 0

    def judged(self, rule: str, verdict: str) -> None:
        """Count a verdict by its name."""
        if rule in self._verdicts:
            counts = self._verdicts[rule]
            counts[verdict] = counts.get(verdict, 0) + 1

    def upstream_request(self, registry: str, operation: str, outcome: str, at: datetime) -> None:
        """Take note of how a request ended."""
        if registry in self._upstreams:
            self._upstreams[registry] = UpstreamSeen(registry, operation, outcome, at)

    def snapshot(self, now: datetime) -> Snapshot:
        """Return what there is to show."""
        return Snapshot(
            self._version,
            now,
            self._started,
            tuple(self._upstreams.values()),
            tuple(RuleSeen(name, mode, dict(self._verdicts[name])) for name, mode in self._rules.items()),
            self.recent.entries(),
            self._insecure,
            self.content_fault,
            self.set_aside,
            self.lost_audit_lines,
        )


def merged(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Return what several workers have seen as one; the first says what time and which rules there are. Pure."""
    first = snapshots[0]
    upstreams = {one.registry: one for one in first.upstreams}
    verdicts: dict[str, Counter[str]] = {rule.name: Counter() for rule in first.rules}
    for snapshot in snapshots:
        for one in snapshot.upstreams:
            if one.at is not None and one.registry in upstreams:
                known = upstreams[one.registry].at
                upstreams[one.registry] = one if known is None or one.at > known else upstreams[one.registry]
        for rule in snapshot.rules:
            if rule.name in verdicts:
                verdicts[rule.name].update(rule.verdicts)
    refusals = sorted((it for one in snapshots for it in one.refusals), key=attrgetter("at"), reverse=True)
    return replace(
        first,
        started=min(one.started for one in snapshots),
        upstreams=tuple(upstreams.values()),
        rules=tuple(replace(rule, verdicts=verdicts[rule.name]) for rule in first.rules),
        refusals=refusals[:REFUSALS_MAX],
        content_fault=next((one.content_fault for one in snapshots if one.content_fault), None),
        set_aside=next((one.set_aside for one in snapshots if one.set_aside), None),
        lost_audit_lines=sum(one.lost_audit_lines for one in snapshots),
        workers=len(snapshots),
    )


def render_status(snapshot: Snapshot) -> str:
    """Return the page as one HTML document that loads nothing and needs no script. Pure."""
    return _ENVIRONMENT.get_template("status.html").render(it=snapshot)


def _ago(at: datetime, now: datetime) -> str:
    return f"{_length(now - at)} ago"


def _length(time: timedelta) -> str:
    """Say how long in the two largest units, for people."""
    seconds = max(0, int(time.total_seconds()))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


_ENVIRONMENT = Environment(
    loader=PackageLoader("proxy.ops"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_ENVIRONMENT.filters.update({"ago": _ago, "length": _length})
