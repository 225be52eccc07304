"""Tiles laid out with Spark: what `features.materialize` does with DuckDB, for days that one machine does not hold."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from contracts.events import EventSchema
from features.columns import Events, Field
from features.scan import Scan, whole
from features.tiles import write_tile
from spark_jobs.events import quoted, read_events, to_events, uri
from spark_jobs.session import build_session


def make_tiles(files: Sequence[Path], schema: EventSchema, entities: pa.Array, out: Mapping[str, Path], memory: int) -> None:
    """Lay out events with Spark, in the active session or one of this machine. As `features.materialize.make_tiles`, to the bit.

    Args:
        files: of the event table.
        schema: of the events.
        entities: ids by code.
        out: for each type its Arrow file, put in place whole.
        memory: bytes of the driver, where a session is started.
    """
    session = SparkSession.getActiveSession() or build_session("local[*]", f"{max(memory // 2**20, 512)}MB")
    codes = session.createDataFrame(pa.table({"entity_id": entities, "entity": pa.array(range(len(entities)), pa.int64())}))
    for kind, path in out.items():
        scan = whole(kind, schema)
        held = read_events(session, files, schema, [scan]).join(codes, "entity_id").drop("entity_id").persist()
        try:
            texts = {name: _texts(held, name) for name in scan.texts}
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".spark-") as folder:
                parts = Path(folder) / "parts"
                held.repartitionByRange("entity").sortWithinPartitions("entity", "event_time", "event_id").write.parquet(uri(parts))
                write_tile(path, scan, _read(sorted(parts.glob("*.parquet")), scan, texts))
        finally:
            held.unpersist()


def _texts(held: DataFrame, name: str) -> list[str]:
    found = held.selectExpr(f"{quoted(name)} AS text").where("text IS NOT NULL").distinct().collect()
    return sorted(row["text"] for row in found)


def _read(parts: Sequence[Path], scan: Scan, texts: Mapping[str, list[str]]) -> Iterator[Events]:
    for path in parts:
        table = pq.read_table(path)
        if len(table):
            events = to_events(table, scan)
            fields = {name: _among(field, texts[name]) if name in texts else field for name, field in events.fields.items()}
            yield Events(events.entity, events.time, fields, events.ingested, events.seq)


def _among(field: Field, texts: list[str]) -> Field:
    """A field of texts with its values as positions among the texts of all parts."""
    places = pc.index_in(pa.array(field.texts or [""], pa.string()), value_set=pa.array(texts, pa.string()))
    return Field(pc.fill_null(places, 0).to_numpy().astype("int64")[field.values], field.present, texts)
