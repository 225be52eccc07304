"""The shop's table of customers, as rows that a test can change."""

import sqlite3
from pathlib import Path
from typing import Any

import polars as pl

COLUMNS = (
    "entity_id",
    "valid_from",
    "recorded_at",
    *(FIELDS := ("recency_months", "history_cents", "bought_mens", "bought_womens", "zip_code", "newbie", "channel")),
)


def customer(entity_id: object, recorded_at: object, recency: object = 3, **changes: object) -> dict[str, Any]:
    """A row, valid from when it was recorded unless said otherwise."""
    plain = {
        "entity_id": entity_id,
        "valid_from": recorded_at,
        "recorded_at": recorded_at,
        "recency_months": recency,
        "history_cents": 12_345,
        "bought_mens": True,
        "bought_womens": False,
        "zip_code": "Urban",
        "newbie": False,
        "channel": "Web",
    }
    return plain | changes


def in_sqlite(file: Path, *rows: dict[str, Any]) -> Path:
    """The file, with these rows added to its table."""
    with sqlite3.connect(file) as connection:
        connection.execute(f"CREATE TABLE IF NOT EXISTS customers ({', '.join(COLUMNS)})")
        connection.executemany(f"INSERT INTO customers VALUES ({', '.join('?' * len(COLUMNS))})", [tuple(row.values()) for row in rows])
    connection.close()
    return file


def in_parquet(file: Path, *rows: dict[str, Any]) -> Path:
    """The file, with these rows and no others."""
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(file)
    return file
