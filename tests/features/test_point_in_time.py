import math
from pathlib import Path

import polars as pl
import pytest

from contracts.clock import DAY_US, HOUR_US
from contracts.errors import DataRefused, DefinitionError
from contracts.events import EventSchema, EventType, FieldType
from features.definitions import Aggregate, Attribute, Derived, FeatureSet, Request, Window
from features.expressions import col
from features.point_in_time import compute

NOON = 20_000 * DAY_US + 12 * HOUR_US
SCHEMA = EventSchema.build(
    "shop",
    [EventType("purchase", {"amount": FieldType.INT}), EventType("profile", {"country": FieldType.STR, 'it\'s "odd"': FieldType.BOOL})],
)
FEATURES = FeatureSet(
    "shop",
    (
        Aggregate(name="spent", source="purchase", aggregate="sum", field="amount", window_us=Window.days(2)),
        Attribute(name="country", source="profile", field="country", categories=("de", "us"), default=math.nan),
        Attribute(name="odd", source="profile", field='it\'s "odd"'),
        Request(name="hour", field="hour", default=-1),
        Derived(name="rate", expression=col("spent") / col("hour")),
    ),
)
EVENTS = pl.DataFrame(
    [
        ("e1", "p", "purchase", NOON - 3 * HOUR_US, NOON - 3 * HOUR_US, 1, 30, None, None),
        ("e2", "p", "profile", NOON - 2 * HOUR_US, NOON - 2 * HOUR_US, 2, None, "us", True),
        ("e3", "p", "purchase", NOON - 1 * HOUR_US, NOON + HOUR_US, 3, 12, None, None),
        ("e4", "q", "purchase", NOON - 5 * HOUR_US, NOON - 5 * HOUR_US, 1, -4, None, None),
    ],
    schema={
        "event_id": pl.String, "entity_id": pl.String, "type": pl.String, "event_time": pl.Int64, "ingested_time": pl.Int64,
        "seq": pl.Int64, "amount": pl.Int64, "country": pl.String, "it's \"odd\"": pl.Boolean,
    },
    orient="row",
)  # fmt: skip
SPINE = pl.DataFrame(
    {
        "row_id": ["z", "y", "x", "w"],
        "entity_id": ["p", "p", "q", "nobody"],
        "moment": [NOON] * 4,
        "seen_seq": [None, 3, None, None],
        "context": ['{"hour":2}', None, '{"hour":"2"}', "{}"],
    }
)


def written(folder: Path, frame: pl.DataFrame, name: str) -> Path:
    frame.write_parquet(folder / name)
    return folder / name


def test_rows_see_what_was_known(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.parquet"
    rows = compute([written(tmp_path, EVENTS, "e")], written(tmp_path, SPINE, "s"), FEATURES, SCHEMA, out)
    frame = pl.read_parquet(out)
    assert rows == 4
    assert frame.fill_nan(None).rows() == [
        ("z", 30.0, 1.0, 1.0, 2.0, 15.0, []),
        ("y", 42.0, 1.0, 1.0, -1.0, -42.0, ["hour"]),
        ("x", -4.0, None, 0.0, -1.0, 4.0, ["country", "odd", "hour"]),
        ("w", 0.0, None, 0.0, -1.0, 0.0, ["spent", "country", "odd", "hour"]),
    ]
    assert [path.name for path in out.parent.iterdir()] == ["out.parquet"]


def test_files_may_lack_columns_and_rows(tmp_path: Path) -> None:
    old = written(tmp_path, EVENTS.head(1).drop("country", 'it\'s "odd"'), "old")
    new = written(tmp_path, EVENTS.tail(3), "new")
    spine = written(tmp_path, SPINE.drop("seen_seq", "context"), "s")
    compute([old, new], spine, FEATURES, SCHEMA, tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out")["spent"].to_list() == [30.0, 30.0, -4.0, 0.0]
    compute([], spine, FEATURES, SCHEMA, tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out")["spent"].to_list() == [0.0] * 4


def test_no_rows_give_an_empty_table(tmp_path: Path) -> None:
    assert compute([written(tmp_path, EVENTS, "e")], written(tmp_path, SPINE.clear(), "s"), FEATURES, SCHEMA, tmp_path / "out") == 0
    frame = pl.read_parquet(tmp_path / "out")
    assert frame.columns == ["row_id", *FEATURES.names, "missing"]
    assert frame.height == 0


@pytest.mark.parametrize("broken", [{"row_id": ["a", "a", "b", "c"]}, {"moment": [1, None, 2, 3]}, {"entity_id": [None, "p", "q", "r"]}])
def test_broken_spine_is_refused_and_writes_nothing(tmp_path: Path, broken: dict[str, list[object]]) -> None:
    spine = written(tmp_path, SPINE.with_columns(**{name: pl.Series(values) for name, values in broken.items()}), "s")
    with pytest.raises(DataRefused, match="spine"):
        compute([], spine, FEATURES, SCHEMA, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_features_must_fit_the_schema(tmp_path: Path) -> None:
    other = FeatureSet("o", (Aggregate(name="n", source="sale", aggregate="count", window_us=1),))
    with pytest.raises(DefinitionError, match="sale"):
        compute([], tmp_path / "absent", other, SCHEMA, tmp_path / "out")
