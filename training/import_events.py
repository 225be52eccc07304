"""Import events that another system kept, as they were known there: like events that were sent, but for when they were ingested."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from contracts.errors import Conflict, DataRefused
from contracts.records import Event
from decisions.record import ApplyEvent, make_event, record_event
from storage.journal import Journal
from storage.transaction import Write
from training.columns import EXAMPLES
from training.event_file import EventRules, own_types, read_events
from use_cases.definition import UseCase

_CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class EventsReport:
    """What an import did.

    Attributes:
        events: in the file, each once. `new`: of them, those that were not there before. `entities`: to whom they happened.
        first_us, last_us: when the first and the last happened.
    """

    events: int
    new: int
    entities: int
    first_us: int
    last_us: int


class _Undone(Exception):
    """Undoes what a rehearsal wrote, and says what it found."""

    def __init__(self, conflicts: list[str]) -> None:
        super().__init__(conflicts)
        self.conflicts = conflicts


def import_events(
    journal: Journal,
    use_case: UseCase,
    path: Path,
    apply_event: ApplyEvent,
    *,
    now_us: int,
    lag_us: int | None = None,
    simulated: bool = False,
) -> EventsReport:
    """Import events, all of them or nothing; again, and it changes nothing. What the file must hold: see `training.event_file`.

    Everything is checked before the first row is written. Rows are written in chunks, each durable at once, so that decisions go on
    meanwhile; an import that was interrupted is completed by running it again. A decision that was made before does not come to know
    them: what it had seen stays what it had seen. `loaded_at` says when they came here.

    Args:
        journal: of the installation.
        use_case: whose events they are.
        path: the file, Parquet if its name ends so, else CSV.
        apply_event: lets an entity's features see what is imported.
        now_us: now, by the installation's clock.
        lag_us: how long after an event the source knew of it, where the file does not say.
        simulated: whether the installation is.

    Raises:
        DataRefused: the file or rows of it are wrong, or ids were accepted before with other content; nothing of it is taken.
    """
    found = read_events(path, EventRules(use_case.schema, now_us, lag_us))
    _check_conflicts(journal, use_case, path, _chunks(found, use_case, now_us, simulated), apply_event)
    new = 0
    for chunk in _chunks(found, use_case, now_us, simulated):
        new += journal.write(lambda write, chunk=chunk: _record(write, use_case, chunk, apply_event))  # type: ignore[misc]
    first, last = found["event_time"].min(), found["event_time"].max()
    assert isinstance(first, int) and isinstance(last, int)
    return EventsReport(found.height, new, found["entity_id"].n_unique(), first, last)


def _chunks(found: pl.DataFrame, use_case: UseCase, now_us: int, simulated: bool) -> Iterator[list[Event]]:
    fields = {
        name: [field for field in event_type.fields if field in found.columns] for name, event_type in own_types(use_case.schema).items()
    }
    for part in found.iter_slices(_CHUNK):
        yield [_event(row, fields[row["type"]], now_us, simulated) for row in part.iter_rows(named=True)]


def _event(row: Mapping[str, Any], fields: list[str], now_us: int, simulated: bool) -> Event:
    return make_event(
        row["event_id"],
        row["entity_id"],
        row["type"],
        row["event_time"],
        {field: row[field] for field in fields},
        ingested_time=row["ingested_time"],
        loaded_at=now_us,
        simulated=simulated,
    )


def _record(write: Write, use_case: UseCase, events: list[Event], apply_event: ApplyEvent) -> int:
    return sum(record_event(write, use_case.name, event, apply_event, sources=use_case.outcomes.sources) for event in events)


def _check_conflicts(journal: Journal, use_case: UseCase, path: Path, chunks: Iterator[list[Event]], apply_event: ApplyEvent) -> None:
    taken: list[str] = []

    def rehearse(write: Write, chunk: list[Event]) -> None:
        conflicts = []
        for event in chunk:
            try:
                record_event(write, use_case.name, event, apply_event, sources=use_case.outcomes.sources)
            except Conflict:
                conflicts.append(event.event_id)
        raise _Undone(conflicts)

    for chunk in chunks:
        try:
            journal.write(lambda write, chunk=chunk: rehearse(write, chunk))  # type: ignore[misc]
        except _Undone as undone:
            taken += undone.conflicts
    if taken:
        said = f"{len(taken)} event_id were accepted before with other content (first: {', '.join(taken[:EXAMPLES])})"
        raise DataRefused(path.name, [said])
