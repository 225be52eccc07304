"""The flow `compact`: what was accepted goes into tables, and small files become large ones."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.drained import drain
from flows.place import Place, open_place


@task(name="Merge small files", retries=2, retry_delay_seconds=5, cache_policy=NO_CACHE)
def merge(place: Place) -> int:
    """Days in many files, into one file each; how many files went."""
    return place.tables.merge(place.schemas)


@flow(name="compact", log_prints=True)
def compact() -> State[Any]:
    """Drain the journal, so that it stays small, and merge what earlier drains wrote."""
    place = open_place()
    rows, files = drain(place), merge(place)
    said = f"{rows} rows moved into tables, {files} small files merged"
    print(said)
    return Completed(message=said)
