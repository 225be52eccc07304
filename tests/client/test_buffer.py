import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from client import Buffer, Client, Event, Outcome, Refused
from contracts.errors import InvalidInput, NotDelivered

from .conftest import Reply, Server

UNAVAILABLE: Reply = (503, {"detail": "not now"}, {"retry-after": "0"})


def taken(path: str, body: Any) -> Reply:
    return 200, {"accepted": len(next(iter(body.values()))), "duplicates": 0, "quarantined": []}, {}


def events(count: int, start: int = 0) -> list[Event]:
    return [Event(f"e-{number}", "p-1", "login", 5) for number in range(start, start + count)]


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    server.then = taken
    with Client(server.address, "key", patience_s=0.2) as made:
        yield made


def sent(server: Server) -> list[str]:
    """The ids of all records that the server got, in order."""
    return [one["event_id"] for _, _, body, _ in server.requests for one in body["events"]]


def test_what_is_given_is_sent_in_batches_and_in_order(client: Client, server: Server) -> None:
    with Buffer(client, "shop", batch=10, age_s=60) as buffer:
        for event in events(25):
            buffer.put(event)
    assert sent(server) == [f"e-{number}" for number in range(25)]
    assert [len(body["events"]) for _, _, body, _ in server.requests] == [10, 10, 5]
    assert (buffer.accepted, buffer.waiting) == (25, 0)


def test_few_are_sent_once_they_are_old_enough(client: Client, server: Server) -> None:
    arrived = threading.Event()

    def answer(path: str, body: Any) -> Reply:
        arrived.set()
        return taken(path, body)

    server.then = answer
    with Buffer(client, "shop", age_s=0.01) as buffer:
        buffer.put(events(1)[0])
        assert arrived.wait(10)


def test_a_flush_waits_for_what_was_given(client: Client, server: Server) -> None:
    with Buffer(client, "shop", age_s=60) as buffer:
        for event in events(3):
            buffer.put(event)
        buffer.flush()
        assert len(sent(server)) == 3
        assert buffer.waiting == 0


def test_outcomes_are_sent_too(client: Client, server: Server) -> None:
    with Buffer(client, "shop", "outcomes") as buffer:
        buffer.put(Outcome("o-1", "d-1", 5))
    assert server.requests[0][1:3] == ("/v1/shop/outcomes", {"outcomes": [{"outcome_id": "o-1", "decision_id": "d-1", "reward": 5}]})


def test_a_passing_failure_costs_nothing(client: Client, server: Server) -> None:
    server.replies = [UNAVAILABLE, None, UNAVAILABLE, (429, {}, {"retry-after": "0"})]
    with Buffer(client, "shop", age_s=0.01) as buffer:
        for event in events(5):
            buffer.put(event)
    assert sorted(set(sent(server))) == [f"e-{number}" for number in range(5)]
    assert buffer.accepted == 5


def test_who_gives_too_much_waits_for_room(client: Client, server: Server) -> None:
    go = threading.Event()
    server.then = lambda path, body: (go.wait(10), taken(path, body))[1]
    with Buffer(client, "shop", batch=2, most=4, age_s=0.01) as buffer:
        for event in events(4):
            buffer.put(event)
        with pytest.raises(NotDelivered, match="no room within") as caught:
            buffer.put(events(1, 4)[0], timeout_s=0.05)
        assert [record.event_id for record in caught.value.records if isinstance(record, Event)] == ["e-4"]
        go.set()
        buffer.put(events(1, 5)[0])
    assert buffer.accepted == 5


def test_what_is_refused_for_good_comes_back(client: Client, server: Server) -> None:
    server.replies = [(403, {"detail": "no scope"}, {})]
    buffer = Buffer(client, "shop", age_s=60)
    for event in events(3):
        buffer.put(event)
    with pytest.raises(NotDelivered, match="no scope") as caught:
        buffer.flush()
    assert list(caught.value.records) == events(3)
    buffer.put(events(1, 3)[0])
    buffer.close()
    assert sent(server)[-1] == "e-3"


def test_what_had_no_answer_by_the_end_comes_back(client: Client, server: Server) -> None:
    server.then = lambda path, body: UNAVAILABLE
    buffer = Buffer(client, "shop", batch=2)
    for event in events(5):
        buffer.put(event)
    with pytest.raises(NotDelivered, match="not now") as caught:
        buffer.close(timeout_s=0.5)
    assert list(caught.value.records) == events(5)
    buffer.close()
    with pytest.raises(InvalidInput, match="closed"):
        buffer.put(events(1)[0])


def test_a_batch_that_is_too_large_is_sent_in_parts(client: Client, server: Server) -> None:
    server.then = lambda path, body: taken(path, body) if len(body["events"]) <= 3 else (413, {"detail": "too large"}, {})
    with Buffer(client, "shop", batch=8, age_s=60) as buffer:
        for event in events(8):
            buffer.put(event)
    assert buffer.accepted == 8


def test_a_record_that_cannot_be_sent_at_all_comes_back(client: Client) -> None:
    odd = Event("e-1", "p-1", "login", 5, {"x": object()})  # type: ignore[dict-item]  # why: what a caller's mistake looks like
    buffer = Buffer(client, "shop", age_s=60)
    buffer.put(odd)
    with pytest.raises(NotDelivered) as caught:
        buffer.close()
    assert caught.value.records == (odd,)


def test_what_went_to_quarantine_is_told(client: Client, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    reply: Reply = (200, {"accepted": 0, "duplicates": 0, "quarantined": [{"index": 0, "id": "e-0", "reason": "odd"}]}, {})
    server.replies = [reply, reply]
    refused: list[Refused] = []
    with Buffer(client, "shop", on_refused=refused.extend) as buffer:
        buffer.put(events(1)[0])
    with caplog.at_level(logging.WARNING), Buffer(client, "shop") as buffer:
        buffer.put(events(1)[0])
    assert refused == [Refused(0, "e-0", "odd")]
    assert "e-0: odd" in caplog.text


def test_a_batch_of_a_size_that_cannot_be_sent_is_refused(client: Client) -> None:
    with pytest.raises(InvalidInput, match="batch"):
        Buffer(client, "shop", batch=501)


def test_what_is_told_of_refused_records_may_fail(client: Client, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> None:
        raise ValueError("not my day")

    refused = {"accepted": 0, "duplicates": 0, "quarantined": [{"index": 0, "id": "e-0", "reason": "odd"}]}
    server.then = lambda path, body: (200, refused, {}) if len(server.requests) < 2 else taken(path, body)
    with Buffer(client, "shop", age_s=0.001, on_refused=fail) as buffer:
        for event in events(2):
            buffer.put(event)
            buffer.flush(10)
    assert buffer.accepted == 1 and "not my day" in caplog.text


def test_a_server_that_asks_to_wait_is_left_alone(client: Client, server: Server) -> None:
    server.then = lambda path, body: (503, {"detail": "not now"}, {"retry-after": "60"})
    buffer = Buffer(client, "shop", age_s=0.001)
    buffer.put(events(1)[0])
    with pytest.raises(NotDelivered, match="not now"):
        buffer.close(0.2)
    assert len(server.requests) == 1
    assert not buffer._thread.is_alive()
