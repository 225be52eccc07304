from pathlib import Path

import polars as pl
import pytest
from pyspark.sql import SparkSession

from contracts.errors import DataRefused
from contracts.events import EventSchema, EventType, FieldType
from features.definitions import Aggregate, FeatureSet, Request
from spark_jobs.point_in_time import compute
from spark_jobs.session import build_session

pytestmark = pytest.mark.engines

SCHEMA = EventSchema.build("shop", [EventType("purchase", {"amount": FieldType.INT})])
FEATURES = FeatureSet(
    "shop",
    (Aggregate(name="spent", source="purchase", aggregate="sum", field="amount", window_us=100), Request(name="hour", field="hour")),
)


def spine(folder: Path, *rows: tuple[str, str, int]) -> Path:
    pl.DataFrame(rows, schema={"row_id": pl.String, "entity_id": pl.String, "moment": pl.Int64}, orient="row").write_parquet(folder / "s")
    return folder / "s"


def test_no_events_give_defaults(spark: SparkSession, tmp_path: Path) -> None:
    assert compute([], spine(tmp_path, ("a", "p", 5)), FEATURES, SCHEMA, tmp_path / "out" / "o.parquet") == 1
    assert pl.read_parquet(tmp_path / "out" / "o.parquet").rows() == [("a", 0.0, 0.0, ["spent", "hour"])]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["o.parquet"]


def test_broken_spine_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="spine"):
        compute([], spine(tmp_path, ("a", "p", 5), ("a", "p", 6)), FEATURES, SCHEMA, tmp_path / "out")


def test_running_session_is_used(spark: SparkSession) -> None:
    assert build_session("local[1]", "2GB").sparkContext.applicationId == spark.sparkContext.applicationId


def test_file_that_spark_would_pass_over_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    hidden = spine(tmp_path, ("a", "p", 5)).rename(tmp_path / "_s")
    with pytest.raises(DataRefused, match="1 rows gave 0"):
        compute([], hidden, FEATURES, SCHEMA, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
