import math

import polars as pl
import pytest

from contracts.errors import DataRefused
from features.definitions import FeatureSet, Request
from features.skew import Difference, compare, decision_spine, logged_features

FEATURES = FeatureSet("two", (Request(name="a", field="a"), Request(name="b", field="b")))


def frame(*rows: tuple[str, float, float]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"row_id": pl.String, "a": pl.Float64, "b": pl.Float64}, orient="row")


def test_equal_rows_have_no_skew() -> None:
    report = compare(frame(("x", 1.0, math.nan), ("y", 2.0, 3.0)), frame(("y", 2.0, 3.0), ("x", 1.0, math.nan), ("z", 0.0, 0.0)), FEATURES)
    assert (report.rows, report.differing_rows, report.share) == (2, 0, 0.0)
    assert report.features == {"a": 0, "b": 0}


def test_one_bit_is_skew() -> None:
    report = compare(frame(("x", 1.0, 0.0), ("y", 2.0, 3.0)), frame(("x", math.nextafter(1.0, 2.0), -0.0), ("y", 2.0, 3.0)), FEATURES)
    assert (report.differing_rows, report.share) == (1, 0.5)
    assert report.features == {"a": 1, "b": 1}
    assert report.examples == (Difference("x", "a", 1.0, math.nextafter(1.0, 2.0)), Difference("x", "b", 0.0, -0.0))


def test_rows_not_recomputed_differ() -> None:
    report = compare(frame(("x", 1.0, 0.0), ("y", 2.0, math.nan)), frame(("x", 1.0, 0.0)), FEATURES)
    assert (report.rows, report.differing_rows, report.features) == (2, 1, {"a": 0, "b": 0})


def test_examples_are_bounded() -> None:
    logged = frame(*((f"{i:03d}", 1.0, 1.0) for i in range(50)))
    report = compare(logged, logged.with_columns(a=pl.lit(2.0), b=pl.lit(2.0)), FEATURES, examples=3)
    assert [example.row_id for example in report.examples] == ["000", "001", "002"]
    assert report.features == {"a": 50, "b": 50}


def test_nothing_logged_is_no_skew() -> None:
    assert compare(frame(), frame(), FEATURES).share == 0.0


def test_doubled_rows_are_refused() -> None:
    with pytest.raises(DataRefused, match="twice"):
        compare(frame(("x", 1.0, 1.0), ("x", 1.0, 1.0)), frame(), FEATURES)


def test_decisions_become_features_and_spine() -> None:
    decisions = pl.DataFrame(
        {
            "decision_id": ["d1", "d2"],
            "entity_id": ["p", "q"],
            "decided_at": [5, 6],
            "seen_seq": [1, 2],
            "context": ["{}", '{"a":1}'],
            "feature_set": [FEATURES.digest, "another"],
            "features": [[1.0, 2.0], [3.0, 4.0]],
        }
    )
    assert logged_features(decisions, FEATURES).rows() == [("d1", 1.0, 2.0)]
    assert decision_spine(decisions).rows() == [("d1", "p", 5, 1, "{}"), ("d2", "q", 6, 2, '{"a":1}')]
