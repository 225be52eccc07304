"""The state of a use case's live comparison: what every arm earns, what is concluded, what was foreseen, and how the shadow would do."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from contracts.clock import DAY_US
from contracts.errors import BundleRefused
from contracts.tables import DECISIONS, OUTCOMES, SHADOW
from contracts.traffic import CHAMPION, CONTROL, TrafficPlan
from decisions.gain import Entities, gain, mean_bounds
from decisions.sample_ratio import sample_ratio_so_far
from decisions.sequential import Bounds
from decisions.shadow import ShadowValue, shadow_value
from decisions.totals import entities_of
from decisions.value import difference, ratio
from decisions.verdict import Compared
from features.definitions import FeatureSet
from releases.bundle import read_bundle
from releases.ledger import Ledger
from storage.tables import Tables
from training.comparison import Conclusion, compare, conclude_all, matured_after_us
from training.span import History, span_of
from use_cases.definition import UseCase

_COLUMNS = (
    "decision_id",
    "entity_id",
    "decided_at",
    "arm",
    "release_id",
    "action",
    "propensity",
    "degraded",
    "source",
)
_FEATURES = ("feature_set", "features")


CONFIDENCE = 0.95
"""Of the two-sided bounds of what is shown. Conclusions are drawn with that of the use case's gate."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with bounds that hold at all looks at once."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ArmState:
    """An arm of the present plan, over matured decisions of the comparison's time; in the unit that people read, a decision.

    Attributes:
        share: of all entities.
        value: what it earns. `above_control`: how much more than control did in the same time; None for control, and without it.
        forecast: what the gate foresaw of its release, with the interval of one look; None where it was never judged.
        conclusion: beside the champion; None for control and the champion itself.
    """

    arm: str
    release_id: str
    share: float
    decisions: int
    entities: int
    value: Figure | None
    above_control: Figure | None
    forecast: Figure | None
    conclusion: Conclusion | None


@dataclass(frozen=True, slots=True)
class ShadowState:
    """The release in the shadow; `above_control`: its doubly robust value less what control earns. Its intervals are those of one look."""

    release_id: str
    value: ShadowValue | None
    above_control: Figure | None
    forecast: Figure | None


@dataclass(frozen=True, slots=True)
class Experiment:
    """The live comparison of a use case.

    Attributes:
        since_us: from when decisions count, `now_us` until when.
        arms: control first, then as in the plan.
        control_ratio: bound on the chance that control is filled as unevenly as it ever was, over all served entities, each by its first
            decision; None without control, or where its share was changed.
        version: of the traffic plan that was measured.
    """

    use_case: str
    unit: str
    since_us: int
    now_us: int
    arms: tuple[ArmState, ...]
    shadow: ShadowState | None
    control_ratio: float | None = None
    version: int = 0

    @property
    def conclusions(self) -> tuple[Conclusion, ...]:
        """Of all arms that are compared with the champion."""
        return tuple(arm.conclusion for arm in self.arms if arm.conclusion is not None)


@dataclass(frozen=True, slots=True)
class Look:
    """What an arm's gain over the champion was known to be after so many days."""

    day: float
    gain: Figure


@dataclass(frozen=True)
class Sources:
    """Where the state of an experiment is read from; `now_us` is the installation's time."""

    use_case: UseCase
    tables: Tables
    bundles: Path
    ledger: Ledger
    now_us: int


def state_of(sources: Sources) -> Experiment | None:
    """The live comparison of a use case; None before its first release. What was not drained yet does not count."""
    plan = sources.ledger.plan(sources.use_case.name)
    return None if plan is None else _state(sources, plan, *_begun(sources, plan))


def compared_now(sources: Sources, release_id: str) -> Compared | None:
    """The statistics of a release beside the champion's, since it got its present share; None where it has no arm beside it."""
    plan = sources.ledger.plan(sources.use_case.name)
    arm = next((arm for arm in plan.arms[1:] if arm.release_id == release_id), None) if plan else None
    if plan is None or arm is None:
        return None
    since_us, history = _begun(sources, plan)
    decisions, outcomes = _read(sources, since_us, *_FEATURES)
    names = feature_names(sources.bundles, plan, sources.use_case)
    span = span_of(history, plan, arm, since_us)
    return compare(sources.use_case, plan, arm, decisions, outcomes, span, now_us=sources.now_us, names=names)


def looks(sources: Sources) -> Mapping[str, tuple[Look, ...]]:
    """By release: its gain over the champion as it was known at the end of each day of the comparison."""
    plan = sources.ledger.plan(sources.use_case.name)
    if plan is None:
        return {}
    use_case = sources.use_case
    since_us, history = _begun(sources, plan)
    decisions, outcomes = _read(sources, since_us, *_FEATURES)
    names = feature_names(sources.bundles, plan, use_case)
    course = {}
    for arm in plan.arms[1:]:
        span = span_of(history, plan, arm, since_us)
        last = (sources.now_us - matured_after_us(use_case) - span.since_us) / DAY_US
        found = []
        for day in [*range(1, math.floor(last) + 1), *([last] if last > 0 and last != math.floor(last) else [])]:
            at = span.since_us + round(day * DAY_US) + matured_after_us(use_case)
            compared = compare(use_case, plan, arm, decisions, outcomes, span, now_us=at, names=names)
            if len(compared.ours) > 1 and len(compared.theirs) > 1:
                known = gain(compared.ours, compared.theirs)
                error = known.error(use_case.gate.confidence)
                found.append(Look(float(day), Figure(known.best.value, known.best.value - error, known.best.value + error)))
        course[arm.release_id] = tuple(found)
    return course


def plans_of(ledger: Ledger, use_case: str) -> History:
    """The traffic plans of a use case and since when each was in force, oldest first."""
    with ledger.step(use_case) as step:
        return [(row.at, row.plan) for row in step.plans() if row.plan is not None]


def feature_names(bundles: Path, plan: TrafficPlan, use_case: UseCase) -> dict[str, Sequence[str]]:
    """The names of features by the digest of their set: those of the plan's releases, and of the use case as it is now."""
    sets = [use_case.feature_set]
    for release_id in plan.releases:
        try:
            sets.append(FeatureSet.from_json(msgspec.json.encode(read_bundle(bundles, release_id).parts.features)))
        except BundleRefused:
            # why: its decisions are then not adjusted for; that the bundle is broken is the replicas' alarm
            continue
    return {known.digest: known.names for known in sets}


def _begun(sources: Sources, plan: TrafficPlan) -> tuple[int, History]:
    """Since when the plan's arms are compared, and all plans."""
    history = plans_of(sources.ledger, sources.use_case.name)
    champion = sources.ledger.release(plan.champion.release_id).changed_at
    return min((span_of(history, plan, arm, champion).drawn_us for arm in plan.arms[1:]), default=champion), history


def _read(sources: Sources, since_us: int, *more: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    use_case, tables = sources.use_case, sources.tables
    files = tables.files(use_case.name, DECISIONS)
    rows = pl.scan_parquet(files, hive_partitioning=False) if files else tables.frame(use_case.schema, DECISIONS).lazy()
    decisions = rows.filter((pl.col("decided_at") >= since_us) & (pl.col("source") == "served")).select(*_COLUMNS, *more).collect()
    return decisions, tables.frame(use_case.schema, OUTCOMES).filter(pl.col("ingested_time") >= since_us)


def _state(sources: Sources, plan: TrafficPlan, since_us: int, history: History) -> Experiment:
    use_case, now_us = sources.use_case, sources.now_us
    more = (("candidate_ids", "p_in_arm") if plan.shadow else ()) + (_FEATURES if len(plan.arms) > 1 else ())
    decisions, outcomes = _read(sources, since_us, *more)
    names = feature_names(sources.bundles, plan, use_case)
    concluded = conclude_all(use_case, plan, decisions, outcomes, since_us=since_us, now_us=now_us, history=history, names=names)
    by_release = {conclusion.release_id: conclusion for conclusion in concluded}
    rewards = use_case.rewards(decisions, outcomes, now_us=now_us)
    releases = {arm.name: arm.release_id for arm in plan.arms}
    rewards = rewards.filter(
        (pl.col("arm") == CONTROL)
        | pl.any_horizontal((pl.col("arm") == arm) & (pl.col("release_id") == release) for arm, release in releases.items())
    )
    parts = {str(arm): rows for (arm,), rows in rewards.partition_by("arm", as_dict=True).items()}
    control = entities_of(parts[CONTROL], use_case.reward_scale) if CONTROL in parts else None
    states = [_arm(sources, CONTROL, plan.champion.release_id, plan.control_share, parts, None)] if plan.control_share else []
    for arm in plan.arms:
        share = (1.0 - plan.control_share) * arm.share
        conclusion = None if arm.name == CHAMPION else by_release.get(arm.release_id)
        states.append(_arm(sources, arm.name, arm.release_id, share, parts, conclusion))
    shadow = _shadow(sources, plan.shadow, rewards.filter(pl.col("arm") == CHAMPION), control) if plan.shadow else None
    control_ratio = _control_ratio(sources, plan, history)
    return Experiment(use_case.name, use_case.reward_unit, since_us, now_us, tuple(states), shadow, control_ratio, plan.version)


def _arm(
    sources: Sources, arm: str, release_id: str, share: float, parts: Mapping[str, pl.DataFrame], conclusion: Conclusion | None
) -> ArmState:
    scale = sources.use_case.reward_scale
    forecast = _forecast(sources, release_id) if arm != CONTROL else None
    if arm not in parts:
        return ArmState(arm, release_id, share, 0, 0, None, None, forecast, conclusion)
    rows = parts[arm]
    own, above = entities_of(rows, scale), None
    if arm != CONTROL and CONTROL in parts:
        beside = parts[CONTROL].filter(pl.col("decided_at").is_between(rows["decided_at"].min(), rows["decided_at"].max()))
        if beside.height:
            found = gain(own, entities_of(beside, scale))
            above = _figure(found.best.value, found.bounds(CONFIDENCE))
    value = _figure(own.mean, mean_bounds(own, confidence=CONFIDENCE))
    return ArmState(arm, release_id, share, rows.height, len(own), value, above, forecast, conclusion)


def _shadow(sources: Sources, release_id: str, rewards: pl.DataFrame, control: Entities | None) -> ShadowState:
    use_case, tables = sources.use_case, sources.tables
    files = tables.files(use_case.name, SHADOW)
    scores = pl.scan_parquet(files, hive_partitioning=False) if files else tables.frame(use_case.schema, SHADOW).lazy()
    own = scores.filter(pl.col("release_id") == release_id).select("decision_id", "candidate_ids", "p_in_arm").collect()
    in_units = rewards.with_columns(reward=pl.col("reward") / use_case.reward_scale)
    found = shadow_value(in_units, own)
    above = None
    if found is not None and control is not None:
        apart = difference(found.dr, ratio(control.sums, control.sizes, np.arange(len(control))))
        above = Figure(apart.value, apart.low, apart.high)
    return ShadowState(release_id, found, above, _forecast(sources, release_id))


def _control_ratio(sources: Sources, plan: TrafficPlan, history: History) -> float | None:
    """Whether control is filled as planned. It is drawn once for ever, so it is entities that come for the first time that tell."""
    drawn = {(other.control_share, other.control_salt) for _, other in history}
    files = sources.tables.files(sources.use_case.name, DECISIONS)
    if not plan.control_share or len(drawn) > 1 or not files:
        return None
    served = pl.scan_parquet(files, hive_partitioning=False).filter(pl.col("source") == "served")
    first = served.group_by("entity_id").agg(pl.col("decided_at").min(), pl.col("arm").sort_by("decided_at").first())
    arms = first.sort("decided_at", "entity_id").select((pl.col("arm") == CONTROL).cast(pl.Int64)).collect().to_series()
    return sample_ratio_so_far(arms.to_numpy(), [1.0 - plan.control_share, plan.control_share])


def _forecast(sources: Sources, release_id: str) -> Figure | None:
    try:
        gate: Mapping[str, Any] = read_bundle(sources.bundles, release_id).parts.gate
    except BundleRefused:
        return None
    foreseen = gate.get("forecast")
    if not foreseen:
        return None
    low, high = (math.nan if foreseen[end] is None else float(foreseen[end]) for end in ("low", "high"))
    return Figure(float(foreseen["value"]), low, high)


def _figure(value: float, bounds: Bounds) -> Figure:
    return Figure(value, bounds.low, bounds.high)
