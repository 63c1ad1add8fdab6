"""Starts workers, restarts, replaces and ends them: signals, pipes and waitpid, no event loop and no thread.

It forks, so nothing that a fork would break half-way may run in this process (docs/decisions/0007).
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import structlog

from proxy.app.crew import SERVES, Crew, Post

# The interval of a worker's heartbeat, and how many it may miss: nothing that a worker does blocks its loop for a
# minute, and its start, which opens the store and loads certificates, takes no longer. Beats are counted and not
# seconds, so that a container or machine that was paused as a whole loses no worker.
BEAT_SECONDS, SILENT_BEATS = 5.0, 12
# A worker that lived so long did not die of its start, and is replaced at once.
STEADY_SECONDS = 10.0
RESTART_SECONDS, RESTART_SECONDS_MAX = 1.0, 30.0
# After so many early deaths connections still wait for the next worker, which starts in RESTART_SECONDS.
EARLY_DEATHS_WAITED_FOR = 1
# What a worker has beyond its own limits before it is killed.
GRACE_SECONDS = 5.0
_WAKING = (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_ENDING = frozenset({signal.SIGINT, signal.SIGTERM})
_TOLD_MAX = 4096


class StartError(Exception):
    """A worker could not start; the text says why."""


class Stopped(Exception):  # noqa: N818 (no error: what ends a start half-way)
    """Somebody wants us to end."""


@dataclass(slots=True)
class _Worker:
    process: int
    number: int
    place: int
    crew: Crew
    pipe: int
    started: float
    early_deaths: int
    is_to_end: bool = False
    kill_at: float | None = None
    is_ready: bool = False
    silent_beats: int = 0
    told: bytes = b""


@dataclass(order=True, slots=True)
class _Due:
    at: float
    place: int = field(compare=False)
    early_deaths: int = field(compare=False)


class Supervisor:
    """The workers of one Sealgate.

    `ended` is called with the number of each that has ended, `beat` every BEAT_SECONDS while at least one serves.

    As a context it holds the signals of the process, and leaves no worker behind: they have `stop_seconds` to end, and
    those that were replaced `drain_seconds`.
    """

    def __init__(
        self,
        ended: Callable[[int], None],
        *,
        stop_seconds: float,
        drain_seconds: float,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._ended = ended
        self._on_beat = beat
        self._stop_seconds = stop_seconds
        self._drain_seconds = drain_seconds
        self._workers: dict[int, _Worker] = {}
        self._due: list[_Due] = []
        self._crew: Crew | None = None
        self._vacant: set[int] = set()
        self._signals: set[int] = set()
        self._beat_at = 0.0
        self._log = structlog.get_logger("proxy.app")

    def __enter__(self) -> Self:
        self._woken, self._waking = os.pipe()
        self._lifeline, self._alive = os.pipe()
        for end in (self._woken, self._waking):
            os.set_blocking(end, False)
        self._handlers = {number: signal.signal(number, _noted) for number in _WAKING}
        self._wakeup = signal.set_wakeup_fd(self._waking)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAKING)  # the parent process may have blocked them
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._crew = None
        self._due.clear()
        self._end(list(self._workers.values()), signal.SIGTERM, self._stop_seconds)
        while self._workers:
            self._turn()
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for end in (self._woken, self._waking, self._lifeline, self._alive):
            os.close(end)

    def start(self, crew: Crew) -> None:
        """Start these workers; when all of them serve, they take the place of those that do now.

        Raises StartError where one does not, and Stopped where we are to end meanwhile; then all is as it was before.
        """
        try:
            new = [self._fork(crew, place) for place in range(crew.size)]
            while not all(worker.is_ready for worker in new):
                self._turn()
                self._check(new)
        except BaseException:
            self._end([it for it in self._workers.values() if it.crew is crew], signal.SIGTERM, self._stop_seconds)
            raise
        self._crew = crew
        self._due.clear()
        self._vacant.clear()
        self._end([it for it in self._workers.values() if it.crew is not crew], signal.SIGUSR1, self._drain_seconds)

    def _check(self, new: list[_Worker]) -> None:
        if _ENDING.intersection(self._signals):
            raise Stopped
        for worker in new:
            if worker.silent_beats > SILENT_BEATS:
                raise StartError(f"a worker does not serve after {BEAT_SECONDS * SILENT_BEATS:g} s")
            if worker.process not in self._workers:
                raise StartError(worker.told.decode(errors="replace") or "a worker ended before all of them served")

    def run(self, reload: Callable[[], None]) -> None:
        """Keep them running until SIGTERM or SIGINT; call `reload` at SIGHUP, which may `start` others."""
        with suppress(Stopped):
            while not _ENDING.intersection(self._signals):
                if signal.SIGHUP in self._signals:
                    self._signals.discard(signal.SIGHUP)
                    reload()
                else:
                    self._turn()

    # One turn: wait for what happens next, and do what is due

    def _turn(self) -> None:
        """Wait until something happens or is due, and handle it; signals are collected for `run` and `start`."""
        pipes = {worker.pipe: worker for worker in self._workers.values() if worker.pipe >= 0}
        readable, _, _ = select.select([self._woken, *pipes], [], [], self._pause())
        if self._woken in readable:
            # Before the dead are reaped: a worker that dies from now on wakes us again.
            self._signals.update(os.read(self._woken, _TOLD_MAX))
        for pipe in readable:
            if pipe in pipes:
                _listen(pipes[pipe])
        self._reap()
        self._fill()
        now = time.monotonic()
        if now >= self._beat_at:
            self._beat_at = now + BEAT_SECONDS
            self._beat(now)
        for worker in self._workers.values():
            if worker.kill_at is not None and now >= worker.kill_at:
                worker.kill_at = None
                self._log.error("worker does not end and is killed", worker=worker.number, process=worker.process)
                os.kill(worker.process, signal.SIGKILL)
        while self._crew is not None and self._due and now >= self._due[0].at:
            self._replace(self._crew, self._due.pop(0))

    def _pause(self) -> float:
        due = [self._beat_at, *(due.at for due in self._due[:1])]
        due += [worker.kill_at for worker in self._workers.values() if worker.kill_at is not None]
        return max(0.0, min(due) - time.monotonic())

    def _beat(self, now: float) -> None:
        if any(it.crew is self._crew and it.is_ready for it in self._workers.values()):
            self._on_beat()
        for worker in self._workers.values():
            worker.silent_beats += 1
            if worker.silent_beats > SILENT_BEATS and worker.kill_at is None:
                self._log.error("worker hangs and is killed", worker=worker.number, process=worker.process)
                os.kill(worker.process, signal.SIGABRT)  # it says where it hangs (faulthandler)
                worker.kill_at = now + GRACE_SECONDS

    def _reap(self) -> None:
        # Whoever it is: as a container's first process we have to bury others' children too.
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                process, status = found
                if process in self._workers:
                    self._buried(self._workers.pop(process), os.waitstatus_to_exitcode(status))

    def _buried(self, worker: _Worker, code: int) -> None:
        while worker.pipe >= 0:
            _listen(worker)
        self._ended(worker.number)
        if worker.crew is not self._crew or worker.is_to_end:
            return
        lived = time.monotonic() - worker.started
        early = 0 if lived >= STEADY_SECONDS else worker.early_deaths + 1
        said = worker.told.decode(errors="replace")
        seconds = self._wait(worker.place, early)
        if early > EARLY_DEATHS_WAITED_FOR:
            self._leave(worker.place, said or f"it ended with exit code {code}")
        self._log.error(
            "worker died and is replaced",
            worker=worker.number,
            process=worker.process,
            exit_code=code,
            said=said,
            seconds=seconds,
        )

    def _leave(self, place: int, why: str) -> None:
        """Stop accepting for a place that is not filled at once."""
        if self._crew is not None:
            self._vacant.add(place)
            serving = {it.place for it in self._workers.values() if it.crew is self._crew and it.is_ready}
            self._crew.vacant(place, why, alone=not serving - self._vacant)

    def _fill(self) -> None:
        for worker in self._workers.values():
            if (
                self._crew is not None
                and worker.crew is self._crew
                and worker.is_ready
                and worker.place in self._vacant
            ):
                self._vacant.discard(worker.place)
                self._crew.filled(worker.place)

    def _wait(self, place: int, early_deaths: int) -> float:
        """Schedule a new worker for a place; return the pause before it, in seconds."""
        early = early_deaths
        pause = min(RESTART_SECONDS * 2.0 ** min(early - 1, 10), RESTART_SECONDS_MAX) if early else 0.0
        self._due.append(_Due(time.monotonic() + pause, place, early))
        self._due.sort()
        return pause

    def _replace(self, crew: Crew, due: _Due) -> None:
        try:
            self._fork(crew, due.place, due.early_deaths, is_replacement=True)
        except OSError as err:  # as many processes or open files as there may be; those that live go on
            seconds = self._wait(due.place, due.early_deaths + 1)
            self._leave(due.place, str(err))
            self._log.error("worker cannot be replaced yet", cause=str(err), seconds=seconds)

    def _end(self, workers: list[_Worker], number: signal.Signals, seconds: float) -> None:
        for worker in workers:
            os.kill(worker.process, number)  # a zombie until we reap it: the number is nobody else's
            worker.is_to_end = True
            at = time.monotonic() + seconds + GRACE_SECONDS
            worker.kill_at = at if worker.kill_at is None else min(at, worker.kill_at)

    # A new process

    def _fork(self, crew: Crew, place: int, early_deaths: int = 0, *, is_replacement: bool = False) -> _Worker:
        taken = {worker.number for worker in self._workers.values()}
        number = next(one for one in range(len(taken) + 1) if one not in taken)
        pipe, pulse = os.pipe()
        try:
            with _no_signals():
                process = os.fork()
                if not process:
                    self._child(crew, Post(number, place, is_replacement, pulse, self._lifeline), pipe)
        except OSError:
            os.close(pipe)
            raise
        finally:
            os.close(pulse)
        worker = _Worker(process, number, place, crew, pipe, time.monotonic(), early_deaths)
        self._workers[process] = worker
        return worker

    def _child(self, crew: Crew, post: Post, pipe: int) -> None:
        code = os.EX_SOFTWARE
        try:
            signal.set_wakeup_fd(-1)
            for number in _WAKING:
                # A terminal that closes tells all of its processes; what it means is the supervisor's to decide.
                signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL)
            pipes = [worker.pipe for worker in self._workers.values() if worker.pipe >= 0]
            for end in (pipe, self._woken, self._waking, self._alive, *pipes):
                os.close(end)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            code = crew.work(post)
        except BaseException:  # noqa: BLE001 (a process of its own, which ends here)
            self._log.exception("internal error")
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)


def _noted(number: int, frame: object) -> None:
    """Do nothing: what counts is the byte that a signal with a handler leaves in the pipe."""


def _listen(worker: _Worker) -> None:
    said = os.read(worker.pipe, _TOLD_MAX)
    words = said.replace(SERVES, b"")
    worker.told += words
    if len(words) < len(said):
        worker.is_ready, worker.silent_beats = True, 0
    if not said or len(worker.told) >= _TOLD_MAX:
        os.close(worker.pipe)
        worker.pipe = -1


@contextmanager
def _no_signals() -> Iterator[None]:
    """Hold back signals, so that none comes between a fork and what the child makes of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WAKING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
