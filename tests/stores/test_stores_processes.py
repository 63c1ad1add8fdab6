"""Several processes on one file, as the workers of a machine are: they start, write and read at the same time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.store_worker import SHARED, number_of
from support.stores import APP, NOW, database, digest, key, remembered
from test_database import make_older

from proxy.stores.grants import SqliteMemberships
from proxy.stores.schema import amount
from proxy.stores.verdicts import SqliteVerdicts

TESTS = Path(__file__).parents[1]
WORKERS, ROUNDS = 4, 100


def start(path, worker):
    script = TESTS / "support" / "store_worker.py"
    return subprocess.Popen(  # noqa: S603 (our own script)
        [sys.executable, script, path, str(worker), str(ROUNDS)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("older", [False, True], ids=["a new file", "an older version's file"])
async def test_workers_share_one_file(tmp_path, older):
    path = tmp_path / "store"
    if older:
        make_older(path)
    processes = [start(path, worker) for worker in range(WORKERS)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert said == ["done"] * WORKERS
    with database(path) as opened:
        verdicts, memberships = SqliteVerdicts(opened), SqliteMemberships(opened)
        for number in (number_of(worker, round_) for worker in range(WORKERS) for round_ in range(ROUNDS)):
            assert await verdicts.get(key(number), NOW) == remembered(key(number))
            assert [it.digest for it in await memberships.parents(APP, digest(f"b{number}"))] == [digest(number)]
        assert await memberships.parents(APP, SHARED.digest)
        counted = await opened.read(lambda it: (amount(it, "verdicts"), amount(it, "memberships")), None)
        assert counted == (WORKERS * ROUNDS, 2 * WORKERS * ROUNDS)
        assert opened.faults == []
