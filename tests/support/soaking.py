"""Mixed traffic that goes on until it is told to stop: each kind of client checks every answer that it gets."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Any

from aiohttp import ClientConnectionError, ClientPayloadError, ClientSession
from support.crowds import images_of
from support.pulls import CutError, NotServedError, WrongError, blobs, manifest, pull, session
from support.stack import STRANGER, sign
from support.unruly import Misdeed, Unruly, answers, flipped, half, sends

from proxy.demo.images import Image, image
from proxy.oci.digest import Digest

SHAKY = "shaky.example.com"
TAG_SECONDS = 2
# An answer may have been on its way for so long, on a machine that is busy with us.
_LATE_SECONDS = 5.0
_MOVE_SECONDS = 2.0
_LIFE = 20  # requests of one client, before another takes its place

# What passes, and, for it is remembered for ten minutes, more seldom what does not.
BAD_MOMENTS: list[Misdeed] = [
    sends(half),
    sends(lambda body: body[:-1]),
    answers(429, Retry_After="1"),
    answers(429),
    answers(500),
    answers(503),
    answers(404),
]
LIES: list[Misdeed] = [
    sends(flipped),
    sends(half, length=lambda _: None),
    sends(lambda body: body + b"x", length=lambda _: None),
]
_LIE_PART = 0.1


def _shelf(kind: str, count: int, layer_bytes: int) -> dict[str, Image]:
    return {f"{kind}/{number}": image(f"{kind} {number}", layer_bytes=layer_bytes) for number in range(count)}


@dataclass
class Moving:
    """A tag that changes: what it has been, and since when."""

    name: str
    images: list[tuple[Image, bool]]
    history: list[tuple[float, str, bool]] = field(default_factory=list)

    def since(self, begun: float) -> list[tuple[str, bool]]:
        """List the digests that the tag may be taken for by who asked then, and whether each is signed."""
        earliest = begun - TAG_SECONDS - _LATE_SECONDS
        last_before = max((at for at, *_ in self.history if at <= earliest), default=0.0)
        return [(digest, signed) for at, digest, signed in self.history if at >= last_before]


class Soak:
    """Traffic to a Sealgate before two registries: a steady one, and one that misbehaves and goes away."""

    def __init__(self, steady: Unruly, shaky: Unruly, *, seed: int = 0) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._steady, self._shaky = steady, shaky
        self._random = Random(seed)  # noqa: S311 (traffic)
        self._good = images_of(12, layer_bytes=1_500_000)
        self._bad = _shelf("bad", 6, 100_000)
        self._unsteady = _shelf("shaky", 40, 200_000)
        self._moving = [Moving(f"moving/{number}", _versions(number)) for number in range(3)]
        self._publish()
        self._end = asyncio.Event()
        self._url = ""

    def _publish(self) -> None:
        for registry, shelf, key in (
            (self._steady, self._good, None),
            (self._steady, self._bad, STRANGER),
            (self._shaky, self._unsteady, None),
        ):
            for number, (name, one) in enumerate(shelf.items()):
                one.add_to(registry, name, "1")
                if key is None:
                    sign(registry, name, one.media_type, one.body)
                elif number % 2:
                    sign(registry, name, one.media_type, one.body, key=key)
        for moving in self._moving:
            for one, signed in moving.images:
                one.add_to(self._steady, moving.name)
                if signed:
                    sign(self._steady, moving.name, one.media_type, one.body)
            self._move(moving)

    def _move(self, moving: Moving) -> None:
        one, signed = self._random.choice(moving.images)
        moving.history.append((monotonic(), str(one.digest), signed))
        self._steady.add_manifest(moving.name, one.media_type, one.body, "1")

    async def run(self, url: str, seconds: float) -> None:
        """Let the traffic go on for so long, and end."""
        self._url = url
        self._end = asyncio.Event()
        kinds: list[tuple[Callable[[ClientSession], Coroutine[Any, Any, None]], int]] = [
            (self._pull_good, 4), (self._pull_bad, 1), (self._pull_shaky, 3), (self._pull_moving, 2),
            (self._leave, 1), (self._read_slowly, 3), (self._ask_for_parts, 1), (self._ask_around, 1),
        ]  # fmt: skip
        async with asyncio.TaskGroup() as tasks:
            for kind, count in kinds:
                for _ in range(count):
                    tasks.create_task(self._clients(kind))
            tasks.create_task(self._keep_moving())
            tasks.create_task(self._keep_misbehaving())
            await asyncio.sleep(seconds)
            self._end.set()

    async def _clients(self, kind: Callable[[ClientSession], Coroutine[Any, Any, None]]) -> None:
        while not self._end.is_set():
            async with session() as client:
                for _ in range(_LIFE):
                    if not self._end.is_set():
                        await self._checked(kind, client)
                        await asyncio.sleep(self._random.uniform(0, 0.05))

    async def _checked(self, kind: Callable[[ClientSession], Coroutine[Any, Any, None]], client: ClientSession) -> None:
        name = kind.__name__.strip("_")
        try:
            await kind(client)
            self.counts[name] += 1
        except (WrongError, NotServedError, CutError, OSError, ClientPayloadError, ClientConnectionError) as err:
            self.wrong.append(f"{name}: {err!r}")

    # What goes on upstream

    async def _keep_moving(self) -> None:
        while not await self._ended(_MOVE_SECONDS):
            self._move(self._random.choice(self._moving))
            self.counts["tags moved"] += 1

    async def _keep_misbehaving(self) -> None:
        """One misdeed after the other, and each half minute nobody there for a moment."""
        number = 0
        while not await self._ended(0.5):
            number += 1
            lies = self._random.random() < _LIE_PART
            misdeed = self._random.choice(LIES if lies else BAD_MOMENTS)
            self._shaky.plague("/", misdeed, 1 if lies else self._random.randint(1, 3))
            self.counts["misdeeds"] += 1
            if number % 60 == 0:
                await self._shaky.stop()
                await self._ended(1.0)
                await self._shaky.start()
                self.counts["outages"] += 1
        self._shaky.heal()

    async def _ended(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._end.wait(), seconds)
        return self._end.is_set()

    # The kinds of clients

    async def _pull_good(self, client: ClientSession) -> None:
        name, one = self._random.choice(list(self._good.items()))
        _expect(await pull(client, self._url, name, "1") == str(one.digest), f"{name} is another")

    async def _pull_bad(self, client: ClientSession) -> None:
        name, one = self._random.choice(list(self._bad.items()))
        paths = [f"manifests/{reference}" for reference in ("1", one.digest)]
        # A config is nothing that runs, and Docker's classic store would go on to another registry for it.
        paths += [f"blobs/{Digest.of(layer)}" for layer in one.blobs[1:]]
        for path in paths:
            async with client.get(f"{self._url}/v2/{name}/{path}", allow_redirects=False) as response:
                _expect(response.status in {307, 403, 404}, f"{name}/{path} is answered {response.status}")

    async def _pull_shaky(self, client: ClientSession) -> None:
        name, one = self._random.choice(list(self._unsteady.items()))
        try:
            digest = await pull(client, self._url, f"{SHAKY}/{name}", "1")
        except (NotServedError, CutError):
            self.counts["of them not served"] += 1
        else:
            _expect(digest == str(one.digest), f"{name} is another")

    async def _pull_moving(self, client: ClientSession) -> None:
        moving = self._random.choice(self._moving)
        begun = monotonic()
        try:
            digest, body = await manifest(client, self._url, moving.name, "1")
        except NotServedError as no:
            _expect(not all(signed for _, signed in moving.since(begun)), f"{moving.name} was signed: {no}")
            return
        _expect((digest, True) in moving.since(begun), f"{moving.name} is {digest}")
        await asyncio.sleep(self._random.uniform(0, 2 * _MOVE_SECONDS))
        await blobs(client, self._url, moving.name, body)

    async def _layer(self, client: ClientSession) -> tuple[str, bytes]:
        """Return the path and the content of a layer that this client may have."""
        name, one = self._random.choice(list(self._good.items()))
        await manifest(client, self._url, name, "1")
        content = self._random.choice(one.blobs[1:])
        return f"{self._url}/v2/{name}/blobs/{Digest.of(content)}", content

    async def _leave(self, client: ClientSession) -> None:
        url, content = await self._layer(client)
        async with client.get(url) as response:
            await response.content.readexactly(self._random.randrange(len(content)))
            response.close()

    async def _read_slowly(self, client: ClientSession) -> None:
        url, content = await self._layer(client)
        received = bytearray()
        async with client.get(url) as response:
            async for piece in response.content.iter_chunked(64 * 1024):
                received += piece
                await self._ended(0.2)
        _expect(bytes(received) == content, f"{url} is another")

    async def _ask_for_parts(self, client: ClientSession) -> None:
        url, content = await self._layer(client)
        start, stop = sorted(self._random.sample(range(len(content) + 1), 2))
        async with client.get(url, headers={"Range": f"bytes={start}-{stop - 1}"}) as response:
            part = await response.read()
            _expect((response.status, part) == (206, content[start:stop]), f"{url} {start}-{stop} is another")

    async def _ask_around(self, client: ClientSession) -> None:
        name, one = self._random.choice(list(self._good.items()))
        layer = Digest.of(one.blobs[1])
        etag = {"If-None-Match": f'"{layer}"'}
        for method, path, headers, expected in (
            ("GET", "", {}, {200}),
            ("HEAD", f"{name}/manifests/1", {}, {200}),
            ("HEAD", f"{name}/blobs/{layer}", {}, {200}),
            ("GET", f"{name}/blobs/{layer}", etag, {304}),
            ("GET", f"{name}/blobs/{layer}", {"Range": "bytes=99999999-"}, {416}),
            ("GET", f"{name}/tags/list", {}, {200}),
            ("GET", f"{name}/referrers/{one.digest}", {}, {200}),
            ("GET", f"{name}/blobs/sha256:{'0' * 64}", {}, {307, 403, 404}),
            ("GET", "nowhere.example.com/app/manifests/1", {}, {307, 403, 404}),
            ("GET", f"{name.upper()}/manifests/1", {}, {307, 400, 403, 404}),
            ("PUT", f"{name}/manifests/1", {}, {307, 403, 405}),
        ):
            url = f"{self._url}/v2/{path}"
            async with client.request(method, url, headers=headers, allow_redirects=False) as response:
                await response.read()
                _expect(response.status in expected, f"{method} {path} is answered {response.status}")


def _versions(number: int) -> list[tuple[Image, bool]]:
    return [(image(f"moving {number} {one}", layer_bytes=300_000), one != "c") for one in "abc"]


def _expect(condition: bool, message: str) -> None:  # noqa: FBT001 (as assert has it)
    if not condition:
        raise WrongError(message)
