"""`sealgate cache`: the blobs that are kept on disk. Safe beside a running Sealgate, which shares the folder."""

import asyncio
import operator
from datetime import UTC, datetime
from typing import Annotated

import typer

from proxy import app as application
from proxy.cli import render
from proxy.cli.options import CONFIG, Config, Json
from proxy.config import load
from proxy.oci.digest import Digest
from proxy.stores.content import ContentStore

app = typer.Typer(help="The blobs that are kept: what there is, whether it is right, and less of it.")


class _Told:
    """What the store tells: wrong files are counted, faults are for standard error."""

    def __init__(self) -> None:
        self.corrupt: list[Digest] = []

    def content_held(self, files: int, size: int) -> None: ...

    def content_stored(self, size: int) -> None: ...

    def content_evicted(self, files: int) -> None: ...

    def content_corrupt(self, digest: Digest) -> None:
        self.corrupt.append(digest)

    def content_fault(self, fault: str) -> None:
        render.note(fault)


@app.command()
def stats(config: Config = CONFIG, *, as_json: Json = False) -> None:
    """Say how much is kept, and how much may be."""
    settings = load(config)
    with application.open_content(settings, _Told()) as store:
        held = store.stats()
    if as_json:
        render.document({"files": held.files, "bytes": held.bytes, "bytes_max": settings.cache.size})
    else:
        limit = render.size(settings.cache.size)
        render.result(f"{held.files} files, {render.size(held.bytes)} of {limit}")


@app.command("ls")
def list_content(config: Config = CONFIG, *, as_json: Json = False) -> None:
    """List what is kept, what was used last first."""
    with application.open_content(load(config), _Told()) as store:
        entries = sorted(store.entries(), key=operator.attrgetter("used"), reverse=True)
    rows = [(str(one.digest), one.size, datetime.fromtimestamp(one.used, UTC)) for one in entries]
    if as_json:
        render.document([{"digest": digest, "size": size, "used": used.isoformat()} for digest, size, used in rows])
        return
    for digest, size, used in rows:
        render.result(f"{digest}  {render.size(size):>10}  {used:%Y-%m-%d %H:%M}")


@app.command()
def verify(config: Config = CONFIG, *, as_json: Json = False) -> None:
    """Read everything again and remove what is wrong. Exit code 1 if anything was."""
    told = _Told()
    with application.open_content(load(config), told) as store:
        digests = [one.digest for one in store.entries()]
        asyncio.run(_verify(store, digests))
    wrong = [str(one) for one in told.corrupt]
    if as_json:
        render.document({"files": len(digests), "removed": wrong})
    else:
        for digest in wrong:
            render.result(f"removed {digest}")
        render.result(f"{len(digests)} files read, {len(wrong)} wrong")
    raise typer.Exit(1 if wrong else 0)


@app.command()
def prune(
    config: Config = CONFIG,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Remove everything that nobody reads.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what was not used for longest, down to nine tenths of the limit; or everything."""
    settings = load(config)
    with application.open_content(settings, _Told(), bytes_max=0 if everything else None) as store:
        swept = asyncio.run(store.sweep())
    if as_json:
        render.document({"removed": swept.evicted, "files": swept.files, "bytes": swept.bytes})
    else:
        render.result(f"{swept.evicted} files removed, {swept.files} left, {render.size(swept.bytes)}")


async def _verify(store: ContentStore, digests: list[Digest]) -> None:
    for digest in render.progress(digests, "reading"):
        await store.verify_again(digest)
