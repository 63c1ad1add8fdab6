"""Real faults: processes killed in the middle, a disk that is full, a disk that turns read-only."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.content import files_in, opened
from support.content_writers import CONTENTS

from proxy.stores.content_folder import INCOMING

TESTS = Path(__file__).parent.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
ROUNDS = 30
# Longer than it takes to write a few files; what is hit differs each time, what must hold does not.
KILLED_WITHIN_SECONDS = 0.1


@pytest.fixture
def write_and_be_killed(tmp_path):
    """Return a function that lets a process write into the store and kills it at some moment."""
    command = [sys.executable, str(TESTS / "support" / "content_writers.py"), str(tmp_path / "content")]
    with subprocess.Popen(  # noqa: S603 (our own file)
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
    ) as process:

        def write():
            process.stdin.write(b"\n")
            process.stdin.flush()
            writer = int(process.stdout.readline())
            time.sleep(random.uniform(0, KILLED_WITHIN_SECONDS))  # noqa: S311 (any moment)
            os.kill(writer, signal.SIGKILL)
            assert process.stdout.readline() == b"ended\n"

        yield write
        process.stdin.close()


async def test_a_store_whose_writers_are_killed_opens_clean(write_and_be_killed, tmp_path):
    folder = tmp_path / "content"
    half_written = 0
    for _ in range(ROUNDS):
        write_and_be_killed()
        half_written += len(files_in(folder / INCOMING))
        names = {it.name for it in (folder / "sha256").rglob("*") if it.is_file()}
        assert names <= {digest.hex for _, digest in CONTENTS}
        with opened(folder) as store:
            assert files_in(folder / INCOMING) == []
            assert all([await store.verify_again(it.digest) for it in store.entries()])
            assert store.told.corrupt == store.told.faults == []
    assert half_written
    assert names


@pytest.mark.parametrize("script", ["content_disk.py", "full_disk_readers.py"])
def test_a_full_and_a_read_only_disk(tmp_path, script):
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-Urm", "true"], check=False, capture_output=True).returncode:  # noqa: S603
        pytest.skip("no mount namespace can be made here (unshare -Urm)")
    command = [unshare, "-Urm", sys.executable, str(TESTS / "support" / script), str(tmp_path)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=ENVIRONMENT)  # noqa: S603 (our own file)
    assert ran.stdout == "ok\n", ran.stderr
