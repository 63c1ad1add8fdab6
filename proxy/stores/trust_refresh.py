"""Trust roots are kept fresh through TUF (theupdateframework.github.io/specification, 5), beside the requests.

python-tuf's client decides what is genuine, newer and not expired. It runs in a thread and asks the event loop for each
file, so that every request has a time limit that holds, and ends when its task does.
"""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, hdrs
from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError, RepositoryError
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from proxy.formats.cosign.trust_root import TRUST_ROOT_BYTES_MAX, TrustRoot
from proxy.oci.errors import CorruptError, MalformedError, RegistryError, UnavailableError
from proxy.stores.trust import DOCUMENT, StoredRoot, TrustStore, TufRepository

# Below what a Pod has for ending; a refresh is five files of some kilobytes.
REFRESH_SECONDS_MAX = 60.0
_FILE_SECONDS_MAX = 20.0
_LOCK_SECONDS = 0.2
# The largest file of the public-good repository is its root with 6 kB, so these are generous.
_METADATA_BYTES_MAX = 256 * 1024
_TIMESTAMP_BYTES_MAX = 16 * 1024
# Sigstore's policy-controller asks as often (--trustroot-resync-period), and both repositories sign a timestamp that
# lives for 7 days (x-tuf-on-ci-expiry-period).
INTERVAL_SECONDS = 24 * 3600.0
RETRY_SECONDS, RETRY_SECONDS_MAX = 60.0, 3600.0
# How soon a process takes over what another has fetched; each time it looks at the time of one file.
LOOK_SECONDS = 60.0
# So that a fleet does not ask all at once.
JITTER = 0.1
_DETAIL_MAX = 300
_spread = random.SystemRandom().random
_OK, _REDIRECTS = 200, range(300, 400)


class Observer(Protocol):
    """Who is told of trust roots."""

    def trust_root_confirmed(self, root: str, at: datetime) -> None:
        """Take note that a trust root was found to be the newest."""
        ...

    def trust_root_refresh(self, root: str, outcome: str, detail: str) -> None:
        """Take note of how a refresh ended: changed, unchanged, unavailable, corrupt or malformed.

        `detail` is one line: why it failed, or what of a changed root is not used; or empty.
        """
        ...


async def keep_fresh(  # noqa: PLR0913 (everything but the first two is what the tests replace)
    repository: TufRepository,
    store: TrustStore,
    known: StoredRoot | None,
    *,
    changed: Callable[[str, TrustRoot], None],
    observer: Observer,
    clock: Callable[[], datetime],
    look_seconds: float = LOOK_SECONDS,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    spread: Callable[[], float] = _spread,
) -> NoReturn:
    """Refresh a trust root now and then, until cancelled; what another process has refreshed is taken from the store.

    `known` is the one in use, None without one. `changed` is told, on the event loop, of each that takes its place; a
    refresh that fails takes nothing away. `spread` gives numbers from 0 to 1.
    """
    in_use = known.root.fingerprint if known is not None else None
    confirmed = known.confirmed_at if known is not None else None

    def take(root: TrustRoot, at: datetime) -> bool:
        nonlocal in_use, confirmed
        is_new, in_use, confirmed = root.fingerprint != in_use, root.fingerprint, at
        if is_new:
            changed(repository.name, root)
        observer.trust_root_confirmed(repository.name, at)
        return is_new

    failures = 0
    while True:
        try:
            root = await refresh(repository, store, clock, since=confirmed)
        except RegistryError as err:
            failures += 1
            observer.trust_root_refresh(repository.name, _outcome(err), str(err))
        else:
            failures = 0
            outcome = "changed" if take(root, clock()) else "unchanged"
            observer.trust_root_refresh(repository.name, outcome, "; ".join(root.ignored)[:_DETAIL_MAX])
        pause = _pause(failures) * (1 - JITTER + 2 * JITTER * spread())
        while pause > 0:
            await sleep(min(pause, look_seconds))
            pause -= look_seconds
            newer = await asyncio.to_thread(store.newer, repository, confirmed)
            if newer is not None:
                take(newer.root, newer.confirmed_at)
                pause = _pause(0) * (1 - JITTER + 2 * JITTER * spread())


def _pause(failures: int) -> float:
    if failures == 0:
        return INTERVAL_SECONDS
    # The exponent is bounded, for a number of years without network has no float.
    return min(RETRY_SECONDS * 2.0 ** min(failures - 1, 10), RETRY_SECONDS_MAX)


def _outcome(error: RegistryError) -> str:
    match error:
        case CorruptError():
            return "corrupt"
        case MalformedError():
            return "malformed"
        case _:
            return "unavailable"


async def refresh(
    repository: TufRepository,
    store: TrustStore,
    clock: Callable[[], datetime],
    seconds: float = REFRESH_SECONDS_MAX,
    *,
    since: datetime | None = None,
) -> TrustRoot:
    """Ask the repository for its trust root, store and return it. What fails leaves the stored one as it was.

    It is not asked where another process has asked it after `since`, while we waited for it or before.

    Raises UnavailableError where the repository cannot be asked or the state directory not be written, CorruptError for
    what TUF refuses (signature, rollback, expiry, length), MalformedError for a trust root that cannot be read.
    """
    where = f"the trust root {repository.name} from {repository.url}"
    try:
        async with asyncio.timeout(seconds), _session(repository.proxy, repository.ca_file) as session:
            lock = await _lock(store, repository.folder)
            fetcher = _Fetcher(session, repository.proxy_authorization)
            try:
                return await asyncio.to_thread(_update, repository, store, fetcher, lock, clock, since)
            finally:
                fetcher.stop()
    except TimeoutError:
        raise UnavailableError(f"{where}: no end within {seconds:g} s") from None
    except DownloadLengthMismatchError as err:
        raise CorruptError(f"{where}: {_line(err)}") from err
    except (DownloadError, OSError) as err:
        raise UnavailableError(f"{where}: {_line(err)}") from err
    except MalformedError as err:
        raise MalformedError(f"{where}: {err}") from err
    except RegistryError:
        raise
    except RepositoryError as err:
        raise CorruptError(f"{where}: {_line(err)}") from err
    except Exception as err:
        # Whatever a stranger's bytes do to the libraries, the proxy goes on.
        raise CorruptError(f"{where}: {type(err).__name__}: {_line(err)}") from err


def _session(proxy: str | None = None, ca_file: Path | None = None) -> ClientSession:
    # As for upstreams (`upstream.tls.trusting`): the same for all versions of Python.
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return ClientSession(
        connector=TCPConnector(ssl=context),
        timeout=ClientTimeout(total=_FILE_SECONDS_MAX),
        cookie_jar=DummyCookieJar(),
        headers={hdrs.USER_AGENT: "sealgate", hdrs.ACCEPT_ENCODING: "identity"},
        auto_decompress=False,
        trust_env=False,
        proxy=proxy,
    )


async def _lock(store: TrustStore, folder: str) -> BinaryIO:
    while (lock := store.lock(folder)) is None:  # noqa: ASYNC110 (another process sets no Event)
        await asyncio.sleep(_LOCK_SECONDS)
    return lock


def _update(  # noqa: PLR0913, PLR0917 (a thread's whole work)
    repository: TufRepository,
    store: TrustStore,
    fetcher: FetcherInterface,
    lock: BinaryIO,
    clock: Callable[[], datetime],
    since: datetime | None,
) -> TrustRoot:
    with lock:
        newer = store.newer(repository, since) if since is not None else None
        if newer is not None:
            return newer.root
        metadata = store.metadata(repository.folder)
        updater = Updater(
            str(metadata), repository.url, fetcher=fetcher, config=_config(), bootstrap=repository.bootstrap
        )
        updater.refresh()
        target = updater.get_targetinfo(DOCUMENT)
        if target is None:
            raise CorruptError(f"the trust root {repository.name}: {repository.url} does not publish {DOCUMENT}")
        document = store.document(repository.folder)
        if document is None or not _fits(target.verify_length_and_hashes, document):
            # The name of the file that it is written to on the way is ours, whatever the repository says.
            path = metadata / "target"
            updater.download_target(target, str(path), f"{repository.url}/targets")
            document = path.read_bytes()
        root = TrustRoot.parse(document)
        store.keep(repository.folder, document, clock())
        return root


def _config() -> UpdaterConfig:
    return UpdaterConfig(
        # The trust root stands in the top role, whose keys are those of people; who it delegates to is asked nothing.
        max_delegations=0,
        root_max_length=_METADATA_BYTES_MAX,
        timestamp_max_length=_TIMESTAMP_BYTES_MAX,
        snapshot_max_length=_METADATA_BYTES_MAX,
        targets_max_length=_METADATA_BYTES_MAX,
    )


def _fits(verify: Callable[[bytes], None], document: bytes) -> bool:
    try:
        verify(document)
    except RepositoryError:
        return False
    return True


class _Fetcher(FetcherInterface):
    """Fetches for a thread, on the event loop that it was made on. It follows no redirect: what is signed lies here."""

    def __init__(self, session: ClientSession, proxy_authorization: str | None = None) -> None:
        self._session = session
        self._shown = {hdrs.PROXY_AUTHORIZATION: proxy_authorization} if proxy_authorization else {}
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        self._running: Future[bytes] | None = None

    def stop(self) -> None:
        """End the request under way, and with it the thread that waits for it."""
        self._stopped = True
        if self._running is not None:
            self._running.cancel()

    def _fetch(self, url: str) -> Iterator[bytes]:
        self._running = asyncio.run_coroutine_threadsafe(self._get(url), self._loop)
        return iter((self._running.result(),))

    async def _get(self, url: str) -> bytes:
        if self._stopped:
            raise DownloadError("the refresh has ended")
        # A request for http goes to the proxy itself; for https the header belongs to CONNECT.
        shown = self._shown if url.startswith("http:") else {}
        try:
            async with self._session.get(
                url, headers=shown, proxy_headers=self._shown, allow_redirects=False
            ) as response:
                if response.status in _REDIRECTS:
                    raise DownloadError(f"{url} redirects, which is not followed")
                if response.status != _OK:
                    raise DownloadHTTPError(f"{url} answered {response.status}", response.status)
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > TRUST_ROOT_BYTES_MAX:
                        raise DownloadLengthMismatchError(f"{url} is longer than {TRUST_ROOT_BYTES_MAX} bytes")
                return bytes(body)
        except TimeoutError:
            raise DownloadError(f"{url}: no end within {_FILE_SECONDS_MAX:g} s") from None
        except (ClientError, OSError) as err:
            raise DownloadError(f"{url}: {err}") from err


def _line(error: Exception) -> str:
    """Make one printable line of a text that may quote a stranger."""
    return ascii(str(error))[1:-1][:_DETAIL_MAX]
