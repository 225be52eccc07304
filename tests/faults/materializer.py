"""What the kill test of the feature jobs runs in a process of its own: lay out tiles, and backfill from them."""

from pathlib import Path

import features.materialize
from features.backfill import backfill
from features.materialize import refresh
from features.tiles import Tiles
from storage.tables import Tables
from tests.engines.world import SCHEMA
from tests.features.test_backfill import NEW


def work(tables: Path, root: Path) -> None:
    """Do all of it, by small steps."""
    features.materialize.STEP_ROWS = 150
    refresh(Tables(tables), SCHEMA, root / "tiles")
    backfill(Tables(tables), SCHEMA, NEW, root / "backfill", tiles=Tiles(root / "tiles"))
