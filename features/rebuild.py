"""Feature states made anew: from the tables, then caught up from the journal, while events go on coming in."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import msgspec
import polars as pl

from contracts.errors import DataRefused
from contracts.events import EventSchema
from contracts.records import Decision, Event, Outcome, StoredEvent, event_of_decision, event_of_outcome
from contracts.tables import DECISIONS, EVENTS, OUTCOMES
from features import state as states
from features.online import OnlineFeatures
from storage.journal import Journal
from storage.tables import Tables, polars_schema
from storage.transaction import Read, Write

PART = 100
"""Entities in one transaction: other writers wait no longer than for so many."""
BUCKET = 1_000_000
"""Events in memory at once, about."""

_COMMON = ("event_id", "entity_id", "type", "event_time", "ingested_time", "seq")


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """How many entities have a new state, and from how many events of the tables."""

    entities: int
    events: int


def rebuild(
    journal: Journal,
    tables: Tables,
    schema: EventSchema,
    online: OnlineFeatures,
    entities: Collection[str] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> RebuildReport:
    """Make states anew, equal to what they would be had every event gone through `online.apply`.

    Entities are done in parts, each in a transaction that first catches up with what came in meanwhile. Nothing is half made when it is
    interrupted; done again, it comes to the same. `seq` goes on from the newest that is known, never from 1.

    Args:
        journal: of the installation.
        tables: of the installation. What accepted events wait to be drained is read from the journal.
        schema: of the use case.
        online: how long events are kept, and which rows are kept ready.
        entities: only these; by default all that the tables or the journal know.
        stopped: asked before each part whether to go on; what is done is reported.
    """
    journal.write(lambda write: write.continue_behind(tables.manifest().position))
    rebuilt = counted = 0
    for first, last in _buckets(tables, schema, entities):
        # why: a drain would move records from the journal into tables that were read already
        with tables.locked():
            known = _from_tables(tables, schema, entities, first, last)
            log = _Log(schema.use_case, tables.manifest().position)
            with journal.read() as read:
                log.read(read)
            names = sorted(name for name in {*known, *log.events} if _within(name, entities, first, last))
            for start in range(0, len(names), PART):
                if stopped():
                    return RebuildReport(rebuilt + start, counted)
                with journal.read() as read:
                    log.read(read)
                part = {name: [*known.get(name, ()), *log.events.get(name, ())] for name in names[start : start + PART]}
                built = {name: online.build(events) for name, events in part.items()}
                journal.write(partial(_put, built=built, log=log, online=online))
            rebuilt += len(names)
            counted += sum(map(len, known.values()))
    return RebuildReport(rebuilt, counted)


def restore(write: Write, tables: Tables, schema: EventSchema, online: OnlineFeatures, entity_id: str) -> bytes | None:
    """The state of one entity made anew within a transaction, for the rare one that is damaged: it takes a look through the tables.

    Nothing can be trimmed from the journal while the transaction is open, so a manifest read now and the journal behind it are everything.
    """
    position = tables.manifest().position
    known = _from_tables(tables, schema, (entity_id,), "", None)
    log = _Log(schema.use_case, position)
    log.read(write)
    built = online.build([*known.get(entity_id, ()), *log.events.get(entity_id, ())])
    return _behind(built, write.get_state(schema.use_case, entity_id))


def states_from_tables(tables: Tables, schema: EventSchema, online: OnlineFeatures, entities: Collection[str]) -> dict[str, bytes | None]:
    """The states that entities would have had only what the tables hold happened to them; nothing is written."""
    known = _from_tables(tables, schema, entities, "", None)
    return {name: online.build(known.get(name, ())) for name in entities}


class _Log:
    """Events that the journal holds behind a position, by entity."""

    def __init__(self, use_case: str, position: int) -> None:
        self.use_case = use_case
        self.position = position
        self.events: dict[str, list[Event]] = {}

    def read(self, read: Read) -> None:
        """Read on to the newest."""
        for position, stream, record in read.records(after=self.position, limit=2**62):
            event = event_of(stream, record, self.use_case)
            if event is not None:
                self.events.setdefault(event.entity_id, []).append(event)
            self.position = position


def event_of(stream: str, record: bytes, use_case: str) -> Event | None:
    """The event that a record of the journal is for an entity of a use case; None of another's, or where it is none."""
    if stream == EVENTS:
        stored = _STORED.decode(record)
        return stored.event if stored.use_case == use_case else None
    if stream == DECISIONS:
        decision = _DECISION.decode(record)
        return event_of_decision(decision) if decision.use_case == use_case else None
    if stream == OUTCOMES:
        outcome = _OUTCOME.decode(record)
        return event_of_outcome(outcome) if outcome.use_case == use_case else None
    return None


def _put(write: Write, *, built: dict[str, bytes | None], log: _Log, online: OnlineFeatures) -> None:
    newest = _Log(log.use_case, log.position)
    newest.read(write)
    for name, state in built.items():
        for event in newest.events.get(name, ()):
            state = states.with_seq(online.apply(state, event)[0], event.seq)
        state = _behind(state, write.get_state(log.use_case, name))
        if state is not None:
            write.put_state(log.use_case, name, state)


def _behind(state: bytes | None, before: bytes | None) -> bytes | None:
    """A state whose `seq` is not before that of another one, if that can be read."""
    if state is None or before is None:
        return state
    try:
        *_, seq, _ = states.head(before)
    except DataRefused:
        return state
    return states.with_seq(state, seq) if seq > states.head(state)[2] else state


def _buckets(tables: Tables, schema: EventSchema, entities: Collection[str] | None) -> Iterator[tuple[str, str | None]]:
    files = tables.files(schema.use_case, EVENTS)
    if entities is not None or not files:
        yield "", None
        return
    counts = pl.scan_parquet(files, schema=polars_schema(EVENTS, schema)).group_by("entity_id").len().sort("entity_id").collect()
    full = (counts["len"].cum_sum() // BUCKET).to_list()
    edges = [counts["entity_id"][index] for index in range(1, len(full)) if full[index] != full[index - 1]]
    yield from zip(["", *edges], [*edges, None], strict=True)


def _from_tables(
    tables: Tables, schema: EventSchema, entities: Collection[str] | None, first: str, last: str | None
) -> dict[str, list[Event]]:
    files = tables.files(schema.use_case, EVENTS)
    if not files:
        return {}
    rows = pl.scan_parquet(files, schema=polars_schema(EVENTS, schema)).select(*_COMMON, *schema.columns)
    if entities is not None:
        rows = rows.filter(pl.col("entity_id").is_in(list(entities)))
    if first:
        rows = rows.filter(pl.col("entity_id") >= first)
    if last is not None:
        rows = rows.filter(pl.col("entity_id") < last)
    ordered = rows.sort("entity_id", "seq").collect()
    return {name: list(events) for name, events in groupby(_events(ordered, schema), key=lambda event: event.entity_id)}


def _events(rows: pl.DataFrame, schema: EventSchema) -> Iterator[Event]:
    places = {name: place for place, name in enumerate(rows.columns)}
    fields: dict[str, Sequence[tuple[str, int]]] = {
        name: [(field, places[field]) for field in event_type.fields] for name, event_type in schema.types.items()
    }
    row: tuple[Any, ...]
    for row in rows.iter_rows():
        event_id, entity_id, kind, event_time, ingested_time, seq = row[:6]
        values = {field: row[place] for field, place in fields.get(kind, ())}
        yield Event(event_id, entity_id, kind, event_time, ingested_time, seq, values)


def _within(name: str, entities: Collection[str] | None, first: str, last: str | None) -> bool:
    return (entities is None or name in entities) and name >= first and (last is None or name < last)


_STORED = msgspec.msgpack.Decoder(StoredEvent)
_DECISION = msgspec.msgpack.Decoder(Decision)
_OUTCOME = msgspec.msgpack.Decoder(Outcome)
