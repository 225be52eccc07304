"""P2: a point-in-time training set from raw events, beside Feast's join of rows that others had to aggregate for it."""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import polars as pl

from bench import peers
from bench.history import History, features, parser_of, write
from bench.point_in_time import run
from bench.rounds import in_turn, ratio
from bench.rows import Figure, Measurement
from contracts.clock import DAY_US
from contracts.errors import ToolMissing


def measure(options: Sequence[str]) -> Measurement:
    """Time all in turn, each in a process of its own.

    Raises:
        ToolMissing: Feast is not at hand.
    """
    chosen = parser_of("P2").parse_args(options)
    interpreter = peers.python()
    if interpreter is None:
        raise ToolMissing("Feast", "run `tools/setup peers`, which installs it beside, in .peers")
    with tempfile.TemporaryDirectory(prefix="offerloop-p2-") as name:
        folder = Path(name)
        history = write(folder, chosen.events, chosen.players, chosen.rows, chosen.seed)
        made, spine, days = _ready_made(history, folder)
        jobs = {
            store: partial(
                peers.run,
                "feast_history",
                *("--store", store, "--made", str(made), "--spine", str(spine), "--out", str(folder / f"{store}.parquet")),
                interpreter=interpreter,
            )
            for store in ("duckdb", "default")
        }
        jobs["ours"] = partial(run, "ours", history, folder / "ours.parquet")
        found = in_turn(jobs, chosen.rounds)
    seconds = {job: [one["seconds"] for one in given] for job, given in found.items()}
    beside, spread = ratio(seconds["ours"], seconds["duckdb"])
    faster, faster_spread = ratio(seconds["default"], seconds["ours"])
    return Measurement(
        "P2",
        (
            Figure("time beside Feast's DuckDB store", beside, 1.0, "×"),
            Figure("times faster than Feast's default store", faster, 5.0, "×", at_most=False),
        ),
        (
            f"{chosen.events:,} raw events for us, {days:,} ready-made rows for Feast; {chosen.rows:,} rows, seed {chosen.seed}",
            ", ".join(f"{job}: {median(taken):.2f} s" for job, taken in seconds.items()),
            f"spread of the ratios: {spread}; {faster_spread}",
        ),
    )


def _ready_made(history: History, folder: Path) -> tuple[Path, Path, int]:
    """One row a player and day, with twenty numbers each, and the spine with the times that Feast wants; how many rows."""
    names = features().names
    made = (
        pl.scan_parquet(history.events)
        .with_columns(day=(pl.col("event_time") // DAY_US + 1) * DAY_US)
        .group_by("entity_id", "day")
        .agg(*(pl.col("amount").sum().cast(pl.Float64).alias(name) for name in names))
        .with_columns(event_timestamp=pl.from_epoch("day", time_unit="us").dt.replace_time_zone("UTC"))
        .drop("day")
        .collect()
    )
    made.write_parquet(folder / "days.parquet")
    spine = pl.read_parquet(history.spine).select(
        "entity_id", event_timestamp=pl.from_epoch("moment", time_unit="us").dt.replace_time_zone("UTC")
    )
    spine.write_parquet(folder / "feast-spine.parquet")
    return folder / "days.parquet", folder / "feast-spine.parquet", made.height
