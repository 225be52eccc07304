from dataclasses import replace

import numpy as np
import pytest

from decisions.gain import Entities
from decisions.guard_rails import GuardRail
from decisions.verdict import Cause, Compared, Rules, Step, judge, planned_information

RULES = Rules(guard_rails=(GuardRail("decisions", "lower", 0.05, relative=True),))


def entities(mean: float, count: int = 3_000, times: int = 1) -> Entities:
    """Every second entity earns, a decision, twice the mean; the first decision of each is all it earns."""
    sums = np.where(np.arange(count) % 2 == 0, 2.0 * mean, 0.0)
    return Entities(sums, np.full(count, float(times)), sums**2)


def compared(ours: Entities, theirs: Entities, days: float = 7.0, sample_ratio: float = 0.5) -> Compared:
    return Compared("challenger", ours, theirs, days, sample_ratio)


@pytest.mark.parametrize(
    "ours, step, cause",
    [(1.5, "ship", "better"), (0.5, "stop", "worse"), (1.0, "keep running", "open"), (1.03, "keep running", "open")],
)
def test_money_decides(ours: float, step: Step, cause: Cause) -> None:
    found = judge(compared(entities(ours), entities(1.0)), RULES, unit="dollars")
    assert (found.step, found.cause) == (step, cause)
    assert "dollars a decision" in found.reason


def test_what_is_needed_to_judge() -> None:
    good = compared(entities(1.5), entities(1.0))
    assert judge(replace(good, days=1.9), RULES).cause == "early"
    assert judge(replace(good, sample_ratio=0.0009), RULES).cause == "sample ratio"
    few = np.zeros(3_000)
    few[:49] = 5.0
    assert judge(compared(Entities(few, np.ones(3_000), few**2), entities(0.0)), RULES).cause == "early"
    none = np.zeros(0)
    assert judge(compared(Entities(none, none, none), entities(1.0)), RULES).gain is None


def test_a_broken_guard_rail_stops_what_earns_more() -> None:
    found = judge(compared(entities(3.0), entities(2.0, times=2)), RULES)
    assert (found.step, found.cause) == ("stop", "guard rail")
    assert "decisions an entity 1 beside 2" in found.reason
    assert judge(replace(compared(entities(3.0), entities(2.0, times=2)), days=0.2), RULES).step == "stop"


def test_it_ends_when_all_that_was_planned_has_come() -> None:
    even = compared(entities(1.0), entities(1.0))
    planned = planned_information(even, RULES)
    assert planned is not None and planned > 6_000
    assert judge(even, RULES, planned=planned).step == "keep running"
    assert judge(even, RULES, planned=5_000.0).cause == "spent"
    larger = planned_information(even, replace(RULES, gain=0.1))
    assert larger is not None and larger < planned / 3
    assert planned_information(compared(entities(0.0), entities(0.0)), RULES) is None


def test_more_arms_need_clearer_money() -> None:
    close = compared(entities(1.087), entities(1.0))
    assert judge(close, RULES).step == "ship"
    assert judge(close, RULES, arms=5).step == "keep running"
