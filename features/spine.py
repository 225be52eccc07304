"""A spine: the rows whose features are asked for, each an entity at a moment."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.errors import DataRefused
from features.columns import Rows
from features.definitions import FeatureSet
from features.requests import request_columns, requests_of
from features.vector import Floats

COLUMNS = {"row_id": pa.string(), "entity_id": pa.string(), "moment": pa.int64(), "seen_seq": pa.int64(), "context": pa.string()}
"""What a spine's Parquet file holds; `seen_seq` and `context` may be left out."""


@dataclass(frozen=True, slots=True)
class Spine:
    """A spine in memory.

    Attributes:
        row_ids: (m,) texts. `entities`: (k,) different entity ids; `rows.entity` are positions among them.
        asked: by name the features of the request, (m,) each, NaN where there is none.
    """

    row_ids: pa.Array
    entities: pa.Array
    rows: Rows
    asked: dict[str, Floats]


def read_spine(path: Path, feature_set: FeatureSet) -> Spine:
    """Read a spine.

    Args:
        path: Parquet file of `row_id` (text, unique), `entity_id`, `moment` (µs), and optionally `seen_seq` and `context` (JSON text).
        feature_set: whose features of the request are read from the contexts.

    Raises:
        DataRefused: a column is not there or of another type; a row lacks a value or a row id stands twice.
    """
    held = set(pq.read_schema(path).names)
    if absent := [name for name in ("row_id", "entity_id", "moment") if name not in held]:
        raise DataRefused(f"spine {path.name}", [f"it has no column {', '.join(absent)}; it has {', '.join(sorted(held))}"])
    table = pq.read_table(path, columns=[name for name in COLUMNS if name in held])
    return build_spine(table, feature_set)


def build_spine(table: pa.Table, feature_set: FeatureSet) -> Spine:
    """A spine of a table with the columns of `COLUMNS`; raises as `read_spine`."""
    columns = {name: _column(table, name, kind) for name, kind in COLUMNS.items()}
    count, ids = len(table), pc.count_distinct(columns["row_id"]).as_py()
    entities, moments = (count - columns[name].null_count for name in ("entity_id", "moment"))
    check_counts(count, ids - bool(columns["row_id"].null_count), entities, moments)
    coded = columns["entity_id"].dictionary_encode()
    entity, moment = coded.indices.to_numpy().astype(np.int64), columns["moment"].to_numpy()
    seen = pc.fill_null(columns["seen_seq"], -1).to_numpy()
    contexts = columns["context"].to_pylist() if requests_of(feature_set) else []
    asked = {name: np.array(column, np.float64) for name, column in request_columns(feature_set, contexts).items()}
    return Spine(columns["row_id"], coded.dictionary, Rows.build(entity, moment, seen), asked)


def check_counts(rows: int, ids: int, entities: int, moments: int) -> None:
    """Refuse a spine by its counts of rows, different row ids, entities and moments.

    Raises:
        DataRefused: the counts differ.
    """
    if not rows == ids == entities == moments:
        raise DataRefused(
            "spine", [f"{rows} rows have {ids} different row_id, {entities} entity_id and {moments} moments; expected one each"]
        )


def _column(table: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    if name not in table.column_names:
        return pa.nulls(len(table), kind)
    try:
        return table.column(name).cast(kind).combine_chunks()
    except pa.ArrowInvalid as error:
        raise DataRefused("spine", [f"column {name} is {table.column(name).type}, not {kind}: {error}"]) from error
