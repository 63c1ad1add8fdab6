"""A way to a server that takes time: what goes in comes out DELAY seconds later, on both sides.

delay.py PORT TO-PORT DELAY
"""

import asyncio
import sys

_CHUNK = 256 * 1024


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    loop = asyncio.get_running_loop()
    while chunk := await reader.read(_CHUNK):
        loop.call_later(delay, writer.write, chunk)
    loop.call_later(delay, writer.close)


async def main(port: int, to_port: int, delay: float) -> None:
    """Serve until the process is ended."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", to_port)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_pump(reader, there_writer, delay))
            tasks.create_task(_pump(there_reader, writer, delay))

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
