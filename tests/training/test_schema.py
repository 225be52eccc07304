"""Decisions that nothing is trained on."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from contracts.errors import DataRefused
from tests.training.conftest import NOW, SHOP
from training.schema import check_rows, check_set

GOOD: dict[str, Any] = {
    "decision_id": "d",
    "entity_id": "e",
    "decided_at": NOW - 10,
    "release_id": "r",
    "arm": "champion",
    "action": "red",
    "propensity": 0.5,
    "candidate_ids": ["red", "none"],
    "p_in_arm": [0.5, 0.5],
    "reward": 0,
    "source": "served",
}
TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "decided_at": pl.Int64,
    "propensity": pl.Float64,
    "reward": pl.Int64,
    "candidate_ids": pl.List(pl.String),
    "p_in_arm": pl.List(pl.Float64),
}


def rows(**changes: Any) -> pl.DataFrame:
    return pl.DataFrame([GOOD | {"decision_id": "first"}, GOOD | changes], schema_overrides=TYPES)


def test_good_rows_pass() -> None:
    check_rows(rows(), SHOP, NOW)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("decision_id", "first", "column decision_id fails"),
        ("decision_id", "", "column decision_id fails"),
        ("entity_id", None, "column entity_id fails"),
        ("decided_at", 0, "column decided_at fails"),
        ("decided_at", NOW + 1, "1 rows lie in the future"),
        ("propensity", 0.0, "column propensity fails"),
        ("propensity", 1.1, "column propensity fails"),
        ("propensity", float("nan"), "column propensity fails"),
        ("propensity", None, "column propensity fails"),
        ("reward", None, "column reward fails"),
        ("source", "guessed", "column source fails"),
        ("action", "blue", "1 rows show an action that was not eligible"),
        ("p_in_arm", [0.5], "different length"),
        ("p_in_arm", [], "different length"),
        ("p_in_arm", [0.5, 0.6], "do not sum to 1"),
        ("p_in_arm", [0.5, float("nan")], "do not sum to 1"),
        ("p_in_arm", [1.5, -0.5], "have a probability below 0"),
        ("p_in_arm", [0.5, None], "have a probability below 0 or none at all"),
        ("p_in_arm", [0.25, 0.75], "a propensity that is not the probability of their action"),
        ("candidate_ids", ["red", "red"], "list a candidate twice"),
    ],
)
def test_broken_rows_are_refused_with_the_reason(column: str, value: object, said: str) -> None:
    with pytest.raises(DataRefused, match=said):
        check_rows(rows(**{column: value}), SHOP, NOW)


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataRefused, match="no decision whose outcome window has closed"):
        check_rows(rows().head(0), SHOP, NOW)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(value: float) -> None:
    features = np.ones((600, 3))
    features[7, 1] = value
    with pytest.raises(DataRefused, match="1 rows: feature visits is not finite"):
        check_set(features, SHOP, np.ones(600, dtype=np.bool_), pl.Series([0, 1] * 300))


def test_too_few_rows_and_rewards_that_say_nothing_are_refused_together() -> None:
    with pytest.raises(DataRefused, match="3 matured .* 500 are needed; every reward is 0"):
        check_set(np.ones((3, 3)), SHOP, np.ones(3, dtype=np.bool_), pl.Series([0, 0, 0]))
