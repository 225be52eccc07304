"""The live comparison: what each arm earned, and how that differs from control, with intervals that cluster by entity."""

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
