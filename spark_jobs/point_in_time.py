"""Features of many entities, each at a moment of its own, as they were known then: Spark, from Parquet to Parquet."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import BooleanType, DataType, LongType, StringType, StructField, StructType

from contracts.events import INT64_MAX, EventSchema, FieldType
from features.definitions import FeatureSet, Request
from features.point_in_time import check_spine
from features.requests import requests_of
from features.sql import Dialect, coded, query
from spark_jobs.session import build_session
from storage.files import write_atomically


def compute(events: Sequence[Path], spine: Path, feature_set: FeatureSet, schema: EventSchema, out: Path, memory: str = "2GB") -> int:
    """Write the features of every row of a spine; how many rows. Like `features.point_in_time.compute`, to the bit.

    It runs in the active Spark session, or starts one on this machine.

    Args:
        events: Parquet files of the event table; none is an empty table.
        spine: Parquet file of `row_id` (text, unique), `entity_id`, `moment` (µs), and optionally `seen_seq` and `context` (JSON text).
        feature_set: what to compute.
        schema: of the events.
        out: Parquet file, put in place whole: `row_id`, a DOUBLE for each feature, `missing` (names of features without a value), in no
            particular order.
        memory: of the driver, where a session is started.

    Raises:
        DefinitionError: the feature set does not fit the schema.
        DataRefused: the spine lacks a value or names a row twice.
    """
    feature_set.check(schema)
    active = SparkSession.getActiveSession() or build_session("local[*]", memory)
    session = active.newSession()
    rows = session.read.schema(_SPINE).parquet(_uri(spine)).selectExpr("*", *map(_request_value, requests_of(feature_set))).persist()
    try:
        rows.selectExpr("row_id AS row_key", "*").createOrReplaceTempView("spine")
        counts = ("count(*)", "count(DISTINCT row_id)", "count(entity_id)", "count(moment)", "min(moment)", "max(moment)")
        count, ids, entities, moments, first_us, last_us = rows.selectExpr(*counts).collect()[0]
        check_spine(count, ids, entities, moments)
        _read_events(session, events, schema).createOrReplaceTempView("events")
        found = session.sql(query(feature_set, schema, _SPARK, first_us or 0, last_us or 0)).drop("row_key")
        write_atomically(out, lambda path: _write(found, path))
    finally:
        rows.unpersist()
    return int(count)


def _read_events(session: SparkSession, events: Sequence[Path], schema: EventSchema) -> DataFrame:
    fields = [StructField(field, _KINDS[kind]) for field, kind in schema.columns.items()]
    columns = StructType([*_EVENT, *fields])
    if not events:
        return session.createDataFrame([], columns)
    return session.read.schema(columns).parquet(*map(_uri, events))


def _write(found: DataFrame, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.") as folder:
        parts = Path(folder) / "parts"
        found.repartition(1).write.option("compression", "zstd").parquet(_uri(parts))
        (part,) = parts.glob("*.parquet")
        shutil.move(part, path)


def _request_value(feature: Request) -> str:
    value = f"variant_get(parse_json(context), {_text(f'$[{chr(34)}{feature.field}{chr(34)}]')}"
    kind, text = f"schema_of_variant({value}, 'variant'))", f"{value}, 'string')"
    if feature.categories:
        number = f"CASE WHEN {kind} = 'STRING' THEN {coded(text, feature.categories, _SPARK)} END"
    else:
        truth = f"CASE {text} WHEN 'true' THEN CAST('1' AS DOUBLE) ELSE CAST('0' AS DOUBLE) END"
        # why: a variant's decimals become doubles exactly by way of their text
        number = f"CASE WHEN {kind} = 'BOOLEAN' THEN {truth} WHEN {kind} NOT IN ('STRING', 'VOID') THEN CAST({text} AS DOUBLE) END"
    return f"{number} AS q_{feature.name}"


def _uri(path: Path) -> str:
    return path.absolute().as_uri()


def _name(identifier: str) -> str:
    return "`" + identifier.replace("`", "``") + "`"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _total(column: str, condition: str) -> str:
    # why: sums of the halves of up to 2**31 numbers cannot overflow 64 bits, and are quicker than decimals
    low = f"sum({column} & 4294967295) FILTER (WHERE {condition})"
    high = f"(sum(shiftright({column}, 32)) FILTER (WHERE {condition}) + shiftright({low}, 32))"
    whole = f"{high} * 4294967296 + ({low} & 4294967295)"
    return (
        f"CASE WHEN {low} IS NULL THEN NULL WHEN {high} > 2147483647 THEN {INT64_MAX} WHEN {high} < -2147483648 THEN -{INT64_MAX} "
        f"ELSE greatest({whole}, -{INT64_MAX}) END"
    )


def _present(items: Sequence[str]) -> str:
    return f"filter(array({', '.join(items)}), name -> name IS NOT NULL)"


_KINDS: dict[FieldType, DataType] = {FieldType.INT: LongType(), FieldType.STR: StringType(), FieldType.BOOL: BooleanType()}
_EVENT = [
    *(StructField(name, StringType()) for name in ("event_id", "entity_id", "type")),
    *(StructField(name, LongType()) for name in ("event_time", "ingested_time", "seq")),
]
_SPINE = StructType(
    [
        *(StructField(name, StringType()) for name in ("row_id", "entity_id", "context")),
        *(StructField(name, LongType()) for name in ("moment", "seen_seq")),
    ]
)
_SPARK = Dialect(name=_name, text=_text, total=_total, order="struct(e.event_time, e.event_id)", present=_present)
