"""A real TUF client against a real TUF repository on loopback: what is taken over, and what takes nothing away."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace

import pytest
from aiohttp import web
from support.faulty import faulty
from support.forward import forward
from support.tls import make_tls
from support.tuf import LATER, PAST, TufServer, made_clock, repository, serve_tuf, trust_root
from tuf.api.exceptions import DownloadError
from tuf.api.metadata import DelegatedRole, Delegations, MetaFile, Targets

from proxy.formats.cosign.trust_root import TRUST_ROOT_BYTES_MAX, TrustRoot
from proxy.oci.errors import CorruptError, MalformedError, UnavailableError
from proxy.stores import trust_refresh
from proxy.stores.trust import DOCUMENT, Source, TrustStore, TufRepository
from proxy.stores.trust_refresh import INTERVAL_SECONDS, RETRY_SECONDS, RETRY_SECONDS_MAX, keep_fresh, refresh

OLD, NEW = trust_root(), trust_root("x")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def clock():
    return NOW


@pytest.fixture
async def tuf(tmp_path):
    """Serve a repository whose trust root OLD has been fetched already."""
    server = TufServer(OLD)
    async with serve_tuf(server) as url:
        it = SimpleNamespace(
            server=server,
            url=url,
            repository=repository(server, url),
            store=TrustStore(tmp_path / "trust", pytest.fail),
        )
        await refresh(it.repository, it.store, clock)
        server.asked.clear()
        yield it


async def refreshed(tuf, **changes):
    return await refresh(tuf.repository, tuf.store, clock, **changes)


async def test_the_first_refresh_brings_the_trust_root(tmp_path):
    server = TufServer(OLD)
    store = TrustStore(tmp_path / "trust", pytest.fail)
    async with serve_tuf(server) as url:
        root = await refresh(repository(server, url), store, clock)
    stored = store.load(repository(server, url))
    assert root == stored.root == TrustRoot.parse(OLD)
    assert (stored.confirmed_at, stored.source) == (NOW, Source.REFRESHED)
    assert server.asked[:4] == ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"]
    assert server.asked[4].endswith(f".{DOCUMENT}")


async def test_what_has_not_changed_is_confirmed_by_two_small_requests(tuf):
    await refresh(tuf.repository, tuf.store, lambda: NOW + timedelta(days=1))
    assert tuf.server.asked == ["2.root.json", "timestamp.json"]
    assert tuf.store.load(tuf.repository).confirmed_at == NOW + timedelta(days=1)


async def test_a_new_trust_root_takes_the_place_of_the_old(tuf):
    tuf.server.set(NEW)
    tuf.server.publish()
    assert await refreshed(tuf) == TrustRoot.parse(NEW)
    assert tuf.store.document("private") == NEW


async def test_a_damaged_copy_is_fetched_again(tuf, tmp_path):
    (tmp_path / "trust" / "private" / DOCUMENT).write_bytes(b"damaged")
    assert await refreshed(tuf) == TrustRoot.parse(OLD)
    assert tuf.store.document("private") == OLD


async def test_lost_metadata_is_fetched_again(tuf, tmp_path):
    for path in (tmp_path / "trust" / "private" / "metadata").rglob("*.json"):
        path.write_bytes(b"\x00" * 10)
    assert await refreshed(tuf) == TrustRoot.parse(OLD)


async def test_keys_rotate_twice(tuf):
    tuf.server.rotate()
    tuf.server.rotate()
    tuf.server.set(NEW)
    tuf.server.publish()
    assert await refreshed(tuf) == TrustRoot.parse(NEW)
    # The next one starts from the root that came with us, and needs no network to reach the newest.
    tuf.server.asked.clear()
    await refreshed(tuf)
    assert tuf.server.asked == ["4.root.json", "timestamp.json"]


async def test_an_expired_root_is_a_place_to_start_from(tmp_path):
    server = TufServer(OLD)
    server.root.expires = PAST
    server._sign_root([server.signers["root"]])
    server.bootstrap = server.files["1.root.json"]
    store = TrustStore(tmp_path, pytest.fail)
    async with serve_tuf(server) as url:
        with pytest.raises(CorruptError, match="expired"):
            await refresh(repository(server, url), store, clock)
        server.root.expires = LATER
        server.rotate()
        server.publish()
        assert await refresh(repository(server, url), store, clock) == TrustRoot.parse(OLD)


def roll_back(tuf):
    old = tuf.server.files["timestamp.json"]
    tuf.server.publish()
    yield
    tuf.server.files["timestamp.json"] = old


def roll_back_snapshot(tuf):
    tuf.server.publish()
    yield
    tuf.server.snapshot.version -= 1
    tuf.server.timestamp.version += 1
    tuf.server.timestamp.snapshot_meta = MetaFile(version=tuf.server.snapshot.version)
    tuf.server.files["timestamp.json"] = tuf.server.sign("timestamp", tuf.server.timestamp)


def roll_back_targets(tuf):
    tuf.server.publish()
    yield
    tuf.server.targets.version -= 2
    tuf.server.publish()


def freeze(tuf):
    yield
    tuf.server.timestamp.expires = PAST
    tuf.server.publish()


def freeze_targets(tuf):
    yield
    tuf.server.targets.expires = PAST
    tuf.server.publish()


def sign_with(role, other):
    def sign(tuf):
        yield
        tuf.server.signers[role] = tuf.server.signers[other]
        tuf.server.set(NEW)
        tuf.server.publish()

    sign.__name__ = f"{role}_by_the_key_of_{other}"
    return sign


def rotate_without_the_old_key(tuf):
    yield
    tuf.server.rotate(by_the_old=False)
    tuf.server.set(NEW)
    tuf.server.publish()


def skip_a_root(tuf):
    yield
    tuf.server.rotate()
    tuf.server.rotate()
    tuf.server.files["2.root.json"] = tuf.server.files["3.root.json"]
    tuf.server.publish()


def another_document(tuf):
    yield
    tuf.server.set(NEW)
    tuf.server.publish()
    (name,) = [name for name, body in tuf.server.files.items() if body == NEW]
    tuf.server.files[name] = trust_root("yy")


def mix_and_match(tuf):
    yield
    tuf.server.set(NEW)
    tuf.server.publish()
    tuf.server.files["3.targets.json"] = tuf.server.files["2.targets.json"]


def nothing_published(tuf):
    yield
    tuf.server.set(None)
    tuf.server.publish()


def a_huge_document(tuf):
    yield
    tuf.server.set(b" " * (TRUST_ROOT_BYTES_MAX + 1))
    tuf.server.publish()


def a_delegation(tuf):
    """The top role has handed the name to another: its keys were not asked for this."""
    yield
    tuf.server.set(NEW)
    delegated = Targets(version=1, expires=LATER, targets=dict(tuf.server.targets.targets))
    tuf.server.signers["other"] = tuf.server.signers["snapshot"]
    key = tuf.server.signers["other"].public_key
    role = DelegatedRole("other", [key.keyid], threshold=1, terminating=False, paths=["*"])
    tuf.server.targets.targets = {}
    tuf.server.targets.delegations = Delegations({key.keyid: key}, {"other": role})
    tuf.server.files["1.other.json"] = tuf.server.sign("other", delegated)
    tuf.server.snapshot.meta["other.json"] = MetaFile(version=1)
    tuf.server.publish()


def no_json(tuf):
    yield
    tuf.server.files["timestamp.json"] = b"[" * 10000


ATTACKS = [
    roll_back,
    roll_back_snapshot,
    roll_back_targets,
    freeze,
    freeze_targets,
    sign_with("timestamp", "root"),
    sign_with("snapshot", "timestamp"),
    sign_with("targets", "timestamp"),
    rotate_without_the_old_key,
    skip_a_root,
    another_document,
    mix_and_match,
    nothing_published,
    a_huge_document,
    a_delegation,
    no_json,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda it: it.__name__)
async def test_what_tuf_refuses_takes_nothing_away(tuf, attack):
    steps = attack(tuf)
    next(steps)
    await refreshed(tuf)
    next(steps, None)
    with pytest.raises(CorruptError, match=f"the trust root private(?: from|:) {tuf.url}") as caught:
        await refresh(tuf.repository, tuf.store, lambda: NOW + timedelta(days=1))
    assert "\n" not in str(caught.value)
    stored = tuf.store.load(tuf.repository)
    assert (stored.root, stored.confirmed_at) == (TrustRoot.parse(OLD), NOW)


@pytest.mark.parametrize("document", [b"", b"{}", NEW[:-10], b"[" * 10000])
async def test_a_signed_trust_root_that_cannot_be_read_takes_nothing_away(tuf, document):
    tuf.server.set(document)
    tuf.server.publish()
    with pytest.raises(MalformedError, match="the trust root private from"):
        await refreshed(tuf)
    assert tuf.store.document("private") == OLD
    tuf.server.set(NEW)
    tuf.server.publish()
    assert await refreshed(tuf) == TrustRoot.parse(NEW)


async def endless():
    return web.Response(body=b" " * (TRUST_ROOT_BYTES_MAX + 1))


async def cut():
    response = web.Response(body=b"{}")
    response.content_length = 100
    return response


@pytest.mark.parametrize(
    ("answer", "error", "why"),
    [
        (lambda: web.Response(status=503), UnavailableError, "answered 503"),
        (lambda: web.Response(status=404), UnavailableError, "answered 404"),
        (lambda: web.Response(status=302, headers={"Location": "/elsewhere"}), UnavailableError, "redirects"),
        (endless, CorruptError, "longer than"),
        (lambda: web.Response(body=b" " * 20000), CorruptError, "exceeding"),
        (cut, UnavailableError, "timestamp.json"),
        (lambda: web.Response(body=b"{}", headers={"Content-Encoding": "gzip"}), CorruptError, "from http"),
    ],
)
async def test_a_bad_answer_takes_nothing_away(tuf, answer, error, why):
    tuf.server.answers["timestamp.json"] = answer
    with pytest.raises(error, match=why):
        await refreshed(tuf)
    assert "elsewhere" not in tuf.server.asked
    assert tuf.store.load(tuf.repository).confirmed_at == NOW


async def test_a_root_that_is_there_for_nobody_ends_the_chain_only_when_it_is_absent(tuf):
    tuf.server.answers["2.root.json"] = lambda: web.Response(status=500)
    with pytest.raises(UnavailableError, match="answered 500"):
        await refreshed(tuf)


async def test_who_is_not_there(tmp_path):
    store = TrustStore(tmp_path, pytest.fail)
    with pytest.raises(UnavailableError, match="Cannot connect"):
        await refresh(repository(TufServer(OLD), "http://127.0.0.1:9"), store, clock)


async def test_who_never_answers(tuf, monkeypatch):
    tuf.server.answers["timestamp.json"] = asyncio.Event().wait
    with pytest.raises(UnavailableError, match=r"no end within 0\.3 s"):
        await refreshed(tuf, seconds=0.3)
    monkeypatch.setattr(trust_refresh, "_FILE_SECONDS_MAX", 0.2)
    with pytest.raises(UnavailableError, match=r"timestamp\.json: no end within 0\.2 s"):
        await refreshed(tuf)
    del tuf.server.answers["timestamp.json"]
    assert await refreshed(tuf) == TrustRoot.parse(OLD)


async def test_a_refresh_ends_with_its_task(tuf):
    asked = asyncio.Event()

    async def hang():
        asked.set()
        await asyncio.Event().wait()

    tuf.server.answers["timestamp.json"] = hang
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(refreshed(tuf))
        await asked.wait()
        task.cancel()
    # The thread has ended too, and with it its right to refresh.
    del tuf.server.answers["timestamp.json"]
    assert await refreshed(tuf) == TrustRoot.parse(OLD)


async def test_another_process_is_waited_for(tuf):
    lock = tuf.store.lock("private")
    with pytest.raises(UnavailableError, match=r"no end within 0\.05 s"):
        await refreshed(tuf, seconds=0.05)
    assert tuf.server.asked == []
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(refreshed(tuf))
        await asyncio.sleep(0)
        lock.close()
    assert task.result() == TrustRoot.parse(OLD)


async def test_a_state_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "trust").write_bytes(b"no folder")
    with pytest.raises(UnavailableError, match=r"Not a directory|File exists"):
        await refresh(
            TufRepository("private", "http://127.0.0.1:9", b""), TrustStore(tmp_path / "trust", pytest.fail), clock
        )


async def test_a_bug_of_the_library_is_no_crash(tuf, monkeypatch):
    monkeypatch.setattr(trust_refresh, "Updater", lambda *_, **__: {}["x\n"])
    with pytest.raises(CorruptError, match=r"KeyError: 'x\\\\n'"):
        await refreshed(tuf)


class Told:
    """An observer that keeps what it is told, and ends the task after so many sleeps."""

    def __init__(self, *, rounds=1, between=lambda _: None, look=None):
        self._look = look
        self.lines, self.ages, self.changed, self.slept = [], [], [], []
        self._rounds, self._between = rounds, between

    def trust_root_confirmed(self, root, at):
        self.ages.append((root, at))

    def trust_root_refresh(self, root, outcome, detail):
        self.lines.append((root, outcome, detail))

    async def sleep(self, seconds):
        if self._look is not None:
            self._look(self)
        self.slept.append(seconds)
        self._between(len(self.slept))
        if len(self.slept) == self._rounds:
            raise EOFError

    async def run(self, tuf, known, spread=0.5, look_seconds=float("inf")):
        with pytest.raises(EOFError):
            await keep_fresh(
                tuf.repository,
                tuf.store,
                known,
                changed=lambda name, root: self.changed.append((name, root)),
                observer=self,
                clock=made_clock(NOW),
                look_seconds=look_seconds,
                sleep=self.sleep,
                spread=lambda: spread,
            )


def stored(tuf):
    return tuf.store.load(tuf.repository)


async def test_what_another_process_has_refreshed_is_taken_over_without_asking(tuf):
    later = NOW + timedelta(hours=1)

    def other(told):
        if len(told.slept) == 2:
            tuf.store.keep(tuf.repository.folder, NEW, later)

    told = Told(rounds=5, look=other)
    await told.run(tuf, stored(tuf), look_seconds=60.0)
    assert told.changed == [("private", TrustRoot.parse(NEW))]
    assert told.ages[-1] == ("private", later)
    assert told.slept == [60.0] * 5
    assert tuf.server.asked == ["2.root.json", "timestamp.json"]  # once, at the start


async def test_of_several_that_wait_one_asks(tuf):
    since = NOW - timedelta(seconds=1)
    assert await refreshed(tuf, since=since) == TrustRoot.parse(OLD)
    assert tuf.server.asked == []
    assert await refreshed(tuf, since=NOW) == TrustRoot.parse(OLD)
    assert tuf.server.asked == ["2.root.json", "timestamp.json"]


async def test_each_new_trust_root_is_told_once(tuf):
    def between(round_number):
        if round_number == 2:
            tuf.server.set(NEW)
            tuf.server.publish()

    told = Told(rounds=4, between=between)
    await told.run(tuf, stored(tuf))
    assert told.changed == [("private", TrustRoot.parse(NEW))]
    assert told.lines == [("private", outcome, "") for outcome in ("unchanged", "unchanged", "changed", "unchanged")]
    assert told.slept == [INTERVAL_SECONDS] * 4
    assert [name for name, _ in told.ages] == ["private"] * 4
    assert all(earlier < later for (_, earlier), (_, later) in pairwise(told.ages))


async def test_what_another_process_has_fetched_is_news_to_this_one(tuf):
    told = Told()
    await told.run(tuf, known=None)
    assert told.changed == [("private", TrustRoot.parse(OLD))]


async def test_failures_are_told_and_repeated_at_growing_intervals(tuf):
    genuine = tuf.server.files["timestamp.json"]

    def between(round_number):
        tuf.server.answers.clear()
        tuf.server.files["timestamp.json"] = b"{}" if round_number == 1 else genuine
        if round_number == 2:
            tuf.server.set(b"{}")
            tuf.server.publish()
        if round_number == 3:
            tuf.server.set(OLD)
            tuf.server.publish()

    tuf.server.answers["timestamp.json"] = lambda: web.Response(status=503)
    told = Told(rounds=4, between=between)
    await told.run(tuf, stored(tuf))
    assert [outcome for _, outcome, _ in told.lines] == ["unavailable", "corrupt", "malformed", "unchanged"]
    assert "answered 503" in told.lines[0][2]
    assert told.slept == [RETRY_SECONDS, RETRY_SECONDS * 2, RETRY_SECONDS * 4, INTERVAL_SECONDS]
    assert (len(told.ages), told.changed) == (1, [])


async def test_a_year_without_network(tmp_path):
    tuf = SimpleNamespace(
        repository=TufRepository("private", "http://127.0.0.1:9", b""), store=TrustStore(tmp_path, pytest.fail)
    )
    told = Told(rounds=20)
    await told.run(tuf, None)
    assert set(told.slept[7:]) == {RETRY_SECONDS_MAX}
    assert trust_refresh._pause(10**6) == RETRY_SECONDS_MAX


@pytest.mark.parametrize(("spread", "factor"), [(0, 0.9), (1, 1.1)])
async def test_a_fleet_does_not_ask_all_at_once(tuf, spread, factor):
    told = Told()
    await told.run(tuf, None, spread)
    assert told.slept == pytest.approx([INTERVAL_SECONDS * factor])


async def test_what_has_ended_asks_nothing_more(tuf):
    async with trust_refresh._session() as session:
        fetcher = trust_refresh._Fetcher(session)
        fetcher.stop()
        with pytest.raises(DownloadError, match="the refresh has ended"):
            await asyncio.to_thread(fetcher.download_bytes, tuf.url, 10)
    assert tuf.server.asked == []


async def test_a_refresh_goes_through_its_proxy(tmp_path):
    server = TufServer(OLD)
    async with forward() as (proxy, there), serve_tuf(server) as url:
        given = repository(server, url, proxy=there, proxy_authorization="Basic YW5uOnMzY3JldA==")
        assert await refresh(given, TrustStore(tmp_path / "trust", pytest.fail), clock) == TrustRoot.parse(OLD)
        assert proxy.asked[0] == f"GET {url}/2.root.json HTTP/1.1"
        assert set(proxy.authorizations) == {"Basic YW5uOnMzY3JldA=="}


async def test_a_refresh_through_a_tunnel_says_who_it_trusts(tmp_path):
    """The tunnel ends at a server that is no TUF repository, whose certificate alone is looked at here."""
    tls = make_tls(tmp_path)
    async with forward() as (proxy, there), faulty({}, tls.context) as (server, url):
        for ca_file, text in ((None, "CERTIFICATE_VERIFY_FAILED"), (tls.certificate, "404|not found")):
            given = repository(
                TufServer(OLD), url, proxy=there, proxy_authorization="Basic YW5uOnMzY3JldA==", ca_file=ca_file
            )
            with pytest.raises((UnavailableError, CorruptError), match=text) as caught:
                await refresh(given, TrustStore(tmp_path / "trust", pytest.fail), clock)
            assert "YW5u" not in str(caught.value)
        assert proxy.asked[0].startswith("CONNECT 127.0.0.1:")
        assert set(proxy.authorizations) == {"Basic YW5uOnMzY3JldA=="}
        assert [seen.headers.get("proxy-authorization") for seen in server.seen[:1]] == [None]
