"""`sealgate cache`: the blobs that are kept on disk. Safe beside a running Sealgate, which shares the folder."""

import asyncio
import heapq
import operator
import os
import platform as machine
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from proxy import app as application
from proxy.app.content import repositories_naming
from proxy.app.warming import NoRoomError, warm
from proxy.cli import bars, render, warmed
from proxy.cli.clients import InputError
from proxy.cli.interrupted import run
from proxy.cli.options import CONFIG, Config, Json, read_reference
from proxy.config import Settings, load
from proxy.oci.digest import Digest
from proxy.oci.errors import MalformedError
from proxy.oci.platforms import Platform
from proxy.stores.content import CONTENT, ContentStore, Entry
from proxy.stores.state import unsafe_state_dir

ALL_PLATFORMS = "all"
# A base layer belongs to many; `--json` has all of them.
REPOSITORIES_SHOWN = 3

app = typer.Typer(help="Work on what is kept on disk: list it, check it, make room, fetch ahead.")


@app.callback()
def private(context: typer.Context) -> None:
    """Let what a command makes, libraries included, be for its owner only."""
    context.call_on_close(partial(os.umask, os.umask(0o077)))


class _Told:
    """What the store tells: wrong files are counted, faults are for standard error."""

    def __init__(self) -> None:
        self.corrupt: list[Digest] = []
        self.failed = False

    def content_held(self, files: int, size: int) -> None: ...

    def content_stored(self, size: int) -> None: ...

    def content_evicted(self, files: int) -> None: ...

    def content_corrupt(self, digest: Digest) -> None:
        self.corrupt.append(digest)

    def content_fault(self, fault: str) -> None:
        self.failed = True
        render.note(fault)


@contextmanager
def _opened(settings: Settings, told: _Told, *, bytes_max: int | None = None) -> Iterator[ContentStore]:
    """Open what is kept; raises InputError where nothing is: a mistaken path is not to look like an empty store."""
    state_dir = settings.server.state_dir
    _check_writable(state_dir)
    if not (state_dir / CONTENT).exists():
        hint = "it is made when Sealgate serves, or by sealgate cache warm; --config names another configuration"
        raise InputError(f"nothing is kept: there is no {state_dir / CONTENT}", hint)
    with application.open_content(settings, told, bytes_max=bytes_max) as store:
        yield store


def _check_writable(state_dir: Path) -> None:
    found = unsafe_state_dir(state_dir, writes=True)
    if found is not None:
        what, _, repair = found.partition("; ")
        raise InputError(what, repair)


@app.command()
def stats(config: Config = CONFIG, *, as_json: Json = False) -> None:
    """Say how much is kept, and how much may be."""
    settings = load(config)
    with render.busy("counting"), _opened(settings, _Told()) as store:
        held = store.stats()
    limit = settings.cache.size
    if as_json:
        render.document({"files": held.files, "bytes": held.bytes, "bytes_max": limit})
    elif limit:
        render.result(f"{held.files} files, {render.size(held.bytes)} of {render.size(limit)}")
    else:
        render.result(f"{held.files} files, {render.size(held.bytes)}; the cache is off ([cache] size = 0)")


@app.command("ls")
def list_content(
    config: Config = CONFIG,
    *,
    most: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, metavar="N", help="No more than N. Default: all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List what is kept, what was used last first.

    A line has the digest, the size, when it was used last, true to the hour (UTC), and which repositories name it.
    """
    settings, used = load(config), operator.attrgetter("used")
    with render.busy("listing"), _opened(settings, _Told()) as store:
        found = store.entries()
        entries = sorted(found, key=used, reverse=True) if most is None else heapq.nlargest(most, found, key=used)
        named = repositories_naming(settings, [one.digest for one in entries])
    if as_json:
        render.documents(_entry(one, named.get(one.digest, [])) for one in entries)
    else:
        render.lines(_line(one, named.get(one.digest, [])) for one in entries)


def _entry(entry: Entry, repositories: Sequence[str]) -> dict[str, Any]:
    used = _used(entry).isoformat()
    return {"digest": str(entry.digest), "size": entry.size, "used": used, "repositories": repositories}


def _line(entry: Entry, repositories: Sequence[str]) -> str:
    more = len(repositories) - REPOSITORIES_SHOWN
    names = ", ".join(repositories[:REPOSITORIES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{entry.digest}  {render.size(entry.size):>10}  {_used(entry):%Y-%m-%d %H:%M}  {names}".rstrip()


def _used(entry: Entry) -> datetime:
    return datetime.fromtimestamp(entry.used, UTC)


@app.command()
def verify(config: Config = CONFIG, *, as_json: Json = False) -> None:
    """Read everything again and remove what is wrong.

    Exit code 1 if anything was, 3 if the disk could not read all of it.
    """
    told = _Told()
    with _opened(load(config), told) as store:
        files = run(_verify(store))
    wrong = [str(one) for one in told.corrupt]
    if as_json:
        render.document({"files": files, "removed": wrong})
    else:
        for digest in wrong:
            render.result(f"removed {digest}")
        render.result(f"{files} files looked at, {len(wrong)} wrong")
    if told.failed:
        render.note("not all of it could be read: see to the disk")
    raise typer.Exit(1 if wrong else 3 if told.failed else 0)


async def _verify(store: ContentStore) -> int:
    files = 0
    with bars.counting_bytes("reading", store.stats().bytes) as done:
        for entry in store.entries():
            await store.verify_again(entry.digest)
            done(entry.size)
            files += 1
    return files


@app.command()
def prune(
    config: Config = CONFIG,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Remove everything that nobody reads.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what was not used for longest, down to nine tenths of the limit; or everything."""
    settings = load(config)
    with (
        _opened(settings, _Told(), bytes_max=0 if everything else None) as store,
        bars.counting_bytes("removing", store.stats().bytes if everything else None) as done,
    ):
        swept = asyncio.run(store.sweep(done))
    if as_json:
        render.document({"removed": swept.evicted, "files": swept.files, "bytes": swept.bytes})
    else:
        render.result(f"{swept.evicted} files removed, {swept.files} left, {render.size(swept.bytes)}")


@app.command("warm")
def warm_images(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="For example ghcr.io/org/app:1.")],
    config: Config = CONFIG,
    *,
    platform: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OS/ARCH",
            help="Which of an image for several platforms, as in linux/arm64; repeat it. Default: this machine's."
            f" '{ALL_PLATFORMS}': every one.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge images as a pull would, and fetch those that would be served, before anybody asks.

    Verdicts are remembered, and written to the audit log if it is a file. What is there already is not fetched again.

    Exit code 0: all is there, 1: an image is refused, 3: one could not be judged, or not all of it could be had.
    """
    settings = load(config)
    references = list(dict.fromkeys(map(read_reference, images)))
    wanted = _platforms(platform)
    if not settings.cache.size:
        raise InputError("the cache is off ([cache] size = 0), so nothing can be kept", "give it a size, as in '10GiB'")
    _check_writable(settings.server.state_dir)
    try:
        with bars.Warming() as watch:
            came = run(warm(settings, references, wanted, watch))
    except NoRoomError as err:
        raise _too_much(err) from err
    if as_json:
        render.documents(map(warmed.document, came))
    else:
        for image in came:
            render.result(*warmed.lines(image))
    if watch.faults:
        render.note(f"what came whole is kept: see to {settings.server.state_dir}, then run the same again")
    raise typer.Exit(warmed.exit_code(came))


def _platforms(named: list[str] | None) -> tuple[Platform, ...]:
    if named is None:
        # Images are Linux's, whatever this is.
        return (Platform.of("linux", machine.machine().lower()),)
    if ALL_PLATFORMS in named:
        return ()
    try:
        return tuple(map(Platform.parse, named))
    except MalformedError as err:
        raise InputError(str(err), f"write it as linux/amd64 or linux/arm/v7, or '{ALL_PLATFORMS}'") from err


def _too_much(err: NoRoomError) -> InputError:
    needed, room = render.size(err.needed), render.size(err.room)
    fewer = "name fewer images, or fewer platforms (--platform)"
    if err.folder is None:
        return InputError(
            f"the images take {needed}, and [cache] size allows {room}: nothing was fetched", f"allow more, or {fewer}"
        )
    return InputError(
        f"the images take {needed} more, and the disk of {err.folder} has room for {room}: nothing was fetched",
        f"make room on {Path(err.folder)}, or {fewer}",
    )
