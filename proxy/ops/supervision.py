"""The supervisor's state that workers show to operators: places without a worker, and the result of the last reload.

It is one small file in the folder that they share, replaced as a whole; the supervisor writes it, each worker reads it.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import field
from datetime import datetime
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

_FILE = "supervision.json"


@dataclass(frozen=True, slots=True)
class Reload:
    """The result of the last reading of the configuration, at the start or at SIGHUP; `cause` says why it failed."""

    at: datetime
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Supervision:
    """`vacant` maps each place without a worker to the reason why its last one ended; `workers` counts all places."""

    reload: Reload
    workers: int = 1
    vacant: Mapping[int, str] = field(default_factory=dict, hash=False)

    @property
    def missing(self) -> str | None:
        """The reason why not all workers are ready, in one line for /readyz; None where they are."""
        if not self.vacant:
            return None
        why = next(iter(self.vacant.values())) or "it ended at its start"
        return f"{len(self.vacant)} of {self.workers} workers cannot be started: {why}"


_JSON = TypeAdapter(Supervision)


def publish(folder: Path, supervision: Supervision) -> None:
    """Write it for the workers. Raises OSError where the folder cannot be written."""
    beside = folder / f"{_FILE}.new"
    beside.write_bytes(_JSON.dump_json(supervision))
    beside.rename(folder / _FILE)


class SupervisionCollector(Collector):
    """Reads what was published last, also as metrics; `otherwise` where nothing was, or without a supervisor."""

    def __init__(self, folder: Path | None, otherwise: Supervision) -> None:
        self._folder = folder
        self._otherwise = otherwise

    def read(self) -> Supervision:
        """Return what was published last."""
        if self._folder is not None:
            with suppress(OSError, ValidationError):
                return _JSON.validate_json((self._folder / _FILE).read_bytes())
        return self._otherwise

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        it = self.read()
        for name, text, value in (
            ("workers_vacant", "Workers that are missing because they cannot be started", len(it.vacant)),
            (
                "config_last_reload_successful",
                "1 if the last reading of the configuration succeeded",
                int(it.reload.cause is None),
            ),
            (
                "config_last_reload_timestamp_seconds",
                "Time of the last reading of the configuration, successful or not",
                it.reload.at.timestamp(),
            ),
        ):
            yield GaugeMetricFamily(f"sealgate_{name}", text, value=value)
