"""A Spark session for jobs that are started without one."""

from pyspark.sql import SparkSession


def build_session(master: str, memory: str) -> SparkSession:
    """The running session, or a new one on loopback without a user interface.

    Args:
        master: a Spark master, such as `local[2]`.
        memory: of the driver, such as `2GB` or `2g`.
    """
    return (
        SparkSession.builder.master(master)
        .appName("offerloop")
        .config("spark.ui.enabled", False)
        .config("spark.ui.showConsoleProgress", False)
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.memory", memory.lower().removesuffix("b"))
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
