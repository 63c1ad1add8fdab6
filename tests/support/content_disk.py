"""A content store on a disk of 1 MiB that fills up and then cannot be written: `python content_disk.py FOLDER`.

To be run in a mount namespace of its own, where any user may mount. Prints `ok` at the end.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

from support.content import content, files_in, opened, read, receive

from proxy.stores.content import StoreError
from proxy.stores.content_folder import INCOMING


async def fill(folder):
    first, second, small = content(1, 700_000), content(2, 700_000), content(3, 200_000)
    with opened(folder, 10_000_000) as store:
        incoming = [await store.begin(digest, len(body)) for body, digest in (first, second)]
        await feed(incoming[0], first[0][:600_000])
        message = await failure(feed(incoming[1], second[0]))
        assert "No space left on device" in message, message
        assert "No space left on device" in store.stats().fault
        await feed(incoming[0], first[0][600_000:])
        await incoming[0].finish()
        assert read(store, first[1]) == first[0]
        assert files_in(folder / INCOMING) == []
        assert "No space left on device" in await failure(store.begin(second[1], 700_000))
        assert store.stats().full
        await receive(store, small[0])
        store.clock.pass_by(hours=2)
        assert read(store, small[1]) == small[0]
        assert store.stats().fault is None
        swept = await store.sweep()
        assert (swept.files, swept.evicted) == (1, 1)
        await receive(store, second[0])
    with opened(folder, 500_000) as store:
        assert store.stats().full
        assert (await store.sweep()).evicted >= 1
        await receive(store, small[0])
        assert await store.verify_again(small[1])


async def read_only(folder):
    body, digest = content(3, 200_000)
    with opened(folder) as store:
        assert read(store, digest) == body
        assert store.told.faults == []
        assert "Read-only file system" in await failure(begin(store))
        assert "Read-only file system" in await failure(store.sweep())
        assert read(store, digest) == body


async def begin(store):
    await store.begin(content(4)[1], 1000)


async def feed(incoming, body):
    for start in range(0, len(body), 50_000):
        await incoming.write(body[start : start + 50_000])
        await incoming.wait_for(start)


async def failure(work):
    try:
        await work
    except StoreError as err:
        return str(err)
    return "it did not fail"


def main(folder):
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)  # noqa: S603 (our own arguments)
    asyncio.run(fill(folder / "content"))
    subprocess.run(["mount", "-o", "remount,ro,size=1m", "tmpfs", str(folder)], check=True)  # noqa: S603, S607 (the system's own)
    asyncio.run(read_only(folder / "content"))
    sys.stdout.write("ok\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
