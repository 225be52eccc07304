"""P3: a point-in-time training set with Spark, beside the best PySpark that one would write by hand, in one session."""

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from pyspark.sql import SparkSession

from bench.history import SCHEMA, History, features, parser_of, write
from bench.peers import pyspark_windows
from bench.peers.job import Job
from bench.point_in_time import same
from bench.rounds import in_turn, ratio
from bench.rows import Figure, Measurement
from spark_jobs import point_in_time
from spark_jobs.session import build_session

BY_HAND = {"join": pyspark_windows.join, "ranges": pyspark_windows.ranges}


def measure(options: Sequence[str]) -> Measurement:
    """Time all in turn on `local[2]`, after showing that their outputs are equal; the session's start is not counted."""
    chosen = parser_of("P3").parse_args(options)
    with tempfile.TemporaryDirectory(prefix="offerloop-p3-") as name:
        folder = Path(name)
        history = write(folder, chosen.events, chosen.players, chosen.rows, chosen.seed)
        session = build_session("local[2]", "3GB", spark__local__dir=str(folder / "local"))
        session.sparkContext.setLogLevel("ERROR")
        try:
            jobs: dict[str, Callable[[], float]] = {
                job: partial(_by_hand, compute, session, _job(history, folder / f"{job}.parquet")) for job, compute in BY_HAND.items()
            }
            jobs["ours"] = partial(_ours, _job(history, folder / "ours.parquet"))
            for job in jobs.values():
                job()
            same(folder, list(jobs))
            seconds = in_turn(jobs, chosen.rounds)
        finally:
            session.stop()
    best = min(BY_HAND, key=lambda job: median(seconds[job]))
    beside, spread = ratio(seconds["ours"], seconds[best])
    return Measurement(
        "P3",
        (Figure(f"time beside {best} by hand", beside, 1.1, "×"),),
        (
            f"{chosen.events:,} events of {chosen.players:,} players, {chosen.rows:,} rows, seed {chosen.seed}; outputs equal to the bit",
            ", ".join(f"{job}: {median(taken):.1f} s" for job, taken in seconds.items()),
            f"spread of the ratios: {spread}",
        ),
    )


def _job(history: History, out: Path) -> Job:
    return Job(history.events, history.spine, out, "3GB", None)


def _by_hand(compute: Callable[[SparkSession, Job], None], session: SparkSession, job: Job) -> float:
    began = time.perf_counter()
    compute(session, job)
    return time.perf_counter() - began


def _ours(job: Job) -> float:
    began = time.perf_counter()
    point_in_time.compute(job.events, job.spine, features(), SCHEMA, job.out, job.memory)
    return time.perf_counter() - began
