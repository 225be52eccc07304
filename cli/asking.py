"""Asking a server as fast as it answers: a few connections, each with one request under way."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

_END = b"\r\n\r\n"


@dataclass(slots=True)
class Asked:
    """What came of it.

    Attributes:
        seconds: that it took.
        latencies_s: of the answers 2xx.
        failed: other answers, and connections that were lost.
    """

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def good(self) -> int:
        """Answers 2xx."""
        return len(self.latencies_s)

    def latency_ms(self, share: float) -> float:
        """By when a share of the 2xx answers had come; 0 where there were none.

        Example:
            >>> Asked(1.0, [0.001, 0.002, 0.003, 0.004]).latency_ms(0.5)
            2.0
        """
        if not self.latencies_s:
            return 0.0
        ordered = sorted(self.latencies_s)
        return 1e3 * ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def ask(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Asked:
    """Ask a server on this machine.

    Args:
        port: where it listens.
        requests: whole HTTP/1.1 requests, in turn.
        connections: at once.
        seconds: for how long.
    """
    return asyncio.run(_ask(port, requests, connections, seconds))


async def _ask(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Asked:
    asked = Asked()
    began_s = time.perf_counter()
    until_s = began_s + seconds
    numbers = iter(range(2**62))

    async def one() -> None:
        while time.perf_counter() < until_s:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                asked.failed += 1
                await asyncio.sleep(0.05)
                continue
            try:
                while (now_s := time.perf_counter()) < until_s:
                    writer.write(requests[next(numbers) % len(requests)])
                    head = await reader.readuntil(_END)
                    await reader.readexactly(_length(head))
                    if head[9:10] == b"2":
                        asked.latencies_s.append(time.perf_counter() - now_s)
                    else:
                        asked.failed += 1
            except (OSError, asyncio.IncompleteReadError):
                asked.failed += 1
            finally:
                writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    asked.seconds = time.perf_counter() - began_s
    return asked


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0
