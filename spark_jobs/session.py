"""A Spark session for jobs that are started without one."""

import os
import sys

from pyspark.sql import SparkSession


def build_session(master: str, memory: str, **settings: str | int | bool) -> SparkSession:
    """The running session, or a new one without a user interface; one of this machine on loopback alone.

    Args:
        master: a Spark master, such as `local[2]` or `spark://host:7077`.
        memory: of the driver, such as `2GB` or `2g`.
        settings: Spark's own, dots written as two underscores, such as `spark__local__dir`.
    """
    builder = SparkSession.builder.master(master).appName("offerloop")
    chosen: dict[str, str | int | bool] = {
        "spark.ui.enabled": False,
        "spark.ui.showConsoleProgress": False,
        "spark.driver.memory": memory.lower().removesuffix("b"),
        "spark.sql.session.timeZone": "UTC",
    }
    if master.startswith("local"):
        # why: Spark's workers would else be whatever `python3` is
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        chosen |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    chosen |= {name.replace("__", "."): value for name, value in settings.items()}
    for name, value in chosen.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()
