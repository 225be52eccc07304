"""What an installation's own log says of an experiment to come: how much is earned, how it varies, who comes back, what it costs."""

from dataclasses import dataclass

import polars as pl

from contracts.clock import DAY_US
from contracts.errors import DataRefused
from contracts.tables import DECISIONS, OUTCOMES
from contracts.traffic import CHAMPION
from decisions.covariates import first_features
from decisions.planning import Traffic, traffic_of
from decisions.shadow import ShadowValue, shadow_value
from decisions.totals import entities_of
from training.comparison import matured_after_us
from training.experiment import Sources, feature_names

LEAST_ENTITIES = 100
"""Entities below which a log says nothing about what is to come."""

_COLUMNS = (
    "decision_id",
    "entity_id",
    "decided_at",
    "arm",
    "action",
    "propensity",
    "candidate_ids",
    "p_in_arm",
    "feature_set",
    "features",
    "source",
)


@dataclass(frozen=True, slots=True)
class Pilot:
    """The champion's arm over the newest matured days; a unit is a decision.

    Attributes:
        traffic: of everybody outside control.
        days: that the log reaches back.
        decisions_a_day, entities_a_day: of everybody outside control; an entity counts on each day it comes.
        random: what random offers would earn instead; None where too little is logged.
    """

    traffic: Traffic
    days: float
    decisions_a_day: float
    entities_a_day: float
    random: ShadowValue | None

    @property
    def random_costs(self) -> float | None:
        """What a random offer earns less than the champion's, in the unit that people read; None where the log does not say."""
        return None if self.random is None or self.random.covered < 0.99 else -self.random.gain.value


def pilot(sources: Sources, days: float = 28.0) -> Pilot:
    """Read the newest matured days of the champion's arm.

    Args:
        sources: where from.
        days: at most so far back.

    Raises:
        DataRefused: there are too few entities to say anything.
    """
    use_case, tables = sources.use_case, sources.tables
    plan = sources.ledger.plan(use_case.name)
    until = sources.now_us - matured_after_us(use_case)
    files = tables.files(use_case.name, DECISIONS)
    rows = pl.scan_parquet(files, hive_partitioning=False) if files else tables.frame(use_case.schema, DECISIONS).lazy()
    champion = rows.filter(
        (pl.col("decided_at") >= until - round(days * DAY_US)) & (pl.col("arm") == CHAMPION) & (pl.col("source") == "served")
    )
    decisions = champion.select(_COLUMNS).collect()
    outcomes = tables.frame(use_case.schema, OUTCOMES)
    closed = use_case.rewards(decisions, outcomes, now_us=sources.now_us).sort("decided_at")
    if plan is None or closed["entity_id"].n_unique() < LEAST_ENTITIES:
        reason = f"{closed['entity_id'].n_unique()} entities had matured decisions of the champion; {LEAST_ENTITIES} are needed"
        raise DataRefused(f"log of {use_case.name}", [f"{reason}; give --mean, --sd and --players-per-day instead"])
    first = int(closed["decided_at"][0])
    length = max((until - first) / DAY_US, 1e-3)
    known = first_features(closed, feature_names(sources.bundles, plan, use_case))
    early = closed.filter(pl.col("decided_at") < first + (until - first) // 2)
    whole, half = (entities_of(part, use_case.reward_scale, known) for part in (closed, early))
    share = plan.champion.share
    daily = closed.with_columns(day=(pl.col("decided_at") - first) // DAY_US).select("day", "entity_id").n_unique()
    return Pilot(
        traffic=traffic_of(whole, half if len(half) > 1 else whole, length, share),
        days=length,
        decisions_a_day=closed.height / length / share,
        entities_a_day=daily / length / share,
        random=_random(closed, use_case.reward_scale),
    )


def _random(closed: pl.DataFrame, scale: int) -> ShadowValue | None:
    """What every eligible candidate with the same chance would have earned."""
    even = pl.lit(1.0).repeat_by(pl.col("p_in_arm").list.len()) / pl.col("p_in_arm").list.len()
    uniform = closed.select("decision_id", "candidate_ids", p_in_arm=even)
    return shadow_value(closed.with_columns(reward=pl.col("reward") / scale), uniform)
