"""One download a blob: many readers, one transfer, and what becomes of each when something fails."""

import asyncio
import re
import time
from contextlib import aclosing, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field

import pytest
from support.content import opened, receive

from proxy.gate import transfers as module
from proxy.gate.arriving import HELD_BYTES, Arriving, Transfer
from proxy.gate.fetching import RESUMES_MAX
from proxy.gate.transfers import PREFETCHES_AT_ONCE, Transfers
from proxy.oci.digest import Digest
from proxy.oci.errors import CorruptError, NotFoundError, UnavailableError
from proxy.oci.reference import Repository
from proxy.stores.content import StoredBlob
from proxy.stores.database import StoreError
from proxy.stores.incoming import IncomingFile
from proxy.upstream.blobs import OK, PARTIAL, BlobStream

APP, OTHER = Repository.of("docker.io", "team/app"), Repository.of("docker.io", "team/other")
ELSEWHERE = Repository.of("ghcr.io", "team/app")
BLOB = bytes(range(251)) * 2000  # half a megabyte, no two pieces alike
DIGEST = Digest.of(BLOB)
PIECE = 100_000
WHOLE = range(len(BLOB))


@dataclass
class Upstream:
    """Sends `content` in pieces: to `cuts[n]` in the nth answer, each piece when `go` is set."""

    content: bytes = BLOB
    cuts: dict[int, int] = field(default_factory=dict)
    errors: dict[int, Exception] = field(default_factory=dict)
    ranges: bool = True
    size: int | None = None
    asked: list[tuple[Repository, str | None]] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    held_at: int | None = None
    left: int = 0

    def __post_init__(self):
        self.go.set()

    @asynccontextmanager
    async def open_blob(self, repository, digest, *, range_header=None):
        number = len(self.asked)
        self.asked.append((repository, range_header))
        if number in self.errors:
            raise self.errors[number]
        stop = min(self.cuts.get(number, len(self.content)), len(self.content))
        try:
            if range_header is None or not self.ranges:
                size = len(self.content) if self.size is None else self.size
                yield BlobStream(OK, size, None, None, self._chunks(0, stop, number in self.cuts))
            else:
                start, last = re.fullmatch(r"bytes=(\d+)-(\d*)", range_header).groups()
                last = int(last or len(self.content) - 1)
                says = f"bytes {start}-{last}/{len(self.content) if self.size is None else self.size}"
                chunks = self._chunks(int(start), min(stop, last + 1), number in self.cuts)
                yield BlobStream(PARTIAL, None, says, None, chunks)
        finally:
            self.left += 1

    async def _chunks(self, start, stop, cut):
        while start < stop:
            if self.held_at is not None and start >= self.held_at:
                await self.go.wait()
            yield self.content[start : min(start + PIECE, stop)]
            start += PIECE
        if cut:
            raise UnavailableError("the connection broke")


@dataclass
class Told:
    outcomes: list[str] = field(default_factory=list)
    lookups: list[bool] = field(default_factory=list)
    cuts: list[tuple[Repository, Digest, str]] = field(default_factory=list)

    def transfer(self, outcome):
        self.outcomes.append(outcome)

    def looked_up(self, cache, *, hit):
        self.lookups.append(hit)

    def cut(self, repository, digest, error):
        self.cuts.append((repository, digest, type(error).__name__))


@asynccontextmanager
async def transferring(upstream, folder, bytes_max=10_000_000):
    async def no_sleep(_):
        await asyncio.sleep(0)

    with opened(folder, bytes_max) as store:
        told = Told()
        async with asyncio.TaskGroup() as tasks:
            made = Transfers(source=upstream, store=store, tasks=tasks, observer=told, on_cut=told.cut, sleep=no_sleep)
            made.told, made.content, made.tasks = told, store, tasks
            yield made
            upstream.go.set()


async def read(found, part=WHOLE):
    with closing(found):
        async with aclosing(found.chunks(part)) as chunks:
            return b"".join([chunk async for chunk in chunks])


async def read_until(error, found, part=WHOLE):
    """Return what comes before the error."""
    got = b""
    try:
        async for chunk in found.chunks(part):
            got += chunk
    except error:
        found.close()
        return got
    pytest.fail("it ended as complete")


async def ended(transfers):
    while transfers._running:  # noqa: ASYNC110 (nobody else is told)
        await asyncio.sleep(0.001)


def stored(transfers, blob=BLOB):
    found = transfers.stored(Digest.of(blob), len(blob))
    if found is None:
        return None
    with found.file:
        return found.file.read()


async def test_many_readers_and_one_question(tmp_path):
    upstream = Upstream()
    async with transferring(upstream, tmp_path) as transfers:
        found = await asyncio.gather(*(transfers.open(APP, DIGEST, len(BLOB)) for _ in range(5)))
        assert [type(one) for one in found] == [Arriving] * 5
        assert await asyncio.gather(*map(read, found)) == [BLOB] * 5
        await ended(transfers)
        assert stored(transfers) == BLOB
        again = await transfers.open(OTHER, DIGEST, len(BLOB))
        assert isinstance(again, StoredBlob)
        again.close()
        assert upstream.asked == [(APP, None)]
        assert transfers.told.outcomes == ["joined"] * 4 + ["kept"]
        assert transfers.told.lookups == [True]


async def test_bytes_come_as_they_arrive_and_to_who_comes_late(tmp_path):
    upstream = Upstream(held_at=300_000)
    upstream.go.clear()
    async with transferring(upstream, tmp_path) as transfers:
        early = await transfers.open(APP, DIGEST, len(BLOB))
        chunks, got = early.chunks(WHOLE), b""
        while len(got) < 300_000:
            got += await anext(chunks)
        late = await transfers.open(OTHER, DIGEST, len(BLOB))
        end = await transfers.open(OTHER, DIGEST, len(BLOB))
        assert BLOB[1000:].startswith(bytes(await anext(end.chunks(range(1000, len(BLOB))))))
        end.close()
        assert len(await anext(late.chunks(WHOLE))) >= 100_000
        upstream.go.set()
        async for chunk in chunks:
            got += chunk
        assert got == BLOB
        assert await read(late) == BLOB
        early.close()
        assert len(upstream.asked) == 1


async def test_the_end_is_held_back_until_it_is_proven(tmp_path):
    upstream = Upstream(held_at=500_000)  # the last piece
    upstream.go.clear()
    async with transferring(upstream, tmp_path) as transfers:
        found = await transfers.open(APP, DIGEST, len(BLOB))
        got = b""
        chunks = found.chunks(WHOLE)
        while len(got) < len(BLOB) - HELD_BYTES:
            got += await anext(chunks)
        assert len(got) == len(BLOB) - HELD_BYTES
        upstream.go.set()
        assert got + b"".join([chunk async for chunk in chunks]) == BLOB
        found.close()


async def test_wrong_bytes_end_no_reader_as_complete(tmp_path):
    wrong = BLOB[:-1] + b"x"
    upstream = Upstream(content=wrong)
    async with transferring(upstream, tmp_path) as transfers:
        found = [await transfers.open(who, DIGEST, len(BLOB)) for who in (APP, APP, OTHER)]
        for one in found:
            assert len(await read_until(CorruptError, one)) <= len(BLOB) - HELD_BYTES
        await ended(transfers)
        assert stored(transfers) is None
        assert transfers.told.outcomes[-1] == "failed"
        # Once for each repository, however many read.
        assert sorted(transfers.told.cuts, key=str) == [(who, DIGEST, "CorruptError") for who in (APP, OTHER)]


async def test_that_bytes_are_wrong_is_told_before_readers_hear_of_it(tmp_path, monkeypatch):
    """They ask again at once, for what is after the wrong bytes that they have; they are not to get it."""
    discard = IncomingFile.discard

    def slowly(self):
        time.sleep(0.05)
        discard(self)

    monkeypatch.setattr(IncomingFile, "discard", slowly)
    async with transferring(Upstream(content=BLOB[:-1] + b"x"), tmp_path) as transfers:
        await read_until(CorruptError, await transfers.open(APP, DIGEST, len(BLOB)))
        assert transfers.told.cuts == [(APP, DIGEST, "CorruptError")]


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_cut_transfer_goes_on_where_it_was(tmp_path, ranges):
    upstream = Upstream(cuts={0: 200_000, 1: 350_000}, ranges=ranges)
    async with transferring(upstream, tmp_path) as transfers:
        assert await read(await transfers.open(APP, DIGEST, len(BLOB))) == BLOB
        await ended(transfers)
        assert [asked for _, asked in upstream.asked] == [None, "bytes=200000-", "bytes=350000-"]
        assert transfers.told.outcomes == ["resumed", "resumed", "kept"]
        assert transfers.told.cuts == []


async def test_not_for_ever(tmp_path):
    upstream = Upstream(cuts=dict.fromkeys(range(10), 200_000))
    async with transferring(upstream, tmp_path) as transfers:
        found = await transfers.open(APP, DIGEST, len(BLOB))
        with pytest.raises(UnavailableError, match="broke"):
            await read(found)
        assert len(upstream.asked) == 1 + RESUMES_MAX
        await ended(transfers)
        assert transfers.told.cuts == [(APP, DIGEST, "UnavailableError")]
        assert list((tmp_path / "incoming").iterdir()) == []


async def test_a_continuation_of_other_content_is_wrong(tmp_path):
    class Changing(Upstream):
        def open_blob(self, *args, **options):
            self.size = len(BLOB) + 1 if self.asked else None
            return super().open_blob(*args, **options)

    upstream = Changing(cuts={0: 200_000}, held_at=100_000)
    upstream.go.clear()
    async with transferring(upstream, tmp_path) as transfers:
        found = await transfers.open(APP, DIGEST, len(BLOB))
        upstream.go.set()
        with pytest.raises(CorruptError, match="Content-Range"):
            await read(found)


async def test_what_fails_before_its_reader_looks_is_an_answer_too(tmp_path):
    async with transferring(Upstream(), tmp_path) as transfers:
        made = Transfer(APP, DIGEST, len(BLOB))
        made.incoming = await transfers.content.begin(DIGEST, len(BLOB))
        await made.incoming.abort()
        transfers._running[APP.registry, DIGEST, len(BLOB)] = made

        async def fail_meanwhile():
            while OTHER not in made.readers_of:  # noqa: ASYNC110 (nobody else is told)
                await asyncio.sleep(0)
            made.answer(begins=True)
            made.fail(CorruptError("wrong"))

        asked = asyncio.gather(transfers.open(OTHER, DIGEST, len(BLOB)), fail_meanwhile(), return_exceptions=True)
        assert str((await asked)[0]) == "wrong"
        # Nobody joins one that has failed.
        assert await read(await transfers.open(OTHER, DIGEST, len(BLOB))) == BLOB


@pytest.mark.parametrize(
    ("upstream", "error"),
    [
        (Upstream(errors={0: NotFoundError("no such blob")}), NotFoundError),
        (Upstream(errors={0: UnavailableError("away")}), UnavailableError),
        (Upstream(size=3), CorruptError),
        (Upstream(errors={0: ZeroDivisionError()}), UnavailableError),
    ],
)
async def test_an_error_before_the_first_byte_is_an_answer(tmp_path, upstream, error):
    async with transferring(upstream, tmp_path) as transfers:
        results = await asyncio.gather(
            *(transfers.open(APP, DIGEST, len(BLOB)) for _ in range(2)), return_exceptions=True
        )
        assert [type(one) for one in results] == [error] * 2
        await ended(transfers)
        assert len(upstream.asked) == 1
        assert transfers.told.outcomes == ["joined", "failed"]
        assert transfers.told.cuts == []


async def test_what_one_repository_is_told_is_no_answer_to_another(tmp_path):
    upstream = Upstream(errors={0: NotFoundError("not here")})
    async with transferring(upstream, tmp_path) as transfers:
        first, second = await asyncio.gather(
            transfers.open(APP, DIGEST, len(BLOB)), transfers.open(OTHER, DIGEST, len(BLOB)), return_exceptions=True
        )
        assert isinstance(first, NotFoundError)
        assert await read(second) == BLOB
        assert [who for who, _ in upstream.asked] == [APP, OTHER]


async def test_a_registry_does_not_speak_for_another(tmp_path):
    upstream = Upstream(held_at=0)
    upstream.go.clear()
    async with transferring(upstream, tmp_path) as transfers:
        found = [await transfers.open(who, DIGEST, len(BLOB)) for who in (APP, ELSEWHERE)]
        upstream.go.set()
        assert [await read(one) for one in found] == [BLOB] * 2
        assert [who for who, _ in upstream.asked] == [APP, ELSEWHERE]


async def test_a_reader_that_leaves_ends_nothing(tmp_path):
    upstream = Upstream(held_at=200_000)
    upstream.go.clear()
    async with transferring(upstream, tmp_path) as transfers:
        first = await transfers.open(APP, DIGEST, len(BLOB))
        async with aclosing(first.chunks(WHOLE)) as chunks:
            await anext(chunks)
        first.close()
        upstream.go.set()
        await ended(transfers)
        assert stored(transfers) == BLOB


async def test_nor_does_one_that_leaves_before_it_begins(tmp_path):
    upstream = Upstream()
    async with transferring(upstream, tmp_path) as transfers:
        asking = transfers.tasks.create_task(transfers.open(APP, DIGEST, len(BLOB)))
        while not transfers._running:  # noqa: ASYNC110 (nobody else is told)
            await asyncio.sleep(0)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        await ended(transfers)
        assert asking.cancelled()
        assert stored(transfers) == BLOB


async def test_a_slow_reader_holds_nobody_up(tmp_path):
    upstream = Upstream()
    async with transferring(upstream, tmp_path) as transfers:
        slow, fast = [await transfers.open(APP, DIGEST, len(BLOB)) for _ in range(2)]
        chunks = slow.chunks(WHOLE)
        got = bytes(await anext(chunks))
        assert await read(fast) == BLOB
        await ended(transfers)
        assert got + b"".join([chunk async for chunk in chunks]) == BLOB
        slow.close()


async def test_far_behind_it_is_read_by_a_thread(tmp_path, monkeypatch):
    monkeypatch.setattr("proxy.gate.arriving.CACHED_BYTES", 0)
    async with transferring(Upstream(), tmp_path) as transfers:
        assert await read(await transfers.open(APP, DIGEST, len(BLOB))) == BLOB


@pytest.mark.parametrize(("size", "limit"), [(len(BLOB), 1000), (len(BLOB), 0)])
async def test_what_does_not_fit_goes_straight_through(tmp_path, size, limit):
    upstream = Upstream()
    async with transferring(upstream, tmp_path, limit) as transfers:
        assert await transfers.open(APP, DIGEST, size) is None
        assert upstream.asked == []
        assert transfers.told.outcomes == ["not_kept"]


async def test_too_many_at_once_go_straight_through(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TRANSFERS_MAX", 1)
    upstream = Upstream(held_at=0)
    upstream.go.clear()
    async with transferring(upstream, tmp_path) as transfers:
        found = await transfers.open(APP, DIGEST, len(BLOB))
        assert await transfers.open(APP, Digest.of(b"other"), 5) is None
        found.close()


async def test_without_a_store_there_is_nothing(tmp_path):
    upstream, told = Upstream(), Told()
    async with asyncio.TaskGroup() as tasks:
        transfers = Transfers(source=upstream, store=None, tasks=tasks, observer=told, on_cut=told.cut)
        assert transfers.stored(DIGEST, 1) is None
        assert await transfers.open(APP, DIGEST, 1) is None
        transfers.prefetch(APP, [(DIGEST, 1)])
        transfers.doubt(DIGEST)
    assert upstream.asked == []


@pytest.mark.parametrize("part", [range(1), range(1000, 2000), range(len(BLOB) - 1), range(1, len(BLOB) - 1)])
async def test_a_part_that_ends_within_the_blob_comes_when_all_is_confirmed(tmp_path, part):
    upstream = Upstream(held_at=500_000)
    upstream.go.clear()
    async with transferring(upstream, tmp_path) as transfers:
        found = await transfers.open(APP, DIGEST, len(BLOB))
        reading, confirming = (transfers.tasks.create_task(it) for it in (read(found, part), found.confirm()))
        await found._incoming.wait_for(400_000)
        await asyncio.sleep(0.02)
        assert not reading.done()
        assert not confirming.done()
        upstream.go.set()
        assert (await reading, await confirming) == (BLOB[part.start : part.stop], True)
        assert upstream.asked == [(APP, None)]


@pytest.mark.parametrize(
    ("at", "part"), [(-1, range(1000)), (-1, range(100, 400_000)), (0, range(400_000, len(BLOB))), (0, range(9, 10))]
)
async def test_nor_does_a_part_of_wrong_bytes_ever_come(tmp_path, at, part):
    wrong = bytearray(BLOB)
    wrong[at] ^= 1
    async with transferring(Upstream(content=bytes(wrong)), tmp_path) as transfers:
        found = await transfers.open(APP, DIGEST, len(BLOB))
        with pytest.raises(CorruptError):
            await found.confirm()
        got = await read_until(CorruptError, found, part)
        assert len(got) < len(part)
        assert got == b"" or part.stop == len(BLOB)


async def test_confirming_tells_the_upstreams_error(tmp_path):
    upstream = Upstream(cuts=dict.fromkeys(range(10), 200_000))
    async with transferring(upstream, tmp_path) as transfers:
        found = await transfers.open(APP, DIGEST, len(BLOB))
        with pytest.raises(UnavailableError, match="broke"):
            await found.confirm()
        found.close()


def fail_after(transfers, most, monkeypatch):
    """Let the disk take so many bytes."""
    begin = transfers.content.begin

    async def failing(digest, size, scope):
        incoming = await begin(digest, size, scope)
        write = incoming.write

        async def fail(chunk):
            if incoming.received + len(chunk) > most:
                await incoming.abort()
                raise StoreError("no space left on device")
            await write(chunk)
            await incoming.wait_for(incoming._accepted - 1)

        monkeypatch.setattr(incoming, "write", fail)
        return incoming

    monkeypatch.setattr(transfers.content, "begin", failing)


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_disk_that_fails_costs_the_reader_nothing(tmp_path, monkeypatch, ranges):
    upstream = Upstream(ranges=ranges)
    async with transferring(upstream, tmp_path) as transfers:
        fail_after(transfers, 250_000, monkeypatch)
        found = [await transfers.open(who, DIGEST, len(BLOB)) for who in (APP, OTHER)]
        assert await asyncio.gather(*map(read, found)) == [BLOB] * 2
        await ended(transfers)
        assert transfers.told.outcomes == ["joined", "not_kept"]
        assert sorted(str(who) for who, _ in upstream.asked) == [str(APP), str(APP), str(OTHER)]
        assert all(re.fullmatch("bytes=[12]00000-501999", asked) for _, asked in upstream.asked[1:])
        assert upstream.left == 3
        assert transfers.told.cuts == []


async def test_nor_is_wrong_content_complete_then(tmp_path, monkeypatch):
    upstream = Upstream(content=b"x" + BLOB[1:])
    async with transferring(upstream, tmp_path) as transfers:
        fail_after(transfers, 250_000, monkeypatch)
        assert len(await read_until(CorruptError, await transfers.open(APP, DIGEST, len(BLOB)))) < len(BLOB)
        assert transfers.told.cuts == [(APP, DIGEST, "CorruptError")]


async def test_the_end_goes_on_without_the_disk_and_no_other_part(tmp_path, monkeypatch):
    upstream = Upstream()
    async with transferring(upstream, tmp_path) as transfers:
        fail_after(transfers, 250_000, monkeypatch)
        found = await transfers.open(APP, DIGEST, len(BLOB))
        assert not await found.confirm()
        with pytest.raises(UnavailableError, match="content store failed"):
            await anext(found.chunks(range(100, 400_000)))
        assert await read(found, range(100, len(BLOB))) == BLOB[100:]
        assert re.fullmatch("bytes=[12]00000-501999", upstream.asked[1][1])


async def test_nor_is_the_end_of_wrong_content_complete_then(tmp_path, monkeypatch):
    upstream = Upstream(content=b"x" + BLOB[1:])
    async with transferring(upstream, tmp_path) as transfers:
        fail_after(transfers, 250_000, monkeypatch)
        found = [await transfers.open(APP, DIGEST, len(BLOB)) for _ in range(2)]
        with pytest.raises(CorruptError):
            await read(found[0], range(100_000, len(BLOB)))
        with pytest.raises(UnavailableError, match="cannot be read"):
            await read(found[1], range(300_000, len(BLOB)))


async def test_a_file_that_was_cut_short_is_no_source(tmp_path, monkeypatch):
    upstream = Upstream(held_at=200_000)
    upstream.go.clear()
    async with transferring(upstream, tmp_path) as transfers:
        found = await transfers.open(APP, DIGEST, len(BLOB))
        chunks = found.chunks(WHOLE)
        got = bytes(await anext(chunks))
        while len(got) < 200_000:
            got += await anext(chunks)
        (file,) = (tmp_path / "incoming").iterdir()
        monkeypatch.setattr(found._transfer.incoming, "received", 300_000)
        file.write_bytes(b"")
        with pytest.raises(UnavailableError, match="cannot be read"):
            await anext(chunks)
        found.close()
        await found._transfer.incoming.abort()


@pytest.mark.parametrize("size", [0, 1, HELD_BYTES, HELD_BYTES + 1])
async def test_small_ones(tmp_path, size):
    blob = b"s" * size
    async with transferring(Upstream(content=blob), tmp_path) as transfers:
        found = await transfers.open(APP, Digest.of(blob), size)
        assert await read(found, range(size)) == blob
        await ended(transfers)
        assert stored(transfers, blob) == blob


async def test_prefetching_is_bounded_and_no_second_question(tmp_path):
    upstream = Upstream(held_at=0)
    upstream.go.clear()
    async with transferring(upstream, tmp_path) as transfers:
        others = [(Digest.of(b"%d" % n), len(BLOB)) for n in range(4)]
        transfers.prefetch(APP, [(DIGEST, len(BLOB)), *others])
        transfers.prefetch(APP, [(DIGEST, len(BLOB))])
        for _ in range(5):
            await asyncio.sleep(0.005)
        assert len(transfers._running) == PREFETCHES_AT_ONCE
        upstream.go.set()
        assert await read(await transfers.open(APP, DIGEST, len(BLOB))) == BLOB
        await ended(transfers)
        while transfers._prefetching:  # noqa: ASYNC110 (nobody else is told)
            await asyncio.sleep(0.001)
        assert len(upstream.asked) == 5
        assert transfers.told.outcomes.count("prefetched") == 5
        assert transfers.told.outcomes.count("failed") == 4  # the others have other digests
        transfers.prefetch(APP, [(DIGEST, len(BLOB))])
        while transfers._prefetching:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert len(upstream.asked) == 5


async def test_what_waits_to_be_prefetched_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PREFETCHES_WAITING_MAX", 3)
    upstream = Upstream(errors=dict.fromkeys(range(9), NotFoundError("no")))
    async with transferring(upstream, tmp_path) as transfers:
        transfers.prefetch(APP, [(Digest.of(b"%d" % n), 10) for n in range(9)])
        while transfers._prefetching:  # noqa: ASYNC110 (nobody else is told)
            await asyncio.sleep(0.001)
        assert len(upstream.asked) == 3


async def test_what_cannot_be_read_is_looked_at_again(tmp_path):
    async with transferring(Upstream(), tmp_path) as transfers:
        await read(await transfers.open(APP, DIGEST, len(BLOB)))
        await ended(transfers)
        path = tmp_path / "sha256" / DIGEST.hex[:2] / DIGEST.hex
        path.write_bytes(b"x" + BLOB[1:])
        transfers.doubt(DIGEST)
        while path.exists():  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.001)
        assert transfers.content.told.corrupt == [DIGEST]


async def test_what_nobody_reads_is_kept_and_told_of(tmp_path):
    upstream, arrived = Upstream(cuts={0: 250_000}), []
    async with transferring(upstream, tmp_path) as transfers:
        assert await transfers.keep(APP, DIGEST, len(BLOB), arrived.append)
        assert stored(transfers) == BLOB
        assert arrived[-1] == len(BLOB)
        assert arrived == sorted(set(arrived))
        assert await transfers.keep(APP, DIGEST, len(BLOB), arrived.append)
    assert [header for _, header in upstream.asked] == [None, "bytes=250000-"]


@pytest.mark.parametrize("upstream", [Upstream(errors={0: NotFoundError("gone")}), Upstream(content=BLOB[:-1] + b"!")])
async def test_what_cannot_be_had_is_an_error(tmp_path, upstream):
    async with transferring(upstream, tmp_path) as transfers:
        with pytest.raises((NotFoundError, CorruptError)):
            await transfers.keep(APP, DIGEST, len(BLOB), lambda _: None)
        assert stored(transfers) is None


async def test_what_one_repository_is_told_does_not_end_the_keeping_for_another(tmp_path):
    upstream = Upstream(errors={0: NotFoundError("gone")})
    async with transferring(upstream, tmp_path) as transfers:
        both = (transfers.keep(repository, DIGEST, len(BLOB), lambda _: None) for repository in (OTHER, APP))
        told, kept = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(told, NotFoundError)
    assert kept


async def test_what_cannot_be_kept_is_said(tmp_path, monkeypatch):
    def nothing(_):
        pytest.fail("no byte of it can be kept")

    async with transferring(Upstream(), tmp_path, bytes_max=1000) as transfers:
        assert not await transfers.keep(APP, DIGEST, len(BLOB), nothing)
        monkeypatch.setattr(module, "TRANSFERS_MAX", 0)
        assert not await transfers.keep(APP, DIGEST, len(BLOB), nothing)
        transfers._store = None
        assert not await transfers.keep(APP, DIGEST, len(BLOB), nothing)
    async with transferring(Upstream(), tmp_path / "failing") as transfers:
        fail_after(transfers, 1, monkeypatch)
        assert not await transfers.keep(APP, DIGEST, len(BLOB), lambda _: None)


@asynccontextmanager
async def two_processes(first, second, folder):
    async with transferring(first, folder) as one, transferring(second, folder) as other:
        yield one, other


async def test_two_processes_ask_once(tmp_path):
    first, second = Upstream(held_at=200_000), Upstream()
    first.go.clear()
    async with two_processes(first, second, tmp_path) as (one, other):
        found = [await it.open(APP, DIGEST, len(BLOB)) for it in (one, other, other)]
        near = await other.open(APP, DIGEST, len(BLOB))
        first.go.set()
        assert await asyncio.gather(*map(read, found)) == [BLOB] * 3
        assert await read(near, range(100_000, 150_000)) == BLOB[100_000:150_000]
        await ended(other)
        assert (len(first.asked), len(second.asked)) == (1, 0)
        assert other.told.outcomes == ["joined", "joined", "joined"]


async def test_what_another_process_is_told_is_no_answer(tmp_path):
    class Slowly(Upstream):
        @asynccontextmanager
        async def open_blob(self, *_, **__):
            self.asked.append(None)
            await self.go.wait()
            raise NotFoundError("not here")
            yield

    first, second = Slowly(), Upstream()
    first.go.clear()
    async with two_processes(first, second, tmp_path) as (one, other), asyncio.TaskGroup() as tasks:
        refused = tasks.create_task(read_or_error(one.open(APP, DIGEST, len(BLOB))))
        while not first.asked:  # noqa: ASYNC110 (nobody else is told)
            await asyncio.sleep(0.001)
        asking = tasks.create_task(other.open(OTHER, DIGEST, len(BLOB)))
        await asyncio.sleep(0.01)
        first.go.set()
        assert await read(await asking) == BLOB
        assert isinstance(await refused, NotFoundError)


async def read_or_error(opening):
    try:
        return await read(await opening)
    except NotFoundError as err:
        return err


async def test_another_process_that_gives_up_costs_its_followers_nothing(tmp_path, monkeypatch):
    first, second = Upstream(held_at=200_000), Upstream()
    first.go.clear()
    async with two_processes(first, second, tmp_path) as (one, other):
        fail_after(one, 250_000, monkeypatch)
        found = [await it.open(APP, DIGEST, len(BLOB)) for it in (one, other)]
        first.go.set()
        assert await asyncio.gather(*map(read, found)) == [BLOB] * 2
        await ended(other)
        assert stored(other) == BLOB
        assert other.told.outcomes == ["kept"]


async def test_a_process_that_is_silent_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("proxy.stores.following.SILENT_SECONDS", 0.05)
    first, second = Upstream(held_at=0), Upstream()
    first.go.clear()
    async with two_processes(first, second, tmp_path) as (one, other):
        found = await one.open(APP, DIGEST, len(BLOB))
        assert await other.open(APP, DIGEST, len(BLOB)) is None
        assert other.told.outcomes == ["not_kept"]
        first.go.set()
        assert await read(found) == BLOB


@pytest.mark.parametrize(("left", "asked"), [(BLOB[:300_000], ["bytes=300000-"]), (BLOB, [])])
async def test_what_a_dead_process_left_is_not_fetched_again(tmp_path, left, asked):
    upstream = Upstream()
    async with transferring(upstream, tmp_path) as transfers:
        await leave(transfers, left)
        assert await read(await transfers.open(APP, DIGEST, len(BLOB))) == BLOB
        assert [header for _, header in upstream.asked] == asked
        await ended(transfers)
        assert stored(transfers) == BLOB


async def leave(transfers, left):
    incoming = await transfers.content.begin(DIGEST, len(BLOB), APP.registry)
    path = incoming._file.path
    await incoming.abort()
    path.write_bytes(left)


async def test_nor_is_the_upstream_to_blame_for_what_is_wrong_with_it(tmp_path):
    upstream = Upstream()
    async with transferring(upstream, tmp_path) as transfers:
        await leave(transfers, b"x" * 300_000)
        with pytest.raises(CorruptError):
            await read(await transfers.open(APP, DIGEST, len(BLOB)))
        await ended(transfers)
        assert transfers.told.cuts == [(APP, DIGEST, "UnavailableError")]
        assert await read(await transfers.open(APP, DIGEST, len(BLOB))) == BLOB


async def test_what_was_kept_meanwhile_is_not_fetched_again(tmp_path, monkeypatch):
    upstream = Upstream()
    async with transferring(upstream, tmp_path) as transfers:
        begin = transfers.content.begin

        async def late(*args):
            with opened(tmp_path, 10_000_000) as other:
                await receive(other, BLOB, scope="elsewhere")
            return await begin(*args)

        monkeypatch.setattr(transfers.content, "begin", late)
        found = await transfers.open(APP, DIGEST, len(BLOB))
        assert isinstance(found, StoredBlob)
        found.close()
        assert upstream.asked == []


async def test_a_cut_after_the_last_byte_is_none(tmp_path):
    upstream = Upstream(cuts={0: len(BLOB)})
    async with transferring(upstream, tmp_path) as transfers:
        assert await read(await transfers.open(APP, DIGEST, len(BLOB))) == BLOB
        assert len(upstream.asked) == 1


@pytest.mark.parametrize("left", [b"", BLOB[:1000], b"x" * 1000])
async def test_what_is_had_already_is_put_there(tmp_path, left):
    async with transferring(Upstream(), tmp_path) as transfers:
        await leave(transfers, left)
        transfers.put(APP, DIGEST, BLOB)
        while list((tmp_path / "incoming").iterdir()):  # noqa: ASYNC110 (nobody else is told)
            await asyncio.sleep(0.001)
        assert stored(transfers) == (None if left.startswith(b"x") else BLOB)


async def test_unless_somebody_fetches_it(tmp_path):
    upstream = Upstream(held_at=200_000)
    upstream.go.clear()
    async with transferring(upstream, tmp_path) as transfers:
        found = await transfers.open(APP, DIGEST, len(BLOB))
        transfers.put(APP, DIGEST, BLOB)
        await asyncio.sleep(0.01)
        upstream.go.set()
        assert await read(found) == BLOB
