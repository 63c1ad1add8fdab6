"""What is told of a disk that fails all the time."""

import errno

import pytest
from support.content import Told, content, opened

from proxy.stores.content import StoreError
from proxy.stores.content_account import FAULT_SECONDS, Account


def test_the_same_failure_is_told_at_an_interval_and_another_at_once():
    told, now = Told(), [0.0]
    account = Account(told, lambda: now[0])
    full, broken = OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "broken")
    for _ in range(1000):
        account.fault(full)
    account.fault(broken)
    assert told.faults == ["OSError: [Errno 28] full", "OSError: [Errno 5] broken"]
    now[0] = FAULT_SECONDS
    account.fault(full)
    account.fault(full)
    account.fault(broken)
    assert told.faults[2:] == ["OSError: [Errno 28] full (and 999 times before, untold)", "OSError: [Errno 5] broken"]
    assert account.stats(0).fault == "[Errno 5] broken"


async def test_a_full_disk_under_load_is_one_line(tmp_path):
    with opened(tmp_path, 2**62) as store:
        for number in range(200):
            with pytest.raises(StoreError, match="No space left"):
                await store.begin(content(number, 10)[1], 2**60)
        assert len(store.told.faults) == 1
