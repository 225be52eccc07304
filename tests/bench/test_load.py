import asyncio
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.load import Loaded, Plan, load, loading, posts

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
LATER = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\ncontent-length: 0\r\n\r\n"
NEVER_SAID = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that gives these answers in turn; its port, and the requests that it got."""
    got: list[bytes] = []
    loop = asyncio.new_event_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(2)
                said = answers[len(got) % len(answers)]
                got.append(head + body)
                if not said:
                    await asyncio.sleep(60.0)
                writer.write(said)
        except (EOFError, ConnectionError):
            pass
        finally:
            writer.close()

    server = loop.run_until_complete(asyncio.start_server(answer, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1], got
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        server.close()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()


def test_requests_are_asked_in_turn_and_answers_counted() -> None:
    with answering(OK, OK, LATER, NEVER_SAID) as (port, got):
        result = load(Plan(port, posts("/a", [b"{}", b"[]"], "key"), connections=1, seconds=0.2, warm_s=0.0))
    statuses = result.statuses
    assert set(statuses) == {200, 503, 429} and abs(statuses[200] - 2 * statuses[503]) <= 2
    assert result.failed == statuses[503] + statuses[429] and result.without_retry_after == statuses[429]
    assert sum(result.histogram.values()) == result.good == sum(second.get(200, 0) for second in result.each_second)
    assert 0.0 < result.latency_ms(0.5) <= result.latency_ms(1.0) and result.rate > 0.0
    assert [request[-2:] for request in got[:4]] == [b"{}", b"[]"] * 2
    assert b"POST /a HTTP/1.1\r\n" in got[0] and b"authorization: Bearer key\r\n" in got[0]


def test_what_gets_no_answer_is_counted_as_0_and_asking_goes_on() -> None:
    with answering(LAST, b"no HTTP\r\n\r\n") as (port, _):
        result = load(Plan(port, posts("/", [b"{}"]), connections=2, seconds=0.4, warm_s=0.0))
    assert result.statuses[200] > 1 and result.statuses[0] > 1 and result.good + result.failed == sum(result.statuses.values())


def test_who_waits_too_long_gives_up() -> None:
    with answering(b"") as (port, _):
        result = load(Plan(port, posts("/", [b"{}"]), connections=1, seconds=0.6, warm_s=0.0, timeout_s=0.1))
    assert set(result.statuses) == {0} and math.isnan(result.latency_ms(0.5))


def test_a_load_can_be_ended_before_its_time() -> None:
    with answering(OK) as (port, _), loading(Plan(port, posts("/", [b"{}"]), connections=1, seconds=600.0)) as running:
        assert not running.over
    assert running.over


@pytest.mark.parametrize(("share", "expected"), [(0.5, 1.0), (0.9, 1.0), (0.95, 7.4)])
def test_latency_is_read_from_the_histogram(share: float, expected: float) -> None:
    loaded = Loaded(1, 1.0, {200: 100}, 0, [], {345: 90, 445: 10}, 0.1)
    assert loaded.latency_ms(share) == pytest.approx(expected, rel=0.02)
