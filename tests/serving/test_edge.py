"""The edge by itself: HAProxy as it is mended, before a small server that stands for a replica and says what it is told to."""

import asyncio
import subprocess
import time
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.settings import Ports, Serving, Settings
from serving.edge import PAGES, page
from serving.environment import short_folder, variables
from serving.messages import Problem

from .test_environment import RENDERED

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BROKEN = b"HTTP/1.1 500 Oh\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nno"
HELD = 0.002
"""Seconds that a request takes for each that is under way."""


class Behind(asyncio.Protocol):
    """What stands behind the edge: answers each request after a while, the longer the more there are; counts them."""

    answer = OK
    held_s = HELD
    under_way = 0
    most = 0
    heads: list[bytes]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, _ = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return
        self.buffer = b""
        kind = type(self)
        kind.heads.append(head)
        kind.under_way += 1
        kind.most = max(kind.most, kind.under_way)
        asyncio.get_running_loop().call_later(kind.held_s * kind.under_way, self.done)

    def done(self) -> None:
        type(self).under_way -= 1
        self.transport.write(self.answer)


class Edge:
    """A running edge with its clients."""

    def __init__(self, port: int, behind: type[Behind]) -> None:
        self.port = port
        self.behind = behind

    async def ask(self, key: str = "", extra: str = "", body: bytes = b"{}", path: str = "/v1/shop/decisions") -> tuple[int, str, bytes]:
        """Status, headers in lower case and body of one answer, on a connection of its own."""
        authorization = f"authorization: Bearer {key}\r\n" if key else ""
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{authorization}{extra}content-length: {len(body)}\r\n\r\n"
        return await self.exchange(head.encode() + body)

    async def exchange(self, sent: bytes) -> tuple[int, str, bytes]:
        """What comes of these bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(sent)
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            return int(head.split()[1]), head.decode().lower(), body
        finally:
            writer.close()

    async def keep_asking(self, key: str, connections: int, enough: asyncio.Event) -> int:
        """Ask over so many connections until it is enough; how many 200 came."""

        async def one() -> int:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            count = 0
            while not enough.is_set():
                writer.write(
                    f"POST /v1/shop/decisions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: 2\r\n\r\n{{}}".encode()
                )
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.split(b":")[1]))
                count += head.split()[1] == b"200"
            writer.close()
            return count

        return sum(await asyncio.gather(*(one() for _ in range(connections))))


Make = Callable[..., Any]


@pytest.fixture
def edge(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Make]:
    """Starts edges: of how many places, and what stands behind; ended with the test."""
    folders: list[Path] = []

    @asynccontextmanager
    async def start(answer: bytes = OK, held_s: float = HELD, host: str = "127.0.0.1", **serving: Any) -> AsyncIterator[Edge]:
        asked = Settings(
            state=str(tmp_path / "state"),
            host=host,
            ports=Ports(api=free_port(), proxy_statistics=free_port()),
            serving=Serving(**{"max_ongoing_requests": 4, "request_timeout_s": 1.0} | serving),
        )
        behind = type("Made", (Behind,), {"answer": answer, "held_s": held_s, "heads": []})
        backend = await asyncio.get_running_loop().create_server(behind, "127.0.0.1", 0)
        script = variables(asked, asked.ports)["RAY_SERVE_HAPROXY_BINARY_PATH"]
        folder = short_folder(asked)
        folders.append(folder)
        text = RENDERED.format(folder=folder, api=asked.ports.api, statistics=asked.ports.proxy_statistics)
        port = backend.sockets[0].getsockname()[1]
        (folder / "haproxy.cfg").write_text(text.replace("127.0.0.1:9 check", f"127.0.0.1:{port} check inter 60s"))
        process = subprocess.Popen([script, "-db", "-f", str(folder / "haproxy.cfg")], stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 30
            while True:
                try:
                    (await asyncio.open_connection("127.0.0.1", asked.ports.api))[1].close()
                    break
                except OSError:
                    assert time.monotonic() < until
                    await asyncio.sleep(0.02)
            yield Edge(asked.ports.api, behind)
        finally:
            process.kill()
            process.wait()
            backend.close()

    yield start
    for folder in folders:
        for file in folder.glob("*"):
            file.unlink()
        folder.rmdir()


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def told(answer: tuple[int, str, bytes]) -> tuple[int, str]:
    """Status and kind of the problem of an answer."""
    status, head, body = answer
    problem = msgspec.json.decode(body, type=Problem)
    assert "content-type: application/problem+json" in head
    assert problem.status == status
    assert ("retry-after: 1" in head) == (status in (429, 503))
    return status, problem.type.removeprefix("urn:offerloop:problem:")


def test_a_replica_gets_no_more_than_it_has_places_for_and_the_rest_waits(edge: Make) -> None:
    async def work() -> None:
        async with edge() as made:
            answers = await asyncio.gather(*(made.ask(f"k-{number % 3}") for number in range(60)))
            assert Counter(answer[0] for answer in answers) == {200: 60}
            assert made.behind.most == 4

    run(work())


def test_who_asks_for_little_goes_before_who_asks_for_much(edge: Make) -> None:
    async def work() -> None:
        async with edge() as made:
            for key in ("greedy", "modest"):
                await made.ask(key)
            enough = asyncio.Event()
            asking = [
                asyncio.create_task(made.keep_asking(key, connections, enough)) for key, connections in (("greedy", 60), ("modest", 1))
            ]
            while len(made.behind.heads) < 300:
                await asyncio.sleep(0.02)
            enough.set()
            greedy, modest = await asyncio.gather(*asking)
            assert modest > 5 * greedy / 60

    run(work())


def test_who_has_waited_for_too_long_is_refused_without_work(edge: Make) -> None:
    async def work() -> None:
        async with edge(max_ongoing_requests=1, queue_timeout_s=0.1, held_s=0.6) as made:
            answers = await asyncio.gather(*(made.ask("k") for _ in range(3)))
            assert sorted(told(answer) for answer in answers if answer[0] != 200) == [(503, "unavailable")] * 2
            assert len(made.behind.heads) == 1

    run(work())


def test_a_key_may_only_have_so_many_waiting(edge: Make) -> None:
    async def work() -> None:
        async with edge(max_ongoing_requests=1, max_queued_requests=3, held_s=0.2) as made:
            answers = await asyncio.gather(*(made.ask("greedy") for _ in range(9)), made.ask("modest"))
            assert answers[-1][0] == 200
            refused = [answer for answer in answers if answer[0] != 200]
            assert [told(answer) for answer in refused] == [(429, "too-many")] * len(refused)
            assert len(refused) == 6
            assert 'ratelimit-policy: "queue";q=3;qu="concurrent-requests"' in refused[0][1]

    run(work())


def test_keys_that_cannot_be_read_count_as_one(edge: Make) -> None:
    async def work() -> None:
        async with edge(max_ongoing_requests=1, max_queued_requests=3, held_s=0.1) as made:
            answers = await asyncio.gather(*(made.ask(extra=f"authorization: Basic eDpr{'=' * number}\r\n") for number in range(5, 11)))
            assert Counter(answer[0] for answer in answers) == {200: 3, 429: 3}

    run(work())


def test_a_key_is_one_by_whatever_header_it_comes(edge: Make) -> None:
    def sent(number: int) -> str:
        password = b64encode(f"{number}:greedy".encode()).decode()
        return f"authorization: {(f'Basic {password}', f'basic  {password}', 'bearer greedy', 'Bearer  greedy')[number % 4]}\r\n"

    async def work() -> None:
        async with edge(max_ongoing_requests=1, max_queued_requests=3, held_s=0.2) as made:
            answers = await asyncio.gather(*(made.ask(extra=sent(number)) for number in range(9)), made.ask("modest"))
            assert answers[-1][0] == 200
            assert Counter(answer[0] for answer in answers[:-1]) == {200: 3, 429: 6}

    run(work())


@pytest.mark.parametrize("host, said", [("0.0.0.0", b"127.0.0.1"), ("127.0.0.1", b"10.9.8.7")])
def test_nobody_from_elsewhere_says_where_he_comes_from(edge: Make, host: str, said: bytes) -> None:
    async def work() -> None:
        async with edge(host=host) as made:
            await made.ask("k", extra="x-forwarded-for: 10.9.8.6\r\nX-Forwarded-For: 10.9.8.7\r\n")
            lines = made.behind.heads[0].lower().split(b"\r\n")
            found = [line.partition(b": ")[2] for line in lines if line.startswith(b"x-forwarded-for:")]
            assert found[-1] == said and (len(found) == 1 or host == "127.0.0.1")

    run(work())


def test_what_is_too_large_never_reaches_a_replica(edge: Make) -> None:
    async def work() -> None:
        async with edge() as made:
            assert told(await made.exchange(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1048577\r\n\r\n")) == (413, "too-large")
            assert (await made.exchange(b"POST / HTTP/1.1\r\nhost: x\r\nx: " + b"x" * 40_000 + b"\r\n\r\n"))[0] == 400
            assert (await made.exchange(b"BABBLE\r\n\r\n"))[0] == 400
            assert made.behind.heads == []

    run(work())


def test_what_trickles_in_is_cut_off_and_holds_no_place(edge: Make) -> None:
    async def work() -> None:
        async with edge(max_ongoing_requests=1) as made:
            slow = [
                asyncio.create_task(made.exchange(begun))
                for begun in (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{", b"POST / HTTP/1.1\r\nhost:") * 5
            ]
            await asyncio.sleep(0.1)
            assert (await made.ask("k"))[0] == 200
            answers = await asyncio.gather(*slow)
            assert [answer[0] for answer in answers] == [408] * 10
            assert told(answers[0]) == (408, "slow")
            assert len(made.behind.heads) == 1

    run(work())


def test_uploads_beyond_the_buffer_take_few_places(edge: Make) -> None:
    async def work() -> None:
        async with edge() as made:
            begun = b"POST /v1/shop/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 900000\r\n\r\n" + b" " * 20_000
            uploads = [asyncio.create_task(made.exchange(begun)) for _ in range(6)]
            while sum(one.done() for one in uploads) < 5:
                await asyncio.sleep(0.02)
            assert (await made.ask("k"))[0] == 200
            assert [told(one.result()) for one in uploads if one.done() and one.result()[0] != 200] == [(503, "unavailable")] * 5
            assert len(made.behind.heads) == 2
            for one in uploads:
                one.cancel()

    run(work())


def test_what_ray_says_in_plain_text_is_told_as_a_problem(edge: Make) -> None:
    async def work() -> None:
        async with edge(answer=BROKEN) as made:
            assert told(await made.ask("k")) == (503, "unavailable")

    run(work())


def test_nobody_sets_what_only_the_edge_may_say(edge: Make) -> None:
    async def work() -> None:
        async with edge() as made:
            await made.ask("k", extra="x-request-start: 5\r\nx-request-timeout-seconds: -1\r\nx-request-id: a b\r\n")
            head = made.behind.heads[0].decode()
            started = next(line for line in head.split("\r\n") if line.startswith("x-request-start:"))
            assert abs(int(started.split(":")[1]) / 1e6 - time.time()) < 60
            assert head.count("x-request-start") == 1
            assert "timeout-seconds" not in head
            assert "x-request-id" not in head

    run(work())


@pytest.mark.parametrize("status, kind", PAGES.items())
def test_its_pages_are_whole_answers(status: int, kind: str) -> None:
    head, _, body = page(kind, Settings()).partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert told((int(head.split()[1]), head.decode(), body)) == (status, kind)
