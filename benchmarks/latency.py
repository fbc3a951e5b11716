"""A TCP proxy that delays what is asked, in a process of its own; answers pass at once.

Every connection is a delay line: requests do not wait for each other, so that only a network's
latency is added, not its bandwidth. `python -m benchmarks.latency PORT BACK_PORT SECONDS`.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from coinbase_assets_tests.conftest import free_port

_CHUNK = 1 << 18


@contextmanager
def delaying(port: int, seconds: float) -> Iterator[int]:
    """The port of a proxy in front of this one, which delays every request by so long."""
    front = free_port()
    command = [sys.executable, "-m", __name__, str(front), str(port), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield front
        finally:
            process.terminate()


async def _serve(front: int, port: int, seconds: float) -> None:
    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection("127.0.0.1", port, limit=_CHUNK)
        await asyncio.gather(_pass_on(reader, requests, seconds), _pass_on(answers, writer, 0))

    async with await asyncio.start_server(proxy, "127.0.0.1", front, limit=_CHUNK) as server:
        print("ready", flush=True)
        await server.serve_forever()


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
) -> None:
    """Write what is read, so much later, and in the end close what is written to."""
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            if seconds:
                loop.call_later(seconds, writer.write, data)
            else:
                writer.write(data)
                await writer.drain()
    loop.call_later(seconds, writer.close)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
