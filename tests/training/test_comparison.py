"""The live comparison: it ends when the money is clear, and at any look no sooner."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from contracts.catalogue import Candidate, Catalogue
from contracts.clock import DAY_US
from contracts.traffic import Arm, TrafficPlan
from decisions.assignment import assign
from decisions.guard_rails import GuardRail
from decisions.policies import PolicySpec
from features.definitions import FeatureSet, Request
from training.comparison import Conclusion, conclude, conclude_all
from training.span import History, in_force, span_of
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
    """One decision an entity, in mixed order; every second one earns what its arm is given."""
    share = entities[1] / sum(entities)
    number = np.arange(sum(entities))
    arms = ["challenger" if int((n // 2 + 1) * share) > int(n // 2 * share) else "champion" for n in number]
    decisions = pl.DataFrame(
        {
            "decision_id": [f"d{n}" for n in number],
            "entity_id": [f"e{n}" for n in number],
            "decided_at": number * days * DAY_US // len(arms),
            "arm": arms,
            "release_id": ["r-1" if arm == "champion" else "r-2" for arm in arms],
            "action": ["offer"] * len(arms),
            "degraded": [[]] * len(arms),
            "feature_set": [USE_CASE.feature_set.digest] * len(arms),
            "features": [[float(n // 2 % 7)] for n in number],
        },
        schema_overrides={"degraded": pl.List(pl.String)},
    )
    earned = decisions.filter(pl.Series(number % 2 == 0))
    outcomes = earned.select(
        "decision_id",
        kind=pl.lit("purchase"),
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
    decided = conclude(USE_CASE, PLAN, *tables(1, 3, (3_000, 2_000)), since_us=0, now_us=7 * DAY_US)
    assert decided is not None and decided.step == "wait" and "planned" in decided.reason


def test_without_an_experiment_there_is_nothing_to_conclude() -> None:
    plan = TrafficPlan("shop", 1, 0.1, (Arm("champion", "r-1", 1.0),), "salt", "control-salt")
    assert conclude(USE_CASE, plan, *tables(1, 3), since_us=0, now_us=7 * DAY_US) is None


def test_all_that_was_planned_has_come_and_neither_is_better() -> None:
    found = conclude(replace(USE_CASE, worthwhile_gain=0.5), PLAN, *tables(2, 2), since_us=0, now_us=7 * DAY_US)
    assert found is not None and found.step == "retire" and "stays" in found.reason
    assert found.progress is not None and found.progress >= 1.0 and found.days_left == 0.0
    longer = conclude(USE_CASE, PLAN, *tables(2, 2), since_us=0, now_us=7 * DAY_US)
    assert longer is not None and longer.progress is not None and longer.days_left is not None
    assert longer.progress < 0.2 and longer.days_left > 4 * longer.days


def test_a_guard_rail_that_breaks_stops_what_earns_more() -> None:
    decisions, outcomes = tables(1, 3)
    bad = decisions.with_columns(degraded=pl.when(pl.col("arm") == "challenger").then(pl.lit(["stale:price"])).otherwise("degraded"))
    found = conclude(USE_CASE, PLAN, bad, outcomes, since_us=0, now_us=7 * DAY_US)
    assert found is not None and found.step == "refuse" and "degraded" in found.reason
    assert found.verdict is not None
    assert {each.rail.metric: each.state for each in found.verdict.watched}["degraded"] == "breached"
    lenient = replace(USE_CASE, guard_rails=(GuardRail("degraded", "higher", 1.0),))
    assert _step(conclude(lenient, PLAN, bad, outcomes, since_us=0, now_us=7 * DAY_US)) == "promote"


def test_refunds_and_declared_kinds_of_outcomes_are_watched() -> None:
    decisions, outcomes = tables(2, 2)
    mine = outcomes.join(decisions.filter(pl.col("arm") == "challenger").select("decision_id"), on="decision_id")
    back = mine.with_columns(kind=pl.lit("refund"), reward=-1_500_000)
    watching = replace(USE_CASE, guard_rails=(GuardRail("refunds", "higher", 0.05), GuardRail("outcome:refund", "higher", 0.01)))
    found = conclude(watching, PLAN, decisions, pl.concat([outcomes, back]), since_us=0, now_us=7 * DAY_US)
    assert found is not None and found.verdict is not None
    refunds, counted = found.verdict.watched
    assert (refunds.state, refunds.theirs) == ("breached", 0.0) and refunds.ours == pytest.approx(0.75)
    assert (counted.state, counted.theirs) == ("breached", 0.0) and counted.ours == pytest.approx(0.5)


def test_what_features_foretell_is_taken_off() -> None:
    decisions, outcomes = tables(2, 2)
    rich = decisions.filter(pl.col("features").list.first() >= 4).select("decision_id")
    more = pl.concat([outcomes, outcomes.join(rich, on="decision_id").with_columns(reward=pl.lit(9_000_000, pl.Int32))])
    found = conclude(USE_CASE, PLAN, decisions, more, since_us=0, now_us=7 * DAY_US)
    assert found is not None and found.verdict is not None and found.verdict.gain is not None
    assert found.verdict.gain.reduction > 0.1 and "adjusted" in found.reason
    unknown = conclude(USE_CASE, PLAN, decisions, more, since_us=0, now_us=7 * DAY_US, names={})
    assert unknown is not None and unknown.verdict is not None and unknown.verdict.gain is not None
    assert unknown.verdict.gain.adjusted is None


THREE = TrafficPlan(
    "shop", 3, 0.1, (Arm("champion", "r-1", 0.4), Arm("canary", "r-3", 0.2), Arm("challenger", "r-2", 0.4)), "salt", "control-salt"
)


def drawn(plans: History, count: int = 4_000, days: int = 5, challenger: float = 0.5) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One decision an entity, in the arm that the plan of the time gives it; `challenger` is the share of them that earn there."""
    rng = np.random.default_rng(5)
    rows: list[tuple[object, ...]] = []
    earned: list[tuple[object, ...]] = []
    for n in range(count):
        at = n * days * DAY_US // count
        plan = [plan for since, plan in plans if since <= at][-1]
        given = assign(plan, f"e{n}")
        rows.append((f"d{n}", f"e{n}", at, given.arm, given.release_id, "offer", []))
        if rng.random() < {"challenger": challenger, "canary": 0.45}.get(given.arm, 0.5):
            earned.append((f"d{n}", at, at, 1_000_000, ""))
    decisions = pl.DataFrame(
        rows,
        schema={
            **dict.fromkeys(("decision_id", "entity_id"), pl.String),
            "decided_at": pl.Int64,
            **dict.fromkeys(("arm", "release_id", "action"), pl.String),
            "degraded": pl.List(pl.String),
        },
        orient="row",
    )
    outcomes = pl.DataFrame(earned, schema=["decision_id", "event_time", "ingested_time", "reward", "kind"], orient="row")
    return decisions, outcomes


def test_several_arms_are_judged_at_once_and_share_the_chance_of_an_error() -> None:
    history = [(0, THREE)]
    canary, challenger = conclude_all(USE_CASE, THREE, *drawn(history, challenger=0.7), since_us=0, now_us=7 * DAY_US, history=history)
    assert (canary.release_id, challenger.release_id) == ("r-3", "r-2")
    assert (canary.step, challenger.step) == ("wait", "promote")
    assert challenger.sample_ratio > 0.001
    first = conclude(USE_CASE, THREE, *drawn(history, challenger=0.7), since_us=0, now_us=7 * DAY_US, history=history)
    assert first is not None and first.release_id == "r-2"


def test_an_arm_that_comes_and_goes_does_not_begin_the_others_anew() -> None:
    before = TrafficPlan("shop", 2, 0.1, (Arm("champion", "r-1", 0.6), Arm("challenger", "r-2", 0.4)), "salt", "control-salt")
    after = TrafficPlan("shop", 4, 0.1, before.arms, "salt", "control-salt")
    history = [(0, before), (DAY_US, THREE), (2 * DAY_US, after)]
    span = span_of(history, after, after.arms[1], 0)
    assert (span.since_us, span.drawn_us, span.changed_us, len(span.plans)) == (0, 0, 2 * DAY_US, 2)
    decisions, outcomes = drawn(history)
    found = conclude(USE_CASE, after, decisions, outcomes, since_us=0, now_us=7 * DAY_US, history=history)
    assert found is not None and found.verdict is not None and found.gain is not None
    # those who are the champion's in some plans only do not count: 2 of 6 of its share
    away = sum(assign(THREE, f"e{n}").arm == "canary" for n in range(4_000))
    served = decisions.filter(pl.col("arm") != "control").height
    assert found.gain.n == served - away
    assert found.sample_ratio > 0.001


def test_a_share_that_changed_begins_the_arm_anew() -> None:
    raised = TrafficPlan("shop", 3, 0.1, (Arm("champion", "r-1", 0.2), Arm("challenger", "r-2", 0.8)), "salt", "control-salt")
    history = [(0, PLAN), (3 * DAY_US, raised)]
    span = span_of(history, raised, raised.arms[1], 0)
    assert (span.since_us, span.drawn_us, span.changed_us) == (3 * DAY_US, 0, 3 * DAY_US)
    found = conclude(USE_CASE, raised, *drawn(history), since_us=0, now_us=7 * DAY_US, history=history)
    # of entities first seen since then, the new shares are what is planned
    assert found is not None and found.sample_ratio > 0.001 and found.days == 3.0


def test_decisions_before_a_replica_has_the_plan_do_not_count() -> None:
    """For the first of seven days the champion alone answers, as the plan before had it."""
    alone = TrafficPlan("shop", 1, 0.1, (Arm("champion", "r-1", 1.0),), "old salt", "control-salt")
    lagging = [(0, alone), (DAY_US, PLAN)]
    decisions, outcomes = drawn(lagging)
    history = [(-1, alone), (0, PLAN)]
    found = conclude(USE_CASE, PLAN, decisions, outcomes, since_us=0, now_us=7 * DAY_US, history=history)
    assert found is not None and found.gain is not None
    late = decisions.filter((pl.col("decided_at") >= DAY_US) & (pl.col("arm") != "control")).height
    assert found.gain.n == pytest.approx(late, abs=10) and found.sample_ratio > 0.001
    unknown = conclude(USE_CASE, PLAN, decisions, outcomes, since_us=0, now_us=7 * DAY_US)
    assert unknown is not None and unknown.sample_ratio < 0.001


def test_a_changed_share_counts_from_the_first_entity_that_it_moves() -> None:
    raised = TrafficPlan("shop", 3, 0.1, (Arm("champion", "r-1", 0.2), Arm("challenger", "r-2", 0.8)), "salt", "control-salt")
    decisions, _ = drawn([(0, PLAN), (2 * DAY_US, raised)])
    outside = decisions.filter(pl.col("arm") != "control")
    at = in_force(outside, raised, PLAN, DAY_US)
    assert 2 * DAY_US <= at < 2.05 * DAY_US
    assert in_force(outside.clear(), raised, PLAN, DAY_US) == in_force(outside.clear(), raised, None, DAY_US) == DAY_US


def test_a_salt_drawn_anew_is_another_experiment() -> None:
    other = TrafficPlan("shop", 3, 0.1, PLAN.arms, "other salt", "control-salt")
    assert span_of([(0, PLAN), (DAY_US, other)], other, other.arms[1], 0).drawn_us == DAY_US
    assert span_of((), other, other.arms[1], 7).since_us == 7


def _step(conclusion: Conclusion | None) -> str | None:
    return conclusion.step if conclusion else None
