"""Offerloop itself, as the same kind of job as its peers; from tiles where they are named."""

import pandas as pd  # noqa: F401 - why: PyArrow imports it when it first sees an array, and imports are not counted

from bench.history import SCHEMA, features
from bench.peers.job import Job, main
from features import point_in_time
from features.tiles import Tiles


def compute(job: Job) -> None:
    """As its users run it."""
    tiles = None if job.tiles is None else Tiles(job.tiles)
    point_in_time.compute(job.events, job.spine, features(), SCHEMA, job.out, job.memory, tiles=tiles)


if __name__ == "__main__":
    main(compute)
