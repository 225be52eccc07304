"""Columns of the stored tables, in order. Times are Int64 microseconds (UTC); money is Int64 micro-units.

A column that is added is null where a file was written before it.
"""

from collections.abc import Mapping
from enum import StrEnum

from contracts.events import EventSchema, FieldType


class Column(StrEnum):
    """Type of a column, named as Parquet readers know it."""

    STR = "str"
    INT = "i64"
    FLOAT = "f64"
    BOOL = "bool"
    STR_LIST = "list[str]"
    INT_LIST = "list[i64]"
    FLOAT_LIST = "list[f64]"


EVENTS = "events"
DECISIONS = "decisions"
OUTCOMES = "outcomes"
SHADOW = "shadow"
QUARANTINE = "quarantine"

_FIELD_COLUMNS = {FieldType.INT: Column.INT, FieldType.STR: Column.STR, FieldType.BOOL: Column.BOOL}

_EVENT_COLUMNS: Mapping[str, Column] = {
    "event_id": Column.STR,
    "entity_id": Column.STR,
    "type": Column.STR,
    "event_time": Column.INT,
    "ingested_time": Column.INT,
    "original_time": Column.INT,
    "loaded_at": Column.INT,
    "seq": Column.INT,
    "simulated": Column.BOOL,
}

_OTHER_TABLES: Mapping[str, Mapping[str, Column]] = {
    DECISIONS: {
        "decision_id": Column.STR,
        "entity_id": Column.STR,
        "decided_at": Column.INT,
        "expires_at": Column.INT,
        "release_id": Column.STR,
        "feature_set": Column.STR,
        "catalogue": Column.STR,
        "arm": Column.STR,
        "arm_probability": Column.FLOAT,
        "action": Column.STR,
        "propensity": Column.FLOAT,
        "draw": Column.FLOAT,
        "candidate_ids": Column.STR_LIST,
        "p_in_arm": Column.FLOAT_LIST,
        "scores": Column.FLOAT_LIST,
        "features": Column.FLOAT_LIST,
        "ages_us": Column.INT_LIST,
        "missing": Column.STR_LIST,
        "degraded": Column.STR_LIST,
        "seen_seq": Column.INT,
        "seq": Column.INT,
        "context": Column.STR,
        "simulated": Column.BOOL,
        "source": Column.STR,
    },
    OUTCOMES: {
        "outcome_id": Column.STR,
        "decision_id": Column.STR,
        "entity_id": Column.STR,
        "reward": Column.INT,
        "event_time": Column.INT,
        "ingested_time": Column.INT,
        "seq": Column.INT,
        "kind": Column.STR,
        "simulated": Column.BOOL,
        "corrects": Column.STR,
    },
    SHADOW: {
        "decision_id": Column.STR,
        "release_id": Column.STR,
        "scored_at": Column.INT,
        "candidate_ids": Column.STR_LIST,
        "p_in_arm": Column.FLOAT_LIST,
        "scores": Column.FLOAT_LIST,
    },
    QUARANTINE: {"kind": Column.STR, "reason": Column.STR, "payload": Column.STR, "ingested_time": Column.INT},
}

KEY_COLUMN: Mapping[str, str] = {
    EVENTS: "event_id",
    DECISIONS: "decision_id",
    OUTCOMES: "outcome_id",
    SHADOW: "decision_id",
    QUARANTINE: "payload",
}
"""What a table's rows are sorted by before they are digested."""

DAY_COLUMN: Mapping[str, str] = {
    EVENTS: "ingested_time",
    DECISIONS: "decided_at",
    OUTCOMES: "ingested_time",
    SHADOW: "scored_at",
    QUARANTINE: "ingested_time",
}
"""The time whose UTC day is the partition."""


def columns_of(table: str, schema: EventSchema) -> dict[str, Column]:
    """Columns of a table of a use case; events have its fields behind the common columns."""
    if table == EVENTS:
        return {**_EVENT_COLUMNS, **{name: _FIELD_COLUMNS[kind] for name, kind in schema.columns.items()}}
    return dict(_OTHER_TABLES[table])
