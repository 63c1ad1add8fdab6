"""A trust root that was not confirmed for too long: what it proves does not count, what others prove does."""

from datetime import timedelta

import pytest
from support.fakes import START, Clock, FakeRegistry, FakeSigner, Notebook
from test_gate import APP

from proxy.gate import Judge, TrustAges
from proxy.oci.digest import Digest
from proxy.policy.evaluate import Lifetimes
from proxy.policy.expression import parse
from proxy.policy.match import Pattern
from proxy.policy.model import Rule
from proxy.verdict import Accepted, Refused, Subject, Undetermined

SUBJECT = Subject(APP, Digest.of(b"image"), None)
RELYING = {"ci": "public-good", "build": "private"}
WEEK = timedelta(days=7)


def rule(require, notebook, max_age=WEEK):
    expression = parse(require)
    signers = {name: FakeSigner(name, notebook) for name in ("release", "ci", "build") if name in require}
    return Rule("app", (Pattern.parse("**"),), expression, signers, trust_root_max_age=max_age)


async def judged(require, signed, ages, max_age=WEEK):
    """Judge an image that these signed, with trust roots that are so old (None: never confirmed)."""
    notebook, clock = Notebook(signed={SUBJECT.digest: tuple(signed)}), Clock()
    confirmed = {name: None if age is None else START - age for name, age in ages.items()}
    judge = Judge(FakeRegistry(), clock, Lifetimes(), seconds=5, at_once=1, trust=TrustAges(RELYING, confirmed))
    return (await judge.examine(rule(require, notebook, max_age), SUBJECT)).verdict


FRESH, SECOND = {"public-good": timedelta(0), "private": timedelta(0)}, timedelta(seconds=1)
CASES = [
    ("ci", ["ci"], {"public-good": WEEK - SECOND}, Accepted),
    ("ci", ["ci"], {"public-good": WEEK}, Undetermined),
    ("ci", ["ci"], {"public-good": 10 * WEEK}, Undetermined),
    ("ci", ["ci"], {"public-good": None}, Undetermined),
    ("ci", ["ci"], {}, Undetermined),
    ("ci", ["ci"], {"public-good": SECOND - WEEK}, Accepted),
    ("ci", ["ci"], {"public-good": -WEEK}, Undetermined),
    ("ci", [], {"public-good": WEEK}, Undetermined),
    ("ci", [], {"public-good": WEEK - SECOND}, Refused),
    ("release", ["release"], {"public-good": WEEK, "private": None}, Accepted),
    ("release", [], {"public-good": WEEK, "private": None}, Refused),
    ("release or ci", ["release", "ci"], {"public-good": WEEK}, Accepted),
    ("release or ci", ["ci"], {"public-good": WEEK}, Undetermined),
    ("release and ci", ["release", "ci"], {"public-good": WEEK}, Undetermined),
    ("ci and build", ["ci", "build"], FRESH, Accepted),
    ("ci and build", ["ci", "build"], FRESH | {"private": WEEK}, Undetermined),
    ("1 of (ci, build)", ["ci", "build"], FRESH | {"private": WEEK}, Accepted),
]


@pytest.mark.parametrize(("require", "signed", "ages", "verdict"), CASES)
async def test_what_an_old_trust_root_proves_does_not_count(require, signed, ages, verdict):
    assert type(await judged(require, signed, ages)) is verdict


@pytest.mark.parametrize("ages", [{}, {"public-good": 1000 * WEEK}, {"public-good": None}])
async def test_without_the_setting_age_does_not_matter(ages):
    assert isinstance(await judged("ci", ["ci"], ages, max_age=None), Accepted)


@pytest.mark.parametrize(
    ("age", "limit", "words"),
    [
        (None, WEEK, "never confirmed, trust_root_max_age is 7d"),
        (12 * WEEK, WEEK, "last confirmed 84d ago, trust_root_max_age is 7d"),
        (WEEK + SECOND, WEEK, "last confirmed 7d ago, trust_root_max_age is 7d"),
        (timedelta(hours=47), timedelta(days=1), "last confirmed 47h ago, trust_root_max_age is 1d"),
        (timedelta(minutes=90), timedelta(hours=1), "last confirmed 90m ago, trust_root_max_age is 1h"),
        (timedelta(seconds=90), timedelta(minutes=1), "last confirmed 90s ago, trust_root_max_age is 1m"),
        (-WEEK, WEEK, "last confirmed 7d from now, by a clock that was ahead, trust_root_max_age is 7d"),
    ],
)
async def test_names_the_root_its_age_and_the_key(age, limit, words):
    assert (await judged("ci", ["ci"], {"public-good": age}, limit)).cause == f"trust root public-good was {words}"


def test_a_root_that_is_confirmed_again_counts_again():
    ages = TrustAges(RELYING, {"public-good": START - WEEK})
    one = rule("ci", Notebook())
    assert set(ages.too_old(one, START)) == {"ci"}
    ages.confirm("private", START)
    assert set(ages.too_old(one, START)) == {"ci"}
    ages.confirm("public-good", START)
    assert set(ages.too_old(one, START + WEEK - SECOND)) == set()
    assert set(ages.too_old(one, START + WEEK)) == {"ci"}
