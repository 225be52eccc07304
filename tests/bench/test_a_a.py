"""The A/A tests judge what the product judges: their running sums say what tables would."""

import numpy as np
import polars as pl
import pytest

from bench.a_a import DAYS, Log, measure, plan_of, simulate, statistics
from contracts.catalogue import Candidate, Catalogue
from contracts.clock import DAY_US
from decisions.policies import PolicySpec
from decisions.verdict import Rules, judge
from features.definitions import FeatureSet, Request
from training.comparison import conclude
from use_cases.definition import UseCase

USE_CASE = UseCase(
    name="bench",
    title="Bench",
    event_types=(),
    feature_set=FeatureSet("bench", (Request(name="bought", field="bought"), Request(name="spent", field="spent"))),
    catalogue=Catalogue((Candidate("none", {}),)),
    start_policy=PolicySpec("uniform"),
    learned_policy=PolicySpec("greedy"),
    outcome_window_us=DAY_US,
    ttl_us=DAY_US,
    worthwhile_gain=1e-9,
)
SHARE = 0.2


def tables(log: Log) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same log as decisions and outcomes, features as they are before logarithms."""
    arm = log.arm[log.entity]
    decisions = pl.DataFrame(
        {
            "decision_id": [f"d{number:06}" for number in range(arm.size)],
            "entity_id": [f"p{entity}" for entity in log.entity],
            "decided_at": (log.day * DAY_US).astype(np.int64),
            "arm": [("control", "champion", "challenger")[place + 1] for place in arm],
            "release_id": ["r-2" if place == 1 else "r-1" for place in arm],
            "degraded": [["stale:bought"] if bad else [] for bad in log.degraded],
            "feature_set": USE_CASE.feature_set.digest,
            "features": np.expm1(log.known[log.entity]).tolist(),
        },
        schema_overrides={"degraded": pl.List(pl.String)},
    )
    outcomes = decisions.select(
        "decision_id",
        event_time="decided_at",
        ingested_time="decided_at",
        reward=pl.Series(np.round(log.reward * 1e6).astype(np.int64)),
        kind=pl.lit("purchase"),
    )
    return decisions, outcomes


@pytest.mark.parametrize("look", [3, 8, 14])
def test_running_sums_and_tables_give_the_same_verdict(look: int) -> None:
    plan = plan_of(SHARE, "same")
    log = simulate(np.random.default_rng(3), 1_200, plan, gain=0.5)
    compared = list(statistics(log, SHARE, DAYS))[look - 1]
    summed = judge(compared, Rules(guard_rails=USE_CASE.guard_rails), unit=USE_CASE.reward_unit)
    now_us = round(look * DAY_US) + USE_CASE.outcome_window_us
    decisions, outcomes = tables(log)
    read = conclude(USE_CASE, plan, decisions.filter(pl.col("decided_at") <= look * DAY_US), outcomes, since_us=0, now_us=now_us)
    assert read is not None and read.verdict is not None and read.verdict.gain is not None and summed.gain is not None
    assert (read.verdict.step, read.verdict.cause) == (summed.step, summed.cause)
    assert read.sample_ratio == pytest.approx(compared.sample_ratio)
    assert read.verdict.gain.best.value == pytest.approx(summed.gain.best.value, rel=1e-4)
    assert read.verdict.gain.best.standard_error == pytest.approx(summed.gain.best.standard_error, rel=1e-4)
    assert read.verdict.gain.information == pytest.approx(summed.gain.information, rel=1e-4)
    assert read.verdict.gain.reduction == pytest.approx(summed.gain.reduction, abs=1e-4)
    named = {seen.rail.metric: seen for seen in read.verdict.watched}
    for seen in summed.watched:
        assert named[seen.rail.metric].worse_by == pytest.approx(seen.worse_by, abs=1e-9)


def test_a_few_tests_make_the_whole_row() -> None:
    found = measure(["--tests", "6", "--looks", "3", "--entities", "400", "--splits", "1", "--power-tests", "0", "--seed", "4"])
    assert found.row == "Q4" and len(found.figures) == 3
    assert next(figure.value for figure in found.figures if "planted" in figure.what) == 1.0
