"""Spark's feature jobs."""

from features.jobs import Jobs
from spark_jobs.materialize import make_tiles
from spark_jobs.point_in_time import compute
from spark_jobs.session import build_session


def start(master: str, memory: str) -> Jobs:
    """Spark's jobs, in the running session or one that is started now; its process ends it.

    Args:
        master: such as `local[2]` or `spark://host:7077`.
        memory: of the driver.
    """
    build_session(master, memory)
    return Jobs(compute, make_tiles)
