"""The event table in Spark, and its rows as columns in memory."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import BooleanType, DataType, LongType, StringType, StructField, StructType

from contracts.events import EventSchema, FieldType
from features.columns import Events, Field, Ints
from features.scan import Scan

_KINDS: dict[FieldType, DataType] = {FieldType.INT: LongType(), FieldType.STR: StringType(), FieldType.BOOL: BooleanType()}
_COMMON = [
    *(StructField(name, StringType()) for name in ("event_id", "entity_id", "type")),
    *(StructField(name, LongType()) for name in ("event_time", "ingested_time", "seq")),
]


def read_events(session: SparkSession, files: Sequence[Path], schema: EventSchema, asked: Sequence[Scan]) -> DataFrame:
    """The events that any of some scans asks for, with the columns that they need; their `type` where it is not always the same.

    Args:
        session: in which they are read.
        files: Parquet files of the event table; none are an empty table.
        schema: of the events.
        asked: what is to be read.
    """
    columns = StructType([*_COMMON, *(StructField(field, _KINDS[kind]) for field, kind in schema.columns.items())])
    needed = dict.fromkeys(field for scan in asked for field in scan.fields)
    stamps = dict.fromkeys(stamp for scan in asked for stamp in scan.stamps)
    ids = ["event_id"] if any(scan.ordered for scan in asked) else []
    types = ["type"] if len(asked) > 1 else []
    picked = ["entity_id", *types, "event_time", *ids, *stamps, *map(quoted, needed)]
    held = session.read.schema(columns).parquet(*map(uri, files)) if files else session.createDataFrame([], columns)
    return held.where(" OR ".join(map(_condition, asked)) or "FALSE").selectExpr(*picked)


def to_events(table: pa.Table, scan: Scan) -> Events:
    """Rows of one type as columns, ordered; the rows' `entity` is the entity's code."""
    entity, time = (_numbers(table.column(name)) for name in ("entity", "event_time"))
    keys: tuple[Ints, ...] = (time, entity)
    if scan.ordered:
        ids = table.column("event_id").combine_chunks()
        places = np.empty(len(ids), np.int64)
        places[pc.sort_indices(ids).to_numpy()] = np.arange(len(ids))
        keys = (places, *keys)
    order = np.lexsort(keys)
    ingested, seq = (_numbers(table.column(name))[order] if name in scan.stamps else None for name in ("ingested_time", "seq"))
    fields = {name: _field(table.column(name)).take(order) for name in scan.fields}
    return Events(entity[order], time[order], fields, ingested, seq)


def uri(path: Path) -> str:
    """A path as Spark wants it: with every character as it is, where `Path.as_uri` would write `=` as `%3D`."""
    return f"file://{path.absolute()}"


def quoted(identifier: str) -> str:
    """A column's name in Spark's SQL."""
    return "`" + identifier.replace("`", "``") + "`"


def _condition(scan: Scan) -> str:
    since = [] if scan.since_us is None else [f"event_time >= {scan.since_us}"]
    until = [] if scan.until_us is None else [f"event_time <= {scan.until_us}"]
    return f"({' AND '.join([f'type = {_text(scan.source)}', *since, *until])})"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _field(column: pa.ChunkedArray) -> Field:
    whole = column.combine_chunks()
    present = pc.is_valid(whole).to_numpy(zero_copy_only=False) if whole.null_count else None
    if not pa.types.is_string(whole.type):
        return Field(_numbers(whole.cast(pa.int64())), present)
    coded = whole.dictionary_encode()
    return Field(_numbers(coded.indices), present, coded.dictionary.to_pylist())


def _numbers(column: pa.Array | pa.ChunkedArray) -> Ints:
    numbers: Ints = pc.fill_null(column, 0).to_numpy().astype(np.int64, copy=False)
    return numbers
