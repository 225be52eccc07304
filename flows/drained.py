"""The first task of every flow that reads tables."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.place import Place


@task(name="Move what was accepted into tables", retries=2, retry_delay_seconds=2, cache_policy=NO_CACHE)
def drain(place: Place) -> int:
    """Everything accepted so far, into Parquet; how many rows."""
    rows = sum(place.drain().rows.values())
    print(f"{rows} rows moved into tables")
    return rows
