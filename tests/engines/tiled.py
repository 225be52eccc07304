"""Point-in-time features from tiles that grew by steps, like those of an installation whose tables are drained now and then."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

import features.point_in_time
from contracts.clock import DAY_US
from contracts.events import EventSchema
from contracts.tables import EVENTS
from features.definitions import FeatureSet
from features.jobs import Compute
from features.materialize import Make, make_tiles, refresh
from features.tiles import Tiles
from storage.tables import Part, Tables, polars_schema

STEPS = 3
SEASON_US = 100 * DAY_US
"""Of these histories, which go over centuries, so many days count as one: a day has its own files."""


def compute_from_tiles(
    events: Sequence[Path],
    spine: Path,
    feature_set: FeatureSet,
    schema: EventSchema,
    out: Path,
    memory: str = "2GB",
    *,
    make: Make = make_tiles,
    compute: Compute = features.point_in_time.compute,
) -> int:
    """What a point-in-time job computes from tiles of the same events, which `make` lays out in steps."""
    columns = polars_schema(EVENTS, schema)
    with TemporaryDirectory() as folder:
        tables, root = Tables(Path(folder) / "tables"), Path(folder) / "tiles"
        rows = pl.concat([pl.DataFrame(schema=columns), *map(pl.read_parquet, events)], how="diagonal").select(*columns)
        for step in range(STEPS):
            part = rows[step * rows.height // STEPS : (step + 1) * rows.height // STEPS]
            tables.commit(_write(Path(folder) / "tables", schema, part, f"step-{step}"), step + 1)
            refresh(tables, schema, root, memory, make=make)
        return compute(tables.files(schema.use_case, EVENTS), spine, feature_set, schema, out, memory, tiles=Tiles(root))


def _write(root: Path, schema: EventSchema, rows: pl.DataFrame, label: str) -> list[Part]:
    parts = []
    for (season,), group in rows.group_by(pl.col("ingested_time") // SEASON_US, maintain_order=True):
        day = f"season{season}"
        name = f"{schema.use_case}/{EVENTS}/day={day}/{label}.parquet"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        group.write_parquet(root / name)
        parts.append(Part(schema.use_case, EVENTS, day, name, group.height))
    return parts
