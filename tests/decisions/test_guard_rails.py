import numpy as np
import polars as pl
import pytest

from contracts.errors import DefinitionError
from decisions.gain import Entities
from decisions.guard_rails import DEFAULTS, GuardRail, State, engagement, measurable, measured, refunds, watch


def share(of: float, count: int = 5_000) -> Entities:
    """One decision an entity; a share of them is counted."""
    hit = (np.arange(count) % 1_000 < of * 1_000).astype(np.float64)
    return Entities(hit, np.ones(count), hit)


@pytest.mark.parametrize("ours, state", [(0.10, "held"), (0.14, "open"), (0.16, "open"), (0.30, "breached"), (0.01, "held")])
def test_it_is_breached_when_it_is_surely_worse_than_tolerated(ours: float, state: State) -> None:
    seen = watch(GuardRail("degraded", "higher", 0.05), share(ours), share(0.10), 0.95)
    assert (seen.state, seen.tolerated) == (state, 0.05)
    assert (seen.ours, seen.theirs, seen.worse_by) == pytest.approx((ours, 0.10, ours - 0.10))
    assert seen.low < seen.worse_by < seen.high


@pytest.mark.parametrize("ours, state", [(0.50, "held"), (0.39, "open"), (0.20, "breached")])
def test_lower_may_be_worse_and_the_tolerance_a_share_of_the_champions_figure(ours: float, state: State) -> None:
    seen = watch(GuardRail("decisions", "lower", 0.2, relative=True), share(ours), share(0.50), 0.95)
    assert seen.state == state
    assert (seen.tolerated, seen.worse_by) == pytest.approx((0.1, 0.50 - ours))


def test_metrics_of_decisions() -> None:
    rewards = pl.DataFrame(
        {"decision_id": ["a", "b"], "action": ["none", "offer"], "degraded": [["stale:price"], []]},
        schema_overrides={"degraded": pl.List(pl.String)},
    )
    outcomes = pl.DataFrame({"decision_id": ["b", "b", "b"], "reward": [9, -4, -2], "kind": ["purchase", "refund", "refund"]})
    rails = [GuardRail(metric, "higher", 0.1) for metric in ("degraded", "none", "refunds", "outcome:refund")]
    found = measured(rewards, outcomes, rails)
    assert found.select("degraded", "none", "refunds", "outcome:refund").rows() == [(1.0, 1.0, 0.0, 0.0), (0.0, 0.0, 6.0, 2.0)]
    assert [measurable(rail, rewards.select("decision_id"), outcomes) for rail in rails] == [False, False, True, True]
    assert not measurable(GuardRail("decisions", "lower", 0.1), rewards, outcomes)


def test_refunds_are_of_what_was_earned_and_engagement_of_entities() -> None:
    earned = Entities(np.array([8.0, 0.0]), np.array([2.0, 3.0]), np.array([40.0, 0.0]))
    back = refunds(earned, Entities(np.array([2.0, 0.0]), earned.sizes))
    assert back is not None and back.mean == 0.2
    assert refunds(earned.times(0.0), earned.times(0.0)) is None
    assert engagement(earned).mean == 2.5


def test_a_rail_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(DefinitionError, match="is no metric"):
        GuardRail("clicks", "lower", 0.1)
    with pytest.raises(DefinitionError, match="0 or more"):
        GuardRail("none", "higher", -0.1)
    assert len({rail.metric for rail in DEFAULTS}) == len(DEFAULTS)
