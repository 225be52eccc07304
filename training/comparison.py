"""The live comparison: what an experiment against the champion has shown so far, and whether that is enough to end it."""

import math
from dataclasses import dataclass
from typing import Literal

import polars as pl

from contracts.clock import DAY_US
from contracts.traffic import CANARY, CHALLENGER, CHAMPION, TrafficPlan
from decisions.arms import arm_difference, sample_ratio
from decisions.rewards import matured
from decisions.value import Estimate
from use_cases.definition import UseCase

TIGHTEST_AT = 3_000
"""Entities at which the bounds of a comparison are tightest."""

LEAST_DAYS = 2
"""An experiment is judged after so many whole days: people differ by the hour."""

ALARM = 0.001
"""Below this probability that entities fell into the arms by chance, assignment or logging is broken and nothing is concluded."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What to do with the release that is compared with the champion, and why.

    Attributes:
        step: `promote`: it is shown to earn more; `refuse`: to earn less; `wait`: keep running.
        gain: over the champion a decision, in the unit that people read; None before both arms have matured decisions.
    """

    release_id: str
    step: Literal["promote", "refuse", "wait"]
    reason: str
    gain: Estimate | None


def conclude(
    use_case: UseCase, plan: TrafficPlan, decisions: pl.DataFrame, outcomes: pl.DataFrame, *, since_us: int, now_us: int
) -> Conclusion | None:
    """Judge the experiment of a traffic plan; None where there is none.

    It may be asked at any time and as often as one likes: the bounds hold at all times at once (see `anytime_error`).

    Args:
        use_case: whose gate counts.
        plan: the one in force.
        decisions, outcomes: tables of the use case.
        since_us: when the experiment began; earlier decisions do not count.
        now_us: as of when.
    """
    arm = next((arm for arm in plan.arms[1:] if arm.name in (CHALLENGER, CANARY)), None)
    if arm is None:
        return None
    compared = matured(decisions, outcomes, window_us=use_case.outcome_window_us, now_us=now_us).filter(
        (pl.col("decided_at") >= since_us) & pl.col("release_id").is_in(list(plan.releases)) & pl.col("arm").is_in([CHAMPION, arm.name])
    )
    in_units = compared.with_columns(reward=pl.col("reward") / use_case.reward_scale)
    difference = arm_difference(in_units, arm.name, CHAMPION)
    days = (now_us - use_case.outcome_window_us - since_us) / DAY_US
    if difference is None or days < LEAST_DAYS:
        return Conclusion(arm.release_id, "wait", f"{max(days, 0.0):.1f} matured days of {LEAST_DAYS}", None)
    gain = difference.per_decision
    said = f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] {use_case.reward_unit} a decision, from {gain.n}"
    counted = {str(name): int(entities) for name, entities in compared.group_by("arm").agg(pl.col("entity_id").n_unique()).iter_rows()}
    chance = sample_ratio(counted, {CHAMPION: plan.champion.share, arm.name: arm.share})
    if chance < ALARM:
        return Conclusion(arm.release_id, "wait", f"entities did not fall into the arms as planned (p = {chance:.1e}): {counted}", gain)
    error = anytime_error(gain, use_case.gate.confidence)
    percent = f"with {use_case.gate.confidence:.0%} confidence, whenever one looks"
    if gain.value - error > 0.0:
        return Conclusion(arm.release_id, "promote", f"{said}: better {percent}", gain)
    if gain.value + error < 0.0:
        return Conclusion(arm.release_id, "refuse", f"{said}: worse {percent}", gain)
    return Conclusion(arm.release_id, "wait", f"{said}: not decided yet, it keeps running", gain)


def anytime_error(gain: Estimate, confidence: float) -> float:
    """How far the truth may be from an estimate on one side, at all times at once: an asymptotic confidence sequence.

    `σ/√n · √((nρ² + 1)/(nρ²) · ln((nρ² + 1)/α²))`, tightest near `TIGHTEST_AT` entities (Waudby-Smith et al. 2024,
    "Time-uniform central limit theory and asymptotic confidence sequences", theorem 2.2 and its choice of ρ); α is twice the one-sided
    level.
    """
    alpha = 2.0 * (1.0 - confidence)
    spread = -2.0 * math.log(alpha)
    n = gain.clusters * (spread + math.log(spread + 1.0)) / TIGHTEST_AT
    return gain.standard_error * math.sqrt((n + 1.0) / n * math.log((n + 1.0) / alpha**2))
