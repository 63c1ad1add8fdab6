"""Upper bounds: aiohttp's low-level server with one handler that does nothing but the thing itself.

bare.py PORT manifest FILE MEDIA-TYPE    answer every request with the same manifest
bare.py PORT blob URL                    pass every request on to this server, and its body back, not hashed
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import ClientSession, web

_READ_BYTES = 1024 * 1024


def manifest(file: str, media_type: str) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """Answer from memory."""
    body = Path(file).read_bytes()

    async def handle(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": media_type})

    return handle


def blob(session: ClientSession, url: str) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """Pass on."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        async with session.get(url + request.raw_path) as upstream:
            answer = web.StreamResponse(headers={"Content-Length": upstream.headers["Content-Length"]})
            await answer.prepare(request)
            async for chunk in upstream.content.iter_any():
                await answer.write(chunk)
            return answer

    return handle


async def main(port: int, what: str, *arguments: str) -> None:
    """Serve until the process is ended."""
    async with ClientSession(read_bufsize=_READ_BYTES, auto_decompress=False) as session:
        handler = manifest(*arguments) if what == "manifest" else blob(session, *arguments)
        runner = web.ServerRunner(web.Server(handler, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
