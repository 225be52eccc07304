"""Load on an HTTP server: clients in a process of their own that ask, each its next as soon as it has an answer.

Everything about it is made for servers to be measured and not clients: requests are bytes made ready before, a connection is one
protocol without tasks or futures, and what is kept of an answer is a count in a histogram.
"""

import asyncio
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httptools
import msgspec
import uvloop

from contracts.errors import ServiceFailed

STEPS = 50.0
"""Of the histogram, for each time that latency is `e` times as long: a step is two in a hundred."""

SWEEP_S = 0.25
PAUSE_S = 0.02
"""After a connection was refused or lost, before it is opened again."""

_ROOT = Path(__file__).resolve().parents[1]


class Plan(msgspec.Struct, frozen=True):
    """What to ask, of whom, and for how long.

    Attributes:
        requests: whole HTTP/1.1 requests, asked in turn, by whichever connection is free.
        connections: at once, each with one request under way.
        seconds: that count; `warm_s` before them do not.
        timeout_s: without an answer, after which a connection is given up; counted as status 0, as is one that is refused or lost.
        pause_s: how long a connection waits after an answer that is 429 or 503.
    """

    port: int
    requests: Sequence[bytes]
    connections: int
    seconds: float
    warm_s: float = 0.5
    timeout_s: float = 30.0
    pause_s: float = 0.0
    host: str = "127.0.0.1"


class Loaded(msgspec.Struct, frozen=True):
    """What came of a plan, in the seconds that count.

    Attributes:
        seconds: that they really were.
        statuses: answers by status; 0 where there was none.
        without_retry_after: answers 429 or 503 that do not say when to come again.
        each_second: the same as `statuses`, second by second.
        histogram: 2xx answers by latency: at step `n`, `exp(n / STEPS)` microseconds.
        cpu_s: that the clients took.
    """

    connections: int
    seconds: float
    statuses: Mapping[int, int]
    without_retry_after: int
    each_second: Sequence[Mapping[int, int]]
    histogram: Mapping[int, int]
    cpu_s: float

    @property
    def good(self) -> int:
        """Answers 2xx."""
        return good(self.statuses)

    @property
    def failed(self) -> int:
        """All others."""
        return sum(self.statuses.values()) - self.good

    @property
    def rate(self) -> float:
        """Answers 2xx a second."""
        return self.good / self.seconds

    def latency_ms(self, share: float) -> float:
        """By when a share of the 2xx answers had come; NaN where there were none. Exact to a step of two in a hundred.

        Example:
            >>> round(Loaded(1, 1.0, {200: 2}, 0, [], {345: 1, 460: 1}, 0.1).latency_ms(0.5), 2)
            0.99
        """
        counted = 0
        for step in sorted(self.histogram):
            counted += self.histogram[step]
            if counted >= share * self.good:
                return math.exp(step / STEPS) / 1000.0
        return math.nan


def good(statuses: Mapping[int, int]) -> int:
    """How many of these answers are 2xx."""
    return sum(count for status, count in statuses.items() if 200 <= status < 300)


def posts(path: str, bodies: Iterable[bytes], key: str = "") -> list[bytes]:
    r"""Requests that post JSON.

    Example:
        >>> posts("/v1/decisions", [b"{}"])[0].split(b"\r\n")[0]
        b'POST /v1/decisions HTTP/1.1'
    """
    authorization = f"authorization: Bearer {key}\r\n" if key else ""
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n{authorization}content-length: "
    return [head.encode() + b"%d\r\n\r\n" % len(body) + body for body in bodies]


class Running:
    """A load under way in a process of its own."""

    def __init__(self, plan: Plan) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.msgpack.encode(plan))
        self._process.stdin.close()
        self._process.stdin = None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def result(self) -> Loaded:
        """What came of it, once it is over.

        Raises:
            ServiceFailed: the process failed.
        """
        said, errors = self._process.communicate()
        if self._process.returncode:
            raise ServiceFailed("the load", f"ended with {self._process.returncode}: {errors[-400:].decode()}", "its own output")
        return msgspec.msgpack.decode(said, type=Loaded, strict=False)

    def end(self) -> None:
        """End it now."""
        if not self.over:
            self._process.kill()
        self._process.communicate()


@contextmanager
def loading(plan: Plan) -> Iterator[Running]:
    """A load that begins now; ended with the block if it is not over."""
    running = Running(plan)
    try:
        yield running
    finally:
        running.end()


def load(plan: Plan) -> Loaded:
    """Do as planned, and wait for it.

    Raises:
        ServiceFailed: the process that asks failed. What the server does wrong is counted instead.
    """
    with loading(plan) as running:
        return running.result()


class _Clients:
    """All connections of a plan, and what they count."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loop = asyncio.get_running_loop()
        self.next = 0
        self.begun = math.inf
        self.ended = False
        self.seconds: list[Counter[int]] = []
        self.histogram: Counter[int] = Counter()
        self.without_retry_after = 0
        self.opened: set[_Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None
        self.loop.set_exception_handler(self._failed)

    def request(self) -> bytes:
        """The next one."""
        number = self.next
        self.next = number + 1
        return self.plan.requests[number % len(self.plan.requests)]

    def count(self, status: int, asked: float, retry_after: bool = True) -> None:
        """Keep an answer, or that there was none."""
        now = time.perf_counter()
        if self.ended or now < self.begun:
            return
        second = min(int(now - self.begun), math.ceil(self.plan.seconds) - 1)
        while len(self.seconds) <= second:
            self.seconds.append(Counter())
        self.seconds[second][status] += 1
        if 200 <= status < 300:
            self.histogram[int(math.log(max(now - asked, 1e-6) * 1e6) * STEPS + 0.5)] += 1
        elif status in (429, 503) and not retry_after:
            self.without_retry_after += 1

    def open(self) -> None:
        """One connection more, tried until there is one."""
        task = self.loop.create_task(self._open())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self) -> None:
        while not self.ended:
            asked = time.perf_counter()
            try:
                await self.loop.create_connection(lambda: _Connection(self), self.plan.host, self.plan.port)
            except OSError:
                self.count(0, asked)
                await asyncio.sleep(PAUSE_S)
            else:
                return

    async def run(self) -> Loaded:
        """Everything."""
        for _ in range(self.plan.connections):
            self.open()
        await asyncio.sleep(self.plan.warm_s)
        self.begun = time.perf_counter()
        cpu_s = time.process_time()
        until = self.begun + self.plan.seconds
        while (now := time.perf_counter()) < until:
            await asyncio.sleep(min(SWEEP_S, until - now))
            if self._error is not None:
                raise self._error
            for connection in [one for one in self.opened if now - one.asked > self.plan.timeout_s]:
                connection.abort()
        seconds, cpu_s = time.perf_counter() - self.begun, time.process_time() - cpu_s
        self.ended = True
        for task in self._opening:
            task.cancel()
        for connection in list(self.opened):
            connection.abort()
        statuses: Counter[int] = sum(self.seconds, Counter())
        return Loaded(self.plan.connections, seconds, statuses, self.without_retry_after, self.seconds, self.histogram, cpu_s)

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._error = context.get("exception") or RuntimeError(context["message"])


class _Connection(asyncio.Protocol):
    def __init__(self, clients: _Clients) -> None:
        self._clients = clients
        self._parser = httptools.HttpResponseParser(self)
        self._retry_after = False
        self._waits = False
        self.asked = math.inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._clients.opened.add(self)
        self._ask()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise
        except httptools.HttpParserError:
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._clients.opened.discard(self)
        if self._waits:
            self._clients.count(0, self.asked)
        if not self._clients.ended:
            self._clients.loop.call_later(PAUSE_S, self._clients.open)

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 11 and name.lower() == b"retry-after":
            self._retry_after = True

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        self._waits = False
        self._clients.count(status, self.asked, self._retry_after)
        self.asked = math.inf
        if self._clients.ended:
            return
        if not self._parser.should_keep_alive():
            self._transport.close()
        elif self._clients.plan.pause_s and status in (429, 503):
            self._clients.loop.call_later(self._clients.plan.pause_s, self._ask)
        else:
            self._ask()

    def abort(self) -> None:
        self._transport.abort()

    def _ask(self) -> None:
        if self._clients.ended or self._transport.is_closing():
            return
        self._waits, self._retry_after = True, False
        self.asked = time.perf_counter()
        self._transport.write(self._clients.request())


def main() -> None:
    """Read a plan from standard input, write what came of it to standard output."""
    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Plan)

    async def run() -> Loaded:
        return await _Clients(plan).run()

    sys.stdout.buffer.write(msgspec.msgpack.encode(uvloop.run(run())))


if __name__ == "__main__":
    main()
