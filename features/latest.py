"""The table of all entities' features as of one moment: for people, for profiles, for whoever reads features in bulk."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from contracts.events import EventSchema
from contracts.tables import EVENTS
from features.definitions import FeatureSet
from features.jobs import DUCKDB, Jobs
from features.materialize import refresh
from features.tiles import Tiles
from storage.layout import Layout
from storage.tables import Tables


@dataclass(frozen=True, slots=True)
class Materialized:
    """What was done: days of events laid out as tiles, entities whose features were written, and where."""

    days: int
    entities: int
    file: Path


def materialize(
    tables: Tables,
    schema: EventSchema,
    feature_set: FeatureSet,
    layout: Layout,
    moment_us: int,
    memory: str = "2GB",
    progress: Callable[[int, int], None] = lambda done, of: None,
    jobs: Jobs = DUCKDB,
) -> Materialized:
    """Bring a use case's tiles up to its events, then write the features of every entity as they are known at a moment.

    Interrupted, it goes on where it was; a table that was written before stays until the new one is whole.

    Args:
        tables: drained tables.
        schema: of the use case's events.
        feature_set: what to compute.
        layout: of the installation.
        moment_us: as of when.
        memory: to work in.
        progress: told how many rows of how many are laid out.
        jobs: the engine's.
    """
    files, out, laid_out = tables.files(schema.use_case, EVENTS), layout.latest(schema.use_case), layout.tiles(schema.use_case)
    if not files:
        return Materialized(0, 0, out)
    days = refresh(tables, schema, laid_out, memory, make=jobs.make_tiles, progress=progress).days
    with TemporaryDirectory(prefix="offerloop-features-") as between:
        spine = Path(between) / "spine.parquet"
        entities = pl.scan_parquet(files).select("entity_id").unique().sort("entity_id")
        named = entities.select(row_id="entity_id", entity_id="entity_id", moment=pl.lit(moment_us, dtype=pl.Int64))
        named.collect().write_parquet(spine)
        count = jobs.compute(files, spine, feature_set, schema, out, memory, tiles=Tiles(laid_out))
    return Materialized(days, count, out)
