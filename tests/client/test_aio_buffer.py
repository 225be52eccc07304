import asyncio
import threading
from collections.abc import Iterator

import pytest

from client import AsyncBuffer, Buffer, Client, Event, Outcome
from contracts.errors import InvalidInput, NotDelivered

from .conftest import Server
from .test_buffer import events, sent, taken


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    server.then = taken
    with Client(server.address, "key", patience_s=0.2) as made:
        yield made


def test_what_is_given_is_sent_in_batches(client: Client, server: Server) -> None:
    async def give() -> tuple[int, int]:
        async with AsyncBuffer(Buffer(client, "shop", batch=10, age_s=60)) as buffer:
            for event in events(12):
                await buffer.put(event)
            await buffer.flush(10)
            assert len(sent(server)) == 12
            await buffer.put(events(1, 12)[0])
        return buffer.accepted, buffer.waiting

    assert asyncio.run(give()) == (13, 0)
    assert sent(server) == [f"e-{number}" for number in range(13)]


def test_others_go_on_while_one_waits_for_room(client: Client, server: Server) -> None:
    go = threading.Event()
    server.then = lambda path, body: (go.wait(10), taken(path, body))[1]

    async def give() -> int:
        async with AsyncBuffer(Buffer(client, "shop", batch=2, most=4, age_s=0.01)) as buffer:
            for event in events(4):
                await buffer.put(event)
            late = asyncio.create_task(buffer.put(events(1, 4)[0]))
            with pytest.raises(NotDelivered, match="no room within") as caught:
                await buffer.put(events(1, 9)[0], timeout_s=0.05)
            assert [record.event_id for record in caught.value.records if isinstance(record, Event)] == ["e-9"]
            assert not late.done()
            go.set()
            await late
        return buffer.accepted

    assert asyncio.run(give()) == 5


def test_what_is_refused_for_good_comes_back(client: Client, server: Server) -> None:
    server.replies = [(403, {"detail": "no scope"}, {})]
    outcome = Outcome("o-1", "d-1", 5)

    async def give() -> None:
        buffer = AsyncBuffer(Buffer(client, "shop", "outcomes", age_s=60))
        await buffer.put(outcome)
        with pytest.raises(NotDelivered, match="no scope") as caught:
            await buffer.close()
        assert caught.value.records == (outcome,)
        with pytest.raises(InvalidInput, match="closed"):
            await buffer.put(outcome)

    asyncio.run(give())
