"""Counts that processes share: they add up, they end, they are bounded, and a disk that fails is no error."""

from datetime import UTC, datetime, timedelta

import pytest

from proxy.stores import tallies
from proxy.stores.tallies import Tallies

LIFETIME = timedelta(minutes=10)


class Now:
    """A clock beside the file system's own, which gives the files their time."""

    def __init__(self):
        self.ahead = timedelta(0)

    def __call__(self):
        return datetime.now(UTC) + self.ahead  # noqa: TID251 (the file system's)


@pytest.fixture
def now():
    return Now()


@pytest.fixture
def two(tmp_path, now):
    return [Tallies(tmp_path / "cuts", LIFETIME, now) for _ in range(2)]


def test_what_one_adds_the_other_counts(two):
    one, other = two
    assert other.count("a") == 0
    one.add("a", 1)
    other.add("a", 3)
    assert (one.count("a"), other.count("a"), one.count("b")) == (4, 4, 0)


@pytest.mark.parametrize("ahead", [LIFETIME, -LIFETIME])
def test_a_count_ends_and_begins_anew(two, now, ahead):
    one, other = two
    one.add("a", 3)
    now.ahead = ahead * 0.9
    assert other.count("a") == 3
    now.ahead = ahead * 1.1
    assert other.count("a") == 0
    other.add("a", 1)
    now.ahead = timedelta(0)
    assert one.count("a") == 1


def test_there_are_so_many_at_most_and_what_is_over_makes_room(two, now, monkeypatch, tmp_path):
    monkeypatch.setattr(tallies, "TALLIES_MAX", 3)
    one, other = two
    for name in "abcd":
        one.add(name, 1)
    assert [other.count(name) for name in "abcd"] == [1, 1, 1, 0]
    one.add("a", 1)  # one that is there grows
    assert other.count("a") == 2
    now.ahead = LIFETIME * 2
    other.add("d", 1)
    assert len(list((tmp_path / "cuts").iterdir())) == 1
    now.ahead = timedelta(0)
    assert one.count("d") == 1


def test_a_disk_that_fails_costs_the_count(tmp_path, now):
    (tmp_path / "file").write_text("no folder")
    it = Tallies(tmp_path / "file", LIFETIME, now)
    it.add("a", 1)
    assert it.count("a") == 0
