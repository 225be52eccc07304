import doctest

import numpy as np
import polars as pl

from decisions import totals as module
from decisions.totals import entities_in, totals_of

REWARDS = pl.DataFrame(
    [("a", "y", 300, 1.0), ("b", "x", 100, 0.0), ("a", "x", 200, 1.0), ("a", "y", -100, 1.0)],
    schema=["arm", "entity_id", "reward", "degraded"],
    orient="row",
)


def test_examples() -> None:
    assert doctest.testmod(module).failed == 0


def test_rewards_and_metrics_by_arm_and_entity() -> None:
    first = totals_of(REWARDS, ["degraded"]).filter(pl.col("arm") == "a")
    assert first["entity_id"].to_list() == ["x", "y"]
    earned, degraded = entities_in(first, "reward", 100), entities_in(first, "degraded", 1)
    np.testing.assert_array_equal(earned.sums, [2.0, 2.0])
    np.testing.assert_array_equal(earned.sizes, [1.0, 2.0])
    np.testing.assert_array_equal(earned.squares, [4.0, 10.0])
    np.testing.assert_array_equal(degraded.sums, [1.0, 2.0])


def test_covariates_find_their_entities() -> None:
    known = pl.DataFrame({"entity_id": ["w", "x", "y"]}), np.array([[0.0], [1.0], [2.0]])
    found = entities_in(totals_of(REWARDS).filter(pl.col("arm") == "a"), "reward", 1, known)
    np.testing.assert_array_equal(found.covariates, [[1.0], [2.0]])
