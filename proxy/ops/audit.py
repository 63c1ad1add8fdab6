"""The audit log: one JSON object a line for every verdict, every refused pull and every artifact that is served.

The fields are public.

Writing never holds up a pull and never fails one: lines wait in a bounded queue for a thread of their own. One that
cannot be written to its file is counted, and written to standard error among the lines of the log. Whether a line was
written can be waited for: by those who must not serve what is not on record (`audit_failure = "refuse"`).
"""

import asyncio
import json
import logging
import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import structlog

from proxy.oci.manifest import Manifest
from proxy.ops.audit_file import AuditFile
from proxy.ops.clients import shown_user_agent
from proxy.ops.journal import prioritized
from proxy.ops.labels import verdict_name
from proxy.ops.limited import Limited
from proxy.ops.lines import Fault, Lines, fault_of
from proxy.policy import plain
from proxy.policy.explain import explain
from proxy.policy.model import Decision, Mode
from proxy.verdict import Accepted, Refused, Rejection, Undetermined

# Lines of about 1 KiB that may wait while the disk is slow.
WAITING_MAX = 10_000
# How long a pull waits for its audit line: together with the time to judge, less than clients wait.
RECORD_SECONDS = 5.0
# Cited texts are controlled by those who can push to a repository, and log stores take lines of some 64 KiB. The policy
# limits the number of rejections.
CLAIMS_MAX = 20
TEXT_MAX = 500
_WHO = frozenset({"subject", "issuer"})


async def is_written(line: Future[bool]) -> bool:
    """Wait for a line, RECORD_SECONDS at most; return whether it was written by then."""
    try:
        async with asyncio.timeout(RECORD_SECONDS):
            return await asyncio.wrap_future(line)
    except TimeoutError:
        return False


class _Line(logging.LogRecord):
    """A line, and whether it was written, once that is known."""

    def __init__(self, text: str, level: int) -> None:
        super().__init__("audit", level, "", 0, text, None, None)
        self.written = Future[bool]()
        # So that a caller that stops waiting does not cancel it for the thread that writes.
        self.written.set_running_or_notify_cancel()


class Audit:
    """An open audit log. Its methods return at once; `close` writes what waits.

    `spare` is where lines go that `handler` cannot write.
    """

    def __init__(
        self,
        handler: logging.Handler,
        on_lost: Callable[[], None],
        instance: str = "",
        *,
        spare: logging.Handler | None = None,
    ) -> None:
        self._handler = handler
        self._spare = spare
        self._limited = Limited()
        self._lines = Lines.here(instance)
        self._on_lost = on_lost
        self._waiting: queue.Queue[_Line | None] = queue.Queue(WAITING_MAX)
        # A method of the handler is where `logging` puts what it cannot write; by default it prints and forgets.
        handler.handleError = self._lose  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._write, name="audit", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path | None, on_lost: Callable[[], None], instance: str = "") -> Self:
        """Append to the file, which may be moved away while it is in use; without a path write to standard error.

        `on_lost` is called for every line that is lost, on any thread; `instance` is named in each line
        (`lines`). Raises OSError where the file cannot be written.
        """
        stream = logging.StreamHandler(sys.stderr)
        stream.setFormatter(prioritized(sys.stderr, logging.Formatter()))
        if path is None:
            return cls(stream, on_lost, instance)
        return cls(AuditFile(path), on_lost, instance, spare=stream)

    def verdict(self, decision: Decision, *, time: datetime, client: str) -> Future[bool]:
        """Write that a verdict was found, with who signed or every reason that was found against it.

        `client` is the address of the first who asked: a verdict is for all. The future says whether it was written.
        """
        return self._put(time, "verdict", decision.id, _about(decision) | {"client": client[:TEXT_MAX]})

    def refused_pull(  # noqa: PLR0913 (the fields of one line)
        self,
        decision: Decision | None,
        *,
        identifier: str | None,
        time: datetime,
        image: str,
        reason: str,
        rule: str | None = None,
        form: str,
        client: str,
        user_agent: str,
    ) -> None:
        """Write that a request was refused; `decision` is None where something else than the policy refused it.

        `rule` is the one that refused the whole repository, so that no image was judged.
        `image` is what was asked for, `form` how the client was told, `identifier` the id in the client's message.
        """
        fields: dict[str, Any] = {"image": image[:TEXT_MAX], "reason": reason, "fault": fault_of(reason), "form": form}
        if decision is not None:
            fields |= {
                "digest": str(decision.verdict.subject.digest),
                "rule": decision.verdict.rule,
                "verdict": verdict_name(decision.verdict),
                "mode": decision.mode.value,
            }
        elif rule is not None:
            fields |= {"rule": rule, "verdict": "refused", "mode": Mode.ENFORCE.value}
        fields |= {"client": client[:TEXT_MAX], "user_agent": shown_user_agent(user_agent)}
        self._put(time, "refused_pull", identifier, fields)

    def served_artifact(  # noqa: PLR0913 (the fields of one line)
        self, manifest: Manifest, *, kind: str, time: datetime, image: str, client: str, user_agent: str
    ) -> None:
        """Write that an artifact was served, about which there is no verdict; `kind` says as what."""
        fields: dict[str, Any] = {"image": image[:TEXT_MAX], "digest": str(manifest.digest), "kind": kind}
        if manifest.subject is not None:
            fields["subject"] = str(manifest.subject.digest)
        fields |= {"client": client[:TEXT_MAX], "user_agent": shown_user_agent(user_agent)}
        self._put(time, "served_artifact", None, fields)

    def close(self) -> None:
        """Write what waits and close the file."""
        self._waiting.put(None)
        self._thread.join()
        self._handler.close()

    def _put(self, time: datetime, event: str, identifier: str | None, fields: dict[str, Any]) -> Future[bool]:
        level = "warning" if fields.get("fault") is not None else "info"
        line = self._lines.line(time, level, event, {"id": identifier, "fault": None} | fields)
        record = _Line(json.dumps(line, separators=(",", ":")), logging.getLevelNamesMapping()[level.upper()])
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            self._lose(record)
        return record.written

    def _write(self) -> None:
        while (line := self._waiting.get()) is not None:
            self._handler.handle(line)
            if not line.written.done():
                line.written.set_result(True)

    def _lose(self, record: logging.LogRecord) -> None:
        err = sys.exception()
        self._on_lost()
        if isinstance(record, _Line):
            record.written.set_result(False)
        if self._spare is not None:
            self._spare.handle(record)
        # Without a spare, the log is the only record of each lost line, so none is left out.
        more = self._limited.admit("audit") if self._spare is not None else {}
        if more is not None:
            structlog.get_logger("proxy.ops").error("audit line lost", cause=repr(err), **more)


def _about(decision: Decision) -> dict[str, Any]:
    verdict = decision.verdict
    fields: dict[str, Any] = {
        "image": str(verdict.subject.repository),
        "tag": verdict.subject.tag,
        "digest": str(verdict.subject.digest),
        "rule": verdict.rule,
        "verdict": verdict_name(verdict),
        "mode": decision.mode.value,
        "on_outage": decision.on_outage.value,
        "served": decision.served,
        "reason": decision.reason.value if decision.reason else None,
        "fault": _fault(decision),
        "explanation": explain(decision),
    }
    match verdict:
        case Accepted():
            fields["evidence"] = [_bounded(plain.evidence(it)) for it in verdict.evidence]
        case Refused():
            fields["rejections"] = [_bounded(_rejection(it)) for it in verdict.rejections]
        case Undetermined():
            fields["cause"] = verdict.cause[:TEXT_MAX]
    if decision.stale is not None:
        # It could not be judged now; the verdict above has expired, and stands in no longer than this.
        fields |= {"cause": decision.stale.cause[:TEXT_MAX], "stale_until": plain.moment(decision.stale.until)}
    return fields


def _fault(decision: Decision) -> Fault | None:
    """Return whose fault it is that an image is not accepted, or cannot be judged again."""
    match decision.verdict:
        case _ if decision.stale is not None:
            return Fault.UPSTREAM
        case Undetermined():
            return Fault.UPSTREAM
        case Refused():
            return fault_of(decision.reason.value if decision.reason else "")
        case _:
            return None


def _rejection(rejection: Rejection) -> dict[str, Any]:
    fields = plain.rejection(rejection)
    # Who it was, if that is proven; the rest is for whoever looks closer (`sealgate verify`).
    fields["proven"] = [[name, text] for name, text in rejection.proven if name in _WHO]
    return fields


def _bounded(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: _bound(value) for name, value in fields.items()}


def _bound(value: Any) -> Any:  # noqa: ANN401 (whatever JSON can hold)
    match value:
        case str():
            return value[:TEXT_MAX]
        case list():
            return [_bound(one) for one in value[:CLAIMS_MAX]]
        case _:
            return value
