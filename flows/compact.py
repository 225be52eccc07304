"""The flow `compact`: what was accepted goes into tables, small files become large ones, and what nobody needs any more is forgotten."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from contracts.clock import DAY_US
from decisions.record import DECISION, EVENT, OUTCOME
from flows.drained import drain
from flows.place import Place, open_place
from serving.service import DecisionService
from storage.horizon import forget_ids
from storage.journal import Journal
from storage.measures import StateMeasure, write_states


@task(name="Merge small files", retries=2, retry_delay_seconds=5, cache_policy=NO_CACHE)
def merge(place: Place) -> int:
    """Days in many files, into one file each; how many files went."""
    return place.tables.merge(place.schemas)


@task(name="Compact feature states", retries=2, retry_delay_seconds=5, cache_policy=NO_CACHE)
def compact_states(place: Place) -> list[str]:
    """Drop from feature states what no window needs, and make those anew that are damaged; what was found, in words."""
    said: list[str] = []
    found: dict[str, StateMeasure] = {}
    with DecisionService(place.settings, place.use_cases) as service:
        for name in place.use_cases:
            report = service.compact(name)
            found[name] = StateMeasure(report.entities, report.total_bytes, report.median_bytes, report.p99_bytes, report.largest_bytes)
            said.append(
                f"{name}: {report.entities} states of {report.total_bytes} bytes in all (median {report.median_bytes}, "
                f"p99 {report.p99_bytes}, largest {report.largest_bytes}), {report.compacted} made smaller"
            )
            if report.damaged:
                service.rebuild(name, report.damaged)
                said.append(f"{name}: {len(report.damaged)} damaged states made anew from the tables")
    write_states(place.layout, found)
    return said


@task(name="Forget ids beyond the horizon", retries=2, retry_delay_seconds=5, cache_policy=NO_CACHE)
def forget(place: Place) -> int:
    """Forget the ids of events that are no longer taken, and of decisions whose outcomes are not; how many."""
    now_us, horizon_us = place.clock.now_us(), place.settings.store.idempotency_days * DAY_US
    before_us = {}
    for name, use_case in place.use_cases.items():
        before_us[EVENT, name] = now_us - horizon_us
        # why: an outcome is credited through its decision's id, and its own must outlive that
        window_us = max(use_case.outcome_window_us, use_case.outcomes.refund_window_us)
        before_us[DECISION, name] = before_us[OUTCOME, name] = now_us - horizon_us - window_us
    journal = Journal(place.layout.journal, place.settings.store.map_size_bytes)
    try:
        return forget_ids(journal, before_us)
    finally:
        journal.close()


@flow(name="compact", log_prints=True)
def compact() -> State[Any]:
    """Drain the journal, merge what earlier drains wrote, compact feature states, and forget what is beyond the horizon."""
    place = open_place()
    rows, files = drain(place), merge(place)
    states, ids = compact_states(place), forget(place)
    said = f"{rows} rows moved into tables, {files} small files merged, {ids} ids forgotten"
    for line in (said, *states):
        print(line)
    return Completed(message=said)
