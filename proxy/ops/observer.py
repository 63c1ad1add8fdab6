"""The one listener that the gate, the front and the upstream clients report to: it tells metrics, audit log and status.

It fits the `Observer` protocols of those rooms by its shape, for it may import none of them.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

import structlog

from proxy.oci.digest import Digest
from proxy.oci.manifest import Manifest
from proxy.ops.audit import Audit, is_written
from proxy.ops.labels import found_name, verdict_name
from proxy.ops.limited import Limited
from proxy.ops.lines import Fault, fault_of
from proxy.ops.metrics import Metrics
from proxy.ops.outages import Outages
from proxy.ops.status import RefusalSeen, Tally
from proxy.policy.model import Decision
from proxy.verdict import Undetermined

# Why a connection was dropped, where it is not for what a client did.
_DROPPED = {"files": Fault.SEALGATE, "full": Fault.SEALGATE}
_REFRESHED = frozenset({"changed", "unchanged"})


class Request(Protocol):
    """A request, as far as it is reported: the client."""

    @property
    def remote(self) -> str | None:
        """The client's address."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's headers, looked up without regard to case."""
        ...


class Refusal(Protocol):
    """A refusal, as far as it is reported."""

    @property
    def message(self) -> str:
        """The line that the client is shown."""
        ...

    @property
    def label(self) -> str:
        """The value of its label in metrics."""
        ...

    @property
    def id(self) -> str | None:
        """What people quote; that of the decision where there is one."""
        ...

    @property
    def rule(self) -> str | None:
        """The rule that refused without an image having been judged, None otherwise."""
        ...


class Observer:
    """Tells operators what happens. No method raises, and none but `recorded` waits.

    `records_first`: the audit line about what is served is written by `recorded`, before it counts.
    """

    def __init__(
        self,
        metrics: Metrics,
        audit: Audit,
        tally: Tally,
        clock: Callable[[], datetime],
        *,
        records_first: bool = False,
    ) -> None:
        self._records_first = records_first
        self._audit = audit
        self._tally = tally
        self._clock = clock
        self._metrics = metrics
        self._log = structlog.get_logger("proxy.ops")
        self._limited = Limited()
        self._outages = Outages(clock)
        # For the metrics alone.
        self.warm = metrics.warm
        self.begun = metrics.begun
        self.answered = metrics.answered
        self.sent = metrics.sent
        self.looked_up = metrics.looked_up
        self.rate_limit = metrics.rate_limit
        self.upstream_unreachable = metrics.upstream_unreachable
        self.transfer = metrics.transfer
        self.trust_root_confirmed = metrics.trust_root_confirmed
        self.certificate_expiry = metrics.certificate_expiry
        self.content_held = metrics.content_held
        self.content_evicted = metrics.content_evicted

    def judged(self, decision: Decision, client: str, seconds: float) -> None:
        """Report a new verdict."""
        self._metrics.judged(decision, seconds)
        if not (self._records_first and decision.served):
            self._audit.verdict(decision, time=self._clock(), client=client)
        self._tally.judged(decision.verdict.rule, found_name(decision))

    async def recorded(self, decision: Decision, client: str) -> bool:
        """Write the audit line of a new verdict; return whether it is there (`audit.is_written`)."""
        return await is_written(self._audit.verdict(decision, time=self._clock(), client=client))

    def refused(self, request: Request, image: str, refusal: Refusal, form: str, decision: Decision | None) -> None:
        """Report a refused request."""
        client, user_agent, now = request.remote or "unknown", request.headers.get("User-Agent", ""), self._clock()
        self._metrics.refused(user_agent, form, refusal.label)
        self._audit.refused_pull(
            decision,
            identifier=refusal.id,
            time=now,
            image=image,
            reason=refusal.label,
            rule=refusal.rule,
            form=form,
            client=client,
            user_agent=user_agent,
        )
        self._tally.recent.add(RefusalSeen(now, refusal.id, image, refusal.label, client))
        fault = fault_of(refusal.label)
        self._log.info("refused", id=refusal.id, image=image, message=refusal.message, fault=fault, client=client)

    def served_unverified(self, request: Request, image: str, decision: Decision) -> None:
        """Report an image that is served without being accepted."""
        self._metrics.served_unverified(decision)
        self._log.warning(
            "served unverified",
            fault=Fault.UPSTREAM if isinstance(decision.verdict, Undetermined) else Fault.IMAGE,
            id=decision.id,
            image=image,
            rule=decision.verdict.rule,
            verdict=verdict_name(decision.verdict),
            mode=decision.mode.value,
            client=request.remote,
        )

    def served_artifact(self, request: Request, image: str, manifest: Manifest, kind: str) -> None:
        """Report a signature or another artifact that is served without a verdict."""
        self._metrics.served_artifact(kind)
        self._audit.served_artifact(
            manifest,
            kind=kind,
            time=self._clock(),
            image=image,
            client=request.remote or "unknown",
            user_agent=request.headers.get("User-Agent", ""),
        )

    def failed(self, path: str, error: Exception) -> None:
        """Log a mistake in this program, with its traceback."""
        more = self._limited.admit(f"failed {type(error).__name__}")
        if more is not None:
            self._log.error("internal error", path=path, exc_info=error, **more)

    def dropped(self, why: str) -> None:
        """Count a connection that was closed or has to wait."""
        self._metrics.connection_dropped(why)
        more = self._limited.admit(f"dropped {why}")
        if more is not None:
            self._log.warning("connection dropped", fault=_DROPPED.get(why, Fault.CLIENT), why=why, **more)

    def unreadable(self, client: str, refusal: Refusal, form: str) -> None:
        """Count a request that could not be read, and was refused."""
        self._metrics.refused("", form, refusal.label)
        more = self._limited.admit("unreadable")
        if more is not None:
            fault = fault_of(refusal.label)
            self._log.info(
                "request not read", id=refusal.id, message=refusal.message, fault=fault, client=client, **more
            )

    def cut(self, image: str, error: Exception) -> None:
        """Report a transfer that was broken off."""
        self._metrics.cut()
        more = self._limited.admit("transfer broken off")
        if more is not None:
            self._log.error("transfer broken off", fault=Fault.UPSTREAM, image=image, cause=str(error), **more)

    def upstream_request(self, registry: str, operation: str, outcome: str, seconds: float) -> None:
        """Count a request to a registry."""
        self._metrics.upstream_request(registry, operation, outcome, seconds)
        self._tally.upstream_request(registry, operation, outcome, self._clock())

    def upstream_health(self, registry: str, cause: str | None) -> None:
        """Log once each that a registry stops answering, for this cause, and that it answers again (None)."""
        if cause is not None:
            if self._outages.failed(registry):
                self._log.warning("registry outage begins", registry=registry, cause=cause)
            return
        lasted = self._outages.answered(registry)
        if lasted is not None:
            self._log.warning("registry outage ends", registry=registry, seconds=round(lasted.total_seconds(), 1))

    def store_fault(self, fault: str) -> None:
        """Report a failure of the store on disk."""
        self._metrics.store_fault()
        more = self._limited.admit("store fault")
        if more is not None:
            self._log.error("store fault", cause=fault, **more)

    def store_set_aside(self, name: str, why: str) -> None:
        """Report a damaged database that was set aside; `name` is its new name."""
        self._metrics.store_set_aside()
        self._tally.set_aside = f"{name}: {why}"
        self._log.error("store set aside", file=name, cause=why)

    def content_stored(self, size: int) -> None:  # noqa: ARG002 (`transfer` counts)
        """Clear the content fault: a file was kept, so the disk works."""
        self._tally.content_fault = None

    def content_corrupt(self, digest: Digest) -> None:
        """Report a file on disk whose bytes had changed, and that was removed."""
        self._metrics.content_corrupt()
        self._log.error("corrupt content removed", digest=str(digest))

    def content_fault(self, fault: str) -> None:
        """Report a failure of the disk of the content store."""
        self._metrics.store_fault()
        self._tally.content_fault = fault
        more = self._limited.admit("content store fault")
        if more is not None:
            self._log.error("content store fault", cause=fault, **more)

    def trust_root_refresh(self, root: str, outcome: str, detail: str) -> None:
        """Report a refresh; `detail` says why it failed, or which parts of a changed root are not used."""
        self._metrics.trust_root_refresh(root, outcome)
        if outcome in _REFRESHED:
            self._log.info("trust root refreshed", root=root, outcome=outcome, not_used=detail)
        else:
            self._log.warning(
                "trust root not refreshed", fault=Fault.UPSTREAM, root=root, outcome=outcome, cause=detail
            )
