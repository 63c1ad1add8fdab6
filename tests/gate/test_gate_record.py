"""Where it is wanted, nothing lets an image be served before it is on record (`audit_failure = "refuse"`)."""

import asyncio
from datetime import timedelta

import pytest
from support.fakes import image_body
from test_gate import APP, bench, by_digest, by_tag, layer

from proxy.policy.model import Mode, OnOutage
from proxy.verdict import Accepted, InsecureUnverified, Refused, Subject, Undetermined


class Book:
    """Where decisions are put on record, unless it is full."""

    def __init__(self):
        self.is_full = True
        self.written = []
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()
        self.go_on.set()

    async def record(self, decision, client):
        self.asked.set()
        await self.go_on.wait()
        if not self.is_full:
            self.written.append((type(decision.verdict), client))
        return not self.is_full


def recorded(gate):
    book = Book()
    gate._record = book.record
    return book


def away(it):
    it.notebook.unreached = ["the registry is away"]
    it.notebook.signed.clear()


WAYS = [
    ({}, True, False, Accepted),
    ({"require": "unverified"}, False, False, InsecureUnverified),
    ({"mode": Mode.WARN}, False, False, Refused),
    ({"mode": Mode.AUDIT}, False, False, Refused),
    ({"on_outage": OnOutage.INSECURE_ALLOW}, False, True, Undetermined),
    ({"mode": Mode.WARN}, False, True, Undetermined),
]


@pytest.mark.parametrize(("settings", "is_signed", "is_away", "expected"), WAYS, ids=range(len(WAYS)))
async def test_what_is_served_is_on_record_first(settings, is_signed, is_away, expected):
    it = bench(**settings)
    digest = it.registry.add(APP, image_body("app"), "v1")
    it.notebook.signed[digest] = ("release",) if is_signed else ()
    if is_away:
        away(it)
    async with it.gate() as gate:
        book = recorded(gate)
        for _ in range(2):
            pulled = await gate.pull(by_tag(), "10.0.0.7")
            assert not pulled.decision.served
            assert isinstance(pulled.decision.verdict, Undetermined)
            assert 'audit_failure = "refuse"' in pulled.decision.verdict.cause
            assert not (await gate.blob(APP, layer("app"), "10.0.0.7")).served
        book.is_full = False
        it.clock.advance(61)  # of a blob that is named by what could not be judged
        pulled = await gate.pull(by_tag(), "10.0.0.7")
        assert (pulled.decision.served, type(pulled.decision.verdict)) == (True, expected)
        assert book.written[0] == (expected, "10.0.0.7")
        assert (await gate.blob(APP, layer("app"), "10.0.0.7")).served


async def test_what_is_on_record_goes_on_to_be_served():
    it = bench()
    it.notebook.signed[it.registry.add(APP, image_body("app"), "v1")] = ("release",)
    async with it.gate() as gate:
        book = recorded(gate)
        book.is_full = False
        assert (await gate.pull(by_tag(), "client")).decision.served
        book.is_full = True
        assert (await gate.pull(by_tag(), "client")).decision.served
    async with it.gate() as other:
        recorded(other)
        assert (await other.pull(by_tag(), "client")).decision.served
    assert len(book.written) == 1


async def test_a_refusal_needs_no_record():
    it = bench()
    it.registry.add(APP, image_body("app"), "v1")
    async with it.gate() as gate:
        recorded(gate)
        assert isinstance((await gate.pull(by_tag(), "client")).decision.verdict, Refused)


@pytest.mark.parametrize("is_full", [True, False])
async def test_an_acceptance_that_stands_in_is_on_record_first(is_full):
    it = bench(accepted_max_stale=timedelta(hours=1))
    digest = it.registry.add(APP, image_body("app"), "v1")
    it.notebook.signed[digest] = ("release",)
    async with it.gate() as gate:
        book = recorded(gate)
        book.is_full = False
        assert (await gate.pull(by_digest(digest), "client")).decision.served
        away(it)
        it.clock.advance(3601)
        book.is_full, book.asked, book.go_on = is_full, asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as clients:
            first = clients.create_task(gate.pull(by_digest(digest), "first"))
            await book.asked.wait()
            # Nobody takes it for one while the line is being written.
            assert gate._known(Subject(APP, digest, None)) is None
            book.go_on.set()
        assert first.result().decision.served is not is_full
        assert (await gate.pull(by_digest(digest), "second")).decision.served is not is_full
        assert len(book.written) == (1 if is_full else 2)
