"""Drain the journal to the Parquet tables: every record once, also across crashes."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import polars as pl

from contracts.events import EventSchema
from contracts.records import (
    Decision,
    Event,
    Outcome,
    Quarantined,
    ShadowScore,
    StoredEvent,
    event_of_decision,
    event_of_outcome,
)
from contracts.tables import DECISIONS, EVENTS, OUTCOMES, QUARANTINE, SHADOW
from storage.journal import Journal
from storage.tables import Tables, polars_schema

CHUNK = 50_000
"""Records in memory at once."""


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What a drain moved: rows by use case and table, and the position up to which the tables are now complete."""

    position: int
    rows: Mapping[tuple[str, str], int] = field(default_factory=dict)


def drain(journal: Journal, tables: Tables, schemas: Mapping[str, EventSchema]) -> DrainReport:
    """Move everything accepted so far into the tables, then forget it in the journal.

    The manifest's position is the truth of what was moved: a crash before it is written leaves files that do not count, one
    behind it leaves records in the journal that the next drain skips.
    """
    moved: dict[tuple[str, str], int] = {}
    with tables.locked():
        position = tables.manifest().position
        while True:
            with journal.read() as read:
                chunk = list(read.records(after=position, limit=CHUNK))
            if not chunk:
                break
            first, position = position + 1, chunk[-1][0]
            parts = []
            for (use_case, table), rows in _rows(chunk, schemas).items():
                frame = pl.DataFrame(rows, schema=polars_schema(table, schemas[use_case]), orient="row")
                parts += tables.write_parts(schemas[use_case], table, frame, f"{first:020d}-{position:020d}")
                moved[use_case, table] = moved.get((use_case, table), 0) + frame.height
            tables.commit(parts, position)
        journal.trim(position)
    return DrainReport(position, moved)


def _rows(chunk: Iterable[tuple[int, str, bytes]], schemas: Mapping[str, EventSchema]) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
    rows: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    for _, stream, encoded in chunk:
        kind, convert = _STREAMS[stream]
        record = msgspec.msgpack.decode(encoded, type=kind)
        for table, row in convert(record, schemas[record.use_case]):
            rows.setdefault((record.use_case, table), []).append(row)
    return rows


_Converted = Iterable[tuple[str, tuple[Any, ...]]]


def _event_row(event: Event, schema: EventSchema) -> tuple[Any, ...]:
    own = tuple(event.fields.get(name) for name in schema.columns)
    return (
        event.event_id,
        event.entity_id,
        event.type,
        event.event_time,
        event.ingested_time,
        event.original_time,
        event.loaded_at,
        event.seq,
        event.simulated,
        *own,
    )


def _from_event(stored: StoredEvent, schema: EventSchema) -> _Converted:
    yield EVENTS, _event_row(stored.event, schema)


def _from_decision(decision: Decision, schema: EventSchema) -> _Converted:
    yield (
        DECISIONS,
        (
            decision.decision_id,
            decision.entity_id,
            decision.decided_at,
            decision.expires_at,
            decision.release_id,
            decision.feature_set,
            decision.catalogue,
            decision.arm,
            decision.arm_probability,
            decision.action,
            decision.propensity,
            decision.draw,
            [candidate.candidate_id for candidate in decision.candidates],
            [candidate.p_in_arm for candidate in decision.candidates],
            [candidate.score for candidate in decision.candidates],
            list(decision.features),
            list(decision.ages_us),
            list(decision.missing),
            list(decision.degraded),
            decision.seen_seq,
            decision.seq,
            json.dumps(dict(decision.context), sort_keys=True),
            decision.simulated,
            decision.source,
        ),
    )
    yield EVENTS, _event_row(event_of_decision(decision), schema)


def _from_outcome(outcome: Outcome, schema: EventSchema) -> _Converted:
    yield (
        OUTCOMES,
        (
            outcome.outcome_id,
            outcome.decision_id,
            outcome.entity_id,
            outcome.reward,
            outcome.event_time,
            outcome.ingested_time,
            outcome.seq,
            outcome.kind,
            outcome.simulated,
            outcome.corrects,
        ),
    )
    yield EVENTS, _event_row(event_of_outcome(outcome), schema)


def _from_shadow(score: ShadowScore, schema: EventSchema) -> _Converted:
    candidates = score.candidates
    yield (
        SHADOW,
        (
            score.decision_id,
            score.release_id,
            score.scored_at,
            [candidate.candidate_id for candidate in candidates],
            [candidate.p_in_arm for candidate in candidates],
            [candidate.score for candidate in candidates],
        ),
    )


def _from_quarantined(entry: Quarantined, schema: EventSchema) -> _Converted:
    yield QUARANTINE, (entry.kind, entry.reason, entry.payload, entry.ingested_time)


_STREAMS: Mapping[str, tuple[type[Any], Callable[[Any, EventSchema], _Converted]]] = {
    EVENTS: (StoredEvent, _from_event),
    DECISIONS: (Decision, _from_decision),
    OUTCOMES: (Outcome, _from_outcome),
    SHADOW: (ShadowScore, _from_shadow),
    QUARANTINE: (Quarantined, _from_quarantined),
}
