"""Which engine does the feature jobs: what the settings say, or whoever starts one."""

from contracts.errors import SettingsError
from contracts.settings import Settings
from features.jobs import DUCKDB, Jobs

ENGINES = ("duckdb", "spark")


def jobs_of(settings: Settings, engine: str | None = None) -> Jobs:
    """The feature jobs of an engine; Spark's start a session on the master that the settings name.

    Args:
        settings: of the installation.
        engine: one of `ENGINES`; by default what the settings say.

    Raises:
        SettingsError: there is no such engine.
    """
    chosen = engine or settings.feature_engine
    if chosen == "duckdb":
        return DUCKDB
    if chosen != "spark":
        raise SettingsError("feature_engine", chosen, " or ".join(ENGINES))
    from spark_jobs.jobs import start

    return start(settings.spark_master, settings.store.duckdb_memory)
