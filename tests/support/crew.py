"""A supervisor whose workers do nothing: `python -m support.crew FILE`.

It logs as `sealgate serve` does. The file says how many they are, then how they behave, and is read again at SIGHUP:
`stuck` never serve, `silent` say so once and then hang; those that replace them do not.
`fatal`: those that replace others end at once. `told`: beats are logged.
"""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from proxy.app import supervisor
from proxy.app.crew import SERVES, Post
from proxy.app.supervisor import StartError, Supervisor
from proxy.ops import log


@dataclass(frozen=True)
class Crew:
    size: int
    behaviours: frozenset[str]

    def vacant(self, place: int, why: str, *, alone: bool) -> None:
        structlog.get_logger("crew").info("vacant", place=place, why=why, alone=alone)

    def filled(self, place: int) -> None:
        structlog.get_logger("crew").info("filled", place=place)

    def work(self, post: Post) -> int:
        ending = False

        def end(number: int, frame: object) -> None:
            nonlocal ending
            ending = True

        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, end)
        if "fatal" in self.behaviours and post.is_replacement:
            os.write(post.pulse, b"no room")
            return os.EX_CONFIG
        is_stuck = "stuck" in self.behaviours
        is_silent = is_stuck or ("silent" in self.behaviours and not post.is_replacement)
        if not is_stuck:
            os.write(post.pulse, SERVES)
        while not ending:
            time.sleep(0.02)
            if not is_silent:
                os.write(post.pulse, SERVES)
        return 0


def main(settings: Path) -> None:
    log.configure()
    supervisor.BEAT_SECONDS, supervisor.SILENT_BEATS, supervisor.GRACE_SECONDS = 0.05, 20, 0.2
    logger = structlog.get_logger("proxy.app")

    def crew() -> Crew:
        size, *behaviours = settings.read_text(encoding="ascii").split()
        return Crew(int(size), frozenset(behaviours))

    def reload() -> None:
        try:
            it.start(crew())
            logger.info("reloaded", registry="", admin="")
        except StartError as err:
            logger.info("not reloaded", cause=str(err))

    is_told = "told" in settings.read_text(encoding="ascii")

    def beat() -> None:
        if is_told:
            logger.info("beat")

    with Supervisor(lambda number: None, stop_seconds=1, drain_seconds=1, beat=beat) as it:
        it.start(crew())
        logger.info("ready", registry="", admin="")
        it.run(reload)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
