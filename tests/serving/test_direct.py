"""Requests for one decision from bytes to bytes, over real sockets."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import uvicorn

from serving.app import App
from serving.direct import MOST_BYTES, DirectProtocol
from serving.hooks import Hooks
from serving.service import DecisionService


class Counts:
    """How many requests went the direct way, and how many are under way."""

    def __init__(self) -> None:
        self.begun = self.underway = 0

    def begin(self) -> None:
        self.begun += 1
        self.underway += 1

    def end(self) -> None:
        self.underway -= 1


@pytest.fixture
def counts() -> Counts:
    return Counts()


@asynccontextmanager
async def server(service: DecisionService, counts: Counts) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    app = App(service, Hooks(service.layout, service.clock))
    http: Any = partial(DirectProtocol, app, counts)
    running = uvicorn.Server(uvicorn.Config(app, port=0, http=http, lifespan="off", log_level="warning"))
    task = asyncio.create_task(running.serve())
    while not running.started:
        await asyncio.sleep(0.01)
    try:
        yield running, running.servers[0].sockets[0].getsockname()[1]
    finally:
        running.should_exit = True
        await task


def ask(key: str, body: bytes = b'{"entity_id":"p-1"}', path: str = "/v1/shop/decisions", more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {key}\r\nX-Request-ID: r-1\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], Any]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return int(first.split()[1]), headers, json.loads(body)


def talk(service: DecisionService, counts: Counts, *sent: bytes, answers: int) -> list[tuple[int, dict[str, str], Any]]:
    """Send bytes on one connection, piece by piece; the answers."""

    async def run() -> list[tuple[int, dict[str, str], Any]]:
        async with server(service, counts) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in sent:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.05)
            found = [await answer(reader) for _ in range(answers)]
            writer.close()
            return found

    return asyncio.run(run())


def test_decisions_on_one_connection(service: DecisionService, counts: Counts, key: str) -> None:
    found = talk(service, counts, ask(key, b'{"entity_id":"p-1","decision_id":"d-1"}'), ask(key), answers=2)
    assert [status for status, _, _ in found] == [200, 200]
    assert found[0][2]["decision_id"] == "d-1" and service.decision("shop", "d-1").entity_id == "p-1"
    assert found[0][1]["x-request-id"] == "r-1" and found[0][1]["x-content-type-options"] == "nosniff"
    assert (counts.begun, counts.underway) == (2, 0)


@pytest.mark.parametrize(
    "body, path, more, status",
    [
        (b'{"entity_id":""}', "/v1/shop/decisions", "", 422),
        (b"{", "/v1/shop/decisions", "", 422),
        (b'{"entity_id":"p-1"}', "/v1/nowhere/decisions", "", 404),
        (b'{"entity_id":"p-1"}', "/v1/shop/decisions", "Content-Type: text/plain\r\n", 415),
    ],
)
def test_what_is_wrong_is_said_as_on_the_usual_way(
    service: DecisionService, counts: Counts, key: str, body: bytes, path: str, more: str, status: int
) -> None:
    ((direct, _, problem),) = talk(service, counts, ask(key, body, path, more), answers=1)
    ((usual, _, same),) = talk(service, counts, ask(key, body, f"{path}?", more), answers=1)
    assert (direct, usual, problem) == (status, status, same)
    assert (counts.begun, counts.underway) == (1, 0)


def test_without_a_key_nothing_is_told(service: DecisionService, counts: Counts) -> None:
    ((status, headers, _),) = talk(service, counts, ask("olk_wrong"), answers=1)
    assert (status, headers["www-authenticate"].split()[0]) == (401, "Bearer,")


def test_a_body_in_two_pieces_goes_the_usual_way(service: DecisionService, counts: Counts, key: str) -> None:
    whole = ask(key)
    found = talk(service, counts, whole[:-7], whole[-7:], ask(key), answers=2)
    assert [status for status, _, _ in found] == [200, 200]
    assert counts.begun == 1


def test_what_is_pipelined_behind_a_decision_is_asked_again(service: DecisionService, counts: Counts, key: str) -> None:
    ((status, headers, _),) = talk(service, counts, ask(key) + ask(key), answers=1)
    assert (status, headers["connection"]) == (200, "close")
    assert (counts.begun, counts.underway) == (1, 0)


def test_other_routes_and_ways_of_asking_stay(service: DecisionService, counts: Counts, key: str) -> None:
    many = ask(key, b'{"requests":[{"entity_id":"p-1"}]}', "/v1/shop/decisions:batch")
    status = f"GET /v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    last = ask(key, more="Connection: close\r\n")
    found = talk(service, counts, many, status, last, answers=3)
    assert [status for status, _, _ in found] == [200, 200, 200] and counts.begun == 0


def test_a_client_that_leaves_is_counted_out(service: DecisionService, counts: Counts, key: str) -> None:
    async def run() -> None:
        async with server(service, counts) as (_, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(ask(key, b'{"entity_id":"p-1","decision_id":"d-gone"}'))
            await writer.drain()
            writer.transport.abort()
            while counts.begun == 0 or counts.underway:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), 20.0))
    assert service.decision("shop", "d-gone").entity_id == "p-1"


def test_a_server_that_ends_answers_what_is_under_way(service: DecisionService, counts: Counts, key: str) -> None:
    async def run() -> Counter[int]:
        async with server(service, counts) as (running, port):
            ends = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
            for _, writer in ends:
                writer.write(ask(key))
            while counts.begun < 8:
                await asyncio.sleep(0)
            running.should_exit = True
            statuses = Counter([(await answer(reader))[0] for reader, _ in ends])
            for _, writer in ends:
                writer.close()
            return statuses

    assert asyncio.run(run()) == {200: 8}


def test_a_large_body_goes_the_usual_way(service: DecisionService, counts: Counts, key: str) -> None:
    large = b'{"entity_id":"p-1"' + b" " * MOST_BYTES + b"}"
    found = talk(service, counts, ask(key, large), ask(key), answers=2)
    assert [status for status, _, _ in found] == [200, 200]
    assert counts.begun == 1
