"""What a training read: the partitions of the tables, each by the digest of its rows, so that the same rows can be known again."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from contracts.tables import DAY_COLUMN, DECISIONS, EVENTS, KEY_COLUMN, OUTCOMES
from storage.tables import Tables, polars_schema
from use_cases.definition import UseCase


@dataclass(frozen=True, slots=True)
class Partition:
    """The rows of one table's day that were read. `digest` is that of `digest_of_rows`."""

    table: str
    day: str
    rows: int
    digest: str


def snapshot(tables: Tables, use_case: UseCase, decisions: pl.DataFrame, outcomes: pl.DataFrame) -> tuple[Partition, ...]:
    """The partitions behind a training set: its decisions, what was credited to them, and the events that they could see.

    What came in later is left out, so that training again, later and from the same rows, tells of the same snapshot.

    Args:
        tables: where the events are.
        use_case: whose.
        decisions: of the training set, with the columns of their table.
        outcomes: the table.
    """
    if decisions.is_empty():
        return ()
    last_us = int(decisions["decided_at"].max())  # type: ignore[arg-type]  # why: a time is no list
    until_us = last_us + use_case.outcome_window_us + use_case.outcomes.late_us
    named = pl.col("decision_id").is_in(decisions["decision_id"].implode())
    nameless = (pl.col("decision_id").fill_null("") == "") & pl.col("entity_id").is_in(decisions["entity_id"].unique().implode())
    credited = outcomes.filter(named | (nameless & (pl.col("ingested_time") <= until_us)))
    found = [*_by_day(DECISIONS, decisions), *_by_day(OUTCOMES, credited)]
    schema = polars_schema(EVENTS, use_case.schema)
    days: dict[str, list[Any]] = {}
    for part in tables.manifest().parts:
        if (part.use_case, part.table) == (use_case.name, EVENTS):
            days.setdefault(part.day, []).append(tables.path(part))
    for _, files in sorted(days.items()):
        rows = pl.scan_parquet(files, schema=schema, missing_columns="insert").filter(pl.col("ingested_time") <= last_us).collect()
        found += _by_day(EVENTS, rows)
    return tuple(found)


def digest_of_rows(rows: pl.DataFrame, table: str) -> str:
    """SHA-256 over a table's rows in the order of their key: of each column its name, which values are absent, and the values.

    Files, their order and the way they are written do not matter; nor does a column without any value, since it may be newer than the rows.
    """
    ordered = rows.sort(KEY_COLUMN[table], DAY_COLUMN[table])
    digest = hashlib.sha256(f"{ordered.height}".encode())
    for name in sorted(ordered.columns):
        column = ordered[name]
        if column.null_count() < len(column):
            digest.update(f"\n{name}\n{column.dtype}\n".encode())
            for part in _bytes(column):
                digest.update(part)
    return digest.hexdigest()


def _by_day(table: str, rows: pl.DataFrame) -> Iterator[Partition]:
    day = pl.from_epoch(pl.col(DAY_COLUMN[table]), time_unit="us").dt.strftime("%Y-%m-%d")
    parts = rows.with_columns(_day=day).partition_by("_day", as_dict=True, include_key=False)
    for (name,), part in sorted(parts.items()):
        yield Partition(table, str(name), part.height, digest_of_rows(part, table))


def _bytes(column: pl.Series) -> Iterator[bytes]:
    yield np.packbits(column.is_null().to_numpy()).tobytes()
    if column.dtype == pl.List:
        lengths = column.list.len().fill_null(0)
        yield lengths.cast(pl.Int64).to_numpy().tobytes()
        yield from _bytes(column.filter(lengths > 0).explode())
    elif column.dtype == pl.String:
        filled = column.fill_null("")
        yield filled.str.len_bytes().cast(pl.Int64).to_numpy().tobytes()
        for chunk in pa.chunked_array([filled.to_arrow().cast(pa.large_binary())]).chunks:
            offsets = np.frombuffer(chunk.buffers()[1], np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
            yield chunk.buffers()[2].to_pybytes()[offsets[0] : offsets[-1]] if len(chunk) and chunk.buffers()[2] else b""
    elif column.dtype == pl.Float64:
        values = column.fill_null(0.0).to_numpy()
        yield np.where(np.isnan(values), np.nan, values).tobytes()
    else:
        yield column.cast(pl.Int64).fill_null(0).to_numpy().tobytes()
