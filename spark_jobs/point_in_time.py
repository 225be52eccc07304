"""Features of many entities, each at a moment of its own, as they were known then: Spark, from Parquet to Parquet.

Spark scans, filters and brings each entity's rows and events together; `features.windows` computes, in Spark's Python workers.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import ArrayType, DoubleType, LongType, StringType, StructField, StructType

from contracts.events import EventSchema
from features.columns import Values
from features.definitions import FeatureSet
from features.rows import finish
from features.scan import Scan, scans
from features.spine import build_spine, check_counts
from features.windows import evaluate
from spark_jobs.events import read_events, to_events, uri
from spark_jobs.session import build_session
from storage.files import write_atomically

GROUP = 500_000
"""About how many events and rows a worker holds at once."""


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
    session = SparkSession.getActiveSession() or build_session("local[*]", memory)
    rows = session.read.schema(_SPINE).parquet(uri(spine))
    summary = ("count(*)", "count(DISTINCT row_id)", "count(entity_id)", "count(moment)", "min(moment)", "max(moment)", "count(seen_seq)")
    count, ids, entities, moments, first_us, last_us, seeing = rows.selectExpr(*summary).collect()[0]
    check_counts(count, ids, entities, moments)
    asked = scans(feature_set, schema, first_us or 0, last_us or 0, by_clock=seeing < count, by_seq=seeing > 0)
    held = read_events(session, events, schema, asked)
    groups = max(session.sparkContext.defaultParallelism, 1 + (count + _rows_in(events)) // GROUP)
    together = rows.unionByName(held, allowMissingColumns=True).repartition(groups, "entity_id")
    found = together.mapInArrow(partial(_compute, feature_set, asked), _out(feature_set))
    write_atomically(out, lambda path: _write(found, path))
    return int(count)


def _compute(feature_set: FeatureSet, asked: Sequence[Scan], batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The features of some entities' rows, from those entities' rows and events together."""
    both = list(batches)
    if not both:
        return
    whole = pa.Table.from_batches(both)
    is_row = pc.is_valid(whole.column("row_id"))
    spine, events = build_spine(whole.filter(is_row), feature_set), whole.filter(pc.invert(is_row))
    codes = pc.index_in(events.column("entity_id"), value_set=spine.entities)
    known = events.append_column("entity", codes).filter(pc.is_valid(codes))
    found: dict[str, Values] = {}
    for scan in asked:
        found |= evaluate(to_events(known.filter(pc.equal(known.column("type"), scan.source)), scan), spine.rows, scan.features)
    yield from finish(feature_set, found, spine.asked, spine.row_ids, spine.rows.moment).to_batches()


def _rows_in(events: Sequence[Path]) -> int:
    return sum(pq.read_metadata(path).num_rows for path in events)


def _write(found: DataFrame, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.") as folder:
        parts = Path(folder) / "parts"
        found.coalesce(1).write.option("compression", "zstd").parquet(uri(parts))
        (part,) = parts.glob("*.parquet")
        shutil.move(part, path)


def _out(feature_set: FeatureSet) -> StructType:
    numbers = [StructField(name, DoubleType()) for name in feature_set.names]
    return StructType([StructField("row_id", StringType()), *numbers, StructField("missing", ArrayType(StringType()))])


_SPINE = StructType(
    [
        *(StructField(name, StringType()) for name in ("row_id", "entity_id", "context")),
        *(StructField(name, LongType()) for name in ("moment", "seen_seq")),
    ]
)
