"""Run the properties of tests/formats/cosign/test_fuzz.py on mutants for as long as asked (`make fuzz SECONDS=600`).

Every property has its turn until the time is up; prints how many mutants each has seen. A mutant that breaks one is
printed in its smallest form and kept in .hypothesis, so that `make unit` tries it first from then on; exit code 1.
"""

import argparse
import sys
import time

from support.fuzzing import explore
from test_fuzz import PROPERTIES

# A turn is short enough for the time to be kept, and long enough that choosing mutants does not take most of it.
TURN = 500


def main() -> int:
    """Read the command line, try, report."""
    parser = argparse.ArgumentParser(description="Try mutated signatures for as long as asked.")
    parser.add_argument("--seconds", type=float, default=60, help="how long (default 60)")
    parser.add_argument("--only", choices=PROPERTIES, help="one property only")
    options = parser.parse_args()
    names = [options.only] if options.only else list(PROPERTIES)
    tried, broken, end = dict.fromkeys(names, 0), set(), time.monotonic() + options.seconds
    while time.monotonic() < end and (left := [name for name in names if name not in broken]):
        for name in left:
            try:
                tried[name] += explore(*PROPERTIES[name], examples=TURN, derandomize=False, print_blob=True)
            except Exception as err:  # noqa: BLE001 (whatever leaves a property breaks it)
                broken.add(name)
                print(f"{name}: BROKEN\n{err!r}\n" + "\n".join(err.__notes__ if hasattr(err, "__notes__") else []))
    for name in names:
        print(f"{name:<13} {tried[name]:>9,} mutants  {'BROKEN' if name in broken else 'held'}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
