"""The flow `features`: attribute tables become events, and every entity's features as of now become a table."""

from typing import Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from contracts.settings import Settings
from features.latest import materialize
from flows.attributes import take_in
from flows.drained import drain
from flows.engine import jobs_of
from flows.place import Place, open_place
from flows.sources import locate
from serving.service import DecisionService
from use_cases.definition import UseCase


@task(name="Read attribute tables", retries=2, retry_delay_seconds=5, cache_policy=NO_CACHE)
def read_attributes(settings: Settings, use_case: UseCase) -> int:
    """Take in what the sources recorded since the last time; how many rows were new.

    Raises:
        SettingsError: the settings do not say where a source is.
        InvalidInput: a source does not give the declared columns.
        StoreUnavailable: a source cannot be read now.
    """
    accepted = 0
    with DecisionService(settings, {use_case.name: use_case}) as service:
        for source in use_case.attribute_sources:
            taken = take_in(service, use_case, source)
            accepted += taken.accepted
            later = f", {taken.later} valid only later" if taken.later else ""
            print(f"source {source.name}: {taken.accepted} new rows, {taken.quarantined} put in quarantine{later}")
    return accepted


@task(name="Compute every entity's features", cache_policy=NO_CACHE)
def write_table(place: Place, use_case: UseCase) -> int:
    """The features of all entities as of now, as they are known now, into Parquet; how many entities."""
    memory = place.settings.store.duckdb_memory
    done = materialize(
        place.tables, use_case.schema, use_case.feature_set, place.layout, place.clock.now_us(), memory, jobs=jobs_of(place.settings)
    )
    print(f"{done.days} days of events laid out")
    return done.entities


@flow(name="features", flow_run_name="features {use_case}", log_prints=True)
def features(use_case: str) -> State[Any]:
    """Read attribute tables into events, and write the table of all features.

    Args:
        use_case: whose.
    """
    place = open_place()
    chosen = place.use_cases[use_case]
    rows = read_attributes(place.settings, chosen) if chosen.attribute_sources else 0
    drain(place)
    entities = write_table(place, chosen)
    said = f"{rows} attribute rows taken in; features of {entities} entities written"
    print(said)
    table = [{"source": source.name, "file": str(locate(source, place.settings.attribute_sources))} for source in chosen.attribute_sources]
    create_table_artifact(
        [*table, {"source": "all features", "file": f"{entities} entities"}], key=f"features-{use_case.replace('_', '-')}"
    )
    return Completed(message=said)
