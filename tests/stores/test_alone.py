"""What one process does for all is done by one at a time, and by the next when it has ended."""

import subprocess
import sys

import pytest

from proxy.stores.alone import WAIT_SECONDS, alone

HOLD = "import sys; from proxy.stores.alone import _locked; f = open(sys.argv[1], 'ab'); assert _locked(f.fileno());"


async def test_one_at_a_time(tmp_path):
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD + "print('held', flush=True); sys.stdin.read()", str(path)]
    slept = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:  # noqa: ASYNC220, S603
        assert other.stdout.readline() == b"held\n"

        async def sleep(seconds):
            slept.append(seconds)
            if len(slept) == 2:
                other.kill()
                other.wait()

        async with alone(path, sleep):
            assert slept == [WAIT_SECONDS] * 2
            done = subprocess.run([sys.executable, "-c", HOLD, str(path)], capture_output=True, check=False)  # noqa: ASYNC221, S603
            assert b"AssertionError" in done.stderr


async def test_a_folder_that_is_gone(tmp_path):
    with pytest.raises(FileNotFoundError):
        async with alone(tmp_path / "gone" / "lock"):
            pass
