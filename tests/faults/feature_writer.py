"""Sends streams of events to feature states, until it is killed, and starts again from the first event.

`python feature_writer.py STATE SEED EVENTS KILLS` kills children of its own so often, each while it takes in what is new, and then lets one
finish; without KILLS it drains and makes all states anew while it sends, to be killed from outside.
"""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from contracts.clock import DAY_US, HOUR_US, MINUTE_US
from contracts.events import EventSchema, EventType, FieldType
from contracts.records import Event
from decisions.record import make_event, record_event
from features.definitions import Aggregate, Attribute, FeatureSet, Where, Window
from features.online import OnlineFeatures, retention
from features.rebuild import rebuild
from storage.drain import drain
from storage.journal import Journal
from storage.layout import Layout
from storage.tables import Tables

NOON = 20_000 * DAY_US + 12 * HOUR_US
ENTITIES = 7
SCHEMA = EventSchema.build(
    "shop",
    [
        EventType("purchase", {"amount": FieldType.INT, "product": FieldType.STR}),
        EventType("profile", {"country": FieldType.STR}),
    ],
)
FEATURES = FeatureSet(
    "killed",
    (
        Aggregate(name="purchases_1h", source="purchase", aggregate="count", window_us=Window.hours(1)),
        Aggregate(name="spend_2d", source="purchase", aggregate="sum", field="amount", window_us=Window.days(2)),
        Aggregate(
            name="first_of_a",
            source="purchase",
            aggregate="first",
            field="amount",
            window_us=Window.days(2),
            where=(Where("product", "==", "a"),),
        ),
        Aggregate(name="since", source="purchase", aggregate="seconds_since_last", window_us=Window.days(2)),
        Attribute(name="country", source="profile", field="country", categories=("de", "us"), default=-1),
    ),
)
ONLINE = OnlineFeatures(SCHEMA, retention([FEATURES]), ready=[FEATURES])


def stream(seed: int, count: int) -> list[Event]:
    """Events in the order they are sent: in order, late by up to three days, at equal times, and some twice."""
    chance = random.Random(seed)
    events: list[Event] = []
    now = NOON
    for number in range(count):
        now += chance.choice((0, 1, 5 * MINUTE_US, HOUR_US))
        happened = now - chance.choice((0, 0, 0, 0, 1, HOUR_US, 3 * DAY_US))
        entity = f"p-{chance.randrange(ENTITIES)}"
        if chance.random() < 0.9:
            made = make_event(
                f"e-{chance.randrange(10**9)}-{number}",
                entity,
                "purchase",
                happened,
                {"amount": chance.randrange(-5, 99), "product": chance.choice("abc")},
                ingested_time=now,
            )
        else:
            made = make_event(f"r-{number}", entity, "profile", happened, {"country": chance.choice(("de", "us"))}, ingested_time=now)
        events += [made] * chance.choice((1,) * 19 + (2,))
        if chance.random() < 0.02:
            events.append(chance.choice(events))
    return events


def send(journal: Journal, events: list[Event], seed: int, on_new: Callable[[], object] = lambda: None) -> None:
    """Send all events from the first on, in parts, several of them under way at once; says when the first new one is durable."""
    chance = random.Random(seed)
    under_way: list[Future[list[bool]]] = []
    start, told = 0, False
    while start < len(events) or under_way:
        if start < len(events):
            part = events[start : start + chance.randrange(1, 9)]
            start += len(part)
            under_way.append(journal.submit(lambda write, part=part: [record_event(write, "shop", one, ONLINE.apply) for one in part]))  # type: ignore[misc]
        if len(under_way) > 3 or start >= len(events):
            new = any(under_way.pop(0).result())
            if new and not told:
                told = True
                on_new()


def child(state: Path, events: list[Event], sending: int, pipe: int) -> None:
    """Open the journal and send everything."""
    journal = Journal(Layout(state).journal, 2**28)
    send(journal, events, sending, lambda: os.write(pipe, b"!"))
    journal.close()


def kill_children(state: Path, events: list[Event], seed: int, kills: int) -> None:
    """Start a child, kill it soon after it took in something new, again and again; the last one may finish. Prints how many were killed."""
    chance = random.Random(seed)
    killed = 0
    for number in range(kills + 1):
        reading, writing = os.pipe()
        process = os.fork()
        if process == 0:
            child(state, events, number, writing)
            os._exit(0)
        os.close(writing)
        if number < kills and os.read(reading, 1):
            time.sleep(chance.uniform(0.0, 0.02))
            os.kill(process, signal.SIGKILL)
        os.close(reading)
        _, status = os.waitpid(process, 0)
        killed += os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    print(killed, os.waitstatus_to_exitcode(status), flush=True)


def send_and_rebuild(state: Path, events: list[Event], seed: int) -> None:
    """Send everything while another thread drains and makes all states anew, over and over."""
    layout = Layout(state)
    journal, tables = Journal(layout.journal, 2**28), Tables(layout.tables)
    done = threading.Event()

    def anew() -> None:
        while not done.is_set():
            drain(journal, tables, {"shop": SCHEMA})
            rebuild(journal, tables, SCHEMA, ONLINE)

    thread = threading.Thread(target=anew)
    print("started", flush=True)
    thread.start()
    send(journal, events, seed)
    done.set()
    thread.join()
    journal.close()


def main(state: str, seed: str, count: str, kills: str = "") -> None:
    events = stream(int(seed), int(count))
    if kills:
        kill_children(Path(state), events, int(seed), int(kills))
    else:
        send_and_rebuild(Path(state), events, int(seed))


if __name__ == "__main__":
    main(*sys.argv[1:])
