"""P1: a point-in-time training set from raw events and from tiles, beside the best that one would write by hand."""

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from bench import peers
from bench.history import SCHEMA, History, features, parser_of, write
from bench.rounds import in_turn, ratio
from bench.rows import Figure, Measurement
from contracts.errors import DataRefused
from features.materialize import refresh
from storage.tables import Tables

BY_HAND = ("polars_windows", "duckdb_windows")


def measure(options: Sequence[str]) -> Measurement:
    """Time all in turn, each in a process of its own, after showing that their outputs are equal."""
    chosen = parser_of("P1").parse_args(options)
    with tempfile.TemporaryDirectory(prefix="offerloop-p1-") as name:
        folder = Path(name)
        history = write(folder, chosen.events, chosen.players, chosen.rows, chosen.seed)
        refresh(Tables(history.tables), SCHEMA, folder / "tiles")
        jobs = {job: partial(run, job, history, folder / f"{job}.parquet") for job in BY_HAND}
        jobs["ours"] = partial(run, "ours", history, folder / "ours.parquet")
        jobs["tiles"] = partial(run, "ours", history, folder / "tiles.parquet", "--tiles", str(folder / "tiles"))
        for job in jobs:
            jobs[job]()
        same(folder, list(jobs))
        found = in_turn(jobs, chosen.rounds)
    seconds = {job: [one["seconds"] for one in given] for job, given in found.items()}
    best = min(BY_HAND, key=lambda job: median(seconds[job]))
    raw, raw_spread = ratio(seconds["ours"], seconds[best])
    tiled, tiled_spread = ratio(seconds[best], seconds["tiles"])
    own, own_spread = ratio(seconds["ours"], seconds["tiles"])
    return Measurement(
        "P1",
        (
            Figure(f"from raw events, time beside {best}", raw, 1.1, "×"),
            Figure(f"from tiles, times faster than {best} from raw events", tiled, 3.0, "×", at_most=False),
        ),
        (
            f"{chosen.events:,} events of {chosen.players:,} players, {chosen.rows:,} rows, seed {chosen.seed}; outputs equal to the bit",
            *(f"{job}: {median(seconds[job]):.2f} s, peak {median(one['peak_mb'] for one in found[job]):.0f} MB" for job in jobs),
            f"spread of the ratios: {raw_spread}; {tiled_spread}",
            f"from tiles, {own:.2f} times faster than ours from raw events ({own_spread})",
        ),
    )


def run(job: str, history: History, out: Path, *more: str) -> Mapping[str, Any]:
    """Run a job of `bench/peers`."""
    return peers.run(job, "--events", str(history.tables), "--spine", str(history.spine), "--out", str(out), *more)


def same(folder: Path, jobs: Sequence[str]) -> None:
    """Check that jobs wrote the same numbers.

    Raises:
        DataRefused: they did not.
    """
    names = ("row_id", *features().names)
    written = [folder / f"{job}.parquet" for job in jobs]
    # why: Spark writes a folder, with files of check sums in it
    files = [path / "*.parquet" if path.is_dir() else path for path in written]
    first, *others = (pl.read_parquet(path, columns=list(names)).sort("row_id") for path in files)
    for job, other in zip(jobs[1:], others, strict=True):
        if not first.equals(other.select(first.columns)):
            raise DataRefused("outputs", [f"{job} differs from {jobs[0]}"])
