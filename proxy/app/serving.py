"""`sealgate serve`: state directory, sockets and settings, for the workers that a supervisor keeps running."""

import fcntl
import gc
import os
import resource
import select
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path

import structlog

from proxy import __version__
from proxy.app import systemd
from proxy.app.clock import clock
from proxy.app.composition import SHUTDOWN_SECONDS, Addresses, Place, addresses, connections_max
from proxy.app.crew import Post
from proxy.app.sockets import Sockets, open_sockets, passed_sockets
from proxy.app.supervisor import StartError, Stopped, Supervisor
from proxy.app.worker import DRAIN_SECONDS, work
from proxy.config import ConfigError, Settings, changes
from proxy.config.expiries import expiry_warnings
from proxy.front.listener import CONNECTIONS_MAX
from proxy.ops import log, supervision
from proxy.ops.shared import Shared, forget
from proxy.ops.supervision import Reload, Supervision
from proxy.stores.state import LOCK, prepare_state_dir

_log = structlog.get_logger("proxy.app")
_STANDARD_ERROR = 2
# In the state directory: the files that workers share, where they cannot be in memory.
RUN = "run"
# A lock file in that folder, held while a process writes to standard error.
STDERR = "stderr.lock"
# What must be free there: a worker's counters begin with 256 KiB, and containers often have 64 MiB.
MEMORY_BYTES = 16 * 1024 * 1024
_MEMORY = Path("/dev/shm")  # noqa: S108 (a folder that is ours alone is made in it, or none)
# What a container may use, in microseconds of a period (kernel.org, Control Group v2, cpu.max).
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def serve(load: Callable[[], Settings], *, ready: Callable[[Addresses], None]) -> None:
    """Run until SIGTERM, SIGINT or the end of the terminal; `load` reads the settings, at SIGHUP again.

    Raises what `load` raises, StartError where a worker does not start or another Sealgate has the state directory, and
    OSError where an address is taken or the directory is not writable.
    """
    settings = load()
    os.umask(0o077)  # what is made from here on, libraries included, is for us alone
    _raise_file_limit()
    with _state(settings.server.state_dir) as run:
        log.share(run / STDERR)
        _log_of(settings)
        service = _Service(load, settings, _sockets(settings), run)
        ended = partial(forget, run)
        beat = partial(systemd.notify, systemd.WATCHDOG)
        with Supervisor(ended, stop_seconds=SHUTDOWN_SECONDS, drain_seconds=DRAIN_SECONDS, beat=beat) as supervisor:
            try:
                with suppress(Stopped):
                    supervisor.start(service.crew(settings))
                    service.tell("ready", settings)
                    ready(service.addresses)
                    systemd.notify(systemd.READY)
                    supervisor.run(lambda: service.reload(supervisor))
                systemd.notify(systemd.STOPPING)
                _log.info("stopping", seconds=SHUTDOWN_SECONDS)
            finally:
                service.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Crew:
    """The workers of one reading of the settings."""

    service: "_Service"
    settings: Settings
    sockets: Sockets
    size: int

    def vacant(self, place: int, why: str, *, alone: bool) -> None:
        """Stop listening for a place, and publish that it is vacant."""
        self.sockets.rest(place, self.size, alone=alone)
        told = self.service.supervision
        self.service.tell_workers(replace(told, vacant={**told.vacant, place: why}))

    def filled(self, place: int) -> None:
        """Publish that a place has a worker again, which listens."""
        told = self.service.supervision
        self.service.tell_workers(replace(told, vacant={at: why for at, why in told.vacant.items() if at != place}))
        _log.info("worker serves again", place=place)

    def work(self, post: Post) -> int:
        """Serve, in a process of its own."""
        log.share(self.service.run / STDERR)
        _log_of(self.settings)
        listening = self.sockets.of(post.place, self.size)
        # Sockets that this process does not accept from must not stay open in it: clients would wait there.
        for sockets in (self.service.sockets, self.service.next):
            sockets.close(but=(*listening.registry, *listening.admin))
        place = Place(listening, Shared(self.service.run, post.number), post.is_replacement)
        code = work(self.settings, place, pulse=post.pulse, lifeline=post.lifeline)
        # Not by getppid: the system closes the pipe of a killed process before it gives its children another parent.
        if select.select([post.lifeline], [], [], 0)[0]:  # the supervisor was killed, and cannot clear up
            shutil.rmtree(self.service.run, ignore_errors=True)
        return code


class _Service:
    """What outlives a reload: how settings are read, and the sockets."""

    def __init__(self, load: Callable[[], Settings], settings: Settings, sockets: Sockets, run: Path) -> None:
        self._load = load
        self._settings = settings
        self.sockets = self.next = sockets
        self.run = run
        self.addresses = addresses(settings, sockets.of(0, 1))
        self._has_terminal = os.isatty(_STANDARD_ERROR)
        self.tell_workers(Supervision(Reload(clock()), _workers(settings)))

    def tell_workers(self, told: Supervision) -> None:
        """Publish what the supervisor knows."""
        self.supervision = told
        with suppress(OSError):  # a full disk is reported by the stores
            supervision.publish(self.run, self.supervision)

    def crew(self, settings: Settings) -> _Crew:
        """Return the workers that these settings ask for, on the sockets that come next."""
        # What there is now is shared by all of them; a collection would write to it, and so copy it.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        return _Crew(self, settings, self.next, _workers(settings))

    def tell(self, event: str, settings: Settings, changed: Mapping[str, Sequence[str]] | None = None) -> None:
        """Log the addresses, warnings about the settings, and which of them changed."""
        for relaxation in settings.relaxations:
            _log.warning("insecure setting", setting=relaxation)
        for warning in (*settings.warnings, *expiry_warnings(settings.expiries, clock())):
            _log.warning("configuration", warning=warning)
        if connections_max() < CONNECTIONS_MAX:
            _log.warning("few files may be open (ulimit -n)", connections_max=connections_max())
        at = self.addresses
        _log.info(
            event,
            version=__version__,
            registry=at.registry,
            admin=at.admin,
            workers=_workers(settings),
            **changed or {},
        )

    def reload(self, supervisor: Supervisor) -> None:
        """Read the settings again and let new workers serve by them; what fails changes nothing.

        Raises Stopped where SIGHUP has its first meaning: the terminal that Sealgate was started from was closed.
        """
        if self._has_terminal and not os.isatty(_STANDARD_ERROR):
            with open(os.devnull, "wb") as nothing:  # noqa: PTH123 (a descriptor is wanted)
                os.dup2(nothing.fileno(), _STANDARD_ERROR)
            raise Stopped
        systemd.notify(systemd.reloading())
        cause: str | None = "internal error"
        try:
            settings = self._load()
            self._replace(settings, supervisor)
        except ConfigError as err:
            cause = str(err)
            for one in err.mistakes:
                _log.error("not reloaded", where=one.where, cause=one.what, hint=one.hint)
        except (StartError, OSError) as err:
            cause = str(err)
            _log.error("not reloaded", cause=cause)
        except Stopped:
            raise
        except Exception:  # noqa: BLE001 (what serves goes on, whatever is wrong with the configuration or with us)
            _log.exception("not reloaded", cause=cause)
        else:
            cause = None
            _log_of(settings)
            self.tell("reloaded", settings, changes(self._settings, settings))
            self._settings = settings
        self.tell_workers(replace(self.supervision, reload=Reload(clock(), cause)))
        systemd.notify(systemd.READY)

    def _replace(self, settings: Settings, supervisor: Supervisor) -> None:
        server = settings.server
        if server.state_dir != self._settings.server.state_dir:
            raise StartError("server.state_dir is another one: that needs a restart")
        self.next = self.sockets.moved(server.listen, server.admin_listen, _workers(settings))
        try:
            supervisor.start(self.crew(settings))
            self.sockets, before = self.next, self.sockets
        except BaseException:
            self.next, before = self.sockets, self.next
            raise
        finally:
            before.close(but=self.sockets)
        self.addresses = addresses(settings, self.sockets.of(0, 1))
        self.tell_workers(replace(self.supervision, workers=_workers(settings), vacant={}))

    def close(self) -> None:
        """Stop listening."""
        self.sockets.close()


def _sockets(settings: Settings) -> Sockets:
    server = settings.server
    number = _workers(settings)
    passed = passed_sockets(os.environ, server.listen, server.admin_listen, number)
    return passed or open_sockets(server.listen, server.admin_listen, number)


@contextmanager
def _state(folder: Path) -> Iterator[Path]:
    """Have the state directory for ourselves; return an empty folder for what the workers share."""
    prepare_state_dir(folder)
    with os.fdopen(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"another Sealgate has {folder}: give this one a state_dir of its own") from None
        run = _run_folder(folder)
        yield run
        shutil.rmtree(run, ignore_errors=True)


def _run_folder(state: Path) -> Path:
    # Counters are mapped into memory, and who writes to a mapped file on a full disk is killed (SIGBUS): so they lie in
    # memory, where that has a path and room. Whose folder it is there is in its name.
    about = state.stat()
    folders = [state / RUN]
    with suppress(OSError):
        if shutil.disk_usage(_MEMORY).free >= MEMORY_BYTES:
            folders.insert(0, _MEMORY / f"sealgate-{about.st_dev}-{about.st_ino}")
    for run in folders:
        shutil.rmtree(run, ignore_errors=True)
        with suppress(OSError):
            run.mkdir(mode=0o700)
            return run
    raise StartError(f"{folders[-1]} cannot be made anew")


def _log_of(settings: Settings) -> None:
    log.configure(settings.server.log_level, instance=str(settings.server.admin_listen))


def _workers(settings: Settings) -> int:
    wanted = settings.server.workers
    return processors() if wanted == "auto" else wanted


def processors(cpu_max: Path = _CPU_MAX) -> int:
    """Return how many processors this process may use, at least 1: of the machine, and of its control group."""
    here = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):
        quota, period = cpu_max.read_text(encoding="ascii").split()
        here = min(here, ceil(int(quota) / int(period)))  # "max" is no number
    return max(1, here)


def _raise_file_limit() -> None:
    """Take as many open files as the system gives, as programs in Go do: many systems begin with 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems name a limit that they do not give
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
