"""Twenty readers of a blob whose disk of 8 MiB fills up in mid transfer: `python full_disk_readers.py FOLDER`.

To be run in a mount namespace of its own, where any user may mount. Prints `ok` at the end.
"""

import asyncio
import random
import re
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from pathlib import Path

from support.content import files_in, opened

from proxy.gate.arriving import Arriving
from proxy.gate.transfers import Transfers
from proxy.oci.digest import Digest
from proxy.oci.reference import Repository
from proxy.stores.content import StoredBlob
from proxy.stores.content_folder import INCOMING
from proxy.upstream.blobs import OK, PARTIAL, BlobStream

APP = Repository.of("docker.io", "team/app")
BLOB = random.Random(8).randbytes(4 * 1024 * 1024)  # noqa: S311 (anything that differs)
DIGEST, HALF, PIECE, READERS = Digest.of(BLOB), len(BLOB) // 2, 100_000, 20


class Upstream:
    """Sends half of the blob, and the rest when `go` is set."""

    def __init__(self):
        self.asked, self.go = [], asyncio.Event()

    @asynccontextmanager
    async def open_blob(self, repository, digest, *, range_header=None):
        self.asked.append(range_header)
        start = int(re.match(r"bytes=(\d+)", range_header)[1]) if range_header else 0
        says = f"bytes {start}-{len(BLOB) - 1}/{len(BLOB)}" if range_header else None
        yield BlobStream(PARTIAL if range_header else OK, len(BLOB) - start, says, None, self._chunks(start))

    async def _chunks(self, start):
        for at in range(start, len(BLOB), PIECE):
            if at >= HALF:
                await self.go.wait()
            yield BLOB[at : at + PIECE]


class Told:
    def __init__(self):
        self.outcomes = []

    def transfer(self, outcome):
        self.outcomes.append(outcome)

    def looked_up(self, cache, *, hit):
        pass


async def read(found):
    with closing(found):
        if isinstance(found, StoredBlob):
            return found.file.read()
        return b"".join([bytes(chunk) async for chunk in found.chunks(range(len(BLOB)))])


async def fill_up(folder):
    upstream, told = Upstream(), Told()
    with opened(folder / "content", 100_000_000) as store:
        async with asyncio.TaskGroup() as tasks:
            transfers = Transfers(source=upstream, store=store, tasks=tasks, observer=told, on_cut=print)
            found = [await transfers.open(APP, DIGEST, len(BLOB)) for _ in range(READERS)]
            assert all(isinstance(one, Arriving) for one in found)
            reading = [tasks.create_task(read(one)) for one in found]
            while found[0]._transfer.arrived < HALF - PIECE:  # noqa: ASYNC110 (nobody else is told)
                await asyncio.sleep(0.001)
            with (folder / "others").open("wb", buffering=0) as others:
                while others.write(b"x" * 65536) == 65536:
                    pass
            upstream.go.set()
            assert [await it for it in reading] == [BLOB] * READERS
        assert told.outcomes[-1] == "not_kept", told.outcomes
        assert len(store.told.faults) == 1, store.told.faults
        assert len(upstream.asked) == 1 + READERS
        assert files_in(folder / "content" / INCOMING) == []
        assert list(store.entries()) == []
        async with asyncio.TaskGroup() as tasks:
            transfers = Transfers(source=upstream, store=store, tasks=tasks, observer=told, on_cut=print)
            assert await transfers.open(APP, DIGEST, len(BLOB)) is None
            (folder / "others").unlink()
            assert await read(await transfers.open(APP, DIGEST, len(BLOB))) == BLOB
        assert told.outcomes[-1] == "kept", told.outcomes
        assert await store.verify_again(DIGEST)


def main(folder):
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)  # noqa: S603 (our own arguments)
    asyncio.run(fill_up(folder))
    sys.stdout.write("ok\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
