"""The upper bound: aiohttp's low-level server with one handler that answers every request with the same manifest.

bare.py PORT FILE MEDIA-TYPE
"""

import asyncio
import sys
from pathlib import Path

from aiohttp import web


async def main(port: int, body: bytes, media_type: str) -> None:
    """Serve until the process is ended."""

    async def handle(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": media_type})

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]).read_bytes(), sys.argv[3]))
