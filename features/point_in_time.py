"""Features of many entities, each at a moment of its own, as they were known then: DuckDB, from Parquet to Parquet.

DuckDB reads the event table, or tiles stand for it; `features.windows` computes.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from contracts.events import EventSchema
from features.columns import Events, Rows, Values, put
from features.definitions import Aggregate, Attribute, FeatureSet
from features.event_files import EventFiles, bytes_of
from features.rows import finish
from features.scan import scans
from features.spine import read_spine
from features.tiles import Tiles
from features.windows import evaluate
from storage.files import write_atomically


def compute(
    events: Sequence[Path],
    spine: Path,
    feature_set: FeatureSet,
    schema: EventSchema,
    out: Path,
    memory: str = "2GB",
    *,
    tiles: Tiles | None = None,
) -> int:
    """Write the features of every row of a spine; how many rows.

    What a row may see is known by `seq ≤ seen_seq` where that is given, else by `ingested_time ≤ moment`. The values have the bits that the
    online store gives.

    Args:
        events: Parquet files of the event table; none is an empty table.
        spine: Parquet file of `row_id` (text, unique), `entity_id`, `moment` (µs), and optionally `seen_seq` and `context` (JSON text).
        feature_set: what to compute.
        schema: of the events.
        out: Parquet file, put in place whole: `row_id`, a DOUBLE for each feature, `missing` (names of features without a value), in the
            spine's order.
        memory: for events, DuckDB's and ours together; beyond it DuckDB spills beside `out`. The spine itself is held in memory.
        tiles: of the same events, which are then read in their stead.

    Raises:
        DefinitionError: the feature set does not fit the schema.
        DataRefused: the spine lacks a value or names a row twice; a file of events is damaged.
        SettingsError: the memory is no size.
    """
    feature_set.check(schema)
    asked = read_spine(spine, feature_set)
    limit = bytes_of(memory)
    out.parent.mkdir(parents=True, exist_ok=True)
    rows, entities = asked.rows, asked.entities
    if tiles is not None:
        entities = tiles.entities
        rows = Rows.build(tiles.codes(asked.entities)[rows.entity], rows.moment, rows.seen)
    first_us, last_us = (int(rows.moment.min()), int(rows.moment.max())) if len(rows.moment) else (0, 0)
    seeing = rows.seen >= 0
    found: dict[str, Values] = {}
    with EventFiles(events, schema, entities, limit, out.parent / f".{out.name}.spill") as files:
        for scan in scans(feature_set, schema, first_us, last_us, by_clock=not seeing.all(), by_seq=bool(seeing.any())):
            parts = files.parts(scan) if tiles is None else tiles.parts(scan, files, limit)
            found |= evaluate_parts(parts, rows, scan.features)
    table = finish(feature_set, found, asked.asked, asked.row_ids, rows.moment)
    # why: readers need not know that names of features were positions in a dictionary
    write_atomically(out, lambda path: pq.write_table(table, path, use_dictionary=["missing.list.element"], store_schema=False))
    return len(table)


def evaluate_parts(parts: Iterable[tuple[int, int, Events]], rows: Rows, features: Sequence[Aggregate | Attribute]) -> dict[str, Values]:
    """Features that read one type of events, of which ranges of entities are given one after the other.

    Args:
        parts: the first entity of a range, the one behind its last, and their events.
        rows: whose entities all lie in some range.
        features: all of that one source.
    """
    found: dict[str, Values] = {}
    for first, last, part in parts:
        at = np.flatnonzero((rows.entity >= first) & (rows.entity < last))
        if len(at) == len(rows.entity):
            return evaluate(part, rows, features)
        found = found or {feature.name: Values.blank(len(rows.entity)) for feature in features}
        put(found, at, evaluate(part, rows.take(at), features))
    return found
