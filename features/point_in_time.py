"""Features of many entities, each at a moment of its own, as they were known then: DuckDB, from Parquet to Parquet."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from contracts.errors import DataRefused
from contracts.events import INT64_MAX, EventSchema, FieldType
from features.definitions import FeatureSet
from features.requests import request_columns, requests_of
from features.sql import Dialect, query
from storage.files import write_atomically


def compute(events: Sequence[Path], spine: Path, feature_set: FeatureSet, schema: EventSchema, out: Path, memory: str = "2GB") -> int:
    """Write the features of every row of a spine; how many rows.

    What a row may see is known by `seq ≤ seen_seq` where that is given, else by `ingested_time ≤ moment`. The values have the bits that the
    online store gives.

    Args:
        events: Parquet files of the event table; none is an empty table.
        spine: Parquet file of `row_id` (text, unique), `entity_id`, `moment` (µs), and optionally `seen_seq` and `context` (JSON text).
        feature_set: what to compute.
        schema: of the events.
        out: Parquet file, put in place whole: `row_id`, a DOUBLE for each feature, `missing` (names of features without a value), in the
            spine's order.
        memory: what DuckDB may use before it spills beside `out`.

    Raises:
        DefinitionError: the feature set does not fit the schema.
        DataRefused: the spine lacks a value or names a row twice.
    """
    feature_set.check(schema)
    out.parent.mkdir(parents=True, exist_ok=True)
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory,
        "temp_directory": str(out.parent / f".{out.name}.spill"),
        "autoload_known_extensions": False,
    }
    with duckdb.connect(config=settings) as engine:
        rows, first_us, last_us = _read_spine(engine, spine, feature_set)
        _read_events(engine, events, schema)
        text = query(feature_set, schema, _DUCKDB, first_us, last_us)
        copy = f"COPY (SELECT * EXCLUDE (row_key) FROM ({text}) ORDER BY row_key) TO"
        write_atomically(out, lambda path: engine.execute(f"{copy} {_text(str(path))} (FORMAT parquet, COMPRESSION zstd)"))
    return rows


def _read_spine(engine: duckdb.DuckDBPyConnection, spine: Path, feature_set: FeatureSet) -> tuple[int, int, int]:
    source = engine.read_parquet(str(spine), file_row_number=True)
    optional = [
        f"CAST({column if column in source.columns else 'NULL'} AS {kind}) AS {column}"
        for column, kind in (("seen_seq", "BIGINT"), ("context", "VARCHAR"))
    ]
    picked = ", ".join(["file_row_number AS row_key", "row_id", "entity_id", "CAST(moment AS BIGINT) AS moment", *optional])
    engine.execute(f"CREATE TEMP TABLE given AS SELECT {picked} FROM source")
    counts = "count(*), count(DISTINCT row_id), count(entity_id), count(moment), min(moment), max(moment)"
    rows, ids, entities, moments, first_us, last_us = engine.execute(f"SELECT {counts} FROM given").fetchall()[0]
    check_spine(rows, ids, entities, moments)
    requests = requests_of(feature_set)
    if requests:
        keys, contexts = zip(*engine.execute("SELECT row_key, context FROM given").fetchall(), strict=True) if rows else ((), ())
        values = request_columns(feature_set, contexts)
        columns = {f"q_{name}": pa.array(column, pa.float64()) for name, column in values.items()}
        engine.register("asked", pa.table({"row_key": pa.array(keys, pa.int64()), **columns}))
    join = "JOIN asked USING (row_key)" if requests else ""
    engine.execute(f"CREATE TEMP TABLE spine AS SELECT * EXCLUDE (context) FROM given {join}")
    engine.execute("DROP TABLE given")
    return rows, first_us or 0, last_us or 0


def check_spine(rows: int, ids: int, entities: int, moments: int) -> None:
    """Refuse a spine by its counts of rows, different row ids, entities and moments.

    Raises:
        DataRefused: the counts differ.
    """
    if not rows == ids == entities == moments:
        raise DataRefused(
            "spine", [f"{rows} rows have {ids} different row_id, {entities} entity_id and {moments} moments; expected one each"]
        )


def _read_events(engine: duckdb.DuckDBPyConnection, events: Sequence[Path], schema: EventSchema) -> None:
    kinds = {
        "event_id": "VARCHAR",
        "entity_id": "VARCHAR",
        "type": "VARCHAR",
        "event_time": "BIGINT",
        "ingested_time": "BIGINT",
        "seq": "BIGINT",
    }
    kinds |= {field: _KINDS[kind] for field, kind in schema.columns.items()}
    if events:
        found = engine.read_parquet([str(path) for path in events], union_by_name=True, hive_partitioning=False)
        picked = [f"{_name(field) if field in found.columns else 'NULL'}::{kind} AS {_name(field)}" for field, kind in kinds.items()]
        found.project(", ".join(picked)).create_view("events")
    else:
        engine.execute(f"CREATE TEMP TABLE events ({', '.join(f'{_name(field)} {kind}' for field, kind in kinds.items())})")


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _total(column: str, condition: str) -> str:
    exact = f"sum({column}) FILTER (WHERE {condition})"
    # why: DuckDB sums BIGINT in 128 bits, and its least and greatest pass over NULL
    bounded = f"CASE WHEN {exact} > {INT64_MAX} THEN {INT64_MAX} WHEN {exact} < -{INT64_MAX} THEN -{INT64_MAX} ELSE {exact} END"
    return f"CAST({bounded} AS BIGINT)"


def _present(items: Sequence[str]) -> str:
    return f"list_filter([{', '.join(items)}], lambda name: name IS NOT NULL)"


_KINDS = {FieldType.INT: "BIGINT", FieldType.STR: "VARCHAR", FieldType.BOOL: "BOOLEAN"}
_DUCKDB = Dialect(name=_name, text=_text, total=_total, order="row(e.event_time, e.event_id)", present=_present)
