"""The live comparison: what experiments against the champion have shown so far, and whether that is enough to end them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import polars as pl

from contracts.clock import DAY_US
from contracts.traffic import CHAMPION, CONTROL, Arm, TrafficPlan
from decisions.covariates import first_features
from decisions.guard_rails import measurable, measured
from decisions.sample_ratio import sample_ratio_so_far
from decisions.totals import entities_in, totals_of
from decisions.value import Estimate
from decisions.verdict import Compared, Rules, Verdict, judge, planned_information
from training.span import History, Span, in_force, span_of, steady
from use_cases.definition import UseCase

Step: TypeAlias = Literal["promote", "refuse", "retire", "wait"]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What to do with a release that is compared with the champion, and why.

    Attributes:
        step: `promote`: it is shown to earn more; `refuse`: to earn less, or to break a guard rail; `retire`: all that was planned has come
            and it is not told apart from the champion; `wait`: keep running.
        gain: over the champion a decision, in the unit that people read; None before both arms have matured decisions.
        verdict: all of it. `sample_ratio`: probability that entities fall into the arms as unevenly as they did.
        progress: share of the planned information that has come; None before that can be said.
        days: matured so far. `days_left`: until what is planned has come, if it goes on as until now.
    """

    release_id: str
    step: Step
    reason: str
    gain: Estimate | None
    verdict: Verdict | None = None
    sample_ratio: float = 1.0
    progress: float | None = None
    days: float = 0.0
    days_left: float | None = None


def conclude(
    use_case: UseCase,
    plan: TrafficPlan,
    decisions: pl.DataFrame,
    outcomes: pl.DataFrame,
    *,
    since_us: int,
    now_us: int,
    history: History = (),
    names: Mapping[str, Sequence[str]] | None = None,
) -> Conclusion | None:
    """The conclusion of `conclude_all` that counts most: to promote before to end before to wait; None where nothing is compared."""
    found = conclude_all(use_case, plan, decisions, outcomes, since_us=since_us, now_us=now_us, history=history, names=names)
    return min(found, key=weight, default=None)


def conclude_all(
    use_case: UseCase,
    plan: TrafficPlan,
    decisions: pl.DataFrame,
    outcomes: pl.DataFrame,
    *,
    since_us: int,
    now_us: int,
    history: History = (),
    names: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Conclusion, ...]:
    """Judge the experiments of a traffic plan, one an arm, in the plan's order.

    It may be asked at any time and as often as one likes: the bounds hold at all times at once (see `decisions.sequential`).

    Args:
        use_case: whose gate and guard rails count.
        plan: the one in force.
        decisions, outcomes: tables of the use case.
        since_us: when the experiments began, where the history does not say.
        now_us: as of when.
        history: the plans until now; without them the present one is taken to have been in force since `since_us`.
        names: of the features of each feature set, by its digest; by default those of the use case's present one.
    """
    arms = plan.arms[1:]
    rules = rules_of(use_case)
    known = names if names is not None else {use_case.feature_set.digest: use_case.feature_set.names}
    concluded = []
    for arm in arms:
        span = span_of(history, plan, arm, since_us)
        compared = compare(use_case, plan, arm, decisions, outcomes, span, now_us=now_us, names=known)
        planned = planned_information(compared, rules, arms=len(arms))
        verdict = judge(compared, rules, arms=len(arms), planned=planned, unit=use_case.reward_unit)
        progress = verdict.gain.information / planned if verdict.gain is not None and planned else None
        concluded.append(
            Conclusion(
                release_id=arm.release_id,
                step=_step(verdict),
                reason=verdict.reason,
                gain=verdict.gain.best if verdict.gain is not None else None,
                verdict=verdict,
                sample_ratio=compared.sample_ratio,
                progress=progress,
                days=max(compared.days, 0.0),
                days_left=compared.days * max(1.0 / progress - 1.0, 0.0) if progress else None,
            )
        )
    return tuple(concluded)


def rules_of(use_case: UseCase) -> Rules:
    """What experiments of a use case are judged by."""
    return Rules(use_case.gate.confidence, use_case.worthwhile_gain, guard_rails=use_case.guard_rails)


def matured_after_us(use_case: UseCase) -> int:
    """How long after a decision its reward is taken for final."""
    return use_case.outcome_window_us + use_case.outcomes.late_us


def weight(conclusion: Conclusion) -> tuple[int, float]:
    """What sorts conclusions by how much they count: to promote, the most gainful first, before to end, before to wait."""
    order = ("promote", "refuse", "retire", "wait")
    return order.index(conclusion.step), -conclusion.gain.value if conclusion.gain else 0.0


def compare(
    use_case: UseCase,
    plan: TrafficPlan,
    arm: Arm,
    decisions: pl.DataFrame,
    outcomes: pl.DataFrame,
    span: Span,
    *,
    now_us: int,
    names: Mapping[str, Sequence[str]],
) -> Compared:
    """The statistics of an arm beside the champion's.

    Counted are entities that every plan of the span puts where the present one does: so both arms take in people at the same rate all the
    time, though other arms come and go, and nobody brings what another arm has done.

    Args:
        use_case, plan, decisions, outcomes, now_us, names: see `conclude_all`.
        arm: of the plan.
        span: see `span_of`.
    """
    running = decisions.filter(pl.col("decided_at").is_between(span.drawn_us, now_us) & (pl.col("arm") != CONTROL))
    since_us = in_force(running, plan, span.before, span.since_us)
    pair = {CHAMPION: plan.champion.release_id, arm.name: arm.release_id}
    # why: an outcome that names no decision is credited to one of all its entity's, so rewards come before choosing which decisions count
    counted = use_case.rewards(running, outcomes, now_us=now_us).filter(
        (pl.col("decided_at") >= since_us)
        & pl.any_horizontal((pl.col("arm") == name) & (pl.col("release_id") == release) for name, release in pair.items())
    )
    counted = counted.filter(pl.col("arm").n_unique().over("entity_id") == 1)
    if len(span.plans) > 1:
        counted = counted.filter(pl.col("entity_id").is_in(steady(counted["entity_id"].unique().to_list(), span.plans)))
    rails = [rail for rail in use_case.guard_rails if measurable(rail, counted, outcomes)]
    metrics_of = [rail.metric for rail in rails]
    totals = totals_of(measured(counted, _credited(use_case, counted, outcomes, now_us), rails), metrics_of)
    covariates = first_features(running, names) if "features" in running.columns else None
    parts = {name: totals.filter(pl.col("arm") == name) for name in pair}
    ours, theirs = (entities_in(parts[name], "reward", use_case.reward_scale, covariates) for name in (arm.name, CHAMPION))
    metrics = {}
    for metric in metrics_of:
        scale = use_case.reward_scale if metric == "refunds" else 1
        metrics[metric] = (entities_in(parts[arm.name], metric, scale), entities_in(parts[CHAMPION], metric, scale))
    return Compared(
        arm=arm.name,
        ours=ours,
        theirs=theirs,
        days=(now_us - matured_after_us(use_case) - span.since_us) / DAY_US,
        sample_ratio=_sample_ratio(running, plan, span),
        metrics=metrics,
    )


def _step(verdict: Verdict) -> Step:
    if verdict.step == "ship":
        return "promote"
    if verdict.step == "keep running":
        return "wait"
    return "retire" if verdict.cause == "spent" else "refuse"


def _sample_ratio(running: pl.DataFrame, plan: TrafficPlan, span: Span) -> float:
    """Of entities that were first seen since shares last changed: those before may have come back more or less often as their arm did."""
    first = running.sort("decided_at", "entity_id").unique("entity_id", keep="first", maintain_order=True)
    places = {arm.name: place for place, arm in enumerate(plan.arms)}
    changed_us = in_force(running, plan, span.before_change, span.changed_us)
    counted = first.filter((pl.col("decided_at") >= changed_us) & pl.col("arm").is_in(list(places)))
    arrivals = counted["arm"].replace_strict(places, return_dtype=pl.Int64).to_numpy()
    return sample_ratio_so_far(arrivals, [arm.share for arm in plan.arms])


def _credited(use_case: UseCase, rewards: pl.DataFrame, outcomes: pl.DataFrame, now_us: int) -> pl.DataFrame:
    """The outcomes that fell into the window of the decision they name, as they came in: for guard rails a correction is one more."""
    window = use_case.outcome_window_us
    until = pl.when(pl.col("reward") < 0).then(max(window, use_case.outcomes.refund_window_us)).otherwise(window)
    happened = pl.min_horizontal("event_time", "ingested_time")
    decided = rewards.select("decision_id", _decided="decided_at")
    inside = happened.is_between(pl.col("_decided"), pl.col("_decided") + until, closed="left")
    known = outcomes.filter(pl.col("ingested_time") <= now_us)
    return known.join(decided, on="decision_id").filter(inside)
