"""Tiles: the same features as from the event table, kept up by increments, whatever comes late and wherever it is killed."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import features.event_files
import features.materialize
import features.tiles
from contracts.clock import DAY_US, HOUR_US
from contracts.errors import StateRefused
from features.definitions import FeatureSet
from features.materialize import refresh
from features.point_in_time import compute
from features.tiles import Tiles
from storage.tables import Tables, polars_schema
from tests.engines.world import AGGREGATES, FEATURES, SCHEMA

START = 20_000 * DAY_US


def batch(seed: int, first_day: int, days: int, count: int = 400, late_days: int = 2) -> pl.DataFrame:
    """Events of some days of ingestion; some happened up to `late_days` before, several at one time."""
    rng = np.random.default_rng(seed)
    ingested = np.sort(START + first_day * DAY_US + rng.integers(0, days * 24, count) * HOUR_US)
    kinds = rng.choice(["purchase", "session", "profile"], count)
    entity = rng.integers(0, 30, count)
    frame = pl.DataFrame(
        {
            "event_id": [f"{seed}-{number}" for number in rng.permutation(count)],
            "entity_id": [f"p{number}" for number in entity],
            "type": kinds,
            "event_time": ingested - rng.choice([0, 0, 1, late_days], count) * DAY_US,
            "ingested_time": ingested,
            "amount": rng.integers(-50, 99, count),
            "product": rng.choice(["a", "b", "é"], count),
            "country": rng.choice(["de", "it's"], count),
            "level": rng.integers(0, 9, count),
            "length_ms": rng.integers(0, 99, count),
        }
    )
    fields = {"purchase": ("amount", "product"), "profile": ("country", "level"), "session": ("length_ms",)}
    own = [pl.when(pl.col("type") == kind).then(name).alias(name) for kind, names in fields.items() for name in names]
    return frame.with_columns(*own, seq=seed * 100_000 + pl.int_range(pl.len()).over("entity_id"))


def add(tables: Tables, rows: pl.DataFrame, label: str) -> None:
    """Add rows to the event table."""
    columns = polars_schema("events", SCHEMA)
    whole = rows.select(
        [pl.col(name).cast(kind) if name in rows.columns else pl.lit(None, kind).alias(name) for name, kind in columns.items()]
    )
    tables.commit(tables.write_parts(SCHEMA, "events", whole, label), 0)


def spine(folder: Path, clock: bool = True) -> Path:
    rng = np.random.default_rng(3)
    frame = pl.DataFrame(
        {
            "row_id": [str(number) for number in range(300)],
            "entity_id": [f"p{number}" for number in rng.integers(0, 33, 300)],
            "moment": START + rng.integers(0, 14 * 24, 300) * HOUR_US,
            "seen_seq": [None] * 300 if clock else rng.integers(100_000, 310_000, 300),
        },
        schema_overrides={"seen_seq": pl.Int64},
    )
    frame.write_parquet(folder / "spine.parquet")
    return folder / "spine.parquet"


def both(tables: Tables, root: Path, folder: Path, asked: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Features from the event table, and from tiles."""
    files = tables.files(SCHEMA.use_case, "events")
    compute(files, asked, FEATURES, SCHEMA, folder / "raw.parquet")
    compute(files, asked, FEATURES, SCHEMA, folder / "tiled.parquet", tiles=Tiles(root))
    return pl.read_parquet(folder / "raw.parquet"), pl.read_parquet(folder / "tiled.parquet")


@pytest.mark.parametrize("clock", [True, False])
@pytest.mark.parametrize("event_bytes", [160, 10_000_000])
def test_tiles_give_the_same_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: bool, event_bytes: int) -> None:
    tables, root = Tables(tmp_path / "tables"), tmp_path / "tiles"
    monkeypatch.setattr(features.materialize, "STEP_ROWS", 300)
    monkeypatch.setattr(features.tiles, "EVENT_BYTES", event_bytes)
    monkeypatch.setattr(features.event_files, "EVENT_BYTES", event_bytes)
    for number, day in enumerate((0, 3, 5, 8)):
        add(tables, batch(number + 1, day, 3), f"part{number}")
        refresh(tables, SCHEMA, root)
        raw, tiled = both(tables, root, tmp_path, spine(tmp_path, clock))
        assert raw.equals(tiled)
    assert len(Tiles(root).manifest.spans) > 1


def test_only_what_grew_is_made_again(tmp_path: Path) -> None:
    tables, root = Tables(tmp_path / "tables"), tmp_path / "tiles"
    add(tables, batch(1, 0, 6), "first")
    assert refresh(tables, SCHEMA, root).days == 6
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.arrow")}
    assert refresh(tables, SCHEMA, root).days == 0
    add(tables, batch(2, 6, 1, late_days=5), "late, of a new day")
    assert refresh(tables, SCHEMA, root).days == 1
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.arrow") if path in before} == before
    add(tables, batch(3, 2, 1), "imported, of an old day")
    assert refresh(tables, SCHEMA, root).days == 5
    raw, tiled = both(tables, root, tmp_path, spine(tmp_path))
    assert raw.equals(tiled)


def test_digest_does_not_depend_on_increments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(tmp_path / "tables")
    for number, day in enumerate((0, 2, 4)):
        add(tables, batch(number + 1, day, 2), f"part{number}")
        refresh(tables, SCHEMA, tmp_path / "grown")
    refresh(tables, SCHEMA, tmp_path / "whole")
    monkeypatch.setattr(features.materialize, "STEP_ROWS", 1)
    refresh(tables, SCHEMA, tmp_path / "small")
    assert Tiles(tmp_path / "grown").digest() == Tiles(tmp_path / "whole").digest() == Tiles(tmp_path / "small").digest()


def test_field_declared_later_is_absent_in_older_tiles(tmp_path: Path) -> None:
    tables, root = Tables(tmp_path / "tables"), tmp_path / "tiles"
    add(tables, batch(1, 0, 2), "old")
    narrow = FeatureSet("narrow", AGGREGATES[:3])
    refresh(tables, SCHEMA, root)
    files = tables.files(SCHEMA.use_case, "events")
    assert compute(files, spine(tmp_path), narrow, SCHEMA, tmp_path / "out.parquet", tiles=Tiles(root)) == 300


def test_folder_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(StateRefused, match="format 99"):
        Tiles(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StateRefused, match="not readable"):
        Tiles(tmp_path)
