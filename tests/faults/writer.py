"""Writes events and drains them, until it is killed: `python writer.py STATE NAME`. Prints an id once it is durable."""

import itertools
import sys
from pathlib import Path

import msgspec

from contracts.events import EventSchema, EventType, FieldType
from contracts.records import Event, StoredEvent
from storage.drain import drain
from storage.journal import Journal
from storage.layout import Layout
from storage.tables import Tables

SCHEMA = EventSchema.build("shop", [EventType("purchase", {"amount_micros": FieldType.INT})])


def main(state: Path, name: str) -> None:
    layout = Layout(state)
    journal, tables = Journal(layout.journal, 2**26), Tables(layout.tables)
    for number in itertools.count(1):
        identifier = f"{name}-{number}"
        event = Event(identifier, name, "purchase", number, number, number, {"amount_micros": number})
        content = msgspec.msgpack.encode(StoredEvent("shop", event))
        journal.submit(lambda write, content=content: write.append("events", content)).result()  # type: ignore[misc]
        print(identifier, flush=True)
        if number % 25 == 0:
            drain(journal, tables, {"shop": SCHEMA})
            tables.merge({"shop": SCHEMA})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
