"""The flow `features`: attribute tables become events, and every entity's features as of now become a table."""

from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from contracts.settings import Settings
from contracts.tables import EVENTS
from features.point_in_time import compute
from flows.attributes import read, where
from flows.drained import drain
from flows.place import Place, open_place
from serving.service import DecisionService
from use_cases.definition import AttributeSource, UseCase

PART = 2_000
"""Rows of a source that are taken in at once."""


@task(name="Read attribute tables", retries=2, retry_delay_seconds=5, cache_policy=NO_CACHE)
def read_attributes(settings: Settings, use_case: UseCase) -> int:
    """Take in what the sources recorded since the last time; how many rows were new.

    Raises:
        SettingsError: the settings do not say where a source is.
        InvalidInput: a source does not give the declared columns.
        StoreUnavailable: a source cannot be read now.
    """
    with DecisionService(settings, {use_case.name: use_case}) as service:
        return sum(_read_source(service, use_case, source) for source in use_case.attribute_sources)


@task(name="Compute every entity's features", cache_policy=NO_CACHE)
def write_table(place: Place, use_case: UseCase) -> int:
    """The features of all entities as of now, as they are known now, into Parquet; how many entities."""
    files = place.tables.files(use_case.name, EVENTS)
    if not files:
        return 0
    with TemporaryDirectory(prefix="offerloop-features-") as folder:
        spine = Path(folder) / "spine.parquet"
        entities = pl.scan_parquet(files).select("entity_id").unique().sort("entity_id")
        named = entities.select(row_id="entity_id", entity_id="entity_id", moment=pl.lit(place.clock.now_us(), dtype=pl.Int64))
        named.collect().write_parquet(spine)
        out = place.layout.features / use_case.name / "latest.parquet"
        return compute(files, spine, use_case.feature_set, use_case.schema, out, place.settings.store.duckdb_memory)


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
    table = [{"source": source.name, "file": place.settings.attribute_sources.get(source.name, "")} for source in chosen.attribute_sources]
    create_table_artifact(
        [*table, {"source": "all features", "file": f"{entities} entities"}], key=f"features-{use_case.replace('_', '-')}"
    )
    return Completed(message=said)


def _read_source(service: DecisionService, use_case: UseCase, source: AttributeSource) -> int:
    mark = f"attributes/{use_case.name}/{source.name}"
    with service.journal.read() as seen:
        since_us = int(seen.get_meta(mark) or 0)
    accepted = refused = 0
    rows = read(use_case, source, where(source, service.settings.attribute_sources), since_us)
    while part := list(islice(rows, PART)):
        receipt = service.accept_events(use_case.name, [message for _, message in part])
        accepted += receipt.accepted
        refused += len(receipt.quarantined)
        until = str(part[-1][0]).encode()
        service.journal.write(lambda write, until=until: write.put_meta(mark, until))  # type: ignore[misc]  # why: mypy cannot type the default
    print(f"source {source.name}: {accepted} new rows, {refused} in quarantine")
    return accepted
