"""`python -m proxy` is `sealgate`."""

import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and leave with its exit code.

    The imports take a second on a slow machine. Ctrl-C during that time ends the process without a traceback, by the
    system's own action; from then on it is a KeyboardInterrupt, so that the command can clean up.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from proxy.cli.main import run  # noqa: PLC0415 (after the signal is set)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
