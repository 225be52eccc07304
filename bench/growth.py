"""P4: how time grows with the events of a point-in-time training set, and how much memory it takes."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.history import parser_of, write
from bench.point_in_time import run
from bench.rows import Figure, Measurement

CAP = "4GB"
CAP_MB = 4_000


def measure(options: Sequence[str]) -> Measurement:
    """Time the same rows over ever more events, each run in a process of its own."""
    chosen = parser_of("P4", 5_000_000, 20_000_000, 50_000_000).parse_args(options)
    seconds: list[float] = []
    peaks: list[float] = []
    for events in chosen.events:
        with tempfile.TemporaryDirectory(prefix="offerloop-p4-") as name:
            history = write(Path(name), events, chosen.players, chosen.rows, chosen.seed)
            runs = [run("ours", history, Path(name) / "out.parquet", "--memory", CAP) for _ in range(chosen.rounds + 1)][1:]
        seconds.append(median(one["seconds"] for one in runs))
        peaks.append(max(one["peak_mb"] for one in runs))
    first = chosen.events[0]
    figures = [
        Figure(f"{events:,} events beside {first:,}, time per event", taken / seconds[0] * first / events, 1.0, "×")
        for events, taken in zip(chosen.events[1:], seconds[1:], strict=True)
    ]
    figures.append(Figure(f"memory at {chosen.events[-1]:,} events", peaks[-1], CAP_MB, "MB"))
    sizes = zip(chosen.events, seconds, peaks, strict=True)
    return Measurement(
        "P4",
        tuple(figures),
        (
            f"{chosen.rows:,} rows of {chosen.players:,} players, seed {chosen.seed}, {CAP} allowed, median of {chosen.rounds} runs",
            *(f"{events:,} events: {taken:.2f} s, peak {peak:.0f} MB" for events, taken, peak in sizes),
        ),
    )
