"""The feature jobs of an engine, by which whoever runs them is free to choose."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from contracts.events import EventSchema
from features import point_in_time
from features.definitions import FeatureSet
from features.materialize import Make, make_tiles
from features.tiles import Tiles


class Compute(Protocol):
    """A point-in-time job; see `features.point_in_time.compute`."""

    def __call__(
        self,
        events: Sequence[Path],
        spine: Path,
        feature_set: FeatureSet,
        schema: EventSchema,
        out: Path,
        memory: str = ...,
        *,
        tiles: Tiles | None = ...,
    ) -> int:
        """Write the features of every row of a spine; how many rows."""
        ...


@dataclass(frozen=True, slots=True)
class Jobs:
    """What an engine does: features point in time, and laying events out as tiles."""

    compute: Compute
    make_tiles: Make


DUCKDB = Jobs(point_in_time.compute, make_tiles)
