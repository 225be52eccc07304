"""The live comparison: it ends when the money is clear, and at any look no sooner."""

import numpy as np
import polars as pl
import pytest

from contracts.catalogue import Candidate, Catalogue
from contracts.clock import DAY_US
from contracts.traffic import Arm, TrafficPlan
from decisions.policies import PolicySpec
from decisions.value import Estimate
from features.definitions import FeatureSet, Request
from training.comparison import anytime_error, conclude
from use_cases.definition import UseCase

USE_CASE = UseCase(
    name="shop",
    title="Shop",
    event_types=(),
    feature_set=FeatureSet("shop", (Request(name="slot", field="slot"),)),
    catalogue=Catalogue((Candidate("none", {}),)),
    start_policy=PolicySpec("uniform"),
    learned_policy=PolicySpec("greedy"),
    outcome_window_us=DAY_US,
    ttl_us=DAY_US,
)
PLAN = TrafficPlan("shop", 2, 0.1, (Arm("champion", "r-1", 0.5), Arm("challenger", "r-2", 0.5)), "salt", "control-salt")


def tables(champion: int, challenger: int, entities: tuple[int, int] = (1_000, 1_000), days: int = 5) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One decision an entity; every second one earns what its arm is given."""
    arms = ["champion"] * entities[0] + ["challenger"] * entities[1]
    number = np.arange(len(arms))
    decisions = pl.DataFrame(
        {
            "decision_id": [f"d{n}" for n in number],
            "entity_id": [f"e{n}" for n in number],
            "decided_at": number * days * DAY_US // len(arms),
            "arm": arms,
            "release_id": ["r-1" if arm == "champion" else "r-2" for arm in arms],
        }
    )
    earned = decisions.filter(pl.Series(number % 2 == 0))
    outcomes = earned.select(
        "decision_id",
        event_time=pl.col("decided_at"),
        ingested_time=pl.col("decided_at"),
        reward=pl.when(pl.col("arm") == "champion").then(champion * 1_000_000).otherwise(challenger * 1_000_000),
    )
    return decisions, outcomes


@pytest.mark.parametrize("champion, challenger, step", [(1, 3, "promote"), (3, 1, "refuse"), (2, 2, "wait")])
def test_money_decides(champion: int, challenger: int, step: str) -> None:
    decided = conclude(USE_CASE, PLAN, *tables(champion, challenger), since_us=0, now_us=7 * DAY_US)
    assert decided is not None
    assert (decided.step, decided.release_id) == (step, "r-2")
    assert decided.gain is not None and decided.gain.value == pytest.approx((challenger - champion) / 2)


def test_it_waits_for_whole_days() -> None:
    decided = conclude(USE_CASE, PLAN, *tables(1, 3), since_us=0, now_us=2 * DAY_US)
    assert decided is not None and decided.step == "wait" and "days" in decided.reason


def test_arms_that_were_not_filled_as_planned_conclude_nothing() -> None:
    decided = conclude(USE_CASE, PLAN, *tables(1, 3, (1_000, 700)), since_us=0, now_us=7 * DAY_US)
    assert decided is not None and decided.step == "wait" and "planned" in decided.reason


def test_without_an_experiment_there_is_nothing_to_conclude() -> None:
    plan = TrafficPlan("shop", 1, 0.1, (Arm("champion", "r-1", 1.0),), "salt", "control-salt")
    assert conclude(USE_CASE, plan, *tables(1, 3), since_us=0, now_us=7 * DAY_US) is None


def test_looking_at_every_step_rarely_promotes_one_that_is_equal() -> None:
    """200 A/A streams looked at 40 times each; a fixed bound of 95 % would be crossed by about a quarter of them."""
    rng = np.random.default_rng(11)
    crossed = 0
    for _ in range(200):
        draws = rng.standard_normal(8_000)
        for n in range(200, 8_001, 200):
            seen = draws[:n]
            error = float(seen.std() / np.sqrt(n))
            gain = Estimate(float(seen.mean()), 0.0, 0.0, error, float(n), n, n)
            if gain.value > anytime_error(gain, 0.95):
                crossed += 1
                break
    assert crossed / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
