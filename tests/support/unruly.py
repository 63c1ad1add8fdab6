"""A registry that is honest until it is told otherwise: it cuts, stalls, lies, is busy, goes away and comes back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import hdrs, web

from proxy.demo.registry import Registry, serve

Misdeed = Callable[[web.Request, web.Response], Awaitable[web.StreamResponse]]


@dataclass
class _Trouble:
    """A misdeed, on what it is done, and how often yet; None is for ever."""

    about: str
    misdeed: Misdeed
    left: int | None

    def strikes(self, path: str) -> bool:
        if self.about not in path or self.left == 0:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Unruly(Registry):
    """A demo registry with a port that it keeps; `plague` and `heal` say how it behaves, `stop` and `start` whether."""

    def __init__(self) -> None:
        super().__init__()
        self.url = "http://127.0.0.1:0"
        self._troubles: list[_Trouble] = []
        self._struck = 0
        self._running = AsyncExitStack()

    def plague(self, about: str, misdeed: Misdeed, times: int | None = None) -> None:
        """Do this to answers for paths with that text in them: so many times, or until `heal`."""
        self._troubles = [*(one for one in self._troubles if one.left != 0), _Trouble(about, misdeed, times)]

    def heal(self) -> None:
        self._troubles.clear()

    async def struck(self, times: int) -> None:
        """Wait until so many answers were other than honest ones."""
        while self._struck < times:  # noqa: ASYNC110 (nobody else is told)
            await asyncio.sleep(0.01)

    def asked(self, text: str) -> int:
        """Count the GET requests whose path ends so."""
        return sum(method == "GET" and path.endswith(text) for method, path in self.requests)

    def application(self) -> web.Application:
        app = super().application()
        app.middlewares.insert(1, self._misbehave)
        return app

    @web.middleware
    async def _misbehave(self, request, handler):
        honest = await handler(request)
        for trouble in self._troubles:
            if trouble.strikes(request.path):
                self._struck += 1
                return await trouble.misdeed(request, honest)
        return honest

    async def start(self) -> None:
        """Listen, at the same port as before if there was one."""
        self.url = await self._running.enter_async_context(serve(self, int(self.url.rpartition(":")[2])))

    async def stop(self) -> None:
        """Be away: what is connected is closed, and nothing listens."""
        await self._running.aclose()


@asynccontextmanager
async def unruly() -> AsyncIterator[Unruly]:
    registry = Unruly()
    await registry.start()
    try:
        yield registry
    finally:
        await registry.stop()


def answers(status: int, **headers: str) -> Misdeed:
    """Answer this instead."""

    async def misdeed(_request, _honest):
        return web.Response(status=status, headers={name.replace("_", "-"): text for name, text in headers.items()})

    return misdeed


def sends(
    change: Callable[[bytes], bytes], *, length: Callable[[bytes], int | None] = len, stall: bool = False
) -> Misdeed:
    """Send another body, with this length of the honest one (None: not stated), and hang up; or never go on."""

    async def misdeed(request, honest):
        body = honest.body or b""
        headers = {name: text for name, text in honest.headers.items() if name != hdrs.CONTENT_LENGTH}
        response = web.StreamResponse(status=honest.status, headers=headers)
        response.content_length = length(body)
        await response.prepare(request)
        if request.method != "HEAD":
            await response.write(change(body))
        if stall:
            await asyncio.Event().wait()
        if response.content_length is not None and request.transport is not None:
            request.transport.close()
        return response

    return misdeed


def halts(released: asyncio.Event, at: float = 0.5) -> Misdeed:
    """Stop in mid body until released, then go on as if nothing had been."""

    async def misdeed(request, honest):
        body = honest.body or b""
        response = web.StreamResponse(status=honest.status, headers=honest.headers)
        await response.prepare(request)
        if request.method != "HEAD":
            await response.write(body[: int(len(body) * at)])
            await released.wait()
            await response.write(body[int(len(body) * at) :])
        return response

    return misdeed


def half(body: bytes) -> bytes:
    return body[: len(body) // 2]


def flipped(body: bytes) -> bytes:
    """Return the body with one bit changed, in its middle."""
    return body[: len(body) // 2] + bytes([body[len(body) // 2] ^ 1]) + body[len(body) // 2 + 1 :] if body else b"x"
