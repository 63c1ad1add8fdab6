"""One worker of a machine, as a process: opens the shared file together with others, writes and reads what all write.

Arguments: the file, this worker's number, how many there are, rounds. Waits for a line on standard input before it
opens, and prints what went wrong, then `done`.
"""

import asyncio
import sys
from pathlib import Path

import structlog
from support.stores import APP, NOW, database, digest, key, remembered

from proxy.stores.grants import Member, SqliteMemberships
from proxy.stores.near import NearMemberships
from proxy.stores.verdicts import SqliteVerdicts

SHARED = Member(digest("base layer"), 1, "a/b")


def number_of(worker: int, round_: int) -> int:
    return worker * 100_000 + round_


async def main(path: Path, worker: int, rounds: int) -> list[str]:
    wrong = []
    with database(path) as opened:
        verdicts, memberships = SqliteVerdicts(opened), NearMemberships(SqliteMemberships(opened))
        for round_ in range(rounds):
            mine = number_of(worker, round_)
            await verdicts.put(key(mine), remembered(key(mine)))
            await memberships.add(APP, digest(mine), "v1", [SHARED, Member(digest(f"b{mine}"), mine, "a/b")])
            if await verdicts.get(key(mine), NOW) != remembered(key(mine)):
                wrong.append(f"verdict {mine} is not there")
            if digest(mine) not in [it.digest for it in await memberships.parents(APP, digest(f"b{mine}"))]:
                wrong.append(f"member {mine} is not there")
            if not await memberships.parents(APP, SHARED.digest):
                wrong.append("nobody names the base layer")
        return wrong + opened.faults


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # one of them empties an older file
    sys.stdin.readline()
    wrong = asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
    sys.stdout.write("\n".join([*wrong, "done"]))
