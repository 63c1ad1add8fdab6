"""What the workers of one Sealgate tell each other for operators: metrics, and what each has seen.

Metrics go through prometheus_client's multiprocess mode (prometheus.github.io/client_python/multiprocess): each worker
has a file that outlives it, so that counters only grow. Everything lies in one folder, which is theirs alone.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from prometheus_client import Metric, ProcessCollector, multiprocess, values
from prometheus_client.registry import Collector
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from proxy.ops.status import Snapshot

_SEEN = "seen-{}.json"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one worker has seen, and which process it is."""

    worker: int
    process: int
    snapshot: Snapshot


_SEEN_JSON = TypeAdapter(Seen)


class Shared:
    """One worker's view of the folder. `worker` is its number, which no other has at the same time."""

    def __init__(self, folder: Path, worker: int) -> None:
        self.folder = folder
        self.worker = worker

    def count_here(self) -> None:
        """Let every metric that is made from now on, in this process, be counted in the folder."""
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self.folder)
        values.ValueClass = values.MultiProcessValue(lambda: self.worker)  # type: ignore[no-untyped-call]

    def publish(self, snapshot: Snapshot) -> None:
        """Show the others what this worker has seen; raises OSError where the folder cannot be written."""
        path = self.folder / _SEEN.format(self.worker)
        beside = path.with_suffix(".new")
        beside.write_bytes(_SEEN_JSON.dump_json(Seen(self.worker, os.getpid(), snapshot)))
        beside.rename(path)

    def others(self) -> Iterator[Seen]:
        """Return what the others have published last."""
        for path in self.folder.glob(_SEEN.format("*")):
            if path.name != _SEEN.format(self.worker):
                with suppress(OSError, ValidationError):  # it has ended in this moment
                    yield _SEEN_JSON.validate_json(path.read_bytes())

    def counts(self) -> Collector:
        """Return what collects the metrics of every worker."""
        return _Counts(self.folder)

    def processes(self) -> Collector:
        """Return what collects CPU, memory and open files of every worker."""
        return _Processes(self)


class _Counts(Collector):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Collect what MultiProcessCollector does, but for a file that a worker is making in this moment."""
        files = []
        for path in self._folder.glob("*.db"):
            with suppress(FileNotFoundError):  # its worker has ended
                if path.stat().st_size:
                    files.append(str(path))
        return multiprocess.MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call, no-any-return]


class _Processes(Collector):
    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def collect(self) -> Iterable[Metric]:
        """Collect what ProcessCollector knows, with the worker as a label."""
        found: dict[str, Metric] = {}
        workers = {self._shared.worker: os.getpid()} | {one.worker: one.process for one in self._shared.others()}
        for worker, process in workers.items():
            for metric in ProcessCollector(pid=partial(str, process), registry=None).collect():
                gathered = found.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for one in metric.samples:
                    gathered.add_sample(one.name, {"worker": str(worker)}, one.value)
        return found.values()


def forget(folder: Path, worker: int) -> None:
    """Remove what says how a worker is, for it has ended; what it has counted stays."""
    (folder / _SEEN.format(worker)).unlink(missing_ok=True)
    multiprocess.mark_process_dead(worker, str(folder))  # type: ignore[no-untyped-call]
