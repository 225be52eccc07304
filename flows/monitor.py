"""The flow `monitor`: measures the installation, for the exporter and for people."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from contracts.errors import BundleRefused, NotFound, StepRefused
from contracts.traffic import CANARY
from flows.drained import drain
from flows.place import Place, open_place
from flows.promotion import conclude_experiment
from monitoring.measure import measure
from releases.ledger import Act
from releases.stages import reject
from serving.operations import Desk, check_signed_off
from storage.measures import ExperimentMeasure, Interval, Measures, ShadowMeasure, UseCaseMeasures, write
from training.canary import earned_so_far
from training.comparison import Conclusion, weight
from training.experiment import CONFIDENCE, Experiment, Sources, state_of
from use_cases.definition import UseCase

ACTOR = "flow monitor"


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
    return [conclusion for name, experiment in experiments.items() for conclusion in conclude(place, name, experiment)]


def conclude(place: Place, name: str, experiment: Experiment) -> list[Conclusion]:
    """Stop the canary of a use case where it loses, and end its experiments that have shown enough, under the plan that was measured.

    What is refused, since something else was faster or nobody has signed it off, stands in the ledger and waits for the next look.
    """
    version = experiment.version + stop_losing_canary(place, place.use_cases[name], experiment.now_us)
    challengers = [arm.conclusion for arm in experiment.arms if arm.conclusion is not None and arm.arm != CANARY]
    found = []
    with place.desk() as desk:
        for conclusion in sorted(challengers, key=weight):
            print(f"{name}: {conclusion.release_id} {conclusion.step}: {conclusion.reason}")
            act = Act(ACTOR, experiment.now_us, conclusion.reason, version)
            try:
                version += _end(desk, name, conclusion, act)
                found.append(conclusion)
            except (StepRefused, NotFound, BundleRefused) as error:
                print(f"{name}: {error}")
                found.append(replace(conclusion, step="wait", reason=f"{conclusion.reason}; but {error}"))
    return found


def _end(desk: Desk, name: str, conclusion: Conclusion, act: Act) -> bool:
    """End an experiment as it was concluded; whether the traffic plan is another one now."""
    plan = desk.ledger.plan(name)
    if conclusion.step == "wait" or plan is None or conclusion.release_id not in [arm.release_id for arm in plan.arms[1:]]:
        return False
    if conclusion.step == "promote":
        with desk.ledger.denying(name, act, "become champion", conclusion.release_id):
            # why: an approval may have become void while it challenged the champion
            check_signed_off(desk, name, conclusion.release_id, "become champion")
    conclude_experiment(desk.ledger, name, conclusion, act)
    return True


def stop_losing_canary(place: Place, use_case: UseCase, now_us: int) -> bool:
    """Refuse the canary of a use case where it is shown to earn less than it may; whether that was done."""
    with place.ledger() as ledger:
        plan = ledger.plan(use_case.name)
        canary = next((arm for arm in plan.arms if arm.name == CANARY), None) if plan else None
        found = earned_so_far(Sources(use_case, place.tables, place.layout.bundles, ledger, now_us)) if canary else None
        if plan is None or canary is None or found is None:
            return False
        print(f"{use_case.name}: {canary.release_id} {found.step} as canary: {found.reason}")
        if found.step != "stop":
            return False
        act = Act(ACTOR, now_us, f"stopped as canary at {canary.share:.0%}: {found.reason}", plan.version)
        try:
            reject(ledger, use_case.name, canary.release_id, act)
        except StepRefused as error:
            print(f"{use_case.name}: {error}")
            return False
        return True


@task(name="Let MLflow's aliases follow", retries=2, retry_delay_seconds=[2, 10], cache_policy=NO_CACHE)
def follow_all(place: Place) -> None:
    """Aliases of the registered models, as the traffic plans say."""
    with place.ledger() as ledger:
        plans = [plan for name in place.use_cases if (plan := ledger.plan(name)) is not None]
    registry = place.registry()
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
