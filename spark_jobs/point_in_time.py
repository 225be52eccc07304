"""Features of many entities, each at a moment of its own, as they were known then: Spark, from Parquet to Parquet.

Spark scans, filters and brings each entity's rows and events together; `features.windows` computes, in Spark's Python workers.
"""

import tempfile
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql.types import LongType, StringType, StructField, StructType

from contracts.errors import DataRefused
from contracts.events import BUILT_IN_TYPES, EventSchema, EventType
from features.columns import Rows, Values
from features.definitions import FeatureSet
from features.event_files import EventFiles, bytes_of
from features.point_in_time import evaluate_parts
from features.requests import requests_of
from features.rows import finish
from features.scan import Scan, scans
from features.spine import build_spine, check_counts
from features.tiles import Tiles
from features.windows import evaluate
from spark_jobs.events import read_events, to_events, uri
from spark_jobs.session import build_session
from storage.files import write_atomically

GROUP = 500_000
"""About how many events and rows a worker holds at once."""


def compute(
    events: Sequence[Path],
    spine: Path,
    feature_set: FeatureSet,
    schema: EventSchema,
    out: Path,
    memory: str = "2GB",
    *,
    tiles: Tiles | None = None,
) -> int:
    """Write the features of every row of a spine; how many rows. Like `features.point_in_time.compute`, to the bit.

    It runs in the active Spark session, or starts one on this machine.

    Args:
        events: Parquet files of the event table; none is an empty table.
        spine: Parquet file of `row_id` (text, unique), `entity_id`, `moment` (µs), and optionally `seen_seq` and `context` (JSON text).
        feature_set: what to compute.
        schema: of the events.
        out: Parquet file, put in place whole: `row_id`, a DOUBLE for each feature, `missing` (names of features without a value), in no
            particular order.
        memory: of the driver, where a session is started; of all workers on a machine together, where tiles are read.
        tiles: of the same events, which are then read in their stead, by every worker, so their folder must be everywhere.

    Raises:
        DefinitionError: the feature set does not fit the schema.
        DataRefused: the spine lacks a value or names a row twice.
    """
    feature_set.check(schema)
    session = SparkSession.getActiveSession() or build_session("local[*]", memory)
    count, first_us, last_us, seeing = _summary(spine)
    rows = session.read.schema(_SPINE).parquet(uri(spine))
    asked = scans(feature_set, schema, first_us, last_us, by_clock=seeing < count, by_seq=seeing > 0)
    workers = session.sparkContext.defaultParallelism
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        if tiles is None:
            # why: every column costs, on its way to Python, so rows and events share those that mean alike
            picked = ["row_id", "entity_id", "moment AS event_time", "seen_seq AS seq", *["context"] * bool(requests_of(feature_set))]
            held = read_events(session, events, schema, asked)
            groups = max(workers, 1 + (count + _rows_in(events)) // GROUP)
            together = rows.selectExpr(*picked).unionByName(held, allowMissingColumns=True).repartition(groups, "entity_id")
            found = together.mapInArrow(partial(_compute, feature_set, asked, folder), _WRITTEN)
        else:
            codes = session.createDataFrame(pa.table({"entity_id": tiles.entities, "code": np.arange(len(tiles.entities))}))
            coded = rows.join(codes, "entity_id", "left").repartitionByRange(max(workers, 1 + count // GROUP), "code").drop("code")
            limit = bytes_of(memory) // workers
            found = coded.mapInArrow(
                partial(_compute_tiled, feature_set, asked, folder, list(events), _own(schema), tiles.root, limit), _WRITTEN
            )
        written = [(Path(folder) / name, rows_in) for name, rows_in in found.collect()]
        if (there := sum(rows_in for _, rows_in in written)) != count:
            # why: Spark passes over files whose names begin with a dot or an underscore, and says nothing
            raise DataRefused("spine", [f"{count} rows gave {there}; Spark reads no file that is named with a dot or underscore in front"])
        write_atomically(out, lambda path: _join([part for part, _ in written], feature_set, path))
    return count


def _compute(feature_set: FeatureSet, asked: Sequence[Scan], folder: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The features of some entities' rows, from those entities' rows and events together."""
    both = list(batches)
    if not both:
        return
    whole = pa.Table.from_batches(both)
    is_row = pc.is_valid(whole.column("row_id"))
    rows = whole.filter(is_row).rename_columns([_ROW_NAMES.get(name, name) for name in whole.column_names])
    spine, events = build_spine(rows, feature_set), whole.filter(pc.invert(is_row))
    codes = pc.index_in(events.column("entity_id"), value_set=spine.entities)
    known = events.append_column("entity", codes).filter(pc.is_valid(codes))
    found: dict[str, Values] = {}
    for scan in asked:
        own = known if len(asked) == 1 else known.filter(pc.equal(known.column("type"), scan.source))
        found |= evaluate(to_events(own, scan), spine.rows, scan.features)
    yield _written(finish(feature_set, found, spine.asked, spine.row_ids, spine.rows.moment), folder)


def _compute_tiled(
    feature_set: FeatureSet,
    asked: Sequence[Scan],
    folder: str,
    events: Sequence[Path],
    declared: tuple[str, Sequence[EventType]],
    root: Path,
    memory: int,
    batches: Iterator[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """The features of rows whose entities' codes lie near each other, from tiles."""
    both = list(batches)
    if not both:
        return
    spine, tiles = build_spine(pa.Table.from_batches(both), feature_set), Tiles(root)
    entity = tiles.codes(spine.entities)[spine.rows.entity]
    rows = Rows.build(entity, spine.rows.moment, spine.rows.seen)
    first, last = int(entity.min()), int(entity.max()) + 1
    found: dict[str, Values] = {}
    schema = EventSchema.build(*declared)
    with tempfile.TemporaryDirectory() as spill, EventFiles(events, schema, tiles.entities, memory, Path(spill)) as files:
        for scan in asked:
            found |= evaluate_parts(tiles.parts(scan, files, memory, first, last), rows, scan.features)
    yield _written(finish(feature_set, found, spine.asked, spine.row_ids, rows.moment), folder)


def _written(rows: pa.Table, folder: str) -> pa.RecordBatch:
    """Write a worker's rows to a file of their own, which is quicker than to hand them to Spark: its name, and how many they are."""
    name = f"{uuid.uuid4().hex}.parquet"
    pq.write_table(rows, Path(folder) / name, use_dictionary=["missing.list.element"], store_schema=False)
    return pa.record_batch({"name": [name], "rows": pa.array([len(rows)], pa.int64())})


def _own(schema: EventSchema) -> tuple[str, list[EventType]]:
    """What a schema is built from, which workers can be sent."""
    built_in = {kind.name for kind in BUILT_IN_TYPES}
    return schema.use_case, [EventType(kind.name, dict(kind.fields)) for kind in schema.types.values() if kind.name not in built_in]


def _summary(spine: Path) -> tuple[int, int, int, int]:
    """Of a spine that is whole: how many rows, the earliest and the latest moment, how many rows say what they had seen."""
    # why: a job of Spark's for this takes longer than everything else where a spine is small
    rows = pl.scan_parquet(spine)
    seen = pl.col("seen_seq").count() if "seen_seq" in rows.collect_schema() else pl.lit(0, pl.UInt32).alias("seen_seq")
    moments = pl.col("moment")
    asked = (pl.len(), pl.col("row_id").n_unique(), pl.col("entity_id").count(), moments.count(), moments.min().alias("first"))
    found = rows.select(*asked, moments.max().alias("last"), seen).collect(engine="streaming").row(0)
    check_counts(*found[:4])
    return found[0], found[4] or 0, found[5] or 0, found[6]


def _rows_in(events: Sequence[Path]) -> int:
    return sum(pq.read_metadata(path).num_rows for path in events)


def _join(parts: Sequence[Path], feature_set: FeatureSet, path: Path) -> None:
    numbers = [(name, pa.float64()) for name in feature_set.names]
    columns = pa.schema([("row_id", pa.string()), *numbers, ("missing", pa.list_(pa.string()))])
    with pq.ParquetWriter(path, columns, use_dictionary=["missing.list.element"]) as file:
        for part in parts:
            file.write_table(pq.read_table(part).cast(columns))


_WRITTEN = "name string, rows long"
_ROW_NAMES = {"event_time": "moment", "seq": "seen_seq"}
_SPINE = StructType(
    [
        *(StructField(name, StringType()) for name in ("row_id", "entity_id", "context")),
        *(StructField(name, LongType()) for name in ("moment", "seen_seq")),
    ]
)
