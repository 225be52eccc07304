"""Slow sockets: connections that trickle a request in, byte by byte, and never end it; opened anew when they are cut off."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen

import msgspec
import uvloop

from contracts.errors import ServiceFailed

BYTE_S = 2.0
"""Between two bytes of a socket."""

HEADS = (
    b"POST / HTTP/1.1\r\nhost: x\r\nx-slow: ",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n",
)
"""What is sent at once: one then trickles a header, the other a body."""


class Trickling:
    """Slow sockets of a process of its own."""

    def __init__(self, port: int, sockets: int) -> None:
        command = [sys.executable, "-m", "bench.slow", str(port), str(sockets)]
        self._process = Popen(command, stdin=PIPE, stdout=PIPE)

    def end(self) -> dict[str, int]:
        """Close them; how many were cut off, by the status that they were told first (`0` for none), and how many were open at last.

        Raises:
            ServiceFailed: the process has failed.
        """
        said, _ = self._process.communicate(b"\n")
        if self._process.returncode:
            raise ServiceFailed("slow sockets", f"ended with {self._process.returncode}", "its own output")
        return msgspec.json.decode(said, type=dict[str, int])

    def kill(self) -> None:
        """End the process, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@contextmanager
def trickling(port: int, sockets: int) -> Iterator[Trickling]:
    """Slow sockets, from now to the end of the block at the latest."""
    made = Trickling(port, sockets)
    try:
        yield made
    finally:
        made.kill()


async def trickle(port: int, sockets: int, enough: asyncio.Event) -> Counter[str]:
    """Keep so many slow sockets open until it is enough; what became of those that were cut off."""
    ended: Counter[str] = Counter()
    tasks = [asyncio.create_task(_one(port, HEADS[number % len(HEADS)], ended)) for number in range(sockets)]
    await enough.wait()
    ended["open"] = sum(not task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return ended


async def _one(port: int, head: bytes, ended: Counter[str]) -> None:
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(BYTE_S)
            continue
        answer = asyncio.create_task(reader.read(64))
        try:
            writer.write(head)
            while not answer.done():
                writer.write(b"a")
                await asyncio.wait([answer], timeout=BYTE_S)
            told = answer.result().split()
            ended[told[1].decode() if len(told) > 1 else "0"] += 1
        except OSError:
            ended["0"] += 1
        finally:
            answer.cancel()
            writer.close()


async def _main(port: int, sockets: int) -> Counter[str]:
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), enough.set)
    return await trickle(port, sockets, enough)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(_main(int(sys.argv[1]), int(sys.argv[2])))))
