"""The gate, case by case."""

from dataclasses import replace
from typing import Any

import pytest

from decisions.overlap import Overlap
from decisions.policies import PolicySpec
from decisions.value import Estimate, estimate
from features.skew import SkewReport
from tests.training.conftest import SHOP
from training.evaluate import Evaluation
from training.gate import judge
from training.personal import Personal
from training.scrutiny import Leak
from training.terms import Value
from use_cases.definition import Gate

CLEAN = SkewReport(100, 0, {"visits": 0}, ())


def about(value: float, error: float = 0.01, effective_n: float = 1_000.0) -> Estimate:
    return estimate(value, error, n=2_000, clusters=1_000, effective_n=effective_n, confidence=0.95)


def values(value: float, **more: Any) -> Value:
    return Value(*[about(value, **more)] * 4)


OVERLAP = Overlap(2_000, 1_000, 1_000.0, 3.0, 0.01, about(1.0), 0.0, 0.0, ())
GOOD = Evaluation(
    rows=2_000,
    randomised=1_800,
    entities=1_000,
    values={"learned": values(0.5), "best_single": values(0.4), "baseline": values(0.1)},
    logged=about(0.2),
    control=about(0.1),
    gain_over_control={"learned": about(0.4), "best_single": about(0.3)},
    gain_over_champion={"learned": about(0.3), "best_single": about(0.2)},
    personal=Personal(about(0.1), about(0.1), about(1.0)),
    forward=about(0.3),
    compared_with={"control": "200 decisions of the control group", "champion": "1500 decisions of release r-1"},
    policy=PolicySpec("epsilon_greedy", 0.1),
    cooled={"learned": 1.0, "best_single": 1.0},
    calibration=about(1.0),
    slices={"country=DE": about(0.2), "country=US": about(0.0)},
    overlap=dict.fromkeys(("learned", "best_single"), OVERLAP),
    leaks=(),
)
NOTHING_PERSONAL = Personal(about(0.0), about(-0.01), about(0.0))


def test_a_clear_gain_makes_a_champion_and_its_value_is_the_forecast() -> None:
    verdict = judge(GOOD, CLEAN, SHOP)
    assert (verdict.step, verdict.choice, verdict.accepted) == ("champion", "learned", True)
    assert verdict.forecast.value == GOOD.values["learned"].dr.value
    assert all(check.passed for check in verdict.checks)


def test_where_personalising_does_not_pay_the_best_single_candidate_is_offered() -> None:
    verdict = judge(replace(GOOD, personal=NOTHING_PERSONAL), CLEAN, SHOP)
    assert (verdict.step, verdict.choice) == ("champion", "best_single")
    assert verdict.forecast.value == GOOD.values["best_single"].dr.value
    assert "the best single candidate is offered" in verdict.reasons[0]


def test_a_paired_gain_that_speaks_clearly_against_it_overrules_the_calibrated_one() -> None:
    assert judge(replace(GOOD, personal=Personal(about(-0.1), about(0.1), about(1.0))), CLEAN, SHOP).choice == "best_single"


@pytest.mark.parametrize(
    ("failed", "changes"),
    [
        ("rows", {"randomised": 499}),
        ("effective", {"values": {**GOOD.values, "learned": values(0.5, effective_n=99.0)}}),
        ("control", {"gain_over_control": {"learned": about(0.01), "best_single": about(0.3)}}),
        ("not_worse", {"gain_over_champion": {"learned": about(-0.02), "best_single": about(0.2)}}),
        ("forward", {"forward": about(-0.1)}),
        ("overlap", {"overlap": dict.fromkeys(GOOD.overlap, replace(OVERLAP, refusals=("too little is known",)))}),
        ("leaks", {"leaks": (Leak("visits", "gems", 30.0, 0.6),)}),
        ("calibration", {"calibration": about(0.7)}),
        ("calibration", {"calibration": about(1.3)}),
        ("slices", {"slices": {"country=DE": about(-0.1), "country=US": about(0.5)}}),
    ],
)
def test_what_is_not_proven_is_refused_with_the_reason(failed: str, changes: dict[str, Any]) -> None:
    verdict = judge(replace(GOOD, **changes), CLEAN, SHOP)
    assert (verdict.step, verdict.accepted) == ("refused", False)
    assert failed in [check.name for check in verdict.checks if not check.passed and check.needed]


def test_what_is_better_than_control_but_not_surely_than_the_champion_must_challenge_it() -> None:
    verdict = judge(replace(GOOD, gain_over_champion={"learned": about(0.01), "best_single": about(0.2)}), CLEAN, SHOP)
    assert verdict.step == "challenger"
    assert [check.name for check in verdict.checks if not check.passed] == ["champion"]


def test_skew_is_refused_and_names_the_worst_feature() -> None:
    skew = SkewReport(100, 3, {"visits": 1, "hour": 3}, ())
    verdict = judge(GOOD, skew, SHOP)
    assert verdict.step == "refused"
    assert any("3 of 100 recomputed decisions differ" in reason and "most in feature hour" in reason for reason in verdict.reasons)
    assert judge(GOOD, skew, replace(SHOP, gate=Gate(min_rows=500, max_skew=0.05))).accepted


def test_the_least_gain_is_in_the_unit_of_the_rewards() -> None:
    assert judge(GOOD, CLEAN, replace(SHOP, gate=Gate(min_rows=500, min_gain=250_000))).step == "champion"
    assert judge(GOOD, CLEAN, replace(SHOP, gate=Gate(min_rows=500, min_gain=390_000))).step == "refused"


def test_reasons_are_in_words_and_numbers() -> None:
    reasons = " ".join(judge(GOOD, CLEAN, SHOP).reasons)
    for told in ("1800 randomised decisions; 500 are needed", "+0.4000 [+0.3804, +0.4196] dollars", "1500 decisions of release r-1"):
        assert told in reasons


def test_a_forecast_says_how_much_earnings_move_anyway() -> None:
    still, moving = (judge(GOOD, CLEAN, replace(SHOP, gate=replace(SHOP.gate, drift=drift))).forecast for drift in (0.0, 0.1))
    assert still == GOOD.values["learned"].dr
    assert moving.standard_error == pytest.approx((0.01**2 + (0.1 * 0.5) ** 2) ** 0.5)
    assert moving.low < still.low < still.high < moving.high
