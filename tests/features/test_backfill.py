"""Backfill: each feature once a day of decisions, and nothing else touched."""

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from contracts.clock import DAY_US, HOUR_US
from contracts.errors import StateRefused
from contracts.tables import DECISIONS
from features.backfill import backfill, meanings, read_backfilled, read_manifest
from features.definitions import Aggregate, Derived, FeatureSet, Window
from features.expressions import col
from features.jobs import Jobs
from features.materialize import make_tiles, refresh
from features.point_in_time import compute
from features.skew import decision_spine
from features.tiles import Tiles
from storage.tables import Tables, polars_schema
from tests.engines.world import SCHEMA
from tests.features.test_materialize import START, add, batch

SPEND = Aggregate(name="spend", source="purchase", aggregate="sum", field="amount", window_us=Window.days(7))
VISITS = Aggregate(name="visits", source="session", aggregate="count", window_us=Window.hours(6))
RATIO = Derived(name="ratio", expression=col("spend") / col("visits"), default=-1.0)
OLD = FeatureSet("old", (SPEND, VISITS))
NEW = FeatureSet("new", (VISITS, SPEND, RATIO))


def decide(tables: Tables, seed: int, day: int, *, imported: bool = False) -> None:
    """Log decisions of one day."""
    rng = np.random.default_rng(seed)
    columns = polars_schema(DECISIONS, SCHEMA)
    rows = pl.DataFrame(
        {
            "decision_id": [f"d{seed}-{number}" for number in range(40)],
            "entity_id": [f"p{number}" for number in rng.integers(0, 30, 40)],
            "decided_at": START + day * DAY_US + rng.integers(0, 24, 40) * HOUR_US,
            "seen_seq": np.zeros(40, np.int64) if imported else rng.integers(100_000, 100_020, 40),
            "source": ["imported" if imported else "served"] * 40,
            "context": ["{}"] * 40,
        }
    )
    whole = rows.select(
        [pl.col(name).cast(kind) if name in rows.columns else pl.lit(None, kind).alias(name) for name, kind in columns.items()]
    )
    tables.commit(tables.write_parts(SCHEMA, DECISIONS, whole, f"decided-{seed}"), 0)


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    """Events of a week, and decisions of three days."""
    made = Tables(tmp_path / "tables")
    add(made, batch(1, 0, 7), "events")
    for day in (3, 4, 5):
        decide(made, day, day)
    return made


def direct(tables: Tables, feature_set: FeatureSet, folder: Path) -> pl.DataFrame:
    """The features of all decisions in one job."""
    decision_spine(tables.frame(SCHEMA, DECISIONS)).write_parquet(folder / "spine.parquet")
    compute(tables.files(SCHEMA.use_case, "events"), folder / "spine.parquet", feature_set, SCHEMA, folder / "direct.parquet")
    return pl.read_parquet(folder / "direct.parquet").sort("row_id")


def test_backfilled_features_are_those_of_one_job(tables: Tables, tmp_path: Path) -> None:
    report = backfill(tables, SCHEMA, NEW, tmp_path / "kept")
    assert (report.days, report.features, report.rows) == (3, NEW.names, 120)
    found = read_backfilled(tmp_path / "kept", NEW)
    assert found.sort("row_id").equals(direct(tables, NEW, tmp_path))
    refresh(tables, SCHEMA, tmp_path / "tiles")
    backfill(tables, SCHEMA, NEW, tmp_path / "tiled", tiles=Tiles(tmp_path / "tiles"))
    assert read_backfilled(tmp_path / "tiled", NEW).equals(found)


def test_new_feature_is_computed_alone(tables: Tables, tmp_path: Path) -> None:
    backfill(tables, SCHEMA, OLD, tmp_path / "kept")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*.parquet")}
    assert read_backfilled(tmp_path / "kept", NEW).is_empty()
    assert backfill(tables, SCHEMA, NEW, tmp_path / "kept").features == ("ratio",)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert read_backfilled(tmp_path / "kept", NEW).sort("row_id").equals(direct(tables, NEW, tmp_path))
    assert backfill(tables, SCHEMA, NEW, tmp_path / "kept").features == ()


def test_changed_meaning_is_another_feature_and_changed_words_are_not() -> None:
    longer = FeatureSet("new", (VISITS, msgspec.structs.replace(SPEND, window_us=Window.days(8)), RATIO))
    said = FeatureSet("new", (VISITS, msgspec.structs.replace(SPEND, description="money"), RATIO))
    assert {name for name in NEW.names if meanings(NEW)[name] != meanings(longer)[name]} == {"spend", "ratio"}
    assert meanings(NEW) == meanings(said)


def test_day_that_gained_decisions_is_made_again(tables: Tables, tmp_path: Path) -> None:
    backfill(tables, SCHEMA, NEW, tmp_path / "kept")
    decide(tables, 9, 4)
    assert backfill(tables, SCHEMA, NEW, tmp_path / "kept").rows == 80
    assert read_backfilled(tmp_path / "kept", NEW).sort("row_id").equals(direct(tables, NEW, tmp_path))


def test_late_events_change_only_decisions_that_are_judged_by_the_clock(tables: Tables, tmp_path: Path) -> None:
    decide(tables, 8, 6, imported=True)
    backfill(tables, SCHEMA, NEW, tmp_path / "kept")
    add(tables, batch(2, 2, 1), "imported later")
    assert backfill(tables, SCHEMA, NEW, tmp_path / "kept").rows == 40
    assert read_backfilled(tmp_path / "kept", NEW).sort("row_id").equals(direct(tables, NEW, tmp_path))


def test_failing_job_leaves_what_was_there(tables: Tables, tmp_path: Path) -> None:
    backfill(tables, SCHEMA, OLD, tmp_path / "kept")
    before = read_manifest(tmp_path / "kept")

    def broken(*_: object, **__: object) -> int:
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        backfill(tables, SCHEMA, NEW, tmp_path / "kept", jobs=Jobs(broken, make_tiles))
    assert read_manifest(tmp_path / "kept") == before
    (tmp_path / "kept" / "manifest.json").write_text('{"format": 7}')
    with pytest.raises(StateRefused, match="format 7"):
        read_backfilled(tmp_path / "kept", OLD)
