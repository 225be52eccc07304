import math

import numpy as np
import polars as pl
import pytest

from contracts.traffic import CHAMPION, CONTROL
from decisions.arms import arm_difference, arm_values

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
