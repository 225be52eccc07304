"""Polars by hand: prefix sums of each player's events, and an as-of join for each edge of a window."""

import polars as pl

from bench.history import DEAR, WINDOWS
from bench.peers.job import Job, main
from features.definitions import hop_us


def compute(job: Job) -> None:
    """As said above, from Parquet to Parquet."""
    events = pl.scan_parquet(job.events).select("entity_id", "event_time", "amount").sort("entity_id", "event_time").collect()
    dear = pl.when(pl.col("amount") >= DEAR).then("amount").otherwise(0)
    sums = events.select(
        "entity_id",
        "event_time",
        n=pl.int_range(1, pl.len() + 1).over("entity_id"),
        total=pl.col("amount").cum_sum().over("entity_id"),
        dear=dear.cum_sum().over("entity_id"),
    ).sort("event_time")
    rows = pl.read_parquet(job.spine).select("row_id", "entity_id", "moment")

    def before(edge: pl.Expr, name: str) -> pl.DataFrame:
        asked = rows.select("row_id", "entity_id", event_time=edge - 1).sort("event_time")
        found = asked.join_asof(sums, on="event_time", by="entity_id", strategy="backward")
        return found.select("row_id", *(pl.col(column).fill_null(0).alias(f"{column}_{name}") for column in ("n", "total", "dear")))

    whole = rows.join(before(pl.col("moment"), "end"), on="row_id")
    for name, window_us in WINDOWS.items():
        hop = hop_us(window_us)
        whole = whole.join(before((pl.col("moment") - window_us) // hop * hop, name), on="row_id")
    columns = []
    for name in WINDOWS:
        n, total, dear_sum = (pl.col(f"{column}_end") - pl.col(f"{column}_{name}") for column in ("n", "total", "dear"))
        mean = pl.when(n > 0).then(total / n).otherwise(0.0)
        columns += [n.cast(float).alias(f"n_{name}"), total.cast(float).alias(f"sum_{name}"), mean.alias(f"mean_{name}")]
        columns.append(dear_sum.cast(float).alias(f"dear_{name}"))
    whole.select("row_id", *columns).write_parquet(job.out)


if __name__ == "__main__":
    main(compute)
