"""The live comparison: what each arm earned, and how that differs from control, with intervals that cluster by entity."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from contracts.traffic import CONTROL
from decisions.value import Estimate, Floats, from_influence, mean, ratio


@dataclass(frozen=True, slots=True)
class ArmValue:
    """What an arm earned, in the use case's KPI unit.

    Attributes:
        per_decision: revenue a decision.
        per_entity: revenue an entity that had a decision in the arm.
    """

    arm: str
    decisions: int
    entities: int
    per_decision: Estimate
    per_entity: Estimate


@dataclass(frozen=True, slots=True)
class ArmDifference:
    """How much more an arm earned than another."""

    arm: str
    against: str
    per_decision: Estimate
    per_entity: Estimate


def arm_values(rewards: pl.DataFrame, *, confidence: float = 0.95) -> tuple[ArmValue, ...]:
    """What each arm earned, in name order.

    Args:
        rewards: matured decisions of the time to compare; needs `arm`, `entity_id` and `reward`.
        confidence: of the two-sided intervals.
    """
    return tuple(_arm_value(arm, totals, confidence) for arm, totals in _totals(rewards).items())


def arm_difference(rewards: pl.DataFrame, arm: str, against: str = CONTROL, *, confidence: float = 0.95) -> ArmDifference | None:
    """An arm's earnings minus another's; None where one of them has no decision.

    The interval linearises both means over the same list of entities, so it also holds where an entity changed arms meanwhile, as it does
    when a challenger becomes champion.

    Args:
        rewards: as for `arm_values`.
        arm: the one.
        against: the other.
        confidence: of the two-sided intervals.
    """
    totals = _totals(rewards)
    if arm not in totals or against not in totals:
        return None
    ours, theirs = totals[arm], totals[against]
    names = sorted({*ours["entity_id"], *theirs["entity_id"]})
    places = {name: place for place, name in enumerate(names)}

    def compare(per_decision: bool) -> Estimate:
        residuals = np.zeros(len(names))
        value = 0.0
        for sign, part in ((1.0, ours), (-1.0, theirs)):
            sums, sizes = _columns(part)
            sizes = sizes if per_decision else np.ones(part.height)
            centre = float(sums.sum() / sizes.sum())
            at = np.array([places[name] for name in part["entity_id"]], dtype=np.int64)
            residuals[at] += sign * (sums - centre * sizes) / sizes.sum()
            value += sign * centre
        own, other = (int(part["decisions"].sum()) for part in (ours, theirs))
        count = len(names)
        clusters = count if min(ours.height, theirs.height) > 1 else 1
        return from_influence(value, residuals, n=own + other, clusters=clusters, effective_n=float(min(own, other)), confidence=confidence)

    return ArmDifference(arm, against, compare(per_decision=True), compare(per_decision=False))


def sample_ratio(entities: Mapping[str, int], probabilities: Mapping[str, float]) -> float:
    """Pearson's chi-squared test that entities fell into arms as planned: its p-value, near 0 where they did not.

    A tiny one (below 0.001) means that assignment or logging is broken, so that no comparison of these arms is to be believed (Fabijan et
    al. 2019, "Diagnosing sample ratio mismatch").

    Args:
        entities: how many each arm has, each entity once.
        probabilities: `arm_probability` of each arm; of arms compared, not necessarily all.

    Example:
        >>> sample_ratio({"a": 500, "b": 500}, {"a": 0.5, "b": 0.5})
        1.0
        >>> sample_ratio({"a": 52_000, "b": 48_000}, {"a": 0.5, "b": 0.5}) < 1e-30
        True
    """
    arms = sorted(name for name, probability in probabilities.items() if probability > 0.0)
    seen = sum(entities.get(arm, 0) for arm in arms)
    planned = sum(probabilities[arm] for arm in arms)
    if len(arms) < 2 or seen == 0:
        return 1.0
    expected = {arm: seen * probabilities[arm] / planned for arm in arms}
    statistic = sum((entities.get(arm, 0) - expected[arm]) ** 2 / expected[arm] for arm in arms)
    return _chi_squared_above(statistic, len(arms) - 1)


def _totals(rewards: pl.DataFrame) -> dict[str, pl.DataFrame]:
    totals = rewards.group_by("arm", "entity_id").agg(pl.col("reward").sum(), pl.len().alias("decisions")).sort("arm", "entity_id")
    return {str(arm): part for (arm,), part in totals.partition_by("arm", as_dict=True).items()}


def _columns(totals: pl.DataFrame) -> tuple[Floats, Floats]:
    return totals["reward"].to_numpy().astype(np.float64), totals["decisions"].to_numpy().astype(np.float64)


def _arm_value(arm: str, totals: pl.DataFrame, confidence: float) -> ArmValue:
    sums, sizes = _columns(totals)
    own = np.arange(totals.height)
    decisions = int(sizes.sum())
    per_decision = replace(ratio(sums, sizes, own, confidence=confidence, corrected=True), n=decisions, effective_n=float(decisions))
    return ArmValue(arm, decisions, totals.height, per_decision, mean(sums, own, confidence=confidence, corrected=True))


def _chi_squared_above(statistic: float, freedom: int) -> float:
    # why: the regularised incomplete gamma has closed forms at halves and wholes (Abramowitz and Stegun 6.5.22), so scipy is not needed
    half = statistic / 2.0
    shape = 0.5 if freedom % 2 else 1.0
    above = math.erfc(math.sqrt(half)) if freedom % 2 else math.exp(-half)
    while shape < freedom / 2.0:
        above += math.exp(shape * math.log(half) - half - math.lgamma(shape + 1.0)) if half > 0.0 else 0.0
        shape += 1.0
    return min(1.0, above)
