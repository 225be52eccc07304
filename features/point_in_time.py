"""Features of many entities, each at a moment of its own, as they were known then: DuckDB, from Parquet to Parquet.

DuckDB scans, filters, codes entities and texts, and spills; `features.windows` computes.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import SettingsError
from contracts.events import EventSchema, FieldType
from features.definitions import FeatureSet
from features.rows import finish
from features.scan import Scan, scans
from features.spine import Spine, read_spine
from features.windows import Events, Field, Values, evaluate, ordered, put
from storage.files import write_atomically

_BYTES = 160
"""Of memory an event takes while windows over it are computed, at most."""


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
        memory: for events, DuckDB's and ours together; beyond it DuckDB spills beside `out`. The spine itself is held in memory.

    Raises:
        DefinitionError: the feature set does not fit the schema.
        DataRefused: the spine lacks a value or names a row twice.
        SettingsError: the memory is no size.
    """
    feature_set.check(schema)
    asked = read_spine(spine, feature_set)
    out.parent.mkdir(parents=True, exist_ok=True)
    limit = bytes_of(memory)
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{limit // 2}B",
        "temp_directory": str(out.parent / f".{out.name}.spill"),
        "autoload_known_extensions": False,
        "preserve_insertion_order": False,
    }
    found: dict[str, Values] = {}
    with duckdb.connect(config=settings) as engine:
        _read_events(engine, events, schema)
        engine.register("entities", pa.table({"entity_id": asked.entities, "code": pa.array(range(len(asked.entities)), pa.int32())}))
        rows = asked.rows
        first_us, last_us = (int(rows.moment.min()), int(rows.moment.max())) if len(asked.row_ids) else (0, 0)
        seeing = rows.seen >= 0
        for scan in scans(feature_set, schema, first_us, last_us, by_clock=not seeing.all(), by_seq=bool(seeing.any())):
            found |= _evaluate(engine, scan, asked, limit // 2)
    table = finish(feature_set, found, asked.asked, asked.row_ids, asked.rows.moment)
    write_atomically(out, lambda path: pq.write_table(table, path, use_dictionary=["missing.list.element"]))
    return len(table)


def bytes_of(memory: str) -> int:
    """The bytes of a size such as `2GB`.

    Raises:
        SettingsError: it is no size.

    Example:
        >>> bytes_of("512MB")
        512000000
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B\s*", memory, re.IGNORECASE)
    if found is None:
        raise SettingsError("store.duckdb_memory", memory, "a size such as 2GB or 512MB")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(unit.upper() or " "))


def _evaluate(engine: duckdb.DuckDBPyConnection, scan: Scan, spine: Spine, memory: int) -> dict[str, Values]:
    texts = {name: _texts(engine, scan, name) for name in scan.fields if name in scan.texts}
    coded = _coded(scan, texts)
    (count,) = engine.execute("SELECT count(*) FROM events").fetchone() or (0,)
    if count * _BYTES <= memory:
        return evaluate(_fetch(engine, coded, scan, texts), spine.rows, scan.features)
    engine.execute(f"CREATE OR REPLACE TEMP TABLE coded AS {coded}")
    found = {feature.name: Values.blank(len(spine.row_ids)) for feature in scan.features}
    for first, last in _ranges(engine, len(spine.entities), memory):
        at = np.flatnonzero((spine.rows.entity >= first) & (spine.rows.entity < last))
        part = _fetch(engine, f"SELECT * FROM coded WHERE entity >= {first} AND entity < {last}", scan, texts)
        put(found, at, evaluate(part, spine.rows.take(at), scan.features))
    engine.execute("DROP TABLE coded")
    return found


def _texts(engine: duckdb.DuckDBPyConnection, scan: Scan, name: str) -> list[str]:
    """The texts of a field, each once; kept as the table `text_<field's number>` with their positions."""
    found = engine.execute(
        f"SELECT DISTINCT {_name(name)} FROM events e WHERE {_conditions(scan)} AND {_name(name)} IS NOT NULL"
    ).fetchall()
    texts = [text for (text,) in found]
    codes = pa.table({"text": pa.array(texts, pa.string()), "code": pa.array(range(len(texts)), pa.int64())})
    engine.register(f"text_{scan.fields.index(name)}", codes)
    return texts


def _conditions(scan: Scan) -> str:
    since = [] if scan.since_us is None else [f"e.event_time >= {scan.since_us}"]
    return " AND ".join([f"e.type = {_text(scan.source)}", f"e.event_time <= {scan.until_us}", *since])


def _coded(scan: Scan, texts: dict[str, list[str]]) -> str:
    """The events of a scan as numbers: `entity`, `event_time`, the stamps, and `f<number>` for each field."""
    picked, joins = [], []
    for number, field in enumerate(scan.fields):
        if field in texts:
            joins.append(f"LEFT JOIN text_{number} ON text_{number}.text = e.{_name(field)}")
            picked.append(f"text_{number}.code AS f{number}")
        else:
            picked.append(f"CAST(e.{_name(field)} AS BIGINT) AS f{number}")
    columns = ", ".join(["n.code AS entity", "e.event_time", *(f"e.{name}" for name in scan.stamps), *picked])
    return f"SELECT {columns} FROM events e JOIN entities n USING (entity_id) {' '.join(joins)} WHERE {_conditions(scan)}"


def _ranges(engine: duckdb.DuckDBPyConnection, entities: int, memory: int) -> Iterator[tuple[int, int]]:
    """Ranges of entities whose events fit the memory together."""
    counted = engine.execute("SELECT entity, count(*) AS events FROM coded GROUP BY entity").fetchnumpy()
    sizes = np.zeros(entities, np.int64)
    sizes[counted["entity"]] = counted["events"]
    group = np.cumsum(sizes) * _BYTES // memory
    yield from pairwise([0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), entities])


def _fetch(engine: duckdb.DuckDBPyConnection, query: str, scan: Scan, texts: dict[str, list[str]]) -> Events:
    """The events that a query for coded ones gives, ordered."""
    found: dict[str, Any] = engine.execute(query).fetchnumpy()
    # why: to gather behind a mask is slow, and most columns have none
    plain = {name: column if np.ma.is_masked(column) else np.ma.getdata(column) for name, column in found.items()}
    order = ordered(plain["entity"], plain["event_time"])
    columns = {name: column[order] for name, column in plain.items()}
    if scan.ordered:
        _order_ties(engine, scan, columns)
    fields = {}
    for number, name in enumerate(scan.fields):
        values = columns[f"f{number}"]
        present = ~np.ma.getmaskarray(values) if np.ma.is_masked(values) else None
        fields[name] = Field(np.ma.filled(values, 0).astype(np.int64, copy=False), present, texts.get(name))
    return Events(columns["entity"], columns["event_time"], fields, columns.get("ingested_time"), columns.get("seq"))


def _order_ties(engine: duckdb.DuckDBPyConnection, scan: Scan, columns: dict[str, Any]) -> None:
    """Put events of one entity at one time into the order of their ids."""
    entity, time, seq = (columns[name] for name in ("entity", "event_time", "seq"))
    same = np.zeros(len(entity) + 1, bool)
    same[1:-1] = (entity[1:] == entity[:-1]) & (time[1:] == time[:-1])
    at = np.flatnonzero(same[1:] | same[:-1])
    if not len(at):
        return
    engine.register("tied", pa.table({"code": entity[at], "event_time": time[at], "seq": seq[at], "place": at}))
    ordered = engine.execute(
        f"SELECT tied.place FROM tied JOIN entities n USING (code) JOIN events e ON e.entity_id = n.entity_id AND e.seq = tied.seq "
        f"AND e.event_time = tied.event_time AND {_conditions(scan)} "
        "ORDER BY tied.code, tied.event_time, e.event_id"
    ).fetchnumpy()
    for column in columns.values():
        column[at] = column[np.ma.getdata(ordered["place"])]


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


_KINDS = {FieldType.INT: "BIGINT", FieldType.STR: "VARCHAR", FieldType.BOOL: "BOOLEAN"}
