import math

import numpy as np
import polars as pl
import pytest

from decisions.covariates import first_features

NAMES = {"old": ("spent", "level"), "new": ("level", "country", "spent")}


def decisions(rows: list[tuple[str, int, str, list[float]]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["entity_id", "decided_at", "feature_set", "features"], orient="row")
    return frame.with_columns(decision_id=pl.Series([f"d{n}" for n in range(len(rows))]))


def test_only_the_first_decision_counts() -> None:
    found = first_features(decisions([("b", 5, "old", [0.0, 2.0]), ("a", 9, "old", [50.0, 9.0]), ("a", 1, "old", [-1.0, 3.0])]), NAMES)
    assert found is not None
    assert found[0]["entity_id"].to_list() == ["a", "b"]
    np.testing.assert_allclose(found[1], [[-math.log(2), math.log(4)], [0.0, math.log(3)]])


def test_features_that_all_feature_sets_have_are_matched_by_name() -> None:
    found = first_features(decisions([("a", 1, "old", [1.0, 2.0]), ("b", 2, "new", [2.0, 7.0, 1.0])]), NAMES)
    assert found is not None
    np.testing.assert_allclose(found[1], [[math.log(3), math.log(2)]] * 2)


def test_what_is_absent_is_the_mean_of_what_is_there() -> None:
    nan = float("nan")
    found = first_features(decisions([("a", 1, "old", [nan, nan]), ("b", 2, "old", [math.e - 1, nan])]), NAMES)
    assert found is not None
    assert found[1] == pytest.approx(np.array([[1.0, 0.0], [1.0, 0.0]]))


def test_a_feature_set_that_is_not_known_leaves_nothing() -> None:
    assert first_features(decisions([("a", 1, "old", [1.0, 2.0]), ("b", 2, "other", [2.0])]), NAMES) is None
    assert first_features(decisions([("a", 1, "old", [1.0])]), NAMES) is None
    assert first_features(decisions([("a", 1, "old", [1.0, 2.0])]).clear(), NAMES) is None
