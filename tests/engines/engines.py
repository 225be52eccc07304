"""Each engine behind one function: from events, in the order they became visible, and rows of a spine to features.

A new engine is a line in `ENGINES`, a new job one in `JOBS`: every obligation and every random history is asked of it, too. What needs
Java has `spark` in its name.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import polars as pl
import pytest

import features.point_in_time
import spark_jobs.point_in_time
from contracts.events import EventSchema
from contracts.records import Event
from features.definitions import FeatureRow, FeatureSet
from features.online import OnlineFeatures, retention
from storage.tables import polars_schema
from tests.engines.reference import is_known, reference
from tests.engines.rows import GRACE_US, Found, Row
from tests.engines.tiled import compute_from_tiles

Job: TypeAlias = Callable[[Sequence[Path], Path, FeatureSet, EventSchema, Path], int]
Engine: TypeAlias = Callable[[FeatureSet, EventSchema, Sequence[Event], Sequence[Row]], dict[str, Found]]


def online(feature_set: FeatureSet, schema: EventSchema, events: Sequence[Event], rows: Sequence[Row]) -> dict[str, Found]:
    """The online state, advanced to what each row has seen, and computed from at each read."""
    return {
        row.row_id: told(feature_set, _read(store, feature_set, state, row))
        for row, store, state in _states(schema, events, rows, [feature_set])
    }


def online_ready(feature_set: FeatureSet, schema: EventSchema, events: Sequence[Event], rows: Sequence[Row]) -> dict[str, Found]:
    """The online state with the rows of two feature sets kept ready, read for one of them."""
    ready = [FeatureSet("another", feature_set.features[:1]), feature_set]
    states = _states(schema, events, rows, [feature_set], ready)
    return {row.row_id: told(feature_set, _read(store, feature_set, state, row)) for row, store, state in states}


def online_bulk(feature_set: FeatureSet, schema: EventSchema, events: Sequence[Event], rows: Sequence[Row]) -> dict[str, Found]:
    """The same, where of three events two came in bulk, which leaves what they change of the rows to the read."""
    states = _states(schema, events, rows, [feature_set], [feature_set], bulk=3)
    return {row.row_id: told(feature_set, _read(store, feature_set, state, row)) for row, store, state in states}


def online_many(feature_set: FeatureSet, schema: EventSchema, events: Sequence[Event], rows: Sequence[Row]) -> dict[str, Found]:
    """The online state made at once from the whole history, read for all entities of a moment in one call."""
    moments: dict[tuple[int, OnlineFeatures], list[tuple[Row, bytes | None]]] = {}
    for row, store, seen in _seen(schema, events, rows, [feature_set], [feature_set]):
        moments.setdefault((row.moment, store), []).append((row, store.build(seen)))
    found: dict[str, Found] = {}
    for (moment, store), asked in moments.items():
        several = store.read_many([state for _, state in asked], feature_set, moment, [row.context for row, _ in asked])
        found |= {row.row_id: told(feature_set, several.row(index)) for index, (row, _) in enumerate(asked)}
    return found


def online_rebuilt(feature_set: FeatureSet, schema: EventSchema, events: Sequence[Event], rows: Sequence[Row]) -> dict[str, Found]:
    """The online state made at once, without what no later moment needs, as after a loss and a compaction."""
    found = {}
    for row, store, seen in _seen(schema, events, rows, [feature_set], [feature_set]):
        state = store.build(seen)
        compact = state if state is None else store.compact(state, row.moment)
        found[row.row_id] = told(feature_set, _read(store, feature_set, compact, row))
    return found


def _states(
    schema: EventSchema,
    events: Sequence[Event],
    rows: Sequence[Row],
    kept: Sequence[FeatureSet],
    ready: Sequence[FeatureSet] = (),
    bulk: int = 1,
) -> Iterator[tuple[Row, OnlineFeatures, bytes | None]]:
    reached: dict[tuple[str, OnlineFeatures], tuple[list[Event], bytes | None]] = {}
    for row, store, seen in _seen(schema, events, rows, kept, ready):
        before, state = reached.get((row.entity_id, store), ([], None))
        if seen[: len(before)] != before:
            before, state = [], None
        for event in seen[len(before) :]:
            state, _ = store.apply(state, event, in_bulk=event.seq % bulk > 0)
        reached[row.entity_id, store] = seen, state
        yield row, store, state


def _seen(
    schema: EventSchema, events: Sequence[Event], rows: Sequence[Row], kept: Sequence[FeatureSet], ready: Sequence[FeatureSet]
) -> Iterator[tuple[Row, OnlineFeatures, list[Event]]]:
    by_grace = {grace: OnlineFeatures(schema, retention(kept), grace, ready) for grace in (0, GRACE_US)}
    histories: dict[str, list[Event]] = {}
    for event in events:
        histories.setdefault(event.entity_id, []).append(event)
    for row in rows:
        seen = [event for event in histories.get(row.entity_id, []) if is_known(event, row)]
        yield row, by_grace[0 if all(event.ingested_time <= row.moment for event in seen) else GRACE_US], seen


def _read(store: OnlineFeatures, feature_set: FeatureSet, state: bytes | None, row: Row) -> FeatureRow:
    return store.read(state, feature_set, row.moment, row.context)


def told(feature_set: FeatureSet, row: FeatureRow) -> Found:
    """What the online state said."""
    return Found(
        _hexadecimal(dict(zip(feature_set.names, row.values.tolist(), strict=True))),
        row.missing,
        dict(zip(feature_set.names, row.ages_us.tolist(), strict=True)),
        frozenset(row.stale),
    )


def from_tables(job: Job) -> Engine:
    """The engine of a point-in-time job."""

    def compute(feature_set: FeatureSet, schema: EventSchema, events: Sequence[Event], rows: Sequence[Row]) -> dict[str, Found]:
        with tempfile.TemporaryDirectory() as folder:
            return from_files(job, feature_set, schema, write_events(Path(folder), schema, events), rows)

    return compute


def from_files(job: Job, feature_set: FeatureSet, schema: EventSchema, files: Sequence[Path], rows: Sequence[Row]) -> dict[str, Found]:
    """What a point-in-time job makes of files of the event table."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.parquet"
        count = job(files, write_spine(Path(folder), rows), feature_set, schema, out)
        frame = pl.read_parquet(out)
    assert count == frame.height == len(rows)
    assert frame.columns == ["row_id", *feature_set.names, "missing"]
    return {
        row["row_id"]: Found(_hexadecimal({name: row[name] for name in feature_set.names}), tuple(row["missing"]))
        for row in frame.iter_rows(named=True)
    }


LITTLE = "100KB"
"""Of memory: so little that events are read by parts, a few hundred each."""

JOBS: Mapping[str, Job] = {
    "duckdb": features.point_in_time.compute,
    "duckdb-parts": partial(features.point_in_time.compute, memory=LITTLE),
    "tiles": compute_from_tiles,
    "tiles-parts": partial(compute_from_tiles, memory=LITTLE),
    "spark": spark_jobs.point_in_time.compute,
    "spark-tiles": partial(compute_from_tiles, compute=spark_jobs.point_in_time.compute),
}
"""Jobs that read the event table. One that is added here is an engine, too."""

ENGINES: Mapping[str, Engine] = {
    "reference": reference,
    "online": online,
    "online-ready": online_ready,
    "online-bulk": online_bulk,
    "online-many": online_many,
    "online-rebuilt": online_rebuilt,
    **{name: from_tables(job) for name, job in JOBS.items()},
}


def _parameter(name: str) -> Any:
    return pytest.param(name, marks=[pytest.mark.engines] if "spark" in name else [])


EACH_ENGINE = [_parameter(name) for name in ENGINES]
"""Names of all engines, as parameters of a test or fixture; the reference first."""

EACH_JOB = [_parameter(name) for name in JOBS]
"""Names of all jobs, likewise."""


def engine_named(name: str, request: pytest.FixtureRequest) -> Engine:
    """An engine, made ready."""
    if "spark" in name:
        request.getfixturevalue("spark")
    return ENGINES[name]


def job_named(name: str, request: pytest.FixtureRequest) -> Job:
    """A job, made ready."""
    engine_named(name, request)
    return JOBS[name]


def write_events(folder: Path, schema: EventSchema, events: Sequence[Event]) -> list[Path]:
    """Events as files of the event table: two, so that rows of an entity lie in both."""
    paths = [folder / "events0.parquet", folder / "events1.parquet"]
    for path, part in zip(paths, (events[::2], events[1::2]), strict=True):
        as_table(part, schema).write_parquet(path)
    return paths


def as_table(events: Sequence[Event], schema: EventSchema) -> pl.DataFrame:
    """Events as the event table has them."""
    columns = polars_schema("events", schema)
    return pl.DataFrame([{name: getattr(event, name, None) for name in columns} | dict(event.fields) for event in events], schema=columns)


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
