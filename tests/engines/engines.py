"""Each engine behind one function: from events, in the order they became visible, and rows of a spine to features."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

import msgspec
import polars as pl

from contracts.events import EventSchema
from contracts.records import Event, FieldValue
from features.definitions import FeatureSet
from features.online import OnlineFeatures, retention
from storage.tables import polars_schema


@dataclass(frozen=True)
class Row:
    """A row of a spine."""

    row_id: str
    entity_id: str
    moment: int
    seen_seq: int | None = None
    context: Mapping[str, FieldValue] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What an engine found for a row; values as hexadecimal text, which differs when a bit does."""

    values: Mapping[str, str]
    missing: tuple[str, ...]


Engine: TypeAlias = Callable[[FeatureSet, EventSchema, Sequence[Event], Sequence[Row]], dict[str, Found]]


def online(feature_set: FeatureSet, schema: EventSchema, events: Sequence[Event], rows: Sequence[Row]) -> dict[str, Found]:
    """The online state, advanced to what each row has seen and then read."""
    features = OnlineFeatures(schema, retention([feature_set]), grace_us=0)
    found = {}
    for row in rows:
        state = None
        for event in events:
            seen = event.ingested_time <= row.moment if row.seen_seq is None else event.seq <= row.seen_seq
            if event.entity_id == row.entity_id and seen:
                state, _ = features.apply(state, event)
        read = features.read(state, feature_set, row.moment, row.context)
        found[row.row_id] = Found(_hexadecimal(dict(zip(feature_set.names, read.values.tolist(), strict=True))), read.missing)
    return found


def from_tables(job: ModuleType) -> Engine:
    """The engine of a point-in-time job: DuckDB's or Spark's."""

    def compute(feature_set: FeatureSet, schema: EventSchema, events: Sequence[Event], rows: Sequence[Row]) -> dict[str, Found]:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            count = job.compute(write_events(root, schema, events), write_spine(root, rows), feature_set, schema, root / "out.parquet")
            frame = pl.read_parquet(root / "out.parquet")
        assert count == frame.height == len(rows)
        assert frame.columns == ["row_id", *feature_set.names, "missing"]
        return {
            row["row_id"]: Found(_hexadecimal({name: row[name] for name in feature_set.names}), tuple(row["missing"]))
            for row in frame.iter_rows(named=True)
        }

    return compute


def write_events(folder: Path, schema: EventSchema, events: Sequence[Event]) -> list[Path]:
    """Events as files of the event table: two, so that rows of an entity lie in both."""
    columns = polars_schema("events", schema)
    paths = []
    for number, part in enumerate((events[::2], events[1::2])):
        plain = [{name: getattr(event, name, None) for name in columns} | dict(event.fields) for event in part]
        paths.append(folder / f"events{number}.parquet")
        pl.DataFrame(plain, schema=columns).write_parquet(paths[-1])
    return paths


def write_spine(folder: Path, rows: Sequence[Row]) -> Path:
    """Rows as a spine."""
    columns = {
        "row_id": [row.row_id for row in rows],
        "entity_id": [row.entity_id for row in rows],
        "moment": [row.moment for row in rows],
        "seen_seq": [row.seen_seq for row in rows],
        "context": [msgspec.json.encode(row.context).decode() if row.context else None for row in rows],
    }
    kinds = {"row_id": pl.String, "entity_id": pl.String, "moment": pl.Int64, "seen_seq": pl.Int64, "context": pl.String}
    pl.DataFrame(columns, schema=kinds).write_parquet(folder / "spine.parquet")
    return folder / "spine.parquet"


def _hexadecimal(values: Mapping[str, float]) -> dict[str, str]:
    return {name: value.hex() for name, value in values.items()}
