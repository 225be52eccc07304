"""Spark lays out the same tiles as DuckDB."""

from pathlib import Path

import polars as pl
import pytest
from pyspark.sql import SparkSession

import spark_jobs.materialize
import spark_jobs.point_in_time
from features.materialize import refresh
from features.point_in_time import compute
from features.tiles import Tiles
from storage.tables import Tables
from tests.engines.world import FEATURES, SCHEMA
from tests.features.test_materialize import add, batch, spine


@pytest.mark.engines
def test_tiles_equal_duckdbs(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(tmp_path / "tables")
    add(tables, batch(1, 0, 3), "first")
    refresh(tables, SCHEMA, tmp_path / "duckdb")
    refresh(tables, SCHEMA, tmp_path / "spark", make=spark_jobs.materialize.make_tiles)
    add(tables, batch(2, 3, 1), "second")
    refresh(tables, SCHEMA, tmp_path / "duckdb", make=spark_jobs.materialize.make_tiles)
    refresh(tables, SCHEMA, tmp_path / "spark")
    assert Tiles(tmp_path / "duckdb").digest() == Tiles(tmp_path / "spark").digest()
    files, asked = tables.files(SCHEMA.use_case, "events"), spine(tmp_path)
    for name in ("duckdb", "spark"):
        compute(files, asked, FEATURES, SCHEMA, tmp_path / f"{name}.parquet", tiles=Tiles(tmp_path / name))
    duckdb = pl.read_parquet(tmp_path / "duckdb.parquet")
    assert duckdb.equals(pl.read_parquet(tmp_path / "spark.parquet"))
    spark_jobs.point_in_time.compute(files, asked, FEATURES, SCHEMA, tmp_path / "by-spark.parquet", tiles=Tiles(tmp_path / "spark"))
    assert pl.read_parquet(tmp_path / "by-spark.parquet").sort("row_id").equals(duckdb.sort("row_id"))
