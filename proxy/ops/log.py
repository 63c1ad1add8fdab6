"""The log: one JSON object a line on standard error, without credentials; under systemd with a priority before it."""

import fcntl
import io
import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from proxy.ops.journal import prioritized
from proxy.ops.lines import Lines

LEVELS = ("debug", "info", "warning", "error")
REDACTED = "[redacted]"
# Longer is no line.
_LINE_BYTES = 1 << 20
# Deeper is nothing that we log.
_DEPTH_MAX = 8
_SECRET_NAME = re.compile(r"authori[sz]ation|passw|secret|token|cookie|credential|api[-_]?key", re.IGNORECASE)
_SECRETS_IN_TEXT = (
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), r"\1 " + REDACTED),
    # The user part of a URL, and the signed queries of object stores (S3, GCS, Azure, CloudFront).
    (re.compile(r"(://)[^/@\s\"']+@"), r"\1" + REDACTED + "@"),
    (
        re.compile(r"([?&][^=&?\s]{0,64}(?:signature|token|secret|credential|sig|verify)=)[^&\s\"']+", re.IGNORECASE),
        r"\1" + REDACTED,
    ),
)


def configure(level: str = "info", stream: TextIO | None = None, *, instance: str = "") -> None:
    """Send everything that is logged in this process, libraries included, to `stream` (standard error) as JSON lines.

    `level` is one of LEVELS; raises ValueError for any other. `instance` is named in each line (`lines`).
    """
    if level not in LEVELS:
        raise ValueError(f"log level {level!r} is none of {', '.join(LEVELS)}")
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redact,
            _Builder(Lines.here(instance)),
            structlog.processors.JSONRenderer(),
        ],
    )
    handler.setFormatter(prioritized(handler.stream, formatter))
    logging.basicConfig(level=threshold, handlers=[handler], force=True)


class _Builder:
    """Makes a line of what was logged."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        fields = {name: value for name, value in event.items() if name not in {"level", "event"}}
        now = datetime.fromtimestamp(time.time(), UTC)
        return self._lines.line(now, str(event.get("level", "info")), str(event.get("event", "")), fields)


def share(lock: Path) -> None:
    """Let what this process writes to standard error at once stay together, where others do so with the same lock.

    The system keeps no more than 4096 bytes together (pipe(7), PIPE_BUF), and an audit line may be longer.
    """
    if sys.stderr is not None:
        buffer = io.BufferedWriter(_Shared(sys.stderr.fileno(), lock), _LINE_BYTES)
        sys.stderr = io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)


class _Shared(io.FileIO):
    def __init__(self, descriptor: int, lock: Path) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._lock = lock.open("ab")  # each process its own: those that inherit one have a common lock

    def close(self) -> None:
        """Let go of the lock, not of standard error."""
        super().close()
        self._lock.close()

    def write(self, data: Any, /) -> int:  # noqa: ANN401 (whatever has bytes)
        """Write all of it while nobody else does."""
        rest = memoryview(data)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            while rest:
                rest = rest[os.write(self.fileno(), rest) :]
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        return memoryview(data).nbytes


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Take out what looks like a credential: a second line of defence, for none is to be logged in the first place."""
    return {name: _redacted(name, value, _DEPTH_MAX) for name, value in event.items()}


def _redacted(name: str, value: object, depth: int) -> Any:  # noqa: ANN401 (what can be logged is any of JSON's types)
    if _SECRET_NAME.search(name) or depth == 0:
        return REDACTED
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): _redacted(str(key), inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(name, inner, depth - 1) for inner in value]
    text = str(value)
    for pattern, replacement in _SECRETS_IN_TEXT:
        text = pattern.sub(replacement, text)
    return text
