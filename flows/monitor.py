"""The flow `monitor`: measures the installation, for the exporter and for people."""

from typing import Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from contracts.tables import DECISIONS, OUTCOMES
from flows.drained import drain
from flows.place import Place, open_place
from flows.promotion import conclude_experiment
from monitoring.measure import measure
from monitoring.measures import Measures, write
from releases.ledger import Act
from releases.registry import Registry
from training.comparison import Conclusion, conclude


@task(name="Measure arms, skew and freshness", retries=1, retry_delay_seconds=5, cache_policy=NO_CACHE)
def measure_all(place: Place) -> Measures:
    """What every arm earned, what was foreseen, skew and freshness."""
    with place.ledger() as ledger:
        measures = measure(place.layout, place.use_cases, ledger, place.clock.now_us(), place.settings.store.duckdb_memory)
    write(place.layout, measures)
    return measures


@task(name="Conclude live comparisons", cache_policy=NO_CACHE)
def conclude_all(place: Place) -> list[Conclusion]:
    """End the experiments that have shown enough, with the reason in the ledger; what all of them show so far."""
    found = []
    for name, use_case in place.use_cases.items():
        with place.ledger() as ledger:
            plan = ledger.plan(name)
            if plan is None or len(plan.arms) == 1:
                continue
            began_us = ledger.release(plan.arms[-1].release_id).changed_at
            decisions, outcomes = (place.tables.frame(use_case.schema, table) for table in (DECISIONS, OUTCOMES))
            now_us = place.clock.now_us()
            conclusion = conclude(use_case, plan, decisions, outcomes, since_us=began_us, now_us=now_us)
            if conclusion is not None:
                print(f"{name}: {conclusion.release_id} {conclusion.step}: {conclusion.reason}")
                conclude_experiment(ledger, name, conclusion, Act("flow monitor", now_us, conclusion.reason, plan.version))
                found.append(conclusion)
    return found


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
    measures = measure_all(place)
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
    compared = conclude_all(place)
    if any(conclusion.step != "wait" for conclusion in compared):
        follow_all(place)
    said = [f"{conclusion.release_id}: {conclusion.step}, {conclusion.reason}" for conclusion in compared]
    return Completed(message="; ".join(said) or f"{len(measures.use_cases)} use cases measured; nothing is being compared")
