"""The flow `monitor`: measures the installation, for the exporter and for people."""

from collections.abc import Mapping
from typing import Any

import msgspec
from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from contracts.errors import StepRefused
from contracts.traffic import CANARY
from flows.drained import drain
from flows.place import Place, open_place
from flows.promotion import conclude_experiment
from monitoring.measure import measure
from releases.ledger import Act
from releases.registry import Registry
from releases.stages import reject
from serving.operations import check_signed_off
from storage.measures import ExperimentMeasure, Interval, Measures, ShadowMeasure, UseCaseMeasures, write
from training.canary import earned_so_far
from training.comparison import Conclusion, weight
from training.experiment import CONFIDENCE, Experiment, Sources, state_of
from use_cases.definition import UseCase


@task(name="Measure arms, skew and freshness", retries=1, retry_delay_seconds=5, cache_policy=NO_CACHE)
def measure_all(place: Place, experiments: Mapping[str, Experiment]) -> Measures:
    """What every arm earned, what was foreseen, what is being compared, skew and freshness."""
    with place.ledger() as ledger:
        measures = measure(place.layout, place.use_cases, ledger, place.clock.now_us(), place.settings.store.duckdb_memory)
    compared = {
        name: _with(measured, experiments[name]) if name in experiments else measured for name, measured in measures.use_cases.items()
    }
    measures = msgspec.structs.replace(measures, use_cases=compared)
    write(place.layout, measures)
    return measures


@task(name="Look at live comparisons", cache_policy=NO_CACHE)
def look_at_all(place: Place) -> dict[str, Experiment]:
    """The live comparison of each use case that has a release."""
    now_us = place.clock.now_us()
    with place.ledger() as ledger:
        found = {
            name: state_of(Sources(use_case, place.tables, place.layout.bundles, ledger, now_us))
            for name, use_case in place.use_cases.items()
        }
    return {name: experiment for name, experiment in found.items() if experiment is not None}


@task(name="Conclude live comparisons", cache_policy=NO_CACHE)
def conclude_all(place: Place, experiments: Mapping[str, Experiment]) -> list[Conclusion]:
    """End the experiments that have shown enough, with the reason in the ledger; what all of them show so far.

    A canary is the flow `rollout`'s to take further; here it is stopped where it is shown to lose.
    """
    found: list[Conclusion] = []
    for name, experiment in experiments.items():
        stop_losing_canary(place, place.use_cases[name], experiment.now_us)
        challengers = [arm.conclusion for arm in experiment.arms if arm.conclusion is not None and arm.arm != CANARY]
        for conclusion in sorted(challengers, key=weight):
            print(f"{name}: {conclusion.release_id} {conclusion.step}: {conclusion.reason}")
            found.append(conclusion)
            with place.ledger() as ledger:
                plan = ledger.plan(name)
                if plan is not None and conclusion.release_id in [arm.release_id for arm in plan.arms[1:]]:
                    if conclusion.step == "promote" and not _signed_off(place, name, conclusion.release_id):
                        continue
                    act = Act("flow monitor", experiment.now_us, conclusion.reason, plan.version)
                    conclude_experiment(ledger, name, conclusion, act)
    return found


def _signed_off(place: Place, use_case: str, release_id: str) -> bool:
    """Whether a release may replace the champion; an approval may have become void while it challenged it."""
    with place.desk() as desk:
        try:
            check_signed_off(desk, use_case, release_id, "become champion")
        except StepRefused as error:
            print(f"{use_case}: {error}")
            return False
    return True


def stop_losing_canary(place: Place, use_case: UseCase, now_us: int) -> None:
    """Refuse the canary of a use case where it is shown to earn less than it may."""
    with place.ledger() as ledger:
        plan = ledger.plan(use_case.name)
        found = earned_so_far(Sources(use_case, place.tables, place.layout.bundles, ledger, now_us))
        if plan is None or found is None:
            return
        canary = next(arm for arm in plan.arms if arm.name == CANARY)
        print(f"{use_case.name}: {canary.release_id} {found.step} as canary: {found.reason}")
        if found.step == "stop":
            act = Act("flow monitor", now_us, f"stopped as canary at {canary.share:.0%}: {found.reason}", plan.version)
            reject(ledger, use_case.name, canary.release_id, act)


@task(name="Let MLflow's aliases follow", retries=2, retry_delay_seconds=[2, 10], cache_policy=NO_CACHE)
def follow_all(place: Place) -> None:
    """Aliases of the registered models, as the traffic plans say."""
    with place.ledger() as ledger:
        plans = [plan for name in place.use_cases if (plan := ledger.plan(name)) is not None]
    registry = Registry(place.mlflow)
    for plan in plans:
        registry.sync_aliases(plan)


@flow(name="monitor", log_prints=True)
def monitor() -> State[Any]:
    """Measure everything, put it where the exporter reads it, and end the live comparisons that have shown enough."""
    place = open_place()
    drain(place)
    experiments = look_at_all(place)
    measures = measure_all(place, experiments)
    for name, measured in measures.use_cases.items():
        table = [
            {
                "arm": arm.arm,
                "release": arm.release_id,
                "decisions": arm.decisions,
                f"{measured.unit} a decision": arm.reward.value,
                "low": arm.reward.low,
                "high": arm.reward.high,
            }
            for arm in measured.arms
        ]
        create_table_artifact(table, key=f"arms-{name.replace('_', '-')}", description=f"What every arm of {name} earned")
    before = _versions(place)
    compared = conclude_all(place, experiments)
    if _versions(place) != before:
        follow_all(place)
    said = [f"{conclusion.release_id}: {conclusion.step}, {conclusion.reason}" for conclusion in compared]
    return Completed(message="; ".join(said) or f"{len(measures.use_cases)} use cases measured; nothing is being compared")


def _versions(place: Place) -> list[int]:
    with place.ledger() as ledger:
        return [plan.version for name in place.use_cases if (plan := ledger.plan(name)) is not None]


def experiments_of(experiment: Experiment) -> tuple[ExperimentMeasure, ...]:
    """The arms that are compared with the champion, as they are measured."""
    measured = []
    for arm in experiment.arms:
        if (conclusion := arm.conclusion) is None:
            continue
        verdict = conclusion.verdict
        gain = verdict.gain if verdict else None
        bounds = gain.bounds(CONFIDENCE) if gain else None
        measured.append(
            ExperimentMeasure(
                arm=arm.arm,
                release_id=arm.release_id,
                gain=_interval(gain.best.value, bounds.low, bounds.high) if gain and bounds else None,
                verdict=verdict.step if verdict else "keep running",
                reason=conclusion.reason,
                sample_ratio=conclusion.sample_ratio,
                progress=conclusion.progress,
                guard_rails={seen.rail.metric: seen.state for seen in verdict.watched} if verdict else {},
            )
        )
    return tuple(measured)


def _with(measured: UseCaseMeasures, experiment: Experiment) -> UseCaseMeasures:
    """A use case's measurements with what is known of its live comparison."""
    compared, shadow = experiments_of(experiment), shadow_of(experiment)
    return msgspec.structs.replace(measured, experiments=compared, shadow=shadow, control_ratio=experiment.control_ratio)


def shadow_of(experiment: Experiment) -> ShadowMeasure | None:
    """The release in the shadow, as it is measured; None where there is too little to say."""
    shadow = experiment.shadow
    if shadow is None or shadow.value is None:
        return None
    gain = shadow.value.gain
    return ShadowMeasure(shadow.release_id, _interval(gain.value, gain.low, gain.high), shadow.value.covered)


def _interval(value: float, low: float, high: float) -> Interval:
    return Interval(value, *(end if abs(end) < float("inf") else None for end in (low, high)))
