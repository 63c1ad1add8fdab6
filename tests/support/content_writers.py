"""Processes that write into a content store until they are killed: `python content_writers.py FOLDER`.

For each line on stdin one is made, its process id printed once it writes, and `ended` once it is gone. They fetch the
same contents, several at once, so that they meet.
"""

import asyncio
import os
import random
import sys
from pathlib import Path

from support.content import content, opened, receive

CONTENTS = [content(number, 1 + number * 40_000) for number in range(12)]


async def write_for_ever(folder):
    with opened(folder, 1_500_000) as store:
        sys.stdout.write(f"{os.getpid()}\n")
        sys.stdout.flush()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(fetch(store))


async def fetch(store):
    while True:
        body, digest = random.choice(CONTENTS)  # noqa: S311 (which does not matter)
        await receive(store, body, digest, piece=20_000, scope=random.choice("ab"))  # noqa: S311
        if random.random() < 0.2:  # noqa: S311
            await store.sweep()


def main(folder):
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            asyncio.run(write_for_ever(folder))
        os.waitpid(child, 0)
        sys.stdout.write("ended\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
