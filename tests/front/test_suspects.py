"""A blob whose transfers break off is held before Docker's fifth try, whichever workers its tries come to."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from proxy.front.suspects import SUSPECT_SECONDS, SUSPECT_WEIGHT, Suspects
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError, UnavailableError
from proxy.oci.reference import Repository
from proxy.stores.tallies import Tallies

APP, OTHER = Repository("docker.io", "team/app"), Repository("docker.io", "team/other")
LAYER = Digest.of(b"layer")
CUT = UnavailableError("cut")


def now():
    return datetime.now(UTC)  # noqa: TID251 (files have the time of the file system)


@pytest.fixture
def workers(tmp_path):
    cuts = timedelta(seconds=SUSPECT_SECONDS)
    return [Suspects(lambda: 0.0, Tallies(tmp_path / "cuts", cuts, now)) for _ in range(3)]


def is_held(suspects, repository=APP):
    try:
        suspects.check(repository, LAYER)
    except UnavailableError:
        return True
    return False


@pytest.mark.parametrize("order", list(product(range(3), repeat=SUSPECT_WEIGHT)))
def test_cuts_are_counted_by_all_together(workers, order):
    for number in order:
        assert not any(map(is_held, workers))
        workers[number].cut(APP, LAYER, CUT)
    assert all(map(is_held, workers))
    assert not any(is_held(one, OTHER) for one in workers)


def test_wrong_bytes_are_known_to_all_at_once(workers):
    workers[0].cut(APP, LAYER, CorruptError("wrong"))
    assert all(map(is_held, workers))


def test_one_process_needs_nobody():
    alone = Suspects(lambda: 0.0)
    for _ in range(SUSPECT_WEIGHT):
        assert not is_held(alone)
        alone.cut(APP, LAYER, CUT)
    assert is_held(alone)
