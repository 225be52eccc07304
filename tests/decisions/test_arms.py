import math

import numpy as np
import polars as pl
import pytest

from contracts.traffic import CHAMPION, CONTROL
from decisions.arms import arm_difference, arm_values, sample_ratio

REWARDS = pl.DataFrame(
    [
        (CONTROL, "a", 0),
        (CONTROL, "a", 2),
        (CONTROL, "b", 4),
        (CHAMPION, "c", 6),
        (CHAMPION, "d", 0),
        (CHAMPION, "d", 12),
        (CHAMPION, "e", 2),
    ],
    schema=["arm", "entity_id", "reward"],
    orient="row",
)


def test_what_each_arm_earned() -> None:
    champion, control = arm_values(REWARDS)

    assert (champion.arm, champion.decisions, champion.entities) == (CHAMPION, 4, 3)
    assert (champion.per_decision.value, champion.per_entity.value) == (20 / 4, 20 / 3)
    assert (control.per_decision.value, control.per_entity.value) == (6 / 3, 6 / 2)
    # sums 6, 12, 2 over 1, 2, 1 decisions, mean 5: deviations 1, 2, −3
    assert champion.per_decision.standard_error == pytest.approx(math.sqrt(3 / 2 * (1 + 4 + 9)) / 4)
    assert champion.per_entity.standard_error == pytest.approx(np.std([6, 12, 2], ddof=1) / math.sqrt(3))
    assert (champion.per_decision.n, champion.per_decision.clusters, champion.per_entity.n) == (4, 3, 3)


def test_how_much_more_than_control() -> None:
    found = arm_difference(REWARDS, CHAMPION)

    assert found is not None
    assert (found.arm, found.against) == (CHAMPION, CONTROL)
    assert found.per_decision.value == 5 - 2
    assert found.per_entity.value == pytest.approx(20 / 3 - 3)
    assert (found.per_decision.n, found.per_decision.effective_n, found.per_decision.clusters) == (7, 3.0, 5)
    # control: sums 2, 4 over 2, 1 decisions, mean 2: deviations −2, 2
    assert found.per_decision.standard_error == pytest.approx(math.sqrt(5 / 4 * (14 / 16 + 8 / 9)))


def test_an_entity_in_both_arms_is_one_entity() -> None:
    same = pl.DataFrame(
        [(arm, entity, reward) for arm in ("a", "b") for entity, reward in (("x", 1), ("y", 5), ("z", 9))],
        schema=REWARDS.schema,
        orient="row",
    )

    found = arm_difference(same, "a", "b")

    assert found is not None
    assert (found.per_decision.value, found.per_decision.standard_error, found.per_entity.clusters) == (0.0, 0.0, 3)


def test_nothing_is_said_of_an_arm_without_decisions_and_little_of_one_entity() -> None:
    assert arm_difference(REWARDS, "canary") is arm_difference(REWARDS.clear(), CHAMPION) is None
    assert arm_values(REWARDS.clear()) == ()
    alone = arm_difference(REWARDS.filter(pl.col("entity_id") != "b"), CHAMPION)
    assert alone is not None
    assert (alone.per_decision.low, alone.per_decision.high) == (-math.inf, math.inf)


def test_the_same_arm_twice_differs_by_more_than_its_interval_about_5_times_in_100() -> None:
    seed, runs = 7, 300
    generator = np.random.default_rng(seed)
    outside = 0
    for _ in range(runs):
        entity = np.repeat(np.arange(200), generator.integers(1, 6, 200))
        reward = (1_000 * (generator.exponential(1.0, 200)[entity] + generator.exponential(1.0, entity.size))).astype(np.int64)
        frame = pl.DataFrame({"arm": np.where(entity % 2, "a", "b"), "entity_id": [f"p{code}" for code in entity], "reward": reward})
        found = arm_difference(frame, "a", "b")
        assert found is not None
        outside += not found.per_decision.low <= 0.0 <= found.per_decision.high

    print(f"seed {seed}: {outside} of {runs} outside")
    # why: 300 runs at 5 % have a standard deviation of 1.3 %
    assert 0.015 <= outside / runs <= 0.09


@pytest.mark.parametrize(
    "entities, probabilities, expected",
    # p-values of chi-squared 10.0 with 1, 2, 3 and 4 degrees of freedom, from tables
    [
        ({"a": 450, "b": 550}, {"a": 0.5, "b": 0.5}, 0.001565),
        ({"a": 250, "b": 300, "c": 350}, {"a": 0.1, "b": 0.1, "c": 0.1}, 0.000240),
        ({"a": 100, "b": 100, "c": 100, "d": 100}, {"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25}, 1.0),
        ({"a": 5, "b": 15, "c": 10, "d": 10, "e": 10}, {"a": 0.2, "b": 0.2, "c": 0.2, "d": 0.2, "e": 0.2}, 0.287297),
        ({"a": 5, "b": 15, "c": 10, "d": 10}, {"a": 0.2, "b": 0.2, "c": 0.2, "d": 0.2}, 0.171797),
        ({"a": 900}, {"a": 0.9}, 1.0),
        ({}, {"a": 0.5, "b": 0.5}, 1.0),
        ({"a": 10, "b": 0}, {"a": 1.0, "b": 0.0}, 1.0),
    ],
)
def test_sample_ratio(entities: dict[str, int], probabilities: dict[str, float], expected: float) -> None:
    assert sample_ratio(entities, probabilities) == pytest.approx(expected, rel=1e-2)


def test_a_planted_52_to_48_is_found_among_100_000_and_a_fair_split_is_not() -> None:
    generator = np.random.default_rng(3)
    fair = generator.binomial(100_000, 0.5, 500)

    assert sample_ratio({"a": 52_000, "b": 48_000}, {"a": 0.5, "b": 0.5}) < 0.001
    assert np.mean([sample_ratio({"a": int(count), "b": 100_000 - int(count)}, {"a": 0.5, "b": 0.5}) < 0.001 for count in fair]) <= 0.01
