"""A worker of several: `python transfer_workers.py FOLDER URL DIGEST SIZE SILENT_SECONDS`, told what to do by stdin.

For each line a reader begins; it prints `began` when a megabyte has come and `read HEX` with what its bytes hash to, or
`error ...`. What was kept and joined is printed as `transfer ...`. It ends when stdin does.
"""

import asyncio
import hashlib
import sys
import time
from contextlib import closing
from pathlib import Path

from support.content import opened

from proxy.gate.arriving import Arriving
from proxy.gate.transfers import Transfers
from proxy.oci.digest import Digest
from proxy.oci.errors import RegistryError
from proxy.oci.reference import Repository
from proxy.stores import following
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.retry import Backoff
from proxy.upstream.table import Upstreams

APP = Repository.of("docker.io", "team/app")
MEGABYTE = 1024 * 1024


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Told:
    def transfer(self, outcome):
        say(f"transfer {outcome}")

    def looked_up(self, cache, *, hit):
        pass

    def cut(self, repository, digest, error):
        say(f"cut {error!r}")


async def read(transfers, digest, size):
    hasher, got = hashlib.sha256(), 0
    try:
        found = await transfers.open(APP, digest, size)
        if found is None:
            say("straight")
            return
        with closing(found):
            if not isinstance(found, Arriving):
                say(f"stored {hashlib.sha256(found.file.read()).hexdigest()}")
                return
            async for chunk in found.chunks(range(size)):
                hasher.update(chunk)
                if got < MEGABYTE <= got + len(chunk):
                    say("began")
                got += len(chunk)
    except RegistryError as err:
        say(f"error {err!r}")
    else:
        say(f"read {hasher.hexdigest()}")


async def serve(folder, url, digest, size):
    loop, told = asyncio.get_running_loop(), Told()
    with opened(folder, 10 * size) as store:
        async with (
            Upstreams([Endpoint("docker.io", url)], Backoff(time.monotonic, asyncio.sleep)) as upstreams,
            asyncio.TaskGroup() as tasks,
        ):
            transfers = Transfers(source=upstreams, store=store, tasks=tasks, observer=told, on_cut=told.cut)
            say("ready")
            while await loop.run_in_executor(None, sys.stdin.readline):
                tasks.create_task(read(transfers, digest, size))


if __name__ == "__main__":
    following.SILENT_SECONDS = float(sys.argv[5])
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], Digest.parse(sys.argv[3]), int(sys.argv[4])))
