"""A policy's own cool-downs, on logs short enough to follow by hand."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from contracts.catalogue import Candidate, Catalogue
from contracts.clock import DAY_US, HOUR_US
from decisions.policies import PolicySpec, build_policy
from features.skew import SkewReport
from tests.training.conftest import NOW, SHOP, Made, all_rows
from training.dataset import TrainingSet
from training.rollout import cooled_shares, rules_allow, walk

COOLING = replace(SHOP, catalogue=Catalogue((Candidate("red", {"colour": "red"}, cooldown_us=DAY_US), *SHOP.catalogue.candidates[1:])))
"""The shop, where red is not shown again for a day."""

GREEDY = build_policy(PolicySpec("greedy"), COOLING.catalogue)


def log(entities: list[int], hours: list[int], eligible: list[list[bool]]) -> TrainingSet:
    """Decisions at some hours, drawn at random from what was eligible."""
    count = len(entities)
    able = np.array(eligible)
    shares = able / able.sum(axis=1, keepdims=True)
    rows = pl.DataFrame(
        {
            "decision_id": [f"d-{number}" for number in range(count)],
            "entity_id": [f"c-{entity}" for entity in entities],
            "decided_at": [NOW + hour * HOUR_US for hour in hours],
            "arm": ["champion"] * count,
            "release_id": ["r-start"] * count,
            "source": ["served"] * count,
            "propensity": shares.max(axis=1),
            "reward": [0] * count,
        }
    )
    return TrainingSet(
        COOLING, rows, np.zeros((count, 3)), able.argmax(axis=1), able, shares, np.array(entities), 0, SkewReport(0, 0, {}, ())
    )


def test_what_the_policy_has_just_shown_it_cannot_show_again() -> None:
    made = log([0, 1, 0, 0], [0, 1, 10, 30], [[True, True, True]] * 4)
    q = np.array([[3.0, 2.0, 1.0]] * 4)

    own = walk(made, GREEDY, q, q, rules_allow(made), all_rows(made), seed=1)

    assert own.tolist() == [3.0, 3.0, 2.0, 3.0]
    assert cooled_shares(made, GREEDY, q, q, rules_allow(made), np.full(4, 3.0), seed=1) == pytest.approx(11 / 12)


def test_what_the_log_had_cooled_down_the_policy_may_have_fresh() -> None:
    made = log([0, 0], [0, 10], [[True, True, True], [False, True, True]])
    scores, q = np.array([[1.0, 2.0, 0.0], [3.0, 2.0, 0.0]]), np.array([[5.0, 6.0, 0.0], [7.0, 6.0, 0.0]])

    assert rules_allow(made).all()
    assert walk(made, GREEDY, scores, q, rules_allow(made), all_rows(made), seed=1).tolist() == [6.0, 7.0]


def test_only_the_rows_asked_for_are_walked_through() -> None:
    made = log([0, 0], [0, 10], [[True, True, True]] * 2)
    q = np.array([[3.0, 2.0, 1.0]] * 2)

    own = walk(made, GREEDY, q, q, rules_allow(made), np.array([False, True]), seed=1)

    assert np.isnan(own[0])
    assert own[1] == 3.0


def test_without_cool_downs_nothing_is_lost(made: Made) -> None:
    shop = made(600)
    policy = build_policy(PolicySpec("greedy"), SHOP.catalogue)
    q = np.ones(shop.eligible.shape)

    assert (cooled_shares(shop, policy, q, q, shop.eligible, np.ones(540), seed=1) == 1.0).all()


def test_each_releases_log_has_cooled_down_what_it_had() -> None:
    made = log([0, 0, 0, 0], [0, 10, 40, 50], [[True, True, True]] * 3 + [[False, True, True]])
    other = replace(made, rows=made.rows.with_columns(release_id=pl.Series(["r-start", "r-start", "r-next", "r-next"])))
    q = np.array([[3.0, 2.0, 1.0]] * 4)

    shares = cooled_shares(other, GREEDY, q, q, rules_allow(made), np.array([3.0, 3.0, 3.0, 2.0]), seed=1)

    assert shares.tolist() == [5 / 6, 5 / 6, 1.0, 1.0]
